"""Fits that go on after an interruption."""

import errno
import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer

import skrnd._epochs
from skrnd import SVDRNDDetector
from skrnd._checkpoint import identity_of
from skrnd.base import BaseImageTransformer
from skrnd.blur import SVDBlur

PARAMS = {"max_epochs": 4, "random_state": 0}


@pytest.fixture
def images(rng):
    """Noise, (60, 8, 8)."""
    return rng.normal(size=(60, 8, 8))


def interrupt_in_epoch(number, monkeypatch):
    """Let the next fit be interrupted in its epoch of this number."""

    def run_epoch(trainings):
        seen.append(trainings)
        if len(seen) == number:
            raise KeyboardInterrupt
        return original(trainings)

    seen, original = [], skrnd._epochs.run_epoch
    monkeypatch.setattr(skrnd._epochs, "run_epoch", run_epoch)


def test_a_fit_that_was_to_stop_early_does(images, tmp_path, monkeypatch):
    """Interrupted in any epoch, the last one too, it stops where it would have, with the best."""
    params = {
        "max_epochs": 30,
        "learning_rate": 0.1,
        "early_stopping": True,
        "n_iter_no_change": 1,
        "random_state": 0,
    }
    expected = SVDRNDDetector(**params).fit(images)
    n_epochs = len(expected.loss_curve_)
    assert n_epochs < 30
    detector = SVDRNDDetector(checkpoint=tmp_path / "checkpoint", **params)
    for _ in range(n_epochs - 1):
        with monkeypatch.context() as patch:
            interrupt_in_epoch(2, patch)
            with pytest.raises(KeyboardInterrupt):
                detector.fit(images)
    detector.fit(images)
    assert detector.validation_loss_curve_ == expected.validation_loss_curve_
    np.testing.assert_array_equal(detector.score_samples(images), expected.score_samples(images))


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("random_state", [0, "instance"])
def test_a_fit_goes_on_and_ends_where_it_would_have(
    number, random_state, images, tmp_path, monkeypatch
):
    def state():
        return np.random.RandomState(3) if random_state == "instance" else random_state

    path = tmp_path / "checkpoint"
    expected = SVDRNDDetector(max_epochs=4, random_state=state()).fit(images)
    detector = SVDRNDDetector(max_epochs=4, random_state=state(), checkpoint=path)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(number, patch)
        with pytest.raises(KeyboardInterrupt):
            detector.fit(images)
    assert path.exists()
    assert not hasattr(detector, "offset_")
    detector.fit(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected.score_samples(images))
    assert detector.loss_curve_ == expected.loss_curve_
    assert detector.offset_ == expected.offset_
    assert list(tmp_path.iterdir()) == []


def test_without_a_seed_it_is_the_same_fit_that_goes_on(images, tmp_path, monkeypatch):
    """The rows held out, above all, stay the same."""
    detector = SVDRNDDetector(max_epochs=3, checkpoint=str(tmp_path / "checkpoint"), verbose=1)
    with monkeypatch.context() as patch:
        interrupt_in_epoch(3, patch)
        with pytest.raises(KeyboardInterrupt):
            detector.fit(images)
    content = (tmp_path / "checkpoint").read_bytes()
    first = detector.fit(images).score_samples(images)
    (tmp_path / "checkpoint").write_bytes(content)
    np.testing.assert_array_equal(detector.fit(images).score_samples(images), first)


@pytest.fixture
def left(images, tmp_path, monkeypatch):
    """The path of a checkpoint that an interrupted fit has left."""
    path = tmp_path / "checkpoint"
    with monkeypatch.context() as patch:
        interrupt_in_epoch(2, patch)
        with pytest.raises(KeyboardInterrupt):
            SVDRNDDetector(checkpoint=path, **PARAMS).fit(images)
    return path


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"k": 4}, "differed in k"),
        ({"max_epochs": 5}, "differed in max_epochs"),
        ({"blur": "svd", "batch_size": 8}, "differed in batch_size, blur"),
        ({"random_state": 1}, "differed in random_state"),
        ({"random_state": None}, "differed in random_state"),
    ],
)
def test_the_checkpoint_of_another_fit_is_refused(params, match, images, left):
    before = left.read_bytes()
    with pytest.raises(ValueError, match=rf"checkpoint='.*checkpoint' is of another fit.*{match}"):
        SVDRNDDetector(checkpoint=left, **PARAMS).set_params(**params).fit(images)
    for others in (2 * images + 1, images[:50], images[:, ::-1], images.transpose(0, 2, 1)):
        with pytest.raises(ValueError, match=r"differed in X\."):
            SVDRNDDetector(checkpoint=left, **PARAMS).fit(others)
    assert left.read_bytes() == before


