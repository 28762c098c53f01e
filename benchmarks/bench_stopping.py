"""Whether it pays to stop early, and to keep the best epoch.

    python benchmarks/bench_stopping.py

Fits with early_stopping and without, on CIFAR-10 images and on tables, for the epochs
that the detector takes by itself and for more. Writes docs/benchmark_stopping.md from
docs/benchmark_stopping.jsonl.
"""

import numpy as np
from _harness import (
    DOCS,
    command_line,
    load_set,
    markdown_table,
    option_parser,
    provenance,
    quality,
    run_cells,
    spread,
    timed,
    write_page,
)
from bench_tabular import load_table

from skrnd import SVDRNDDetector

N_TRAIN = 4_000
TABLES = ["annthyroid", "cardiotocography", "landsat", "spambase", "vowels", "wilt"]
# Epochs: what the detector takes by itself, and more.
EPOCHS = {"images": ["auto", 18], "tables": ["auto", 400]}


def normal_and_novel(cell, directory):
    """Images or rows to train on, normal ones to test on, and novel ones."""
    if cell["kind"] == "images":
        train, known, novel = (
            load_set(directory, name) for name in ("cifar10_train", "cifar10_test", "svhn")
        )
        return train[:N_TRAIN], known, novel
    return load_table(directory, cell["table"], cell["seed"])


def measure(cell, directory):
    train, known, novel = normal_and_novel(cell, directory)
    detector = SVDRNDDetector(
        blur="svd",
        max_epochs=cell["max_epochs"],
        early_stopping=cell["early_stopping"],
        random_state=cell["seed"],
    )
    _, seconds = timed(detector.fit, train)
    scores = detector.score_samples(known)
    curve = detector.validation_loss_curve_
    return {
        **quality(scores, detector.score_samples(novel)),
        "false_alarms": float(np.mean(scores < detector.offset_)),
        "n_epochs": len(detector.loss_curve_),
        "best_epoch": None if curve is None else int(np.argmin(curve)) + 1,
        "fit_seconds": seconds,
    }


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    cells = [
        {"kind": kind, "table": table, "max_epochs": epochs, "early_stopping": early, "seed": seed}
        for seed in range(options.seeds)
        for kind, all_epochs in EPOCHS.items()
        for table in (TABLES if kind == "tables" else [None])
        for epochs in all_epochs
        for early in (False, True)
    ]
    path = DOCS / "benchmark_stopping.md"
    records = run_cells(cells, measure, path, options.data, n_jobs=options.jobs)
    rows = []
    for kind, all_epochs in EPOCHS.items():
        for epochs in all_epochs:
            for early in (False, True):
                wanted = {"kind": kind, "max_epochs": epochs, "early_stopping": early}
                # Of each seed: one set of images, or the mean over the tables.
                by_seed = [
                    [
                        r["result"]
                        for r in records
                        if wanted.items() <= r["cell"].items() and r["cell"]["seed"] == seed
                    ]
                    for seed in range(options.seeds)
                ]
                figures = [
                    spread([np.mean([result[name] for result in of_one]) for of_one in by_seed])
                    for name in ("tnr_at_tpr", "auroc", "false_alarms")
                ]
                all_results = [result for of_one in by_seed for result in of_one]
                best = [r["best_epoch"] for r in all_results]
                rows.append(
                    [
                        kind,
                        str(epochs),
                        "yes" if early else "no",
                        *figures,
                        f"{np.mean([r['n_epochs'] for r in all_results]):.0f}",
                        f"{np.mean(best):.0f}" if early else "",
                        f"{np.median([r['fit_seconds'] for r in all_results]):.1f}",
                    ]
                )
    header = [
        "data",
        "max_epochs",
        "early_stopping",
        "TNR at 95 % TPR",
        "AUROC",
        "false alarms",
        "epochs trained",
        "best epoch",
        "fit, s",
    ]
    write_page(
        path,
        "# Stopping early\n\n"
        f'`SVDRNDDetector(blur="svd")` with `early_stopping` and without. Images: {N_TRAIN:,} of '
        f"CIFAR-10, SVHN is novel. Tables: the mean over {', '.join(TABLES)}, trained on half of "
        "the normal rows. Mean and standard deviation over "
        f"{options.seeds} seeds; false alarms are the share of new normal rows called novel, of "
        "which the threshold promises .05; epochs are means and seconds medians over all fits.\n\n"
        + markdown_table(header, rows)
        + "\n"
        + provenance(records, command_line(__file__, parser, options, "seeds")),
    )


if __name__ == "__main__":
    main()
