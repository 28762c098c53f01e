"""How long everything takes, beside what it is made of and what stands beside it.

    python benchmarks/bench_speed.py

Every comparison is timed in one run: its contenders take turns, there and back, and
are compared within each round, since a machine is not as fast in one minute as in the
next. Writes docs/benchmark_speed_avx512.md, or another page for another kind of
processor, since ratios differ from kind to kind. Takes CIFAR-10 images, or random ones
of the same shape where there are none. What is measured is kept, section by section, in
a .jsonl file beside the page, so that a run that broke off goes on where it stopped; a
section whose line is taken out is measured anew.
"""

import importlib.util
import os
import pickle
import subprocess
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import _reference
import numpy as np
import scipy.fft
import scipy.ndimage
import torch
from _harness import (
    DOCS,
    command_line,
    find_set,
    markdown_table,
    option_parser,
    provenance,
    quality,
    run_cells,
    spread,
    timed,
    write_page,
)
from bench_peers import DETECTORS
from sklearn.base import clone
from torch.utils.flop_counter import FlopCounterMode

from skrnd import SVDRNDDetector
from skrnd._backend import resolve_precision
from skrnd._networks import build_networks, fold_norms
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur
from skrnd.export import to_onnx

K, BATCH_SIZE, LEARNING_RATE = 28, 32, 8e-3
# Images of a fit, so few that the contenders of a round follow closely upon each other.
N_FITTED = 1_000
# As many as go through a network fastest here, of the powers of 2.
SCORED_ROWS = 64
CPU = torch.device("cpu")


def compared(contenders, n_rounds, *, per=1, unit="s"):
    """Rows of a table: seconds of each contender, and over those of the first.

    Both are medians over rounds. A round that goes before all others does not count.
    """
    seconds = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(n_rounds + 1):
        for name in names if number % 2 else reversed(names):
            _, taken = timed(contenders[name])
            if number > 0:
                seconds[name].append(taken)
    scale = {"s": 1, "ms": 1e3, "us": 1e6}[unit] / per
    rows = []
    for name, taken in seconds.items():
        ratio = np.median(np.divide(taken, seconds[names[0]]))
        rows.append([name, f"{np.median(taken) * scale:.3g}", f"{ratio:.2f}"])
    return rows


# -- blur ------------------------------------------------------------------------


def numpy_svd(images):
    """Blur a stack with numpy's SVD of the whole stack."""
    u, s, vh = np.linalg.svd(images, full_matrices=False)
    tolerance = s[..., :1] * max(images.shape[-2:]) * np.finfo(images.dtype).eps
    rank = (s > tolerance).sum(-1, keepdims=True)
    k = images.shape[-1] * K // 32
    s[np.arange(s.shape[-1]) >= rank - k] = 0
    return (u * s[..., None, :]) @ vh


