"""Whether the threshold keeps its promise, and what impure training data do.

    python benchmarks/bench_trust.py

False alarms on new images, over ten seeds each of which draws its own training and
test images; false alarms on new scenes where few were photographed many times; false
alarms and what is found at several rates that the threshold was calibrated to; false
alarms where `contamination` is a number; and what is found after training on CIFAR-10
images with SVHN among them that nobody has labelled, by this detector, by it with the
training images trimmed, and by scikit-learn's on the same images. Writes
docs/benchmark_trust.md from docs/benchmark_trust.jsonl.
"""

import numpy as np
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
    spread,
    timed,
    write_page,
)
from bench_peers import DETECTORS as PEERS
from bench_peers import TARGETS, prepared

from skrnd import SVDRNDDetector

N_TRAIN, N_EPOCHS = 4_000, 2
# Ways of which 1,500 images come: frames of few scenes, or as many scenes.
N_FRAMES, N_IMAGES, N_SCENES_APART = [1, 5, 25], 1_500, 500
RATES, N_CALIBRATION = [0.05, 0.01, 0.002], 1_500
# Rows without image structure, of which each seed draws some to train on and as many new ones.
TABLES, N_ROWS = ["cardiotocography", "pageblocks"], 800
SHARES = [0.0, 0.01, 0.05, 0.1]
NOVEL = TARGETS["cifar10"][2]
# Parameters of ours.
OURS = {'SVDRNDDetector(blur="svd")': {"blur": "svd"}, "SVDRNDDetector()": {}}
TRIMMED = ", fitted again without the most novel tenth"
# Which shares of SVHN each detector is trained with.
IMPURE = {
    **dict.fromkeys(OURS, SHARES),
    **{name + TRIMMED: SHARES[-1:] for name in OURS},
    **dict.fromkeys(["IsolationForest, PCA", "LocalOutlierFactor, PCA"], SHARES),
}


def false_alarms(cell, directory):
    """Share of new images called novel, of a detector of a short training."""
    train, test = (load_set(directory, name) for name in TARGETS[cell["target"]][:2])
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


