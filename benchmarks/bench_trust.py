"""Whether the threshold keeps its promise, and what impure data and long training do.

    python benchmarks/bench_trust.py

False alarms on new images, over ten seeds each of which draws its own training and
test images; and what is found after training on CIFAR-10 images with SVHN among
them that nobody has labelled, by this detector, by it with the training images
trimmed, and by scikit-learn's on the same images; and how the loss of images that are
not trained on goes on over many epochs. Writes docs/benchmark_trust.md from
docs/benchmark_trust.jsonl.
"""

import argparse
import itertools
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _harness import (
    DATA,
    DOCS,
    SET_NAMES,
    load_set,
    markdown_table,
    provenance,
    quality,
    run_cells,
    spread,
    timed,
)
from bench_peers import DETECTORS as PEERS

from skrnd import SVDRNDDetector

TARGETS = {
    "cifar10": ("cifar10_train", "cifar10_test"),
    "fashion_mnist": ("fashion_mnist_train", "fashion_mnist_test"),
}
N_TRAIN, N_EPOCHS, N_LONG = 4_000, 2, 40
SHARES = [0.0, 0.01, 0.05, 0.1]
NOVEL = ["svhn", "tinyimagenet_nearest", "tinyimagenet_box"]
OURS = "SVDRNDDetector"
TRIMMED = "SVDRNDDetector, fitted again without the most novel tenth"
# Which shares of SVHN each detector is trained with.
IMPURE = {
    OURS: SHARES,
    TRIMMED: [SHARES[-1]],
    "IsolationForest, PCA": SHARES,
    "LocalOutlierFactor, PCA": SHARES,
}


def false_alarms(cell, directory):
    """Share of new images called novel, of a detector of a short training."""
    train, test = (load_set(directory, name) for name in TARGETS[cell["target"]])
    rng = np.random.default_rng(cell["seed"])
    # Images of the training set that are not trained on are as new as those of the test set.
    order = rng.permutation(len(train))
    detector = SVDRNDDetector(max_epochs=N_EPOCHS, random_state=cell["seed"])
    detector.fit(train[order[:N_TRAIN]])
    new = np.concatenate([train[order[N_TRAIN : N_TRAIN + 4_000]], test])
    return {
        "rate": float(np.mean(detector.predict(new) == -1)),
        "n_held_out": len(detector.calibration_scores_),
        "n_new": len(new),
    }


def impure(cell, directory):
    """What is found after training on images with some SVHN among them."""
    pure, svhn = load_set(directory, "cifar10_train"), load_set(directory, "svhn")
    rng = np.random.default_rng(cell["seed"])
    n_novel = round(cell["share"] * N_TRAIN)
    # The novel ones that are trained on are not tested on.
    order = rng.permutation(len(svhn))
    X = np.concatenate([pure[: N_TRAIN - n_novel], svhn[order[:n_novel]]])
    X = X[rng.permutation(len(X))]
    name = cell["detector"]
    known = load_set(directory, "cifar10_test")
    columns = {novel: load_set(directory, novel) for novel in NOVEL}
    columns["svhn"] = svhn[order[n_novel:]]
    if name in (OURS, TRIMMED):

        def prepared(images):
            return images

        detector = SVDRNDDetector(blur="svd", random_state=cell["seed"])
    else:

        def prepared(images):
            return images.reshape(len(images), -1).astype(np.float32) / 255

        detector = PEERS[name](cell["seed"])

    def fit():
        detector.fit(prepared(X))
        if name == TRIMMED:
            scores = detector.score_samples(X)
            detector.fit(X[scores > np.quantile(scores, 0.1)])

    _, seconds = timed(fit)
    scores = detector.score_samples(prepared(known))
    return {
        "columns": {
            novel: quality(scores, detector.score_samples(prepared(images)))
            for novel, images in columns.items()
        },
        "seconds": seconds,
    }


class Onlooker:
    """A callback that asks each epoch's detector for its loss on held-out images."""

    def __init__(self, held_out, known, novel):
        self.sets = held_out, known, novel
        self.epochs = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name != "epoch":
            return
        held_out, known, novel = self.sets
        scores = [fitted_estimator.score_samples(images) for images in (known, novel)]
        self.epochs.append(
            {
                "loss": fitted_estimator.loss_curve_[-1],
                "held_out": held_out_loss(fitted_estimator, held_out),
                "svhn": quality(*scores)["tnr_at_tpr"],
            }
        )


@torch.no_grad()
def held_out_loss(detector, images):
    """The loss of images and their copies that were not trained on."""
    inputs = torch.cat([batch for _, batch in detector._inputs(images, np.arange(len(images)))])
    copies = [inputs, *(torch.from_numpy(b.transform(inputs.numpy())) for b in detector.blurs_)]
    (pair,) = detector._pairs
    losses = [
        (pair.predictor(batch) - pair.targets(batch, len(copies))[:, i]).square().mean()
        for i, copy in enumerate(copies)
        for batch in copy.split(200)
    ]
    return float(torch.stack(losses).mean())


def long_training(cell, directory):
    """Losses and quality after every epoch of a long training on few images."""
    train, known, svhn = (
        load_set(directory, name) for name in ("cifar10_train", "cifar10_test", "svhn")
    )
    onlooker = Onlooker(train[-800:], known[:1000], svhn[:1000])
    detector = SVDRNDDetector(
        blur="svd", max_epochs=N_LONG, contamination=0.1, random_state=cell["seed"]
    )
    detector.set_callbacks(onlooker).fit(train[:800])
    return {"epochs": onlooker.epochs}


