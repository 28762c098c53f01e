"""The modules import each other as the architecture page says."""

import ast
import re
from pathlib import Path

import pytest

import skrnd

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = Path(skrnd.__file__).parent


def parsed(path):
    """The code of a module, or of all files of one that is a folder."""
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return [ast.parse(file.read_text("utf-8")) for file in files]


MODULES = {path.stem: parsed(path) for path in [*PACKAGE.glob("*.py"), *PACKAGE.glob("[a-z]*/")]}
FOLDERS = {path.name for path in PACKAGE.glob("[a-z]*/")}


def siblings(module):
    """Modules of the package that a module imports, inside its functions too."""
    found = set()
    # A folder's own files are one level nearer to it.
    outward = 2 if module in FOLDERS else 1
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and node.level == outward:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found.update(name for name in names if name in MODULES)
    return found


def nodes(module):
    return [node for tree in MODULES[module] for node in ast.walk(tree)]


def packages(module):
    """Other packages that a module imports."""
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name.partition(".")[0] for name in found}


def reached(module):
    """All modules of the package that importing a module brings along."""
    found, left = set(), [module]
    while left:
        new = siblings(left.pop()) - found
        found |= new
        left.extend(new)
    return found


@pytest.fixture(scope="module")
def diagram():
    """Module and imports of each line of the diagram, from the top down."""
    if not PAGE.exists():
        pytest.skip("needs docs/architecture.md, which only a checkout has")
    entries = re.findall(r"^(\w+) +->((?: *\w+|\n +\w+)*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [(name, imports.split()) for name, imports in entries]


def test_diagram_is_the_imports(diagram):
    drawn = {name: sorted(imports) for name, imports in diagram}
    assert len(drawn) == len(diagram)
    assert drawn == {name: sorted(siblings(name)) for name in MODULES}


def test_modules_import_from_below_only(diagram):
    names = [name for name, _ in diagram]
    for place, (name, imports) in enumerate(diagram):
        assert set(imports) <= set(names[place + 1 :]), f"{name} imports from above itself"


def test_rooms_are_complete(diagram):
    rooms = PAGE.read_text("utf-8").partition("## The rooms")[2].partition("## Rules")[0]
    first_cells = re.findall(r"^\| (`.*?`) \|", rooms, re.MULTILINE)
    described = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(described) == sorted(MODULES.keys() - {"__init__"})


@pytest.mark.parametrize("module", ["_distillation", "_networks"])
def test_training_does_without_scikit_learn(module):
    assert "sklearn" not in packages(module)


@pytest.mark.parametrize("module", ["base", "blur", "geometry"])
def test_transformers_do_without_detector_and_training(module):
    assert not reached(module) & {"_detector", "_distillation", "_networks"}


def test_siblings_are_imported_relatively():
    assert not any("skrnd" in packages(module) for module in MODULES)
