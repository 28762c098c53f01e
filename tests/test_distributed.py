"""Fits in several processes."""

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from torch import nn

from skrnd._distributed import Ranks

FIT = """
    import os, sys
    import numpy as np
    import torch
    import torch.distributed as dist
    from skrnd import SVDRNDDetector

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    X = np.load("X.npy", mmap_mode="r")
    detector = SVDRNDDetector(max_epochs=2, random_state=None)
    detector.fit(X)
    np.savez(
        f"rank{dist.get_rank()}.npz",
        scores=detector.score_samples(X),
        offset=detector.offset_,
        loss=detector.loss_curve_,
        mean=detector.mean_,
        scale=detector.scale_,
        n_trained=[
            len(detector._trained),
            len(detector.set_params(warm_start=True, max_epochs=1).fit(X)._trained),
        ],
    )
    dist.destroy_process_group()
    # gloo's threads outlive a group that DistributedDataParallel has used, and a process
    # with them has been seen to abort on its way out.
    os._exit(0)
"""


@pytest.fixture
def in_two_processes(tmp_path):
    """Runs a script in two processes of one group on this machine, in a folder of its own."""

    def run(script):
        (tmp_path / "fit.py").write_text(textwrap.dedent(script))
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        return subprocess.run(
            [*torchrun, "--standalone", "--nproc-per-node=2", "fit.py"],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


def test_alone_everything_is_as_it_was():
    ranks = Ranks()
    assert (ranks.size, ranks.own) == (1, 0)
    assert ranks.gather("x") == ["x"]
    np.testing.assert_array_equal(ranks.share(np.arange(5)), np.arange(5))
    assert ranks.pooled(2.0, 3.0) == (2.0, 3.0)
    module = nn.Linear(2, 2)
    assert ranks.synchronised(module) is module
    ranks.align(module)


@pytest.mark.parametrize("size", [2, 3])
def test_shares_are_equal_and_apart(size, rng):
    """And mean and variance of them are those of all."""
    values = rng.normal(size=(11, 4))
    several = []
    for own in range(size):
        ranks = Ranks()
        ranks.size, ranks.own = size, own
        several.append(ranks.share(np.arange(11)))
    rows = np.concatenate(several)
    assert {len(share) for share in several} == {11 // size}
    assert len(set(rows)) == len(rows)
    moments = [(values[share].mean(0), values[share].var(0)) for share in several]
    ranks.gather = lambda own: moments
    mean, variance = ranks.pooled(*moments[0])
    np.testing.assert_allclose(mean, values[rows].mean(0))
    np.testing.assert_allclose(variance, values[rows].var(0))


@pytest.mark.slow
def test_all_processes_end_with_the_same_detector(in_two_processes, tmp_path, rng):
    X = rng.integers(0, 256, size=(81, 3, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "X.npy", X)
    done = in_two_processes(FIT)
    assert done.returncode == 0, done.stderr
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])
    assert np.isfinite(first["scores"]).all()
    assert first["loss"][1] < first["loss"][0]
    # 72 of the rows are trained on, none of them twice, and the others not when it goes on.
    np.testing.assert_array_equal(first["n_trained"], 72)
    np.testing.assert_allclose(first["mean"], X.mean((0, 2, 3)), rtol=0.02)
    np.testing.assert_allclose(first["scale"], X.std((0, 2, 3)), rtol=0.02)


@pytest.mark.slow
def test_gradients_are_averaged(in_two_processes, tmp_path, rng):
    """Not the weights of the first process alone handed to the other in the end."""
    np.save(tmp_path / "X.npy", rng.normal(size=(80, 1, 8, 8)))
    noted = FIT.replace(
        "    detector.fit(X)",
        """
    from skrnd._distributed import Ranks
    align = Ranks.align
    def noted(self, module):
        weights = [weight.detach().flatten() for weight in module.parameters()]
        np.save(f"weights{self.own}.npy", torch.cat(weights))
        align(self, module)
    Ranks.align = noted
    detector.fit(X)""",
    )
    done = in_two_processes(noted)
    assert done.returncode == 0, done.stderr
    first, second = (np.load(tmp_path / f"weights{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_plain_rows_in_two_processes(in_two_processes, tmp_path, rng):
    X = rng.normal(size=(200, 5))
    np.save(tmp_path / "X.npy", X)
    done = in_two_processes(FIT.replace("max_epochs=2", "early_stopping=True, n_iter_no_change=1"))
    assert done.returncode == 0, done.stderr
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name])
    assert 2 < len(first["loss"]) < 100


@pytest.mark.slow
def test_a_share_of_the_training_data_counts_no_row_twice(in_two_processes, tmp_path, rng):
    """Those of 21 rows that two processes train on are the first 20."""
    np.save(tmp_path / "X.npy", rng.normal(size=(21, 3)) * np.tile([4, 1], 11)[:21, None])
    done = in_two_processes(FIT.replace("max_epochs=2", "max_epochs=2, contamination=0.25"))
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        fit = np.load(tmp_path / f"rank{rank}.npz")
        np.testing.assert_allclose(fit["offset"], np.quantile(fit["scores"][:20], 0.25), rtol=1e-4)


@pytest.mark.slow
def test_an_interrupted_process_ends_the_others(in_two_processes, tmp_path, rng):
    np.save(tmp_path / "X.npy", rng.normal(size=(400, 3, 16, 16)))
    interrupted = FIT.replace(
        "    detector.fit(X)",
        """
    import skrnd._distillation
    learn = skrnd._distillation.Training._learn
    def interrupted(self, rows):
        if dist.get_rank() == 1:
            raise KeyboardInterrupt
        return learn(self, rows)
    skrnd._distillation.Training._learn = interrupted
    detector.fit(X)""",
    )
    start = time.monotonic()
    done = in_two_processes(interrupted)
    assert done.returncode != 0
    assert "KeyboardInterrupt" in done.stderr
    assert time.monotonic() - start < 120
    assert list(tmp_path.glob("rank*.npz")) == []


@pytest.mark.slow
def test_an_interrupted_fit_goes_on_in_all_processes(in_two_processes, tmp_path, rng):
    """With nine rows held out, which are five of one process and four of the other."""
    np.save(tmp_path / "X.npy", rng.normal(size=(90, 5)))
    kept = FIT.replace(
        "max_epochs=2, random_state=None", 'max_epochs=4, random_state=0, checkpoint="checkpoint"'
    )
    interrupted = kept.replace(
        "    detector.fit(X)",
        """
    import skrnd._epochs
    run_epoch, seen = skrnd._epochs.run_epoch, []
    def interrupted(trainings):
        seen.append(trainings)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return run_epoch(trainings)
    skrnd._epochs.run_epoch = interrupted
    detector.fit(X)""",
    )
    assert "KeyboardInterrupt" in in_two_processes(interrupted).stderr
    assert (tmp_path / "checkpoint").exists()
    done = in_two_processes(
        kept.replace(
            "    dist.destroy_process_group()",
            """
    uninterrupted = SVDRNDDetector(max_epochs=4, random_state=0).fit(X)
    np.save(f"expected{dist.get_rank()}.npy", uninterrupted.score_samples(X))
    dist.destroy_process_group()""",
        )
    )
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        expected = np.load(tmp_path / f"expected{rank}.npy")
        np.testing.assert_array_equal(np.load(tmp_path / f"rank{rank}.npz")["scores"], expected)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.slow
def test_what_two_processes_cannot_fit_is_refused_in_both(in_two_processes, tmp_path, rng):
    np.save(tmp_path / "X.npy", rng.normal(size=(5, 3, 8, 8)))
    refused = FIT.replace(
        "    detector.fit(X)",
        """
    own = dist.get_rank()
    for rows, batch_size in ((X[own::2], 32), (X[:: 1 - 2 * own], 32), (X, 32 + own)):
        try:
            detector.set_params(batch_size=batch_size).fit(rows)
        except ValueError as error:
            print(f"process {own}: {error}", file=sys.stderr)
    detector.set_params(batch_size=32).fit(X)""",
    )
    done = in_two_processes(refused)
    assert done.returncode != 0
    for own in (0, 1):
        differ = f"process {own}: The 2 processes that fit together differ in"
        assert done.stderr.count(f"{differ} X. Give") == 1
        assert done.stderr.count(f"{differ} X, y. Give") == 1
        assert done.stderr.count(f"{differ} batch_size. Give") == 1
    assert "5 normal rows are too few for 2 processes" in done.stderr
