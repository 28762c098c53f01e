"""What the benchmarks share: image sets, cells that resume, figures, the machine."""

import argparse
import json
import math
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import sklearn
import torch

import skrnd
from skrnd.datasets import load_cifar, load_image_folder, load_npz, load_svhn
from skrnd.metrics import detection_report

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DATA = ROOT.parent / "shared" / "data"

SET_NAMES = {
    "cifar10_train": "CIFAR-10",
    "cifar10_test": "CIFAR-10",
    "cifar100_test": "CIFAR-100",
    "svhn_train": "SVHN",
    "svhn": "SVHN",
    "tinyimagenet_box": "Tiny ImageNet, area",
    "tinyimagenet_nearest": "Tiny ImageNet, nearest",
    "lsun": "LSUN",
    "fashion_mnist_train": "Fashion-MNIST",
    "fashion_mnist_test": "Fashion-MNIST",
    "mnist": "MNIST",
    "elpv_64": "solar cells",
}


_SVHN_FILES = {"svhn_train": "train_32x32.mat", "svhn": "test_32x32.mat"}


def load_set(directory, name, shape=None):
    """As `find_set`, of a set that has to be there."""
    X = find_set(directory, name, shape)
    if X is None:
        raise FileNotFoundError(f"{directory} has no image set {name}; see bench_table.py")
    return X


def find_set(directory, name, shape=None):
    """Images of a set, uint8 (n, C, H, W), brought to `shape` where that is given.

    Looks for NAME.npz, then for the archive in which the set is published, then
    for a folder of pictures called NAME. None if there is none of these.
    """
    directory = Path(directory)
    if (directory / f"{name}.npz").exists():
        X = load_npz(directory / f"{name}.npz").data
    elif name in ("cifar10_train", "cifar10_test", "cifar100_test"):
        kind, subset = name.split("_")
        archive = directory / f"{kind.replace('cifar', 'cifar-')}-python.tar.gz"
        if not archive.exists():
            return None
        X = load_cifar(archive, subset=subset).data
    elif name in _SVHN_FILES and (directory / _SVHN_FILES[name]).exists():
        X = load_svhn(directory / _SVHN_FILES[name]).data
    elif (directory / name).is_dir():
        X = load_image_folder(directory / name, size=(32, 32)).data
    else:
        return None
    return X if shape is None else adapt(X, shape)


