"""The detector beside scikit-learn's and PyOD's, on the same images.

    python benchmarks/bench_peers.py

Each detector is trained with its default parameters on 4,000 images of each
target. Those of scikit-learn see the pixels, or their first 64 principal
components, standardised; PyOD's see the pixels, and are left out if PyOD is not
installed. One of scikit-learn's sees the spectrum of each image alone, in twelve numbers:
what sets sharper and smoother images apart without any network. Writes
docs/benchmark_peers.md from docs/benchmark_peers.jsonl.
"""

import importlib.util
from functools import partial

import numpy as np
import scipy.fft
from _harness import (
    DOCS,
    SET_NAMES,
    command_line,
    load_set,
    markdown_table,
    option_parser,
    provenance,
    quality,
    run_cells,
    timed,
    tnr_and_auroc,
    write_page,
)
from sklearn.base import BaseEstimator
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skrnd import SVDRNDDetector

TARGETS = {
    "cifar10": (
        "cifar10_train",
        "cifar10_test",
        ["svhn", "tinyimagenet_nearest", "tinyimagenet_box"],
    ),
    "fashion_mnist": ("fashion_mnist_train", "fashion_mnist_test", ["mnist", "cifar10_test"]),
}


N_BANDS = 12


def flat(X):
    return X.reshape(len(X), -1)


def band_energies(X):
    """Logarithm of the mean energy of an image in rings of frequencies, of equal width."""
    energies = scipy.fft.dctn(X, axes=(2, 3), norm="ortho") ** 2
    height, width = X.shape[2:]
    # 1 is the highest frequency along each axis.
    radius = np.hypot(np.arange(height)[:, None] / (height - 1), np.arange(width) / (width - 1))
    # The corners beyond it are left out, as the mean is, which has no frequency.
    bands = np.ceil(radius * N_BANDS)
    means = [energies[..., bands == band].mean((1, 2)) for band in range(1, N_BANDS + 1)]
    return np.log(np.stack(means, axis=1) + 1e-9)


def on_pixels(*steps):
    return make_pipeline(FunctionTransformer(flat), StandardScaler(), *steps)


def on_components(*steps, seed):
    return make_pipeline(
        FunctionTransformer(flat), PCA(64, random_state=seed), StandardScaler(), *steps
    )


def on_bands(*steps):
    return make_pipeline(FunctionTransformer(band_energies), StandardScaler(), *steps)


def forest(seed):
    return IsolationForest(random_state=seed)


def one_class_svm(seed):
    return Nystroem(random_state=seed), SGDOneClassSVM(random_state=seed)


class PyOD(BaseEstimator):
    """A detector of PyOD, whose scores are larger for more novel rows."""

    def __init__(self, name, seed):
        self.name = name
        self.seed = seed

    def fit(self, X):
        import pyod.models.auto_encoder
        import pyod.models.deep_svdd

        if self.name == "AutoEncoder":
            model = pyod.models.auto_encoder.AutoEncoder(random_state=self.seed, verbose=0)
        else:
            model = pyod.models.deep_svdd.DeepSVDD(
                n_features=flat(X).shape[1], random_state=self.seed, verbose=0
            )
        self.model_ = model.fit(flat(X))
        return self

    def score_samples(self, X):
        return -self.model_.decision_function(flat(X))


DETECTORS = {
    "SVDRNDDetector": lambda seed: SVDRNDDetector(random_state=seed),
    "EllipticEnvelope, spectrum": lambda seed: on_bands(EllipticEnvelope(random_state=seed)),
    "IsolationForest, pixels": lambda seed: on_pixels(forest(seed)),
    "IsolationForest, PCA": lambda seed: on_components(forest(seed), seed=seed),
    "OneClassSVM, pixels": lambda seed: on_pixels(*one_class_svm(seed)),
    "OneClassSVM, PCA": lambda seed: on_components(*one_class_svm(seed), seed=seed),
    "LocalOutlierFactor, pixels": lambda seed: on_pixels(LocalOutlierFactor(novelty=True)),
    "LocalOutlierFactor, PCA": lambda seed: on_components(
        LocalOutlierFactor(novelty=True), seed=seed
    ),
    "PyOD AutoEncoder": partial(PyOD, "AutoEncoder"),
    "PyOD DeepSVDD": partial(PyOD, "DeepSVDD"),
}


def prepared(detector, X):
    """Images as the detector takes them: with pixels from 0 to 1, but for ours."""
    return X if isinstance(detector, SVDRNDDetector) else X.astype(np.float32) / 255


def measure(cell, directory):
    """Fit one detector on one target; quality and seconds."""
    train_name, test_name, columns = TARGETS[cell["target"]]
    X_train = load_set(directory, train_name)[: cell["n_train"]]
    shape = X_train.shape[1:]
    detector = DETECTORS[cell["detector"]](cell["seed"])
    _, fit_seconds = timed(detector.fit, prepared(detector, X_train))
    X_known = prepared(detector, load_set(directory, test_name))
    known, score_seconds = timed(detector.score_samples, X_known)
    return {
        "fit_seconds": fit_seconds,
        "score_seconds": score_seconds * 1000 / len(X_known),
        "columns": {
            name: quality(
                known, detector.score_samples(prepared(detector, load_set(directory, name, shape)))
            )
            for name in columns
        },
    }


def table(records, target):
    columns = TARGETS[target][2]
    rows = []
    for name in DETECTORS:
        results = [
            r["result"]
            for r in records
            if r["cell"]["detector"] == name and r["cell"]["target"] == target
        ]
        if not results:
            continue
        cells = [name]
        for column in columns:
            cells.append(tnr_and_auroc(results, column))
        for figure in ("fit_seconds", "score_seconds"):
            cells.append(f"{np.median([result[figure] for result in results]):.1f}")
        rows.append(cells)
    header = ["detector", *(SET_NAMES[c] for c in columns), "fit, s", "score 1,000, s"]
    return f"## {SET_NAMES[TARGETS[target][0]]} as the target\n\n{markdown_table(header, rows)}\n"


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--n-train", type=int, default=4_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    has_pyod = importlib.util.find_spec("pyod") is not None
    # Detectors inside: a machine that slows down slows all of them.
    cells = [
        {"target": target, "detector": name, "seed": seed, "n_train": options.n_train}
        for seed in options.seeds
        for target in TARGETS
        for name in DETECTORS
        if has_pyod or not name.startswith("PyOD")
    ]
    path = DOCS / "benchmark_peers.md"
    records = run_cells(cells, measure, path, options.data)
    write_page(
        path,
        "# Beside other detectors\n\n"
        f"Trained on {options.n_train:,} images with default parameters. TNR at 95 % TPR with "
        "the target as the positive class, and AUROC below it; mean and standard deviation over "
        f"seeds {', '.join(map(str, options.seeds))}; medians of the seconds, of scoring for 1,000 "
        "images. OneClassSVM is scikit-learn's Nystroem with SGDOneClassSVM; the spectrum is the "
        f"logarithm of the energies in {N_BANDS} rings of frequencies (`scipy.fft.dctn`).\n\n"
        + "\n".join(table(records, target) for target in TARGETS)
        + "\n"
        + provenance(records, command_line(__file__, parser, options, "n_train", "seeds")),
    )


if __name__ == "__main__":
    main()
