"""What `import skrnd` brings along."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path

import pytest

import skrnd

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import sys
import joblib, numpy, scipy, sklearn, torch
import scipy.fft, scipy.ndimage, scipy.stats
import sklearn.metrics, sklearn.model_selection, sklearn.preprocessing
before = {name.partition(".")[0] for name in sys.modules}
import skrnd
print(sorted({name.partition(".")[0] for name in sys.modules} - before))
"""


def test_import_needs_the_core_dependencies_only():
    found = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "['skrnd']"


def test_core_dependencies_are_the_five():
    core = [line for line in requires("skrnd") if "extra ==" not in line]
    names = {re.match(r"[\w-]+", line).group() for line in core}
    assert names == {"joblib", "numpy", "scikit-learn", "scipy", "torch"}


def test_the_oldest_dependencies_that_are_tested_are_the_oldest_allowed():
    pins = ROOT / ".ci" / "oldest.txt"
    if not pins.exists():
        pytest.skip("needs .ci/oldest.txt, which only a checkout has")
    tested = re.findall(r"^([\w-]+)==(.+)$", pins.read_text("utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert [f"{name}>={version.removesuffix('.0')}" for name, version in tested] == project[
        "dependencies"
    ]


def test_version_and_types():
    assert skrnd.__version__ == version("skrnd")
    assert files("skrnd").joinpath("py.typed").is_file()