def adapt(X, shape):
    """Bring uint8 images to (C, H, W) without making them sharper or smoother.

    Halved by averaging over 2 x 2 pixels as often as need be; then cropped about
    the centre or padded with black. Grey is repeated, colour becomes luminance.
    """
    n_channels, height, width = shape
    while X.shape[2] >= 2 * height and X.shape[3] >= 2 * width:
        n, c, h, w = X.shape
        X = X[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
        X = X.mean((3, 5)).round().astype(np.uint8)
    for axis, size in ((2, height), (3, width)):
        extra = X.shape[axis] - size
        if extra > 0:
            X = np.take(X, np.arange(extra // 2, extra // 2 + size), axis=axis)
        elif extra < 0:
            pad = [(0, 0)] * 4
            pad[axis] = (-extra // 2, -extra - -extra // 2)
            X = np.pad(X, pad)
    if n_channels == 1 and X.shape[1] == 3:
        luminance = np.tensordot(X, np.array([0.299, 0.587, 0.114]), axes=(1, 0))
        X = luminance.round().astype(np.uint8)[:, None]
    elif n_channels == 3 and X.shape[1] == 1:
        X = X.repeat(3, axis=1)
    return X


def longer_training(n_images):
    """Parameters of a training longer than the default, in smaller steps.

    What compares copies with each other is measured with it: 8 epochs of 4,000 images,
    of which the default makes 5.
    """
    n_trained = 0.9 * n_images
    return {"max_epochs": math.ceil(28_000 / n_trained), "learning_rate": 4e-3}


def quality(known, novel):
    """Figures of merit of the scores of known and of novel rows, larger for more normal."""
    y = np.r_[np.ones(len(known)), -np.ones(len(novel))]
    return detection_report(y, np.concatenate([known, novel]))


def timed(function, *args):
    """Result of a call, and the seconds it took."""
    start = time.perf_counter()
    return function(*args), time.perf_counter() - start


def run_cells(cells, measure, page, directory, *, n_jobs=1):
    """Measure every cell that is not in the file beside a page yet, and add it there.

    Parameters
    ----------
    cells : list of dict
        What sets one measurement apart from the others; as JSON.
    measure : callable
        Is given a cell and `directory`; returns a dict of figures. At module level, for workers.
    page : Path
        What the figures are for. The file, PAGE.jsonl, has one line of JSON for each
        measurement, so that what was measured stays when the rest breaks off.
    directory : Path
        Where the image sets are.
    n_jobs : int, default=1
        Cells at the same time, each with its share of the cores.

    Returns
    -------
    list of dict
        The records of `cells`, in their order.
    """

    def key(cell):
        return json.dumps(cell, sort_keys=True)

    path, records = page.with_suffix(".jsonl"), {}
    if path.exists():
        for line in path.read_text().splitlines():
            record = json.loads(line)
            records[key(record["cell"])] = record
    missing = [cell for cell in cells if key(cell) not in records]
    if not cells:
        raise SystemExit(f"{directory} has no image set that can be measured")
    print(
        f"{len(cells) - len(missing)} of {len(cells)} cells are in {path}, whatever data they were "
        "measured on; remove the lines of those that are to be measured again",
        flush=True,
    )
    start = time.perf_counter()
    results = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(_measured)(measure, cell, directory) for cell in missing
    )
    for n_done, record in enumerate(results, start=1):
        records[key(record["cell"])] = record
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        left = (time.perf_counter() - start) / n_done * (len(missing) - n_done)
        told = " ".join(map(str, record["cell"].values()))
        print(f"{n_done}/{len(missing)}, {left / 60:.0f} min left: {told}", flush=True)
    return [records[key(cell)] for cell in cells]


def _measured(measure, cell, directory):
    return {"cell": cell, "result": measure(cell, directory), **stamp()}


def write_page(path, text):
    """Put a page in its place, and show it."""
    path.write_text(text, encoding="utf-8")
    print(text)


def stamp():
    """Where and when something is measured."""
    return {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def machine():
    """Processor or accelerator, threads and versions."""
    device = torch.accelerator.current_accelerator(check_available=True)
    name = _processor() if device is None else torch.cuda.get_device_name(device)
    return (
        f"{name}, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, skrnd {skrnd.__version__}"
    )


def _processor():
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if names:
            name = names[0].partition(":")[2].strip()
            return f"{name} with {torch.backends.cpu.get_cpu_capability()}"
    return platform.processor() or platform.machine()


def _folder(name):
    if not Path(name).is_dir():
        raise argparse.ArgumentTypeError(
            f"{name} is no folder; --data names that of the image sets"
        )
    return Path(name)


def option_parser(description):
    """A parser of the options of a benchmark, with that which all of them have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=_folder,
        default=str(DATA),
        help="folder of the image sets, see bench_table.py",
    )
    return parser


def command_line(script, parser, options, *names):
    """How a benchmark is run again: with those of some options that are not as usual."""
    words = [f"python benchmarks/{Path(script).name}"]
    for name in names:
        value = getattr(options, name)
        if value != parser.get_default(name):
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return " ".join(words)


def provenance(records, command):
    """Where the figures of a table come from, as its last line."""
    machines = sorted({record["machine"] for record in records})
    dates = sorted({record["date"] for record in records})
    days = " to ".join(dict.fromkeys([dates[0], dates[-1]]))
    return f"{'; and '.join(machines)}; {days}. Made by `{command}`.\n"


def spread(values, digits=3):
    """Mean and, of several, their standard deviation."""
    text = f"{np.mean(values):.{digits}f}"
    # No-break spaces, or narrow columns of a page would break figures into three lines.
    return text if len(values) < 2 else f"{text}\u00a0±\u00a0{np.std(values, ddof=1):.{digits}f}"


def tnr_and_auroc(results, column):
    """Both figures of one novel set over several results, as a cell of a table."""
    figures = [result["columns"][column] for result in results]
    return "<br>".join(spread([f[name] for f in figures]) for name in ("tnr_at_tpr", "auroc"))


def markdown_table(header, rows):
    """A table of cells that are strings already."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"
