"""Rows without image structure: the detector beside scikit-learn's.

    python benchmarks/bench_tabular.py

DIRECTORY/tabular holds tables as NAME.npz, X of shape (n, d) and y with 1 for
anomalies. Each detector is trained with its default parameters on half of the
normal rows, standardised for those that do not do it themselves, and tested on
the rest. Writes docs/benchmark_tabular.md from docs/benchmark_tabular.jsonl.
"""

import numpy as np
from _harness import (
    DOCS,
    command_line,
    markdown_table,
    option_parser,
    provenance,
    quality,
    run_cells,
    spread,
    timed,
    write_page,
)
from scipy.stats import rankdata
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skrnd import SVDRNDDetector


class KNearestNeighbors(BaseEstimator):
    """Minus the distance to the k-th nearest training row."""

    def __init__(self, n_neighbors=5):
        self.n_neighbors = n_neighbors

    def fit(self, X, y=None):
        self.neighbors_ = NearestNeighbors(n_neighbors=self.n_neighbors).fit(X)
        return self

    def score_samples(self, X):
        return -self.neighbors_.kneighbors(X)[0][:, -1]


DETECTORS = {
    "SVDRNDDetector": lambda seed: SVDRNDDetector(random_state=seed),
    "k-nearest neighbours": lambda seed: make_pipeline(StandardScaler(), KNearestNeighbors()),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "OneClassSVM": lambda seed: make_pipeline(StandardScaler(), OneClassSVM()),
    "LocalOutlierFactor": lambda seed: make_pipeline(
        StandardScaler(), LocalOutlierFactor(novelty=True)
    ),
}


def load_table(directory, name, seed):
    """Half of the normal rows of a table, to train on; the other half; and the anomalies."""
    with np.load(directory / "tabular" / f"{name}.npz") as file:
        X, y = file["X"], file["y"]
    train, known = train_test_split(X[y == 0], train_size=0.5, random_state=seed)
    return train, known, X[y == 1]


def measure(cell, directory):
    """Fit one detector on one table."""
    train, known, anomalies = load_table(directory, cell["table"], cell["seed"])
    detector = DETECTORS[cell["detector"]](cell["seed"])
    _, fit_seconds = timed(detector.fit, train)
    figures = quality(detector.score_samples(known), detector.score_samples(anomalies))
    return {"fit_seconds": fit_seconds, **figures}


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    tables = sorted(path.stem for path in (options.data / "tabular").glob("*.npz"))
    # Detectors inside: a machine that slows down slows all of them.
    cells = [
        {"table": table, "detector": detector, "seed": seed}
        for seed in options.seeds
        for table in tables
        for detector in DETECTORS
    ]
    path = DOCS / "benchmark_tabular.md"
    records = run_cells(cells, measure, path, options.data, n_jobs=options.jobs)

    def values(figure, **where):
        return [
            r["result"][figure]
            for r in records
            if all(r["cell"][name] == value for name, value in where.items())
        ]

    auroc = np.array(
        [
            [[values("auroc", table=t, detector=d, seed=s)[0] for d in DETECTORS] for t in tables]
            for s in options.seeds
        ]
    )
    ranks = rankdata(-auroc.mean(0), axis=1)
    rows = [
        [table, *(spread(auroc[:, i, j]) for j in range(len(DETECTORS)))]
        for i, table in enumerate(tables)
    ]
    rows.append(["**mean**", *(spread(auroc[:, :, j].mean(1)) for j in range(len(DETECTORS)))])
    rows.append(
        ["**median rank**", *(f"{np.median(ranks[:, j]):g}" for j in range(len(DETECTORS)))]
    )
    rows.append(["**mean rank**", *(f"{ranks[:, j].mean():.2f}" for j in range(len(DETECTORS)))])
    slowest = [max(values("fit_seconds", detector=d)) for d in DETECTORS]
    rows.append(["slowest fit, s", *(f"{seconds:.1f}" for seconds in slowest)])
    write_page(
        path,
        "# Rows without image structure\n\n"
        "AUROC of detectors with default parameters, trained on half of the normal rows of "
        f"{len(tables)} public tables and tested on the rest; mean and standard deviation over "
        f"seeds {', '.join(map(str, options.seeds))}, which also draw the half.\n\n"
        + markdown_table(["table", *DETECTORS], rows)
        + "\n"
        + provenance(records, command_line(__file__, parser, options, "seeds")),
    )


if __name__ == "__main__":
    main()