def test_a_refused_checkpoint_leaves_the_callers_generator_alone(images, left):
    random_state = np.random.RandomState(3)
    detector = SVDRNDDetector(checkpoint=left, **PARAMS).set_params(random_state=random_state)
    with pytest.raises(ValueError, match="is of another fit"):
        detector.fit(images)
    assert random_state.randint(10**9) == np.random.RandomState(3).randint(10**9)


class Factory:
    """A network as an object that can be called."""

    def __call__(self, input_shape):
        raise NotImplementedError


def test_a_fit_has_the_same_words_in_every_process():
    def params():
        return {
            "blur": [FunctionTransformer(np.negative, kw_args={"where": True}), SVDBlur(3)],
            "network": partial(Factory(), 3, name=FunctionTransformer(Factory.__call__)),
            "geometry": Factory(),
        }

    words = identity_of(params())
    assert words == identity_of(params())
    assert not any("0x" in one for one in words.values())
    assert words["blur"] != identity_of({"blur": [FunctionTransformer(np.abs), SVDBlur(3)]})["blur"]
    assert identity_of({"blur": SVDBlur(3)}) != identity_of({"blur": SVDBlur(4)})
    assert identity_of({"network": partial(max, 3)}) != identity_of({"network": partial(max, 4)})


def test_functions_are_told_apart_by_what_they_do():
    def scaled(factor):
        return lambda x: factor * x

    def recursive(x):
        return recursive(x - 1) if x not in {"a", "b"} else (lambda: 1)

    functions = [scaled(2), scaled(3), lambda x: -x, lambda x: x + 1, lambda x=1: x, recursive]
    words = [identity_of({"network": one})["network"] for one in functions]
    assert len(set(words)) == len(words)
    assert not any("0x" in one for one in words)
    assert identity_of({"network": scaled(2)})["network"] == words[0]


FACTOR = 2


def by_a_constant(x):
    return [FACTOR * one for one in np.asarray(x)]


class Holds:
    """Has no words of its own."""

    def __init__(self, value):
        self.value, self.own = value, self

    def __call__(self, x):
        return self.value * x


@dataclass
class Drawn:
    """A network as a dataclass, whose words have the address of its function."""

    init: Callable

    def __call__(self, input_shape):
        raise NotImplementedError


def test_a_dataclass_is_told_by_its_fields():
    values = [Drawn(by_a_constant), Drawn(lambda x: x), Drawn(lambda x: 2 * x), Drawn(Drawn)]
    words = [identity_of({"network": one})["network"] for one in values]
    assert len(set(words)) == len(words)
    assert not any("0x" in one for one in words)
    assert words[1] == identity_of({"network": Drawn(lambda x: x)})["network"]


def test_an_edited_class_is_another():
    """As a transformer of a user's, an object with words of its own, or without."""

    def edited(factor):
        class Shifted(BaseImageTransformer):
            def _transform_images(self, images):
                return images + factor

        class Said(Scaler):
            @staticmethod
            def scaled(x):
                return factor * x

        class Unsaid:
            @property
            def scale(self):
                return factor

        class Inherited(Shifted):
            def __init__(self):
                super().__init__()

        return [Shifted(), Said(1), Unsaid(), Unsaid, Inherited()]

    def words(factor):
        return [identity_of({"blur": one})["blur"] for one in edited(factor)]

    assert words(2) == words(2)
    assert not any("0x" in one for one in words(2))
    assert all(one != other for one, other in zip(words(2), words(3), strict=True))


def test_functions_are_told_apart_by_what_they_take_from_around_them(monkeypatch):
    """A constant of the script, a function within, what an object holds."""

    def words():
        chained = [lambda x, inner=inner: inner(x) for inner in (np.sin, np.cos)]
        enclosing = [(lambda inner: lambda x: inner(x))(one) for one in (np.ptp, by_a_constant)]
        values = [by_a_constant, Holds(2), Holds(3), Holds(2).__call__, *chained, *enclosing]
        return [identity_of({"network": one})["network"] for one in values]

    before = words()
    assert len(set(before)) == len(before)
    assert not any("0x" in one for one in before)
    assert words() == before
    monkeypatch.setitem(globals(), "FACTOR", 3)
    changed = [one != other for one, other in zip(before, words(), strict=True)]
    assert changed == [True, *[False] * (len(before) - 2), True]


