"""Questions that readers of the paper have asked, answered by measurements.

    python benchmarks/bench_questions.py

Size of the images, targets and how they start, width and depth of the networks,
predictors, and novelties that differ only in what they show. Writes docs/benchmark_questions.md
from docs/benchmark_questions.jsonl.
"""

from contextlib import ExitStack
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
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
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.model_selection import train_test_split

from skrnd import SVDRNDDetector, _networks
from skrnd.blur import SVDSharpen, SVDSoften

N_TRAIN = 4_000
CIFAR_NOVEL = ["svhn", "tinyimagenet_nearest", "tinyimagenet_box"]
COPIES = {"two-sided": {}, "one-sided": {"blur": "svd"}, "plain RND": {"blur": None}}
ONE_PREDICTOR = {"blur": [SVDSoften(28), SVDSharpen(16)], "criterion": "contrast"}
compact_networks = _networks.compact_networks


# -- images --------------------------------------------------------------------


def solar_cells(directory, seed):
    """Training images, unseen normal ones, and novel ones by kind."""
    with np.load(directory / "elpv_64.npz") as file:
        X, y = file["X"], file["y"]
    train, test = train_test_split(np.flatnonzero(y == 0), test_size=0.25, random_state=seed)
    defects = {"defect, certain": X[y == 1], "defect, probability 2/3": X[(y > 0.5) & (y < 1)]}
    return X[train], X[test], defects


def photograph(directory, seed, *, side):
    """Patches of two parts of one photograph, and of another."""
    temple, flower = load_sample_image("china.jpg"), load_sample_image("flower.jpg")

    def patches(image, n):
        return extract_patches_2d(image, (side, side), max_patches=n, random_state=seed)

    left, right = temple[:, :400], temple[:, 400:]
    return patches(left, 2000), patches(right, 500), {"flower": patches(flower, 500)}


def cifar10(directory, seed):
    novel = {SET_NAMES[name]: load_set(directory, name) for name in CIFAR_NOVEL}
    return (
        load_set(directory, "cifar10_train")[:N_TRAIN],
        load_set(directory, "cifar10_test"),
        novel,
    )


def classes(directory, seed, *, name):
    """Classes 0 to 4 are normal, the others novel."""

    def load(subset):
        with np.load(directory / f"{name}_{subset}.npz") as file:
            return file["X"], file["y"]

    (X_train, y_train), (X_test, y_test) = load("train"), load("test")
    return (
        X_train[y_train < 5][:N_TRAIN],
        X_test[y_test < 5],
        {"unseen classes": X_test[y_test >= 5]},
    )


# -- networks --------------------------------------------------------------------


def nothing_in_common(input_shape, n_targets, n_members):
    predictor, _ = compact_networks(input_shape, n_targets, n_members)
    wholes = []
    for _ in range(n_targets):
        _, alone = compact_networks(input_shape, 1, 1)
        wholes.append(torch.nn.Sequential(alone.trunks[0], alone.heads[0][0]))
    return predictor, _networks.independent(wholes)


def one_for_all_copies(input_shape, n_targets, n_members):
    predictor, targets = compact_networks(input_shape, 2, n_members)
    heads = [[own[0], *[own[1]] * (n_targets - 1)] for own in targets.heads]
    return predictor, _networks.Targets(list(targets.trunks), heads)


# -- the questions: cases, each of images, networks and parameters -------------------

QUESTIONS = {
    "Images above 32 x 32": {
        f"{name}, {copies}": (images, {}, params | more)
        for name, images, more in [
            ("solar cells of 64 x 64", solar_cells, {}),
            # A step costs four times as much there.
            (
                "patches of 128 x 128, 6 epochs",
                partial(photograph, side=128),
                {"max_epochs": 6},
            ),
        ]
        for copies, params in COPIES.items()
    },
    "Random targets, width and depth": {
        name: (cifar10, patches, {"blur": "svd"} | params)
        for name, (patches, params) in {
            "16 to 128 features, 1 block a stage; one blurred copy": ({}, {}),
            "targets with nothing in common": ({"compact_networks": nothing_in_common}, {}),
            "targets initialised as PyTorch does": ({"_he_normal": _networks._torch_default}, {}),
            "two blurred copies, a target each": ({}, {"k": [26, 28]}),
            "two blurred copies, one target for both": (
                {"compact_networks": one_for_all_copies},
                {"k": [26, 28]},
            ),
            "8 to 64 features": ({"_WIDTH": 8}, {}),
            "32 to 256 features": ({"_WIDTH": 32}, {}),
            "2 blocks a stage": ({"_N_BLOCKS": 2}, {}),
        }.items()
    },
    "One predictor or two": {
        name: (cifar10, {}, params)
        for name, params in {
            "two, the default": {},
            "one for all copies": ONE_PREDICTOR,
            "one for all copies, 12 epochs": ONE_PREDICTOR | {"max_epochs": 12},
        }.items()
    },
    "Unseen classes": {
        f"{SET_NAMES[name + '_train']}, {copies}": (partial(classes, name=name), {}, params)
        for name in ("cifar10", "fashion_mnist")
        for copies, params in COPIES.items()
    },
}


def measure(cell, directory):
    """One fit; figures for each novel set."""
    images, patches, params = QUESTIONS[cell["question"]][cell["case"]]
    X_train, X_known, novel = images(directory, cell["seed"])
    detector = SVDRNDDetector(random_state=cell["seed"], **params)
    with ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(patch.object(_networks, name, value))
        _, seconds = timed(detector.fit, X_train)
    known = detector.score_samples(X_known)
    return {
        "n_train": len(X_train),
        "fit_seconds": seconds,
        "columns": {name: quality(known, detector.score_samples(X)) for name, X in novel.items()},
    }


def table(records):
    columns = list(dict.fromkeys(c for r in records for c in r["result"]["columns"]))
    rows = []
    for case in dict.fromkeys(r["cell"]["case"] for r in records):
        results = [r["result"] for r in records if r["cell"]["case"] == case]
        cells = [case]
        for column in columns:
            if column not in results[0]["columns"]:
                cells.append("")
                continue
            cells.append(tnr_and_auroc(results, column))
        seconds = np.median([result["fit_seconds"] for result in results])
        rows.append([*cells, f"{seconds:.0f}"])
    return markdown_table(["", *columns, "fit, s"], rows)


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    options = parser.parse_args()
    cells = [
        {"question": question, "case": case, "seed": seed}
        for seed in options.seeds
        for question in options.questions
        for case in QUESTIONS[question]
    ]
    path = DOCS / "benchmark_questions.md"
    records = run_cells(cells, measure, path, options.data, n_jobs=options.jobs)
    text = (
        "# Open questions, measured\n\n"
        "TNR at 95 % TPR with the normal images as the positive class, and AUROC below it; mean "
        f"and standard deviation over seeds {', '.join(map(str, options.seeds))}; median seconds "
        "of a fit. What the figures say is in the [user guide](user_guide.md).\n\n"
    )
    for question in options.questions:
        of_question = [r for r in records if r["cell"]["question"] == question]
        text += f"## {question}\n\n{table(of_question)}\n"
    write_page(path, text + provenance(records, command_line(__file__, parser, options, "seeds")))


if __name__ == "__main__":
    main()