def frames(images, n_frames, rng):
    """Frames of each image: it moves by up to a pixel, and the camera adds a little noise."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[2:]
    shots = []
    for i in np.repeat(np.arange(len(images)), n_frames):
        down, right = rng.integers(0, 3, size=2)
        shots.append(padded[i, :, down : down + height, right : right + width])
    shots = np.stack(shots)
    return np.clip(shots + rng.normal(scale=2, size=shots.shape), 0, 255).astype(np.uint8)


def grouped(cell, directory):
    """False alarms on scenes that are new, where each was photographed several times."""
    rng = np.random.default_rng(cell["seed"])
    scenes = rng.permutation(load_set(directory, "cifar10_train"))
    n_scenes = N_IMAGES // cell["n_frames"]
    detector = SVDRNDDetector(random_state=cell["seed"])
    detector.fit(frames(scenes[:n_scenes], cell["n_frames"], rng))
    new = frames(load_set(directory, "cifar10_test"), 1, rng)
    by_frames = float(np.mean(detector.predict(new) == -1))
    detector.calibrate(frames(scenes[n_scenes : n_scenes + N_SCENES_APART], 1, rng))
    return {"by_frames": by_frames, "by_scenes": float(np.mean(detector.predict(new) == -1))}


def calibrated(cell, directory):
    """False alarms, and what is found, by thresholds for several rates."""
    train, test, novel = TARGETS[cell["target"]]
    images = load_set(directory, train)
    rng = np.random.default_rng(cell["seed"])
    order = rng.permutation(len(images))
    detector = SVDRNDDetector(max_epochs=N_EPOCHS, random_state=cell["seed"])
    detector.fit(images[order[:N_TRAIN]])
    others = images[order[N_TRAIN:][:N_CALIBRATION]]
    sets = {name: load_set(directory, name, images.shape[1:]) for name in (test, *novel)}
    asked = {name: found[rng.permutation(len(found))[:2_000]] for name, found in sets.items()}
    shares = {}
    for rate in RATES:
        detector.calibrate(others, rate)
        shares[str(rate)] = {
            name: float(np.mean(detector.predict(found) == -1)) for name, found in asked.items()
        }
    return shares


def contaminated(cell, directory):
    """Share of new rows called novel where `contamination` is a number, and where it is not."""
    with np.load(directory / "tabular" / f"{cell['table']}.npz") as file:
        normal = file["X"][file["y"] == 0]
    rows = np.random.default_rng(cell["seed"]).permutation(normal)
    return {
        str(contamination): float(
            np.mean(
                SVDRNDDetector(contamination=contamination, random_state=cell["seed"])
                .fit(rows[:N_ROWS])
                .predict(rows[N_ROWS : 2 * N_ROWS])
                == -1
            )
        )
        for contamination in (0.05, "auto")
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
    name = cell["detector"].removesuffix(TRIMMED)
    known = load_set(directory, "cifar10_test")
    columns = {novel: load_set(directory, novel) for novel in NOVEL}
    columns["svhn"] = svhn[order[n_novel:]]
    if name in OURS:
        detector = SVDRNDDetector(**OURS[name], random_state=cell["seed"])
    else:
        detector = PEERS[name](cell["seed"])

    def fit():
        detector.fit(prepared(detector, X))
        if cell["detector"].endswith(TRIMMED):
            scores = detector.score_samples(X)
            detector.fit(X[scores > np.quantile(scores, 0.1)])

    _, seconds = timed(fit)
    scores = detector.score_samples(prepared(detector, known))
    return {
        "columns": {
            novel: quality(scores, detector.score_samples(prepared(detector, images)))
            for novel, images in columns.items()
        },
        "seconds": seconds,
    }


def measure(cell, directory):
    parts = {
        "false alarms": false_alarms,
        "grouped": grouped,
        "calibrated": calibrated,
        "contaminated": contaminated,
        "impure": impure,
    }
    return parts[cell["part"]](cell, directory)


def alarms_table(records):
    rows = []
    for target, (train, *_) in TARGETS.items():
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


def grouped_table(records):
    rows = []
    for n_frames in N_FRAMES:
        results = [r["result"] for r in records if r["cell"]["n_frames"] == n_frames]
        if results:
            shares = [spread([r[name] for r in results]) for name in ("by_frames", "by_scenes")]
            rows.append([f"{N_IMAGES // n_frames:,}", str(n_frames), *shares])
    header = ["scenes", "frames of each", "false alarms", "after `calibrate`"]
    return markdown_table(header, rows)


def calibrated_table(records, target):
    train, test, novel = TARGETS[target]
    results = [r["result"] for r in records if r["cell"]["target"] == target]
    rows = [
        [f"{rate:g}", *(spread([r[str(rate)][name] for r in results]) for name in (test, *novel))]
        for rate in RATES
    ]
    header = ["rate asked", f"new {SET_NAMES[train]}", *(SET_NAMES[name] for name in novel)]
    return markdown_table(header, rows)


def contaminated_table(records):
    rows = []
    for table in TABLES:
        results = [r["result"] for r in records if r["cell"]["table"] == table]
        if results:
            rows.append([table, *(spread([r[name] for r in results]) for name in results[0])])
    header = ["normal rows", "new ones novel, contamination=0.05", 'contamination="auto"']
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


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="of the false alarms")
    parser.add_argument("--calibrated-seeds", type=int, default=5)
    parser.add_argument("--grouped-seeds", type=int, default=3)
    parser.add_argument("--impure-seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    alarms = [
        {"part": "false alarms", "target": target, "seed": seed}
        for seed in range(options.seeds)
        for target in TARGETS
    ]
    of_scenes = [
        {"part": "grouped", "n_frames": n_frames, "seed": seed}
        for seed in range(options.grouped_seeds)
        for n_frames in N_FRAMES
    ]
    at_rates = [
        {"part": "calibrated", "target": target, "seed": seed}
        for seed in range(options.calibrated_seeds)
        for target in TARGETS
    ]
    as_a_number = [
        {"part": "contaminated", "table": table, "seed": seed}
        for seed in range(options.calibrated_seeds)
        for table in TABLES
        if (options.data / "tabular" / f"{table}.npz").exists()
    ]
    mixed = [
        {"part": "impure", "detector": name, "share": share, "seed": seed}
        for seed in range(options.impure_seeds)
        for name, shares in IMPURE.items()
        for share in shares
    ]
    path = DOCS / "benchmark_trust.md"
    records = run_cells(
        alarms + of_scenes + at_rates + as_a_number + mixed,
        measure,
        path,
        options.data,
        n_jobs=options.jobs,
    )
    write_page(
        path,
        "# What can be relied on\n\n"
        "## False alarms on new images\n\n"
        f"`SVDRNDDetector(max_epochs={N_EPOCHS})` on {N_TRAIN:,} images that each seed draws anew; "
        "the share of thousands of other normal images that is called novel, of which the "
        "threshold promises .05. Mean and standard deviation over seeds; the deviation explained "
        "is what the number of images held out, and of new ones, makes by itself.\n\n"
        + alarms_table([r for r in records if r["cell"]["part"] == "false alarms"])
        + "\n## Many pictures of few scenes\n\n"
        f"`SVDRNDDetector()` on {N_IMAGES:,} images: photographs of so many CIFAR-10 images, each "
        "moved by up to a pixel along both axes and with a noise of two grey levels. Of "
        "photographs of other images, one of each, the share that is called novel, before and "
        f"after `calibrate` with {N_SCENES_APART} of further ones. The threshold promises .05. "
        f"Mean and standard deviation over {options.grouped_seeds} seeds.\n\n"
        + grouped_table([r for r in records if r["cell"]["part"] == "grouped"])
        + "\n## At other rates\n\n"
        f"The same detectors after `calibrate` with {N_CALIBRATION:,} further images, of which a "
        "third compares the four judgements of each: shares of 2,000 images each that raise an "
        f"alarm, mean and standard deviation over {options.calibrated_seeds} seeds.\n\n"
        + "\n".join(
            calibrated_table([r for r in records if r["cell"]["part"] == "calibrated"], target)
            for target in TARGETS
        )
        + "\n## contamination as a number\n\n"
        f"`SVDRNDDetector(contamination=0.05)` on {N_ROWS} normal rows of public tables: 5 % of "
        "these are called novel, and of as many new ones the share in the table, beside that of "
        f"the default, which promises .05. Mean and standard deviation over "
        f"{options.calibrated_seeds} seeds.\n\n"
        + contaminated_table([r for r in records if r["cell"]["part"] == "contaminated"])
        + "\n## Impure training data\n\n"
        f'`SVDRNDDetector(blur="svd")`, the two-sided default and others with default '
        f"parameters, {N_TRAIN:,} CIFAR-10 images of which a share is replaced by SVHN, without "
        "labels. TNR at 95 % TPR, mean and standard deviation over "
        f"{options.impure_seeds} seeds; the SVHN images that are tested are others.\n\n"
        + impure_table([r for r in records if r["cell"]["part"] == "impure"])
        + "\n"
        + provenance(
            records,
            command_line(
                __file__,
                parser,
                options,
                "seeds",
                "grouped_seeds",
                "calibrated_seeds",
                "impure_seeds",
            ),
        ),
    )


if __name__ == "__main__":
    main()