def test_what_is_installed_is_told_by_what_it_is(monkeypatch):
    """Its constants may be caches, which say nothing of what it does.

    So is what is ours, though these tests take it from a checkout.
    """
    assert identity_of({"blur": SVDBlur(3)})["blur"].startswith("skrnd.blur.SVDBlur({")
    installed = [torch.nn.functional.interpolate, threading.Event()]
    words = [identity_of({"network": one}) for one in installed]
    monkeypatch.setattr(torch.nn.functional, "has_torch_function_unary", "another")
    installed[1].set()
    assert [identity_of({"network": one}) for one in installed] == words


class Scaler:
    """Has a method that depends on what it holds."""

    def __init__(self, factor):
        self.factor = factor

    def __repr__(self):
        return f"Scaler({self.factor})"

    def scaled(self, x):
        return self.factor * x


def test_arrays_and_methods_are_told_apart_by_what_they_hold():
    """The words of numpy and torch leave out the middle of what is large."""
    large = np.arange(2000.0)
    other = large.copy()
    other[1000] = 0
    values = [large, other, large.astype(np.float32), torch.tensor(large), torch.tensor(other)]
    values += [Scaler(1).scaled, Scaler(2).scaled]
    words = [identity_of({"network": partial(max, one)})["network"] for one in values]
    assert len(set(words)) == len(words)
    assert words == [identity_of({"network": partial(max, one)})["network"] for one in values]


def state_in(path):
    return torch.load(io.BytesIO(path.read_bytes()[32:]))


def saved(state):
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def write_signed(path, content):
    """Write content with the digest of a checkpoint."""
    path.write_bytes(hashlib.sha256(content).digest() + content)


def group_of(state):
    return state["trainings"][0]["optimiser"]["param_groups"][0]


def change_position(state, position):
    name, key, _, *rest = state["random_state"]
    state["random_state"] = (name, key, position, *rest)


def moments_of(state):
    return state["trainings"][0]["optimiser"]["state"][0]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda state: state["trainings"][0]["predictor"].popitem(), "its networks"),
        # Where Adam is fused, torch writes past the end of what is too short.
        (lambda state: moments_of(state).update(exp_avg=torch.zeros(1)), "its networks"),
        (lambda state: moments_of(state).update(exp_avg_sq=torch.zeros(0)), "its networks"),
        (lambda state: moments_of(state).update(step=torch.zeros(0)), "its networks"),
        (lambda state: state.update(trainings=None), "its networks"),
        (lambda state: state.update(curves=[1]), "its networks"),
        (lambda state: state.update(random_state=("MT19937", [1])), "random_state"),
        (lambda state: state.update(random_state=None), "random_state"),
        # numpy would read from there.
        (lambda state: change_position(state, 10**9), "random_state"),
        (lambda state: change_position(state, -1), "random_state"),
        (lambda state: state["trainings"][0].update(kept={"weight": torch.zeros(1)}), "its netw"),
        (lambda state: group_of(state).update(betas=0.9), "its networks"),
        (lambda state: group_of(state).update(lr=None), "its networks"),
        (lambda state: state["trainings"][0]["schedule"].update(last_epoch="x"), "its networks"),
        (lambda state: state["identity"].update({3: "x"}), "3"),
    ],
    ids=range(15),
)
def test_a_checkpoint_that_does_not_fit_is_refused(change, difference, images, left):
    state = state_in(left)
    change(state)
    write_signed(left, saved(state))
    with pytest.raises(ValueError, match=f"is of another fit, which differed in {difference}"):
        SVDRNDDetector(checkpoint=left, **PARAMS).fit(images)


def test_of_the_optimiser_and_the_schedule_a_checkpoint_says_where_they_are_alone(images, left):
    """What else they hold is that of the fit."""
    expected = SVDRNDDetector(**PARAMS).fit(images).score_samples(images)
    state = state_in(left)
    group_of(state).update(amsgrad=True, differentiable=True, eps="x", fused=None)
    state["trainings"][0]["schedule"].update(step=5, total_steps=1, _schedule_phases=None)
    write_signed(left, saved(state))
    found = SVDRNDDetector(checkpoint=left, **PARAMS).fit(images).score_samples(images)
    np.testing.assert_array_equal(found, expected)


