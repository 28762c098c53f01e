"""Does the idea work here? Plain RND and SVD-RND on CIFAR-10 against SVHN.

Fits both with default settings on 4,000 CIFAR-10 images and scores unseen
CIFAR-10 images and novel ones. Writes docs/benchmark_svhn.md::

    python benchmarks/bench_svhn.py --data DIRECTORY

DIRECTORY holds cifar10_train.npz, cifar10_test.npz, svhn.npz and, if there,
tinyimagenet_box.npz and tinyimagenet_nearest.npz, each with uint8 images of
shape (n, 3, 32, 32) named X. Fails if a bar of the project is missed.
"""

import argparse
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sklearn
import torch

import skrnd
from skrnd import SVDRNDDetector
from skrnd.metrics import auroc_score, tnr_at_tpr_score

ROOT = Path(__file__).resolve().parents[1]
N_TRAIN = 4000
SEEDS = (0, 1, 2)
METHODS = {"plain RND": {"blur": None}, "SVD-RND (default)": {}}
NOVEL_SETS = {
    "svhn": "SVHN",
    "tinyimagenet_box": "Tiny ImageNet, area average",
    "tinyimagenet_nearest": "Tiny ImageNet, nearest neighbour",
}
TABLE = ROOT / "docs" / "benchmark_svhn.md"


def load(directory, name, n_images=None):
    """Load the first images of a set."""
    with np.load(directory / f"{name}.npz") as file:
        return file["X"][:n_images]


def measure(params, seed, X_train, X_known, novel_sets):
    """Fit once; return seconds, false alarms and (TNR, AUROC) for each novel set."""
    start = time.perf_counter()
    detector = SVDRNDDetector(random_state=seed, **params).fit(X_train)
    seconds = time.perf_counter() - start
    known = detector.score_samples(X_known)
    false_alarms = (known < detector.offset_).mean()
    quality = {}
    for name, X_novel in novel_sets.items():
        scores = np.concatenate([known, detector.score_samples(X_novel)])
        y = np.r_[np.ones(len(known)), -np.ones(len(X_novel))]
        quality[name] = tnr_at_tpr_score(y, scores), auroc_score(y, scores)
    return seconds, false_alarms, quality, detector


def spread(values):
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def describe_machine():
    """Processor, cores and versions."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0].partition(":")[2].strip() if names else processor
    return (
        f"{processor}, {torch.get_num_threads()} threads; Python {platform.python_version()}, "
        f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, skrnd {skrnd.__version__}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    directory = parser.parse_args().data
    X_train, X_known = load(directory, "cifar10_train", N_TRAIN), load(directory, "cifar10_test")
    novel_sets = {
        name: load(directory, name) for name in NOVEL_SETS if (directory / f"{name}.npz").exists()
    }
    results = {}
    # Seeds outside, methods inside: a machine that slows down slows both.
    for seed in SEEDS:
        for method, params in METHODS.items():
            row = measure(params, seed, X_train, X_known, novel_sets)
            results.setdefault(method, []).append(row)
            print(f"seed {seed}, {method}: {row[0]:.0f} s, {row[2]['svhn']}", flush=True)

    header = ["method", "fit, s", "false alarms"]
    header += [f"{NOVEL_SETS[name]}: TNR / AUROC" for name in novel_sets]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for method, rows in results.items():
        cells = [method, f"{np.median([r[0] for r in rows]):.0f}", spread([r[1] for r in rows])]
        for name in novel_sets:
            cells.append(" / ".join(spread([r[2][name][i] for r in rows]) for i in range(2)))
        lines.append("| " + " | ".join(cells) + " |")
    detector = results["SVD-RND (default)"][0][3]
    TABLE.write_text(
        "# CIFAR-10 against smoother and sharper images\n\n"
        f"Trained on {N_TRAIN:,} CIFAR-10 images with default settings (k = {detector.k_} found "
        f"by the rule, {detector.precision_}); tested on {len(X_known):,} unseen ones and on novel "
        "images. TNR at 95 % TPR with CIFAR-10 as the positive class, and AUROC; false alarms "
        "are the share of unseen CIFAR-10 images called novel, which the threshold promises to "
        "be .05. Mean ± standard deviation over seeds "
        f"{', '.join(map(str, SEEDS))}; median fit time.\n\n"
        + "\n".join(lines)
        + f"\n\n{describe_machine()}; {datetime.now(UTC):%Y-%m-%d}. Made by "
        "`python benchmarks/bench_svhn.py`.\n\n"
        "Plain RND calls SVHN, which is smoother than CIFAR-10, more normal than CIFAR-10 itself. "
        "The blurred copies cure that, and say nothing about images that are sharper: that side "
        "is where the method is blind.\n"
    )
    print("\n".join(lines))
    tnr = {m: np.mean([r[2]["svhn"][0] for r in rows]) for m, rows in results.items()}
    slowest = max(r[0] for r in results["SVD-RND (default)"])
    if tnr["plain RND"] >= 0.10 or tnr["SVD-RND (default)"] < 0.97 or slowest >= 90:
        sys.exit(f"a bar is missed: TNR {tnr}, slowest default fit {slowest:.0f} s")


if __name__ == "__main__":
    main()
