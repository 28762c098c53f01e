"""Graphs for other runtimes."""

import importlib.util
import logging
import multiprocessing
import subprocess
import sys
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

import skrnd._epochs
import skrnd.export
from skrnd import SVDRNDDetector
from skrnd.export import to_onnx

QUICK = {"max_epochs": 1, "random_state": 0}


def settings_of_the_process():
    level = logging.getLogger("torch.onnx").level
    return torch._C._get_mkldnn_enabled(), level, list(map(str, warnings.filters))


def settings_meanwhile(function, *args):
    """What this process is set to while a function runs in another thread."""
    seen = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(function, *args)
        while not running.done():
            seen.append(settings_of_the_process())
            time.sleep(0.01)
    running.result()
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "params"),
    [
        ((4,), {}),
        ((8, 8, 3), {}),
        ((64,), {"image_shape": (8, 8), "blur": "svd", "n_estimators": 2, "contamination": 0.1}),
    ],
    ids=["rows", "images", "flat images"],
)
def test_a_graph_gives_the_same_verdicts(shape, params, tmp_path, rng):
    X = (50 + 20 * rng.normal(size=(60, *shape))).astype(np.float32)
    detector = SVDRNDDetector(**QUICK, **params).fit(X)
    X[::3] *= 3
    expected = detector.score_samples(X)
    # torch's exporter would let fits and scores of other threads fail, or come out otherwise.
    before = settings_of_the_process()
    meanwhile = settings_meanwhile(to_onnx, detector, tmp_path / "detector.onnx")
    assert len(meanwhile) > 10
    assert all(settings == before for settings in meanwhile)
    assert [path.name for path in tmp_path.iterdir()] == ["detector.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    assert session.get_modelmeta().custom_metadata_map == {
        "skrnd.version": skrnd.__version__,
        "skrnd.offset": str(detector.offset_),
    }
    for n in (1, 2, 7, 60):
        score, label = session.run(None, {"X": X[:n]})
        np.testing.assert_allclose(score, expected[:n], rtol=1e-5)
        clear = np.abs(expected[:n] / detector.offset_ - 1) > 1e-4
        np.testing.assert_array_equal(label[clear], detector.predict(X[:n])[clear])
        assert (score.dtype, label.dtype) == (np.float64, np.int64)
    # A row that the detector refuses has no score, and is no normal one.
    far = X[:2].copy()
    far[0].flat[0], far[1] = np.nan, 1e30
    score, label = session.run(None, {"X": far})
    assert np.isnan(score[0])
    np.testing.assert_allclose(score[1:], detector.score_samples(far[1:]), rtol=1e-5)
    assert label.tolist() == [-1, -1]
    # The detector itself is as it was.
    np.testing.assert_array_equal(detector.score_samples(X), expected)


def test_only_fitted_detectors(tmp_path):
    with pytest.raises(NotFittedError):
        to_onnx(SVDRNDDetector(), tmp_path / "detector.onnx")
    with pytest.raises(TypeError, match=r"to_onnx takes an SVDRNDDetector; got Pipeline\. .* last"):
        to_onnx(make_pipeline(SVDRNDDetector()), tmp_path / "detector.onnx")


def test_what_no_file_can_hold_is_refused_at_once(monkeypatch, tmp_path, rng):
    detector = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    monkeypatch.setattr(skrnd.export, "_MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"holds at most 0\.0 GB"):
        to_onnx(detector, tmp_path / "detector.onnx")


def test_without_onnx(monkeypatch, tmp_path, rng):
    detector = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs onnx and onnxscript: pip install \"skrnd\[onnx"):
        to_onnx(detector, tmp_path / "detector.onnx")


@pytest.mark.slow
def test_exports_beside_a_fit(monkeypatch, tmp_path, rng, two_threads):
    """torch's exporter changes the whole process: other fits would fail, or learn otherwise."""
    X = rng.normal(size=(60, 8, 8))
    small = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    learner = SVDRNDDetector(max_epochs=20, random_state=0)
    expected = clone(learner).fit(X).score_samples(X)
    settings = settings_of_the_process()
    exports = []

    def run_epoch(trainings):
        if not exports:
            exports.extend(pool.submit(to_onnx, small, tmp_path / f"{i}.onnx") for i in range(2))
        return one_epoch(trainings)

    one_epoch = skrnd._epochs.run_epoch
    monkeypatch.setattr(skrnd._epochs, "run_epoch", run_epoch)
    with ThreadPoolExecutor(2) as pool:
        found = learner.fit(X).score_samples(X)
        for export in exports:
            export.result()
    np.testing.assert_array_equal(found, expected)
    assert (tmp_path / "0.onnx").read_bytes() == (tmp_path / "1.onnx").read_bytes()
    assert settings_of_the_process() == settings


def test_daemonic_processes_are_told_that_they_may_not(monkeypatch, tmp_path, rng):
    detector = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(RuntimeError, match="daemonic"):
        to_onnx(detector, tmp_path / "detector.onnx")


@pytest.mark.slow
def test_networks_of_a_script_without_a_guard_are_exported(tmp_path):
    script = """
        import numpy as np
        import torch
        from skrnd import SVDRNDDetector
        from skrnd.export import to_onnx

        class Own(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3, 4)

            def forward(self, x):
                return self.layer(x).tanh()

        X = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
        detector = SVDRNDDetector(network=lambda shape: Own(), max_epochs=1).fit(X)
        to_onnx(detector, "own.onnx")
        np.save("X", X)
        np.save("scores", detector.score_samples(X))
        print("once")
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr) == ("once\n", "")
    session = onnxruntime.InferenceSession(tmp_path / "own.onnx")
    score, _ = session.run(None, {"X": np.load(tmp_path / "X.npy")})
    np.testing.assert_allclose(score, np.load(tmp_path / "scores.npy"), rtol=1e-5)