def test_moments_lie_in_memory_as_those_of_the_training_do(images, left):
    """Adam goes through them as through the weights, whatever their strides say."""
    state = state_in(left)
    expected = SVDRNDDetector(**PARAMS).fit(images).score_samples(images)
    for training in state["trainings"]:
        for moments in training["optimiser"]["state"].values():
            for name in ("exp_avg", "exp_avg_sq"):
                turned = moments[name].transpose(0, -1).contiguous()
                moments[name] = turned.transpose(0, -1)
    write_signed(left, saved(state))
    found = SVDRNDDetector(checkpoint=left, **PARAMS).fit(images).score_samples(images)
    np.testing.assert_array_equal(found, expected)


def test_a_checkpoint_stays_where_it_is_wherever_the_process_goes(images, tmp_path, monkeypatch):
    here, there, target = (tmp_path / name for name in ("here", "there", "target"))
    for folder in (here, there, target):
        folder.mkdir()
    (there / "kept").write_text("precious")
    (here / "kept").symlink_to(target / "kept")
    monkeypatch.chdir(here)

    def run_epoch(trainings):
        os.chdir(there)
        assert [path.name for path in target.iterdir()] == ["kept"]
        return original(trainings)

    original = skrnd._epochs.run_epoch
    monkeypatch.setattr(skrnd._epochs, "run_epoch", run_epoch)
    SVDRNDDetector(checkpoint="kept", **PARAMS).fit(images)
    assert (there / "kept").read_text() == "precious"
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("bit", [0, 100, 10_000, "truncated", "empty"])
def test_what_is_no_whole_checkpoint_is_refused(bit, images, left):
    content = bytearray(left.read_bytes())
    if isinstance(bit, int):
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[0 if bit == "empty" else -100 :]
    left.write_bytes(content)
    with pytest.raises(ValueError, match="is a file that holds no checkpoint, or not all of it"):
        SVDRNDDetector(checkpoint=left, **PARAMS).fit(images)
    assert left.read_bytes() == content


def check_refused(content, images, path):
    """Content with the digest of a checkpoint, which it is not."""
    write_signed(path, content)
    with pytest.raises(ValueError, match="is a file that holds no checkpoint, or not all of it"):
        SVDRNDDetector(checkpoint=path, **PARAMS).fit(images)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else",
        b"PK and something else",
        saved([1]),
        saved({"identity": {}}),
        saved(dict.fromkeys(("identity", "random_state", "curves", "trainings"))),
        saved({"f": os.getcwd}),
    ],
    ids=range(7),
)
def test_a_digest_makes_no_checkpoint(content, images, tmp_path):
    check_refused(content, images, tmp_path / "checkpoint")


def test_nothing_in_a_checkpoint_is_run(images, attack, tmp_path):
    made = tmp_path / "made"
    attack.call = os.mkdir, (str(made),)
    check_refused(saved({"identity": attack}), images, tmp_path / "checkpoint")
    assert not made.exists()


def test_only_a_regular_file_is_a_checkpoint(images, tmp_path):
    paths = [tmp_path]
    with pytest.raises(ValueError, match="checkpoint="):
        SVDRNDDetector(checkpoint=tmp_path / ("a" * 300), **PARAMS).fit(images)
    if hasattr(os, "mkfifo"):
        # Of which the one is waited for, and the other has no end.
        os.mkfifo(tmp_path / "pipe")
        paths += [tmp_path / "pipe", "/dev/zero"]
    for path in paths:
        with pytest.raises(ValueError, match=r"checkpoint='.*' is not a regular file"):
            SVDRNDDetector(checkpoint=path, **PARAMS).fit(images)


@pytest.mark.skipif(os.name != "posix", reason="the file would take its room on the disk")
def test_a_large_file_is_not_read_to_its_end(images, tmp_path):
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="is a file that holds no checkpoint"):
        SVDRNDDetector(checkpoint=path, **PARAMS).fit(images)


