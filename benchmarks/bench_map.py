"""Whether a map of the novelty shows the place of it, where that is known.

    python benchmarks/bench_map.py

Pastes foreign patches into images that the default detector has not seen, and compares
its maps with the places of the patches. Writes docs/benchmark_map.md from
docs/benchmark_map.jsonl.
"""

import numpy as np
from _harness import (
    DOCS,
    command_line,
    load_set,
    markdown_table,
    option_parser,
    provenance,
    run_cells,
    spread,
    write_page,
)
from sklearn.metrics import roc_auc_score

from skrnd import SVDRNDDetector
from skrnd.blur import SVDBlur
from skrnd.inspection import novelty_map

# Images that a patch is pasted into, and its side: half of theirs.
N_IMAGES, SIDE = 60, 16
FIGURES = {
    "auroc": "AUROC",
    "mass": "mass in the patch",
    "maximum": "maximum in the patch",
}


def patches(images, others, directory, rng):
    """What is pasted, from the same place of another image: (n, 3, 32, 32) for each kind."""
    nearest, svhn = (
        load_set(directory, name)[:N_IMAGES] for name in ("tinyimagenet_nearest", "svhn")
    )
    return {
        "noise": rng.integers(0, 256, images.shape),
        "Tiny ImageNet, nearest": nearest,
        "SVHN": svhn,
        "the image, by `SVDBlur(28)`": SVDBlur(28, channel_axis=1).transform(images),
        "another CIFAR-10 image": others,
    }


def measure(cell, directory):
    """Fit the default detector; how well its maps agree with the places of the patches."""
    rng = np.random.default_rng(cell["seed"])
    X_train = load_set(directory, "cifar10_train")[: cell["n_train"]]
    detector = SVDRNDDetector(random_state=cell["seed"]).fit(X_train)
    X_test = load_set(directory, "cifar10_test")
    drawn = X_test[rng.permutation(len(X_test))[: 2 * N_IMAGES]]
    images, others = drawn[:N_IMAGES], drawn[N_IMAGES:]
    is_pasted = np.zeros((N_IMAGES, *images.shape[2:]), dtype=bool)
    for mask, (top, left) in zip(is_pasted, rng.integers(0, SIDE + 1, (N_IMAGES, 2)), strict=True):
        mask[top : top + SIDE, left : left + SIDE] = True
    places, result = is_pasted.reshape(N_IMAGES, -1), {}
    for name, foreign in patches(images, others, directory, rng).items():
        maps = novelty_map(detector, np.where(is_pasted[:, None], foreign, images))
        maps = maps.reshape(N_IMAGES, -1)
        result[name] = {
            "auroc": np.mean(list(map(roc_auc_score, places, maps))),
            "mass": np.mean((maps * places).sum(1) / maps.sum(1)),
            "maximum": places[np.arange(N_IMAGES), maps.argmax(1)].mean(),
        }
    return result


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--n-train", type=int, default=1_500)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    cells = [{"seed": seed, "n_train": options.n_train} for seed in options.seeds]
    path = DOCS / "benchmark_map.md"
    records = run_cells(cells, measure, path, options.data)
    results = [record["result"] for record in records]
    rows = [
        [name, *(spread([result[name][figure] for result in results], 2) for figure in FIGURES)]
        for name in results[0]
    ]
    write_page(
        path,
        "# Where the novelty is\n\n"
        f"Maps by the default detector of {options.n_train:,} CIFAR-10 images, of {N_IMAGES} "
        f"others into which a patch of {SIDE} x {SIDE} pixels, a quarter of their area, is pasted "
        "at a random place. AUROC takes a map as a score of how likely a pixel is in the patch. "
        "The mass is the sum of a map over pixels, as a share of that over the whole image. The "
        "last column is the share of maps whose maximum is in the patch. A map that knew nothing "
        "would have .50, .25 and .25. Of a patch from another CIFAR-10 image, only the seams are "
        "foreign. Mean and standard deviation over seeds "
        f"{', '.join(map(str, options.seeds))}.\n\n"
        + markdown_table(["patch", *FIGURES.values()], rows)
        + "\n"
        + provenance(records, command_line(__file__, parser, options, "n_train", "seeds")),
    )


if __name__ == "__main__":
    main()
