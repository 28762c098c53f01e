"""The paper's table: every kind of copy, on every pair of image sets.

    python benchmarks/bench_table.py                       # laptop protocol, all of it
    python benchmarks/bench_table.py --targets cifar10 --rows "SVD-RND" RND --seeds 0
    python benchmarks/bench_table.py --protocol paper --data DIRECTORY

`laptop` trains the compact networks on 4,000 images (--n-train for up to
10,000), for 8 epochs where the default makes 5. `paper` trains the ResNet-34 pair
on all training images for 50 epochs, and lets the first 1,000 images of each
novel set choose the strength of the blur for that set, as the paper did; it
needs a GPU. Its learning rate follows one cycle up to 1e-4, where the authors
went down from 1e-4 to 1e-5 in one step.

DIRECTORY holds the sets as NAME.npz with uint8 images X of shape (n, C, H, W),
or, of CIFAR and SVHN, as the archives in which they are published, or as folders of
pictures; what is not there is left out. What is measured is added to
docs/benchmark_table_PROTOCOL.jsonl at once, so that a run that broke off goes
on where it stopped; the page and its plot are made from that file. A run of some
targets, rows or seeds only, or of another number of images, prints its table.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _harness import (
    DOCS,
    SET_NAMES,
    command_line,
    find_set,
    load_set,
    longer_training,
    markdown_table,
    option_parser,
    provenance,
    quality,
    run_cells,
    spread,
    timed,
)

from skrnd import SVDRNDDetector
from skrnd.geometry import Contrast, Flip, Invert, Rotate, Shear, Translate

TARGETS = {
    "cifar10": ("cifar10_train", "cifar10_test"),
    "fashion_mnist": ("fashion_mnist_train", "fashion_mnist_test"),
    "svhn": ("svhn_train", "svhn"),
}
COLUMNS = [
    "svhn",
    "lsun",
    "tinyimagenet_box",
    "tinyimagenet_nearest",
    "cifar10_test",
    "cifar100_test",
    "mnist",
    "fashion_mnist_test",
    "elpv_64",
]
ROWS = {
    "two-sided (default)": {},
    "SVD-RND": {"blur": "svd"},
    "DCT-RND": {"blur": "dct"},
    "GB-RND": {"blur": "gaussian"},
    "RND": {"blur": None},
    "SVD-ROT-RND": {"blur": "svd", "geometry": Rotate()},
    "SVD-VER-RND": {"blur": "svd", "geometry": Translate()},
    "rotate": {"blur": None, "geometry": Rotate()},
    "flip": {"blur": None, "geometry": Flip()},
    "vertical translation": {"blur": None, "geometry": Translate()},
    "horizontal translation": {"blur": None, "geometry": Translate(axis="horizontal")},
    "vertical shear": {"blur": None, "geometry": Shear(axis="vertical")},
    "horizontal shear": {"blur": None, "geometry": Shear()},
    "contrast": {"blur": None, "geometry": Contrast()},
    "invert": {"blur": None, "geometry": Invert()},
}
# Strengths between which the first images of a novel set choose.
STRENGTHS = {
    "two-sided (default)": [20, 24, 26, 28],
    "SVD-RND": [18, 20, 22, 24, 25, 26, 27, 28],
    "SVD-ROT-RND": [18, 20, 22, 24, 25, 26, 27, 28],
    "SVD-VER-RND": [18, 20, 22, 24, 25, 26, 27, 28],
    "DCT-RND": [8, 12, 16, 20, 24],
    "GB-RND": [0.5, 0.7, 1.0, 1.5, 2.0],
}
N_VALIDATION = 1000
PAPER = {"network": "resnet34", "max_epochs": 50, "batch_size": 128, "learning_rate": 1e-4}


def measure(cell, directory):
    """Fit one detector; how well it tells every other set from its own."""
    train_name, test_name = TARGETS[cell["target"]]
    X_train = load_set(directory, train_name)[: cell["n_train"]]
    shape = X_train.shape[1:]
    training = PAPER if cell["protocol"] == "paper" else longer_training(len(X_train))
    params = ROWS[cell["row"]] | training
    detector = SVDRNDDetector(cell["k"], random_state=cell["seed"], **params)
    _, fit_seconds = timed(detector.fit, X_train)
    X_known = load_set(directory, test_name)
    known, score_seconds = timed(detector.score_samples, X_known)
    columns = {}
    for name in COLUMNS:
        X_novel = None if name == test_name else find_set(directory, name, shape)
        if X_novel is None:
            continue
        novel = detector.score_samples(X_novel)
        n_first = N_VALIDATION if cell["protocol"] == "paper" else 0
        columns[name] = quality(known, novel[n_first:])
        if n_first:
            columns[name]["validation"] = quality(known, novel[:n_first])["tnr_at_tpr"]
    return {
        "k": detector.k_,
        "fit_seconds": fit_seconds,
        "score_seconds": score_seconds * 1000 / len(X_known),
        "false_alarms": float(np.mean(known < detector.offset_)),
        "columns": columns,
    }


def best_per_column(records):
    """For each column and seed, the figures of the strength that its first images prefer."""
    candidates = {}
    for record in records:
        for column, figures in record["result"]["columns"].items():
            candidates.setdefault((column, record["cell"]["seed"]), []).append(figures)
    return {
        place: max(several, key=lambda figures: figures.get("validation", 0))
        for place, several in candidates.items()
    }


def figures_of(records, column, figure):
    chosen = best_per_column(records)
    return [value[figure] for (name, _), value in chosen.items() if name == column]


def columns_of(records):
    present = {column for record in records for column in record["result"]["columns"]}
    return [column for column in COLUMNS if column in present]


def page(records, protocol, plot_name, command):
    """Markdown: one table for each target."""
    text = f"# The paper's table, {protocol} protocol\n\n"
    text += (
        "TNR at 95 % TPR with the target as the positive class, and AUROC below it; mean and "
        "standard deviation over seeds. "
    )
    if protocol == "laptop":
        text += (
            "Every detector is trained longer than by default, with the parameters "
            "`max_epochs` and `learning_rate` of `benchmarks/_harness.py`, and all else is as by "
            "default; none has seen a novel image.\n"
        )
    else:
        text += (
            f"The strength of the blur is chosen for each novel set by its first {N_VALIDATION:,} "
            "images, which are left out of the test.\n"
        )
    for target in TARGETS:
        of_target = [r for r in records if r["cell"]["target"] == target]
        if not of_target:
            continue
        columns = columns_of(of_target)
        sizes = sorted({r["cell"]["n_train"] for r in of_target})
        seeds = sorted({r["cell"]["seed"] for r in of_target})
        name = SET_NAMES[TARGETS[target][0]]
        text += (
            f"\n## {name} as the target\n\n{' and '.join(f'{n:,}' for n in sizes)} training "
            f"images; seeds {', '.join(map(str, seeds))}.\n\n"
        )
        rows = []
        for row in ROWS:
            of_row = [r for r in of_target if r["cell"]["row"] == row]
            if not of_row:
                continue
            strengths = sorted({str(r["result"]["k"]) for r in of_row if r["result"]["k"]})
            cells = [row, ", ".join(strengths)]
            for column in columns:
                tnr, auroc = (figures_of(of_row, column, f) for f in ("tnr_at_tpr", "auroc"))
                cells.append(f"{spread(tnr)}<br>{spread(auroc)}")
            seconds = [r["result"]["fit_seconds"] for r in of_row]
            rows.append([*cells, f"{np.median(seconds):.0f}"])
        header = ["copies", "K", *(SET_NAMES[column] for column in columns), "fit, s"]
        text += markdown_table(header, rows)
    text += f"\n![TNR of every row]({plot_name})\n\n"
    return text + provenance(records, command)


def plot(records, protocol, path):
    """A panel for each pair of sets, a line of dots for each row, a dot for each seed."""
    targets = [t for t in TARGETS if any(r["cell"]["target"] == t for r in records)]
    panels = {
        target: columns_of([r for r in records if r["cell"]["target"] == target])
        for target in targets
    }
    n_columns = max(map(len, panels.values()))
    n_rows = len({record["cell"]["row"] for record in records})
    figure, axes = plt.subplots(
        len(targets),
        n_columns,
        figsize=(2.0 + 1.7 * n_columns, 1.0 + (0.6 + 0.2 * n_rows) * len(targets)),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for target, line in zip(targets, axes, strict=True):
        of_target = [r for r in records if r["cell"]["target"] == target]
        rows = [row for row in ROWS if any(r["cell"]["row"] == row for r in of_target)]
        for axis in line[len(panels[target]) :]:
            axis.set_visible(False)
        for column, axis in zip(panels[target], line, strict=False):
            for height, row in enumerate(reversed(rows)):
                of_row = [r for r in of_target if r["cell"]["row"] == row]
                values = figures_of(of_row, column, "tnr_at_tpr")
                color = "C1" if row == "two-sided (default)" else "C0"
                axis.plot([0, np.mean(values)], [height] * 2, color=color, lw=4, alpha=0.35)
                axis.plot(values, [height] * len(values), "o", color=color, ms=3.5)
            axis.set_yticks(range(len(rows)), rows[::-1])
            axis.set_xlim(0, 1.02)
            axis.set_title(SET_NAMES[column], fontsize=9)
            axis.grid(axis="x", alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(f"{SET_NAMES[TARGETS[target][0]]} is normal", fontsize=10)
    figure.supxlabel("TNR at 95 % TPR; a dot for each seed", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


# Options that leave something out, or change it: what they ask for is printed only.
WHOLE = ("targets", "rows", "seeds", "n_train")


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--protocol", choices=["laptop", "paper"], default="laptop")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--n-train", type=int)
    parser.add_argument("--jobs", type=int, default=1, help="cells at the same time")
    options = parser.parse_args()
    is_paper = options.protocol == "paper"
    limit = options.n_train or (50_000 if is_paper else 4_000)
    cells = []
    # Seeds outside: the first results are of every row.
    for seed in options.seeds:
        for target in options.targets:
            X_train = find_set(options.data, TARGETS[target][0])
            if X_train is None:
                continue
            for row in options.rows:
                for k in STRENGTHS.get(row, ["auto"]) if is_paper else ["auto"]:
                    cells.append(
                        {
                            "protocol": options.protocol,
                            "target": target,
                            "row": row,
                            "seed": seed,
                            "k": k,
                            "n_train": min(limit, len(X_train)),
                        }
                    )
    path = DOCS / f"benchmark_table_{options.protocol}.md"
    records = run_cells(cells, measure, path, options.data, n_jobs=options.jobs)
    command = command_line(__file__, parser, options, "protocol", *WHOLE)
    text = page(records, options.protocol, path.with_suffix(".png").name, command)
    print(text)
    if all(getattr(options, name) == parser.get_default(name) for name in WHOLE):
        path.write_text(text, encoding="utf-8")
        plot(records, options.protocol, path.with_suffix(".png"))
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
