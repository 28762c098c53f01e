"""One fit in one process and in several: seconds, and what the detector finds.

    python benchmarks/bench_processes.py

Processes of torch's process group on this machine (gloo), each on one thread of the
processor, with the same rows in one step of all of them together. Writes
docs/benchmark_processes.md.
"""

import argparse
import os
import subprocess
import sys

import numpy as np
import torch
import torch.distributed as dist
from _harness import (
    DOCS,
    command_line,
    load_set,
    markdown_table,
    option_parser,
    provenance,
    quality,
    spread,
    stamp,
    timed,
    write_page,
)

from skrnd import SVDRNDDetector

BATCH_SIZE, MAX_EPOCHS, N_TRAIN = 64, 4, 4_000


def fit_here(directory, seed):
    """In one of the processes: the first one says what it took."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    X = load_set(directory, "cifar10_train")[:N_TRAIN]
    detector = SVDRNDDetector(
        28, blur="svd", batch_size=BATCH_SIZE, max_epochs=MAX_EPOCHS, random_state=seed
    )
    _, seconds = timed(detector.fit, X)
    if dist.get_rank() == 0:
        known, novel = (
            detector.score_samples(load_set(directory, name)) for name in ("cifar10_test", "svhn")
        )
        print(seconds, quality(known, novel)["tnr_at_tpr"])
    dist.destroy_process_group()


def main():
    parser = option_parser(__doc__)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--here", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here is not None:
        fit_here(options.data, options.here)
        return
    seconds, found = ({n: [] for n in options.processes} for _ in range(2))
    for number in range(options.rounds):
        for n in options.processes if number % 2 else reversed(options.processes):
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                    *(f"--nproc-per-node={n}", __file__),
                    *(f"--here={number}", "--data", options.data),
                ],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            taken, tnr = map(float, done.stdout.split())
            seconds[n].append(taken)
            found[n].append(tnr)
            print(f"{n} processes: {taken:.0f} s, {tnr:.3f}", flush=True)
    medians = {n: np.median(taken) for n, taken in seconds.items()}
    first = medians[options.processes[0]]
    rows = [
        [str(n), f"{median:.0f}", f"{first / median:.2f}", spread(found[n])]
        for n, median in medians.items()
    ]
    path = DOCS / "benchmark_processes.md"
    write_page(
        path,
        "# One fit in several processes\n\n"
        f'`SVDRNDDetector(28, blur="svd")` on {N_TRAIN:,} CIFAR-10 images, {MAX_EPOCHS} epochs, '
        f"{BATCH_SIZE} rows in one step of all processes together; one thread a process, gradients "
        f"averaged by gloo. Medians of {options.rounds} rounds in turns, each with another seed; "
        "TNR at 95 % TPR on SVHN, mean and standard deviation.\n\n"
        + markdown_table(["processes", "fit, s", "times as fast", "SVHN"], rows)
        + "\n"
        + provenance([stamp()], command_line(__file__, parser, options, "processes", "rounds")),
    )


if __name__ == "__main__":
    main()