def scipy_dct(images):
    spectrum = scipy.fft.dctn(images, axes=(2, 3), norm="ortho")
    spectrum[..., images.shape[2] // 2 :, :] = 0
    spectrum[..., images.shape[3] // 2 :] = 0
    return scipy.fft.idctn(spectrum, axes=(2, 3), norm="ortho")


def blurs(images, cell):
    """Tables of the blurs at 32 x 32, and of the SVD at other sizes."""
    stack, n_rounds = images[:1000], cell["rounds"]
    small = compared(
        {
            "SVDBlur": partial(SVDBlur(K, channel_axis=1).transform, stack),
            "numpy, image by image": lambda: [_reference.blurred(image, K) for image in stack],
            "numpy, the whole stack": partial(numpy_svd, stack),
        },
        n_rounds,
        per=len(stack),
        unit="us",
    )
    for ours, name, theirs in (
        (DCTBlur(0.5, channel_axis=1), "scipy.fft.dctn", partial(scipy_dct, stack)),
        (
            GaussianBlur(1.0, channel_axis=1),
            "scipy.ndimage.gaussian_filter",
            partial(scipy.ndimage.gaussian_filter, stack, (0, 0, 1.0, 1.0)),
        ),
    ):
        contenders = {type(ours).__name__: partial(ours.transform, stack), name: theirs}
        small += compared(contenders, n_rounds, per=len(stack), unit="us")
    sizes = []
    for side in (64, 128, 256, 512):
        n = max(2, 200 * 64**2 // side**2)
        large = np.random.default_rng(0).normal(size=(n, 3, side, side)).cumsum(2).cumsum(3)
        large = large.astype(np.float32)
        blur = SVDBlur(side * K // 32, channel_axis=1)
        contenders = {
            f"SVDBlur, {side} x {side}": partial(blur.transform, large),
            "numpy, the whole stack": partial(numpy_svd, large),
        }
        sizes += compared(contenders, max(3, n_rounds // 2), per=n, unit="us")
    header = ["blur", "microseconds an image", "ratio"]
    return [markdown_table(header, small), markdown_table(header, sizes)]


# -- fit and score -----------------------------------------------------------------


def pair_of_networks(images):
    generator = torch.Generator().manual_seed(0)
    return build_networks("auto", images.shape[1:], n_targets=1, n_members=1, generator=generator)


def bare_training(images, n_steps, n_answers=0):
    """The passes of a training on ready tensors, and nothing else.

    Forward and backward ones of the predictor, step by step, and forward ones of a
    target for as many images as it has to answer.
    """
    predictor, targets = pair_of_networks(images)
    predictor.train()
    fold_norms(targets.requires_grad_(False).eval())
    inputs = torch.from_numpy(images[:BATCH_SIZE])
    asked = torch.from_numpy(images[:SCORED_ROWS])
    precision = resolve_precision("auto", CPU)

    def passes():
        for _ in range(n_answers // SCORED_ROWS):
            targets(asked, [0])
        for _ in range(n_steps):
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                predicted = predictor(inputs)
            predicted.float().square().mean().backward()

    return passes


def bare_scoring(images):
    """Forward passes of a predictor and a target on ready tensors, and nothing else."""
    predictor, targets = pair_of_networks(images)
    for part in (predictor, targets):
        fold_norms(part.requires_grad_(False).eval())
    batches = torch.from_numpy(images).split(SCORED_ROWS)

    def passes():
        with torch.inference_mode():
            for batch in batches:
                predictor(batch)
                targets(batch, [0])

    return passes


def fits(images, cell):
    """Table of the fit of SVD-RND beside the reference procedure and the bare passes."""
    images, max_epochs = images[:N_FITTED], cell["max_epochs"]
    # All rows but one are trained on, so that everyone goes through the same number.
    detector = SVDRNDDetector(
        K,
        blur="svd",
        max_epochs=max_epochs,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        validation_fraction=1 / len(images),
        random_state=0,
    )
    n_copies = 2 * (len(images) - 1)
    n_steps = max_epochs * -(-n_copies // BATCH_SIZE)
    contenders = {
        'SVDRNDDetector(28, blur="svd")': partial(detector.fit, images),
        "the same in float32": partial(clone(detector).set_params(precision="float32").fit, images),
        "bare passes": bare_training(images, n_steps, n_copies),
        "reference procedure": partial(
            _reference.fit,
            images,
            K,
            max_epochs=max_epochs,
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
        ),
    }
    rows = compared(contenders, 2 * cell["rounds"])
    return [markdown_table(["fit", "seconds", "ratio"], rows)]


def useful_fits(images, cell, n_seeds=20):
    """Table of what the shortest useful fit with the blur alone takes, and what it finds."""
    sets = [find_set(cell["data"], name) for name in ("cifar10_train", "cifar10_test", "svhn")]
    if any(one is None for one in sets):
        return []
    train, known, novel = sets
    seconds, found = [], []
    for seed in range(n_seeds):
        detector = SVDRNDDetector(blur="svd", max_epochs=3, random_state=seed)
        seconds.append(timed(detector.fit, train[: cell["n_train"]])[1])
        report = quality(detector.score_samples(known), detector.score_samples(novel))
        found.append(report["tnr_at_tpr"])
    rows = [[str(n_seeds), f"{np.median(seconds):.1f}", spread(found), f"{min(found):.3f}"]]
    return [markdown_table(["seeds", "fit, s", "SVHN, TNR at 95 % TPR", "least"], rows)]


def scoring_of_the_graph(detector, images):
    """What `to_onnx` writes, at work outside torch."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        to_onnx(detector, path)
        session = onnxruntime.InferenceSession(path)
    return partial(session.run, None, {"X": images})


@contextmanager
def busy_cores():
    """Keep each core busy with another program."""
    programs = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())
    ]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def scores(images, cell):
    """Tables of scoring many images, one at a time, and some where the cores are busy."""
    detector = SVDRNDDetector(K, blur="svd", max_epochs=1, random_state=0).fit(images[:200])
    header = ["score", "milliseconds", "ratio"]
    tables = []
    for rows, background in (
        (images, nullcontext()),
        (images[:1], nullcontext()),
        (images[:N_FITTED], busy_cores()),
    ):
        contenders = {
            f"score_samples of {len(rows):,}": partial(detector.score_samples, rows),
            "bare passes": bare_scoring(rows),
        }
        if len(rows) == 1 and importlib.util.find_spec("onnxruntime"):
            contenders["graph of to_onnx, by onnxruntime"] = scoring_of_the_graph(detector, rows)
        rounds = cell["rounds"] * (1 if len(rows) > 1 else 20)
        with background:
            tables.append(markdown_table(header, compared(contenders, rounds, unit="ms")))
    return tables


def peers(images, cell):
    """Table of the fit and the score of scikit-learn's detectors on the same images."""
    images = images[: cell["n_train"]]
    flat = images.reshape(len(images), -1)
    rows = []
    for name, make in DETECTORS.items():
        if name.startswith("PyOD"):
            continue
        X = images if name == "SVDRNDDetector" else flat
        fit_seconds, score_seconds = [], []
        for seed in range(cell["peers"]):
            detector, taken = timed(make(seed).fit, X)
            fit_seconds.append(taken)
            score_seconds.append(timed(detector.score_samples, X)[1])
        rows.append([name, *(f"{np.median(taken):.3g}" for taken in (fit_seconds, score_seconds))])
    return [markdown_table(["detector", "fit, s", "score, s"], rows)]


# -- load, import, peak --------------------------------------------------------------


def starts(images, cell):
    """Table of importing the package and of loading a fitted detector."""

    def python(code):
        subprocess.run([sys.executable, "-c", code], check=True)

    imports = compared(
        {
            "import skrnd": partial(python, "import skrnd"),
            "import torch, sklearn.ensemble, scipy.ndimage": partial(
                python, "import torch, sklearn.ensemble, scipy.ndimage"
            ),
        },
        cell["rounds"],
    )
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images[:200])
    pickled = pickle.dumps(detector)
    loads = compared({"pickle.loads": partial(pickle.loads, pickled)}, cell["rounds"])
    return [markdown_table(["start", "seconds", "ratio"], imports + loads)]


def peak(images, cell):
    """What the machine makes of large matrix products, and the passes of it."""

    def rate(dtype, n=2048):
        a = torch.ones(n, n, dtype=dtype)
        seconds = min(timed(torch.matmul, a, a)[1] for _ in range(5))
        return 2 * n**3 / seconds / 1e9

    n_steps = 50
    with FlopCounterMode(display=False) as counter:
        bare_training(images, 1)()
    passes = bare_training(images, n_steps)
    passes()
    _, seconds = timed(passes)
    reached = counter.get_total_flops() * n_steps / seconds / 1e9
    rows = [
        ["matrix product, float32", f"{rate(torch.float32):.0f}"],
        ["matrix product, bfloat16", f"{rate(torch.bfloat16):.0f}"],
        ["bare training passes", f"{reached:.0f}"],
    ]
    return [markdown_table(["", "GFLOP/s"], rows)]


SECTIONS = {
    "blur": blurs,
    "fit": fits,
    "useful fit": useful_fits,
    "score": scores,
    "start": starts,
    "peers": peers,
    "peak": peak,
}


def measure(cell, directory):
    """The tables of a section."""
    images = find_set(directory, "cifar10_train")
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, size=(10_000, 3, 32, 32))
    images = images[:10_000].astype(np.float32)
    images = (images - images.mean()) / images.std()
    return {"tables": SECTIONS[cell["section"]](images, {**cell, "data": directory})}


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--n-train", type=int, default=4_000)
    parser.add_argument("--max-epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=int, default=1, help="rounds of the other detectors")
    options = parser.parse_args()
    kind = torch.backends.cpu.get_cpu_capability()
    path = DOCS / f"benchmark_speed_{kind.lower().replace(' ', '_')}.md"
    chosen = ("n_train", "max_epochs", "rounds", "peers")
    cells = [
        {"section": section, **{name: getattr(options, name) for name in chosen}}
        for section in SECTIONS
    ]
    records = run_cells(cells, measure, path, options.data)
    tables = {record["cell"]["section"]: record["result"]["tables"] for record in records}
    small, sizes = tables["blur"]
    many, single, busy = tables["score"]
    useful = ""
    if tables["useful fit"]:
        useful = (
            f'\n`SVDRNDDetector(blur="svd", max_epochs=3)` on {options.n_train:,} CIFAR-10 images; '
            f"k is chosen in the fit.\n\n{tables['useful fit'][0]}"
        )
    write_page(
        path,
        f"# Speed, with {kind}\n\n"
        "The contenders of a table take turns; seconds are medians over rounds, and so are the "
        "ratios over the first of them, so that 2 is half as fast. Figures in seconds are of this "
        "machine; ratios should hold on others of its kind.\n\n"
        f"## Blur\n\nK = {K} of 32 singular values, 1,000 CIFAR-10 images of 3 x 32 x 32, "
        f"float32.\n\n{small}\nThe same share of larger images.\n\n{sizes}\n"
        f"## Fit\n\n{N_FITTED:,} images, {options.max_epochs} epochs. The reference procedure "
        "blurs each image by numpy in every epoch and lets both targets look at every batch. "
        "Bare passes are as many forward and backward passes of the same predictor, and forward "
        "ones of the targets, on one batch that is ready.\n\n"
        f"{tables['fit'][0]}{useful}\n"
        f"## Score\n\nA detector with one predictor and one target.\n\n{many}\n{single}\n"
        f"The same while another program keeps each core busy.\n\n{busy}\n"
        f"## Start\n\n{tables['start'][0]}\n"
        f"## Beside other detectors\n\nDefault parameters, the same {options.n_train:,} images to "
        f"fit and to score; number of seeds, of which these are medians: {options.peers}.\n\n"
        f"{tables['peers'][0]}\n"
        f"## Peak of the machine\n\n{tables['peak'][0]}\n"
        + provenance(records, command_line(__file__, parser, options, *chosen)),
    )


if __name__ == "__main__":
    main()
