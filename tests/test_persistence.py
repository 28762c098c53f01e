"""Saving and loading without pickle."""

import json
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as to_safetensors
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import FunctionTransformer

import skrnd._distillation
import skrnd._networks
import skrnd.persistence
from skrnd import SVDRNDDetector
from skrnd.blur import GaussianBlur
from skrnd.geometry import Rotate
from skrnd.persistence import FileFormatError, load, save

QUICK = {"max_epochs": 1, "random_state": 0}
KEPT = Path(__file__).parent / "files"
SETTINGS = {
    "default": {},
    "several": {"k": [3, 0.5], "n_estimators": 2, "device": "cpu"},
    "array": {"k": np.array([3, 5])},
    "transformers": {"blur": [GaussianBlur(2.0), "svd"], "k": 3, "geometry": Rotate()},
    "contamination": {"blur": None, "contamination": 0.1},
    "resnet34": {"network": "resnet34", "blur": "svd", "batch_size": 60},
    "tuple": {"blur": ("svd", "dct"), "image_shape": (8, 8, 3), "channel_axis": -1},
}


@pytest.fixture(params=SETTINGS, scope="module")
def fitted(request):
    """A detector in each setting, and what it was fitted on."""
    X = np.random.default_rng(0).normal(size=(60, 8, 8, 3)).astype(np.float32)
    return SVDRNDDetector(**QUICK, **SETTINGS[request.param]).fit(X), X


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with a detector of plain rows in it."""
    path = tmp_path_factory.mktemp("saved") / "detector"
    X = np.random.default_rng(0).normal(size=(100, 4))
    save(SVDRNDDetector(n_estimators=1, **QUICK).fit(X), path)
    return path


def test_a_loaded_detector_is_the_saved_one(fitted, tmp_path):
    detector, X = fitted
    path = tmp_path / "detector.safetensors"
    save(detector, path)
    loaded = load(str(path))
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))
    np.testing.assert_array_equal(loaded.predict(X), detector.predict(X))
    assert vars(loaded).keys() == vars(detector).keys()
    params = str(detector.get_params()).replace("array([3, 5])", "[3, 5]")
    assert str(loaded.get_params()) == params
    for name in ("offset_", "k_", "loss_curve_", "sample_shape_", "input_shape_", "precision_"):
        assert getattr(loaded, name) == getattr(detector, name)
    assert [type(blur) for blur in loaded.blurs_] == [type(blur) for blur in detector.blurs_]
    for mine, theirs in zip(loaded.blurs_, detector.blurs_, strict=True):
        np.testing.assert_array_equal(
            mine.transform(np.moveaxis(X, -1, 1)), theirs.transform(np.moveaxis(X, -1, 1))
        )
    assert list(tmp_path.iterdir()) == [path]


# The largest network, which takes long, goes on as others do.
@pytest.mark.parametrize("fitted", [one for one in SETTINGS if one != "resnet34"], indirect=True)
def test_a_loaded_detector_goes_on(fitted, tmp_path):
    """It can be saved, calibrated and fitted again."""
    detector, X = fitted
    save(detector, tmp_path / "first")
    loaded = load(tmp_path / "first")
    save(loaded, tmp_path / "second")
    np.testing.assert_array_equal(
        load(tmp_path / "second").score_samples(X), detector.score_samples(X)
    )
    assert loaded.calibrate(X).p_values(X).shape == (60,)
    np.testing.assert_array_equal(loaded.fit(X).score_samples(X), detector.score_samples(X))


def test_the_file_is_hardly_larger_than_the_weights(tmp_path, rng):
    detector = SVDRNDDetector(**QUICK).fit(rng.normal(size=(60, 32, 32)))
    save(detector, tmp_path / "detector")
    n_bytes = sum(w.numel() * 4 for pair in detector._pairs for w in pair.state_dict().values())
    assert (tmp_path / "detector").stat().st_size < 1.05 * n_bytes


def test_epochs_without_rows_held_out_are_kept(tmp_path, rng):
    """Those of a fit before `early_stopping`, whose error is NaN."""
    X = rng.normal(size=(100, 4))
    detector = SVDRNDDetector(**QUICK).fit(X)
    detector.set_params(early_stopping=True, warm_start=True).fit(X)
    save(detector, tmp_path / "detector")
    loaded = load(tmp_path / "detector")
    assert math.isnan(loaded.validation_loss_curve_[0])
    assert loaded.validation_loss_curve_[1] == detector.validation_loss_curve_[1]


def test_a_detector_that_could_not_be_loaded_is_not_saved(tmp_path, rng):
    detector = SVDRNDDetector(**QUICK).fit(rng.normal(size=(100, 4))).set_params(batch_size=-1)
    with pytest.raises(ValueError, match="'batch_size' parameter"):
        save(detector, tmp_path / "detector")
    assert not (tmp_path / "detector").exists()


def test_names_of_features_are_kept(tmp_path, rng):
    X = pd.DataFrame(rng.normal(size=(50, 3)), columns=["a", "b", "c"])
    save(SVDRNDDetector(n_estimators=1, **QUICK).fit(X), tmp_path / "detector")
    loaded = load(tmp_path / "detector")
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    loaded.predict(X)


def network(input_shape):
    """Not to be saved."""
    raise NotImplementedError


class Subclass(SVDRNDDetector):
    """Of another class."""


@pytest.mark.parametrize(
    ("detector", "error", "match"),
    [
        (SVDRNDDetector(), NotFittedError, "not fitted"),
        (Subclass(), TypeError, "takes an SVDRNDDetector; got Subclass"),
        (GaussianBlur(), TypeError, "got GaussianBlur"),
    ],
)
def test_what_is_no_fitted_detector_is_refused(detector, error, match, tmp_path):
    with pytest.raises(error, match=match):
        save(detector, tmp_path / "detector")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"network": network}, "network=.*cannot be saved without pickle"),
        ({"random_state": np.random.RandomState(0)}, "random_state=.*cannot be saved"),
        ({"blur": FunctionTransformer()}, "blur=.*cannot be saved"),
    ],
)
def test_what_a_file_cannot_bring_back_is_refused(params, match, tmp_path, rng):
    detector = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    (tmp_path / "detector").write_text("the one before")
    with pytest.raises(TypeError, match=match):
        save(detector.set_params(**params), tmp_path / "detector")
    assert (tmp_path / "detector").read_text() == "the one before"


def test_a_failing_disk_leaves_the_file_that_was_there(tmp_path, rng, monkeypatch):
    def fails(descriptor):
        raise OSError(28, "No space left on device")

    detector = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    (tmp_path / "detector").write_text("the one before")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        save(detector, tmp_path / "detector")
    assert [path.name for path in tmp_path.iterdir()] == ["detector"]
    assert (tmp_path / "detector").read_text() == "the one before"
    with pytest.raises(FileNotFoundError):
        save(detector, tmp_path / "nowhere" / "detector")


def test_without_safetensors(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for call in (lambda: save(SVDRNDDetector(), tmp_path / "x"), lambda: load(tmp_path / "x")):
        with pytest.raises(ImportError, match=r"pip install \"skrnd\[io\]\""):
            call()


def test_the_file_of_a_pickle_is_told_of_in_a_few_words(tmp_path):
    path = tmp_path / "detector.pkl"
    path.write_bytes(pickle.dumps(np.random.default_rng(0).bytes(10**6)))
    with pytest.raises(FileFormatError, match="joblib or pickle") as caught:
        load(path)
    assert len(str(caught.value)) < 400


# -- files of others ---------------------------------------------------------------


def assert_refused(content, path, match=None):
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=match):
        load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "detector")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_truncated_file_is_loaded(data, whole, tmp_path):
    content = whole.read_bytes()
    assert_refused(content[: data.draw(st.integers(0, len(content) - 1))], tmp_path / "x")


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_with_a_flipped_bit_is_loaded(data, whole, tmp_path):
    content = whole.read_bytes()
    changed = bytearray(content)
    # In the header more often than its length asks for.
    end = data.draw(st.sampled_from([8, 6000, len(content)]))
    changed[data.draw(st.integers(0, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert_refused(bytes(changed), tmp_path / "x")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=300))
def test_no_noise_is_loaded(noise, whole, tmp_path):
    content = whole.read_bytes()
    for changed in (noise, content + noise if noise else b"", content[:200] + noise):
        assert_refused(changed, tmp_path / "x")


def test_a_header_longer_than_the_file_takes_no_memory(whole, tmp_path):
    content = whole.read_bytes()
    for n in (len(content), 10**8 + 1, 2**40, 2**64 - 1):
        assert_refused(struct.pack("<Q", n) + content[8:], tmp_path / "x")


@pytest.mark.skipif(os.name != "posix", reason="the file would take its room on the disk")
@pytest.mark.parametrize(
    "header", [b"{}", b'{"__metadata__": {"skrnd": "{}"}, "a": {"data_offsets": [0, 8]}}']
)
def test_a_file_that_is_longer_than_it_says_is_not_read(header, tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(2**40)
    with pytest.raises(FileFormatError, match=r"not hold a detector|length is not what its"):
        load(tmp_path / "x")


def test_other_safetensors_are_refused(tmp_path):
    arrays = {"weight": np.ones(3)}
    assert_refused(to_safetensors(arrays), tmp_path / "x", "does not hold a detector")
    assert_refused(
        to_safetensors(arrays, metadata={"skrnd": "{}", "sha256": "0"}), tmp_path / "x", "changed"
    )


@pytest.fixture
def forged(whole):
    return forging(whole)


def forging(path):
    """Makes a file whose checksum is right from a changed header and changed arrays."""
    with skrnd.persistence._safetensors().safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["skrnd"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def forge(change):
        change(header, arrays)
        text = json.dumps(header)
        sha256 = skrnd.persistence._digest(text, arrays)
        return to_safetensors(arrays, metadata={"skrnd": text, "sha256": sha256})

    return forge


def set_value(name, value):
    def change(header, arrays):
        header["values"][name] = value

    return change


def set_param(name, value):
    def change(header, arrays):
        header["params"][name] = value

    return change


def set_array(name, function):
    def change(header, arrays):
        arrays[name] = function(arrays[name])

    return change


def set_header(name, value):
    def change(header, arrays):
        header[name] = value

    return change


def drop_array(header, arrays):
    del arrays["mean_"]


def many_networks(n_targets, n_members):
    """A small file that speaks of many targets, each with many members."""

    def change(header, arrays):
        header["values"] |= {
            "n_estimators_": n_members,
            "sample_shape_": {"tuple": [8, 8]},
            "input_shape_": {"tuple": [1, 8, 8]},
            "n_features_in_": 8,
        }
        header["layout"] = IMAGE
        for name in [name for name in arrays if name.startswith("pairs")]:
            del arrays[name]
        for number in range(2000):
            arrays[f"pairs.0.{number}"] = np.zeros(0, np.float32)
        arrays[MEAN] = arrays["pairs.0.targets.scale"] = np.ones((n_targets, 0), np.float32)
        arrays["mean_"] = arrays["scale_"] = np.ones(1)
        arrays["_units"] = np.ones(1)

    return change


MEAN = "pairs.0.targets.mean"
IMAGE = {"sample_shape": [8, 8], "image_shape": [8, 8], "channels_last": False}


@pytest.mark.parametrize(
    "change",
    [
        set_header("format", 2),
        set_header("format", "1"),
        set_header("params", []),
        set_value("_groups", [[]] * 3),
        set_value("_groups", []),
        set_value("_groups", [[0]]),
        set_value("_groups", [["a"]]),
        set_header("layout", {"image_shape": [1, 4]}),
        set_header("blurs", [{"transformer": "os.system", "params": {}, "fitted": {}}]),
        set_header("blurs", [{"transformer": "SVDBlur", "params": {"x": 1}, "fitted": {}}]),
        set_header("blurs", [{"transformer": "SVDBlur", "params": {}, "fitted": {"fit": 1}}]),
        set_header("blurs", [1]),
        set_param("unheard_of", 1),
        set_param("network", "os.system"),
        set_param("max_epochs", -1),
        set_param("checkpoint", "/tmp/checkpoint"),
        set_value("n_estimators_", 10**9),
        set_value("n_estimators_", "many"),
        set_value("input_shape_", {"tuple": [10**12]}),
        set_value("input_shape_", {"tuple": [3, 10**9, 10**9]}),
        set_value("input_shape_", "abc"),
        set_value("input_shape_", []),
        set_value("_architecture", "resnet34"),
        set_value("_architecture", "vgg"),
        set_value("_architecture", None),
        set_value("offset_", "low"),
        set_value("loss_curve_", 3),
        set_header("layout", IMAGE),
        set_header("layout", IMAGE | {"sample_shape": [4], "image_shape": [2, 2]}),
        set_array("mean_", lambda array: array[:-1]),
        set_array("mean_", lambda array: array.astype(np.float32)),
        set_array("scale_", lambda array: array * np.nan),
        set_array("_units", lambda array: np.ones(7)),
        set_array(MEAN, lambda array: array[:, :-1]),
        set_array(MEAN, lambda array: array[0]),
        set_array(MEAN, lambda array: np.zeros((10**6, 1), np.float32)),
        set_array(MEAN, lambda array: array.astype(np.int64)),
        set_value("_groups", True),
        set_header("feature_names_in_", ["a"]),
        set_header("blurs", [{"transformer": "SVDBlur", "params": {"k": "z"}, "fitted": {}}]),
        set_value("input_shape_", {"tuple": [10**400]}),
        set_value("sample_shape_", {"tuple": [5, 1]}),
        set_value("n_features_in_", 9),
        set_value("n_features_in_", True),
        set_value("offset_", math.nan),
        set_value("offset_", math.inf),
        set_value("loss_curve_", ["low"]),
        set_array("scale_", lambda array: 0 * array),
        set_array("_units", lambda array: -array),
        set_array("calibration_scores_", lambda array: array[:0]),
        set_array("calibration_scores_", lambda array: array[::-1].copy()),
        set_array("calibration_scores_", lambda array: array[None]),
        set_array("pairs.0.targets.scale", lambda array: 0 * array),
        many_networks(300, 300),
        many_networks(1, 10**9),
        drop_array,
    ],
)
def test_forged_files_are_refused(change, forged, tmp_path):
    assert_refused(forged(change), tmp_path / "x")


@pytest.mark.parametrize(
    "layout",
    [
        {"image_shape": [4.0, 4.0]},
        {"image_shape": [True, 16]},
        {"image_shape": [-4, -4]},
        {"image_shape": ["4", "4"]},
        {"sample_shape": [4.0, 4.0]},
        {"channels_last": None, "image_shape": [4, 4, 1.0]},
    ],
    ids=range(6),
)
def test_forged_layouts_are_refused(layout, tmp_path):
    def change(header, arrays):
        header["layout"] |= layout

    assert_refused(forging(KEPT / "images-0.1.safetensors")(change), tmp_path / "x")


def test_as_many_networks_are_outlined_as_there_are_values_for(forged, tmp_path, monkeypatch):
    """Not one for each array, were it empty: each takes a thousand times its room."""
    outlined = []
    outline = skrnd._distillation.outline_networks

    def watched(network, input_shape, n_targets, n_members):
        outlined.append(n_targets * n_members)
        return outline(network, input_shape, n_targets, n_members)

    for module in (skrnd._networks, skrnd._distillation):
        monkeypatch.setattr(module, "outline_networks", watched)
    content = forged(many_networks(1, 1999))
    assert_refused(content, tmp_path / "x", match="0 values are not those")
    assert outlined == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files here")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="not a regular file"):
        load(tmp_path / "pipe")


@pytest.mark.slow
def test_a_file_that_is_written_over_meanwhile_ends_no_process(whole, tmp_path):
    """As by cp, which a file that is mapped into memory does not survive."""
    path = tmp_path / "x"
    script = """
        import sys, time
        from skrnd.persistence import FileFormatError, load
        end = time.monotonic() + 3
        print("begins", flush=True)
        while time.monotonic() < end:
            try:
                load(sys.argv[1])
            except FileFormatError:
                pass
        print("ends")
    """
    shutil.copyfile(whole, path)
    command = [sys.executable, "-c", textwrap.dedent(script), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begins\n"
        while process.poll() is None:
            shutil.copyfile(whole, path)
        assert (process.stdout.read(), process.returncode) == ("ends\n", 0)


def test_a_forged_file_that_changes_nothing_is_loaded(forged, tmp_path):
    (tmp_path / "x").write_bytes(forged(lambda header, arrays: None))
    load(tmp_path / "x")


def test_deep_json_is_refused(forged, tmp_path):
    deep = []
    for _ in range(300):
        deep = [deep]
    assert_refused(forged(set_header("params", deep)), tmp_path / "x")


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.safetensors")), ids=lambda path: path.name)
def test_files_of_older_versions_open(path):
    """Each was written by the version in its name, together with the scores it gave then."""
    expected = np.load(path.with_suffix(".npz"))
    detector = load(path)
    np.testing.assert_allclose(detector.score_samples(expected["X"]), expected["scores"], rtol=1e-5)
    np.testing.assert_array_equal(detector.predict(expected["X"]), expected["labels"])
    # Which had another name then.
    assert detector.criterion == "auto"


def test_there_are_files_of_older_versions():
    names = sorted(path.stem for path in KEPT.glob("*.safetensors"))
    assert names == ["images-0.1", "rows-0.1"]