PARTS = {"false alarms": false_alarms, "impure": impure, "long": long_training}


def measure(cell, directory):
    return PARTS[cell["part"]](cell, directory)


def alarms_table(records):
    rows = []
    for target, (train, _) in TARGETS.items():
        results = [r["result"] for r in records if r["cell"].get("target") == target]
        if not results:
            continue
        rates = [result["rate"] for result in results]
        m, n = results[0]["n_held_out"], results[0]["n_new"]
        # That of the level of a quantile of m scores, and of the share among n.
        explained = np.sqrt(0.05 * 0.95 * (1 / (m + 2) + 1 / n))
        rows.append(
            [
                SET_NAMES[train],
                str(len(rates)),
                spread(rates),
                f"{min(rates):.3f} to {max(rates):.3f}",
                f"{explained:.3f}",
            ]
        )
    header = ["normal images", "seeds", "false alarms", "range", "deviation explained"]
    return markdown_table(header, rows)


def impure_table(records):
    rows = []
    for name, shares in IMPURE.items():
        for share in shares:
            results = [
                r["result"]
                for r in records
                if r["cell"].get("detector") == name and r["cell"]["share"] == share
            ]
            if not results:
                continue
            tnr = [spread([r["columns"][c]["tnr_at_tpr"] for r in results]) for c in NOVEL]
            auroc = spread([r["columns"]["svhn"]["auroc"] for r in results])
            seconds = f"{np.median([r['seconds'] for r in results]):.0f}"
            rows.append([name, f"{share:.0%}", *tnr, auroc, seconds])
    header = ["detector", "SVHN in it", *(SET_NAMES[c] for c in NOVEL), "SVHN, AUROC", "fit, s"]
    return markdown_table(header, rows)


def long_table(records):
    runs = [record["result"]["epochs"] for record in records]
    rows = []
    for n in range(5, N_LONG + 1, 5):
        figures = [[run[n - 1][name] for run in runs] for name in ("loss", "held_out", "svhn")]
        rows.append([str(n), *(spread(values) for values in figures)])
    table = markdown_table(["epoch", "loss", "loss, held out", "SVHN, TNR at 95 % TPR"], rows)
    rises = [sum(b["held_out"] > a["held_out"] for a, b in itertools.pairwise(run)) for run in runs]
    best = [int(np.argmin([epoch["held_out"] for epoch in run])) + 1 for run in runs]
    first = [
        next(i for i, (a, b) in enumerate(itertools.pairwise(run)) if b["held_out"] > a["held_out"])
        for run in runs
    ]
    stopped = [run[i]["svhn"] for i, run in zip(first, runs, strict=True)]
    return (
        f"{table}\nFrom one epoch to the next the held-out loss rises {spread(rises, 0)} times; it "
        f"is lowest after epoch {', '.join(map(str, best))}. Before it rises for the first time, "
        f"SVHN is found with {spread(stopped)}.\n"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=10, help="of the false alarms")
    parser.add_argument("--impure-seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    alarms = [
        {"part": "false alarms", "target": target, "seed": seed}
        for seed in range(options.seeds)
        for target in TARGETS
    ]
    mixed = [
        {"part": "impure", "detector": name, "share": share, "seed": seed}
        for seed in range(options.impure_seeds)
        for name, shares in IMPURE.items()
        for share in shares
    ]
    long = [{"part": "long", "seed": seed} for seed in range(options.impure_seeds)]
    path = DOCS / "benchmark_trust.md"
    records = run_cells(
        alarms + mixed + long,
        partial(measure, directory=options.data),
        path.with_suffix(".jsonl"),
        n_jobs=options.jobs,
    )
    path.write_text(
        "# What can be relied on\n\n"
        "## False alarms on new images\n\n"
        f"`SVDRNDDetector(max_epochs={N_EPOCHS})` on {N_TRAIN:,} images that each seed draws anew; "
        "the share of thousands of other normal images that is called novel, of which the "
        "threshold promises .05. Mean and standard deviation over seeds; the deviation explained "
        "is what the number of images held out, and of new ones, makes by itself.\n\n"
        + alarms_table([r for r in records if r["cell"]["part"] == "false alarms"])
        + "\n## Impure training data\n\n"
        f'`SVDRNDDetector(blur="svd")` and others with default parameters, {N_TRAIN:,} CIFAR-10 '
        "images of which a share is replaced by SVHN, without labels. TNR at 95 % TPR, mean and "
        "standard deviation over "
        f"{options.impure_seeds} seeds; the SVHN images that are tested are others.\n\n"
        + impure_table([r for r in records if r["cell"]["part"] == "impure"])
        + "\n## Long training\n\n"
        f'`SVDRNDDetector(blur="svd", max_epochs={N_LONG})` on 800 CIFAR-10 images; the loss of '
        "800 others and their copies, which are not trained on. Mean and standard deviation over "
        f"{options.impure_seeds} seeds.\n\n"
        + long_table([r for r in records if r["cell"]["part"] == "long"])
        + "\n"
        + provenance(records, "python benchmarks/bench_trust.py")
    )
    print(path.read_text())


if __name__ == "__main__":
    main()
