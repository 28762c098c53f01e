"""The strength of the blur: what k="auto" chooses, and every other k.

    python benchmarks/bench_strength.py

For three targets and the blurs of the paper: TNR on the novel sets at fixed
strengths and at the one chosen from held-out normal images, beside what
`ProbeScorer`, that sees no novel image either, says of each. Writes
docs/benchmark_strength.md from docs/benchmark_strength.jsonl.
"""

import numpy as np
from _harness import (
    DOCS,
    SET_NAMES,
    command_line,
    load_set,
    longer_training,
    markdown_table,
    option_parser,
    provenance,
    quality,
    run_cells,
    spread,
    timed,
    write_page,
)
from scipy.ndimage import gaussian_filter

from skrnd import SVDRNDDetector
from skrnd.model_selection import ProbeScorer

N_TRAIN = 4_000
N_PROBED = 1_000
N_KNOWN = 1_000
# The test images themselves, smoothed by a Gaussian of one pixel: what a detector is blind to
# whose copies are blurred too much.
SMOOTHED = "smoothed"
# Sets, and the novel ones that are easy enough for the strength to decide. Of a set
# that is its own test set, the last images are kept for that.
TARGETS = {
    "cifar10": ("cifar10_train", "cifar10_test", ["svhn"]),
    "fashion_mnist": (
        "fashion_mnist_train",
        "fashion_mnist_test",
        ["svhn", "cifar10_test", "mnist"],
    ),
    "svhn": ("svhn", "svhn", ["mnist", "fashion_mnist_test", "cifar10_test", SMOOTHED]),
}
# The strengths that are tried.
STRENGTHS = {
    ("cifar10", "svd"): [20, 24, 26, 28, 30],
    ("cifar10", "dct"): [12, 14, 16, 18, 20],
    ("cifar10", "gaussian"): [0.5, 0.7, 0.85, 1.0],
    ("fashion_mnist", "svd"): [8, 12, 16, 20, 24],
    ("fashion_mnist", "dct"): [12, 16, 20],
    ("fashion_mnist", "gaussian"): [0.5, 0.7, 1.0],
    ("svhn", "svd"): [28, 30, 31],
    ("svhn", "two-sided"): [28, 30, 31],
}


def measure(cell, directory):
    """Fit at one strength."""
    train_name, test_name, columns = TARGETS[cell["target"]]
    X_train, X_known = load_set(directory, train_name), load_set(directory, test_name)
    if train_name == test_name:
        X_train, X_known = X_train[:-N_KNOWN], X_known[-N_KNOWN:]
    X_train = X_train[:N_TRAIN]
    training = longer_training(len(X_train))
    detector = SVDRNDDetector(cell["k"], blur=cell["blur"], random_state=cell["seed"], **training)
    _, seconds = timed(detector.fit, X_train)
    known = detector.score_samples(X_known)
    return {
        "k": detector.k_,
        "fit_seconds": seconds,
        "probes": ProbeScorer()(detector, X_known[:N_PROBED]),
        "columns": {
            name: quality(known, detector.score_samples(novel_set(directory, name, X_known)))
            for name in columns
        },
    }


def novel_set(directory, name, X_known):
    """A set in the shape of the known images, or these, smoothed."""
    if name == SMOOTHED:
        return gaussian_filter(X_known.astype(np.float32), (0, 0, 1, 1))
    return load_set(directory, name, X_known.shape[1:])


def table(records, target, blur):
    columns = TARGETS[target][2]
    rows = []
    for k in [*STRENGTHS[target, blur], "auto"]:
        results = [
            r["result"]
            for r in records
            if (r["cell"]["target"], r["cell"]["blur"], r["cell"]["k"]) == (target, blur, k)
        ]
        chosen = ", ".join(map(str, sorted({result["k"] for result in results})))
        cells = [f"auto: {chosen}" if k == "auto" else str(k)]
        for column in columns:
            cells.append(spread([result["columns"][column]["tnr_at_tpr"] for result in results]))
        cells.append(spread([result["probes"] for result in results]))
        rows.append([*cells, f"{np.median([result['fit_seconds'] for result in results]):.0f}"])
    return markdown_table(["k", *(SET_NAMES.get(c, c) for c in columns), "probes", "fit, s"], rows)


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    options = parser.parse_args()
    cells = [
        {"target": target, "blur": blur, "k": k, "seed": seed}
        for seed in options.seeds
        for (target, blur), strengths in STRENGTHS.items()
        for k in ["auto", *strengths]
    ]
    path = DOCS / "benchmark_strength.md"
    records = run_cells(cells, measure, path, options.data, n_jobs=options.jobs)
    text = (
        "# The strength of the blur\n\n"
        f"TNR at 95 % TPR at each strength k, up to {N_TRAIN:,} training images, trained "
        "longer than by default (`benchmarks/_harness.py`); mean and standard deviation over seeds "
        f"{', '.join(map(str, options.seeds))}. *auto* is chosen from held-out normal images; "
        "*probes* is what `ProbeScorer` says, that sees no novel image either.\n\n"
    )
    for target, blur in STRENGTHS:
        name = SET_NAMES[TARGETS[target][0]]
        text += f'## {name}, blur="{blur}"\n\n{table(records, target, blur)}\n'
    write_page(path, text + provenance(records, command_line(__file__, parser, options, "seeds")))


if __name__ == "__main__":
    main()
