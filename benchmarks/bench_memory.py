"""How memory and time of a fit grow with the number of images.

    python benchmarks/bench_memory.py

Fits the default copies on 5,000 to 200,000 images of 3 x 32 x 32, uint8, that are
mapped from a file, each number in a process of its own, and watches the anonymous
memory of it (RssAnon, Linux only): pages of mapped files are the kernel's to reclaim.
One epoch of a small network, so that what is measured is what goes with the number of
images; --network auto takes the default network. Writes docs/benchmark_memory.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from _harness import (
    DOCS,
    command_line,
    find_set,
    markdown_table,
    option_parser,
    provenance,
    stamp,
    timed,
    write_page,
)

from skrnd import SVDRNDDetector

MOST_GB = 1.5


def small(input_shape):
    """Two convolutions."""
    layers = [torch.nn.Conv2d(input_shape[0], 8, 3, stride=2), torch.nn.ReLU()]
    layers += [torch.nn.Conv2d(8, 32, 3, stride=2), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())


def anonymous_memory():
    """Gigabytes that this process has and no file stands behind."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("RssAnon is not in /proc/self/status")


def watched(function):
    """Seconds of a call, and the most anonymous memory while it ran."""
    seen, is_done = [anonymous_memory()], threading.Event()

    def watch():
        while not is_done.wait(0.05):
            seen.append(anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, seconds = timed(function)
    finally:
        is_done.set()
        watcher.join()
    return seconds, max(seen)


def measure(path, network):
    """Fit and score, in this process; prints figures as JSON."""
    X = np.load(path, mmap_mode="r")
    detector = SVDRNDDetector(
        network="auto" if network == "auto" else small,
        n_estimators=1,
        max_epochs=1,
        random_state=0,
    )
    before = anonymous_memory()
    fit_seconds, fit_memory = watched(lambda: detector.fit(X))
    score_seconds, score_memory = watched(lambda: detector.score_samples(X))
    print(json.dumps([before, fit_seconds, fit_memory, score_seconds, score_memory]))


def write_images(path, n, images):
    """A file of n images: those there are over and over, each time in other colours."""
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (n, *images.shape[1:]))
    for turn, start in enumerate(range(0, n, len(images))):
        part = file[start : start + len(images)]
        part[:] = images[: len(part)] + np.uint8(turn)
    file.flush()


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--numbers", nargs="+", type=int, default=[5_000, 20_000, 80_000, 200_000])
    parser.add_argument("--network", choices=["small", "auto"], default="small")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.network)
        return
    images = find_set(options.data, "cifar10_train")
    if images is None:
        images = np.random.default_rng(0).integers(0, 256, (20_000, 3, 32, 32)).astype(np.uint8)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in options.numbers:
            path = Path(folder) / "X.npy"
            write_images(path, n, images)
            command = [sys.executable, __file__, "--measure", path, "--network", options.network]
            start = time.monotonic()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            before, fit_seconds, fit_memory, score_seconds, score_memory = json.loads(done.stdout)
            print(f"{n:,} images in {time.monotonic() - start:.0f} s", flush=True)
            rows.append(
                [
                    f"{n:,}",
                    f"{path.stat().st_size / 1e6:.0f}",
                    f"{before:.2f}",
                    f"{fit_memory:.2f}",
                    f"{score_memory:.2f}",
                    f"{fit_seconds:.0f}",
                    f"{1000 * fit_seconds / n:.2f}",
                    f"{1000 * score_seconds / n:.2f}",
                ]
            )
    header = [
        "images",
        "file, MB",
        "before, GB",
        "fit, GB",
        "score, GB",
        "fit, s",
        "fit, ms an image",
        "score, ms an image",
    ]
    path = DOCS / "benchmark_memory.md"
    write_page(
        path,
        "# Memory\n\n"
        "Images of 3 x 32 x 32, uint8, mapped from a file; the default copies, one epoch, "
        f"network: {options.network}. Gigabytes are the most anonymous memory of the process "
        "(RssAnon): before the fit, with the libraries loaded, while it fits, and while it scores "
        "all the images. Copies and targets beyond half of scikit-learn's `working_memory` "
        "(512 MiB by default) live in a temporary file.\n\n"
        + markdown_table(header, rows)
        + "\n"
        + provenance([stamp()], command_line(__file__, parser, options, "numbers")),
    )
    largest = max(float(row[3]) for row in rows)
    if largest > MOST_GB:
        sys.exit(f"a fit took {largest} GB of {MOST_GB}")


if __name__ == "__main__":
    main()