def test_a_checkpoint_that_cannot_be_read(images, left, monkeypatch):
    def fails(path, *args):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(type(left), "open", fails)
    with pytest.raises(ValueError, match=r"cannot be read: .*Input/output error"):
        SVDRNDDetector(checkpoint=left, **PARAMS).fit(images)


def test_a_checkpoint_that_cannot_be_removed_costs_nothing(images, left, monkeypatch):
    def fails(path, missing_ok=False):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(left), "unlink", fails)
    detector = SVDRNDDetector(checkpoint=left, **PARAMS)
    with pytest.warns(RuntimeWarning) as told:
        detector.fit(images)
    assert any("could not be removed: " in str(one.message) for one in told)
    expected = SVDRNDDetector(**PARAMS).fit(images).score_samples(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected)


def test_no_folder_for_the_checkpoint(images, tmp_path):
    with pytest.raises(ValueError, match="is in a folder that does not exist"):
        SVDRNDDetector(checkpoint=tmp_path / "nowhere" / "checkpoint", **PARAMS).fit(images)


def test_a_full_disk_is_warned_of_and_leaves_the_checkpoint_before(images, tmp_path, monkeypatch):
    def fails_later(descriptor):
        written.append(path.read_bytes() if path.exists() else None)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    path, written = tmp_path / "checkpoint", []
    expected = SVDRNDDetector(**PARAMS).fit(images).score_samples(images)
    detector = SVDRNDDetector(checkpoint=path, **PARAMS)
    monkeypatch.setattr(os, "fsync", fails_later)
    with pytest.warns(RuntimeWarning, match=r"could not be written: .*No space left.* goes on"):
        detector.fit(images)
    assert written[2] == written[3] != written[1]
    np.testing.assert_array_equal(detector.score_samples(images), expected)


def test_going_on_is_taken_up_by_the_same_detector_alone(images, tmp_path, monkeypatch):
    """Of a warm fit, what it began with counts, and not its parameters alone."""

    def fitted(max_epochs, checkpoint=None):
        detector = SVDRNDDetector(max_epochs=max_epochs, random_state=0).fit(images)
        return detector.set_params(max_epochs=2, warm_start=True, checkpoint=checkpoint)

    def interrupted(trainings):
        raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    detector, other = fitted(2, path), fitted(1, path)
    expected = fitted(2).fit(images)
    with monkeypatch.context() as patch:
        patch.setattr(skrnd._epochs, "run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            detector.fit(images)
    for refused in (other.fit, detector.partial_fit):
        with pytest.raises(ValueError, match=r"is of another fit, which differed in goes_on\."):
            refused(images)
    detector.fit(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected.score_samples(images))
    assert detector.loss_curve_ == expected.loss_curve_


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_killed_process_is_taken_over_by_another(images, tmp_path):
    script = """
        import sys, time
        from pathlib import Path
        import numpy as np
        import skrnd._epochs
        from skrnd import SVDRNDDetector
        run_epoch, seen = skrnd._epochs.run_epoch, []
        def waits(trainings):
            seen.append(trainings)
            if len(seen) == 4:
                Path("reached").touch()
                time.sleep(600)
            return run_epoch(trainings)
        if "wait" in sys.argv:
            skrnd._epochs.run_epoch = waits
        X = np.load("X.npy")
        detector = SVDRNDDetector(max_epochs=20, random_state=0, checkpoint="checkpoint").fit(X)
        np.savez("done", scores=detector.score_samples(X), loss=detector.loss_curve_)
    """
    np.save(tmp_path / "X.npy", images)
    (tmp_path / "fit.py").write_text(textwrap.dedent(script))

    def start(*options):
        # Where other tests have the other core, two threads mostly wait for each other.
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "fit.py", *options], cwd=tmp_path, env=env)

    process = start("wait")
    while process.poll() is None and not (tmp_path / "reached").exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait(120) == -signal.SIGKILL
    (tmp_path / "reached").unlink()
    assert (tmp_path / "checkpoint").exists()
    assert start().wait(120) == 0
    expected = SVDRNDDetector(max_epochs=20, random_state=0).fit(images)
    with np.load(tmp_path / "done.npz") as done:
        np.testing.assert_array_equal(done["scores"], expected.score_samples(images))
        np.testing.assert_array_equal(done["loss"], expected.loss_curve_)
    assert {path.name for path in tmp_path.iterdir()} == {"X.npy", "fit.py", "done.npz"}
