"""A grid search with and without memory=, and by one worker or several.

    python benchmarks/bench_search.py

Six strengths, three folds and no refit: 18 fits. The cache begins empty in every
round. Writes docs/benchmark_search.md.
"""

import tempfile

import joblib
import numpy as np
import torch
from _harness import (
    DOCS,
    command_line,
    load_set,
    markdown_table,
    option_parser,
    provenance,
    stamp,
    timed,
    write_page,
)
from sklearn.model_selection import GridSearchCV

from skrnd import SVDRNDDetector
from skrnd.model_selection import ProbeScorer

STRENGTHS = [18, 20, 22, 24, 26, 28]


def search(X, max_epochs, n_jobs, memory):
    """Run the search; returns the mean score of each candidate."""
    detector = SVDRNDDetector(blur="svd", max_epochs=max_epochs, memory=memory, random_state=0)
    grid = GridSearchCV(
        detector, {"k": STRENGTHS}, scoring=ProbeScorer(), cv=3, n_jobs=n_jobs, refit=False
    )
    return grid.fit(X).cv_results_["mean_test_score"]


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--n-train", type=int, default=600)
    parser.add_argument("--epochs", nargs="+", type=int, default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    X = load_set(options.data, "cifar10_train")[: options.n_train]
    workers = [1, torch.get_num_threads()]
    # What a first use of the workers costs is not the search's.
    joblib.Parallel(n_jobs=workers[-1])(joblib.delayed(search)(X[:60], 1, 1, None) for _ in workers)
    rows = []
    for max_epochs in options.epochs:
        settings = [(n_jobs, kept) for n_jobs in workers for kept in (False, True)]
        seconds, scores = {setting: [] for setting in settings}, {}
        for number in range(options.rounds):
            for setting in settings if number % 2 else reversed(settings):
                n_jobs, kept = setting
                with tempfile.TemporaryDirectory() as folder:
                    memory = folder if kept else None
                    scores[setting], taken = timed(search, X, max_epochs, n_jobs, memory)
                seconds[setting].append(taken)
                print(f"{max_epochs} epochs, {n_jobs} jobs, {kept}: {taken:.0f} s", flush=True)
        medians = {setting: np.median(taken) for setting, taken in seconds.items()}
        for n_jobs, kept in settings:
            if not np.array_equal(scores[n_jobs, True], scores[n_jobs, False]):
                raise AssertionError("memory= has changed the scores")
            median = medians[n_jobs, kept]
            rows.append(
                [
                    str(max_epochs),
                    str(n_jobs),
                    "yes" if kept else "no",
                    f"{median:.0f}",
                    f"{median / medians[1, False]:.2f}",
                ]
            )
    path = DOCS / "benchmark_search.md"
    write_page(
        path,
        "# A search with and without `memory=`\n\n"
        f'{len(STRENGTHS)} strengths x 3 folds of `SVDRNDDetector(blur="svd")` on {len(X):,} '
        "CIFAR-10 images, scored by `ProbeScorer()`, without the refit. Medians of "
        f"{options.rounds} rounds in turns, each with an empty cache; ratios are over one job "
        "without it. The scores of the candidates are the same to the bit with and without it.\n\n"
        + markdown_table(["epochs", "n_jobs", "memory", "seconds", "ratio"], rows)
        + "\n"
        + provenance(
            [stamp()], command_line(__file__, parser, options, "n_train", "epochs", "rounds")
        ),
    )


if __name__ == "__main__":
    main()
