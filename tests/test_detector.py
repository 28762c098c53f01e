"""The detector."""

import contextlib
import copy
import multiprocessing
import os
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import dask.array
import distributed
import h5py
import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
import zarr
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from sklearn.utils import Bunch

import skrnd._detector
from skrnd import CalibrationWarning, SVDRNDDetector
from skrnd._backend import resolve_precision
from skrnd._threshold import rows_apart
from skrnd.base import BaseImageTransformer
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen
from skrnd.geometry import Rotate
from skrnd.inspection import (
    ContactSheetDisplay,
    DetectionCurveDisplay,
    ScoreHistogramDisplay,
)
from skrnd.metrics import detection_scorer
from skrnd.model_selection import NoveltyKFold
from skrnd.persistence import load, save

QUICK = {"max_epochs": 1, "random_state": 0}


@pytest.fixture
def images(rng):
    """Noise, (60, 3, 8, 8) float32."""
    return rng.normal(size=(60, 3, 8, 8)).astype(np.float32)


def rotate(images):
    """Turn by 90 degrees."""
    return np.rot90(images, axes=(2, 3))


def flat_network(input_shape):
    """A network of a user."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(input_shape)), 16))


SETTINGS = {
    "default": {},
    "one-sided": {"blur": "svd"},
    "error": {"criterion": "error"},
    "several k": {"k": [3, 6]},
    "dct": {"blur": "dct", "k": 5},
    "gaussian": {"blur": "gaussian", "k": 1.5},
    "list": {"blur": ["svd", GaussianBlur(2.0)]},
    "none": {"blur": None},
    "geometry": {"blur": "svd", "geometry": [Rotate(), FunctionTransformer(rotate)]},
    "contrast": {"blur": "svd", "criterion": "contrast"},
    "ensemble": {"n_estimators": 2},
    "resnet34": {"network": "resnet34", "blur": "svd", "batch_size": 60},
    "callable": {"network": flat_network},
    "bfloat16": {"precision": "bfloat16"},
    "float32": {"precision": "float32"},
    "contamination": {"contamination": 0.2},
}


@pytest.fixture(params=SETTINGS, scope="session")
def fitted(request):
    """A detector in each setting, fitted on noise, and that noise."""
    X = np.random.default_rng(0).normal(size=(60, 3, 8, 8)).astype(np.float32)
    return SVDRNDDetector(**QUICK, **SETTINGS[request.param]).fit(X), X


def test_the_interface_holds_in_every_setting(fitted):
    detector, X = fitted
    scores = detector.score_samples(X)
    decision = detector.decision_function(X)
    labels = detector.predict(X)
    assert scores.shape == (60,)
    assert scores.dtype == np.float64
    assert (scores <= 0).all()
    np.testing.assert_array_equal(decision, scores - detector.offset_)
    np.testing.assert_array_equal(labels, np.where(decision >= 0, 1, -1))
    assert labels.dtype.kind == "i"
    assert len(detector.loss_curve_) == 1
    assert detector.n_features_in_ == 3
    assert detector.sample_shape_ == detector.input_shape_ == (3, 8, 8)
    assert detector.device_ == "cpu"
    assert detector.precision_ in ("float32", "bfloat16")


def test_without_a_seed_every_fit_is_another(images):
    first, second = (
        SVDRNDDetector(blur=None, max_epochs=1).fit(images).score_samples(images) for _ in range(2)
    )
    assert not np.array_equal(first, second)


def test_a_training_is_told_what_the_parameters_say(images, monkeypatch):
    """On a processor that gains from bfloat16, whichever this one is."""

    def training(*args, **options):
        told.append(options)
        return original(*args, **options)

    told, original = [], skrnd._detector.Training
    monkeypatch.setattr(skrnd._detector, "Training", training)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    params = {"blur": None, "max_epochs": 1, "random_state": 0}
    detector = SVDRNDDetector(batch_size=7, learning_rate=0.01, **params).fit(images)
    assert detector.precision_ == "bfloat16"
    detector.partial_fit(2 * images)
    assert [one["batch_size"] for one in told] == [7, 7]
    assert [one["learning_rate"] for one in told] == pytest.approx([0.01, 0.001])
    assert {one["precision"] for one in told} == {torch.bfloat16}
    assert detector.set_params(precision="float32").fit(images).precision_ == "float32"
    assert told[-1]["precision"] == torch.float32
    # The products of plain rows are too small to gain.
    assert SVDRNDDetector(**params).fit(images[:, 0, 0]).precision_ == "float32"
    assert told[-1]["precision"] == torch.float32


@pytest.mark.parametrize(("n_rows", "n_epochs"), [(400, 100), (2000, 24)])
def test_plain_rows_are_learned_in_1500_steps_or_100_epochs(n_rows, n_epochs, rng):
    detector = SVDRNDDetector(
        network=lambda shape: torch.nn.Linear(2, 2),
        n_estimators=1,
        contamination=0.1,
        random_state=0,
    )
    assert len(detector.fit(rng.normal(size=(n_rows, 2))).loss_curve_) == n_epochs


def test_rows_score_the_same_in_any_company_and_order(fitted):
    """A contrast, in which larger numbers cancel, to a millionth of the largest."""
    detector, X = fitted
    scores = detector.score_samples(X)
    precision = {"rtol": 1e-6, "atol": 1e-6 * np.abs(scores).max()}
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(detector.score_samples(X[order]), scores[order], **precision)
    for size in (1, 2, 7):
        parts = [detector.score_samples(X[i : i + size]) for i in range(0, 60, size)]
        np.testing.assert_allclose(np.concatenate(parts), scores, **precision)


def test_pickles_score_bitwise_the_same(fitted, tmp_path):
    detector, X = fitted
    expected = detector.score_samples(X)
    joblib.dump(detector, tmp_path / "detector.joblib")
    for copied in (
        pickle.loads(pickle.dumps(detector)),
        joblib.load(tmp_path / "detector.joblib"),
        joblib.load(tmp_path / "detector.joblib", mmap_mode="r"),
    ):
        np.testing.assert_array_equal(copied.score_samples(X), expected)
        assert copied.offset_ == detector.offset_


def test_a_mapped_pickle_can_be_written_anew(images, tmp_path):
    """It was cut off under the detector that still read it, which ends the process."""
    path = tmp_path / "detector.joblib"
    joblib.dump(SVDRNDDetector(**QUICK).fit(images), path)
    loaded = joblib.load(path, mmap_mode="r").calibrate(images)
    assert not any(isinstance(value, np.memmap) for value in vars(loaded).values())
    joblib.dump(loaded, path)
    assert joblib.load(path).offset_ == loaded.offset_


def test_a_pickle_with_a_path_opens_on_another_system(tmp_path):
    pickled = pickle.dumps(SVDRNDDetector(checkpoint=tmp_path / "fit"))
    assert b"PosixPath" not in pickled
    assert b"WindowsPath" not in pickled
    assert pickle.loads(pickled).checkpoint == str(tmp_path / "fit")


def test_a_pickle_of_another_version_is_warned_of(monkeypatch):
    detector = SVDRNDDetector(random_state=0)
    with monkeypatch.context() as patched:
        patched.setattr(skrnd, "__version__", "0.0.9")
        content = pickle.dumps(detector)
        copy.copy(detector)
    with pytest.warns(UserWarning, match="pickled by skrnd 0.0.9, and this is"):
        loaded = pickle.loads(content)
    assert vars(loaded) == vars(detector)


def test_skops_brings_a_detector_back(fitted, tmp_path):
    """All that has to be trusted is of this package."""
    detector, X = fitted
    if detector.network == flat_network or "FunctionTransformer" in str(detector.geometry):
        pytest.skip("functions of the user are to be trusted by the user")
    path = tmp_path / "detector.skops"
    skops.io.dump(detector, path)
    untrusted = skops.io.get_untrusted_types(file=path)
    assert {name.partition(".")[0] for name in untrusted} == {"skrnd"}
    loaded = skops.io.load(path, trusted=untrusted)
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))


# The largest network, whose weights have a test of their own, is trained once only.
@pytest.mark.parametrize("fitted", [one for one in SETTINGS if one != "resnet34"], indirect=True)
def test_the_same_seed_gives_the_same_model(fitted):
    detector, X = fitted
    again = clone(detector).fit(X)
    np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))
    assert again.offset_ == detector.offset_
    assert again.loss_curve_ == detector.loss_curve_
    other = clone(detector).set_params(random_state=1).fit(X)
    # A row may be the unit of a judgement, and its score 1 by any seed.
    assert (other.score_samples(X) != detector.score_samples(X)).mean() > 0.9


def test_each_predictor_has_weights_and_targets_of_its_own(images):
    """What one finds hard to mimic, the other need not."""
    first, second = SVDRNDDetector(**QUICK).fit(images)._pairs
    for part in ("predictor", "targets"):
        ours, theirs = (next(getattr(pair, part).parameters()) for pair in (first, second))
        assert ours.shape == theirs.shape
        assert not torch.equal(ours, theirs)


def test_state_is_numpy(images):
    state = SVDRNDDetector(**QUICK).fit(images).__getstate__()
    assert len(state["_pairs"]) == 2
    for weights in state["_pairs"]:
        assert all(isinstance(value, np.ndarray) for value in weights.values())


def test_architecture_is_kept_when_parameters_are_changed_after_fit(images):
    detector = SVDRNDDetector(**QUICK).fit(images)
    expected = detector.score_samples(images)
    detector.set_params(network="resnet34", n_estimators=3)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(detector)).score_samples(images), expected
    )


def test_a_device_that_is_gone_is_replaced_on_loading(images):
    detector = SVDRNDDetector(**QUICK).fit(images).set_params(device="cuda:77")
    expected = detector.score_samples(images)
    detector.device_ = "cuda:77"
    loaded = pickle.loads(pickle.dumps(detector))
    assert loaded.device_ == "cpu"
    np.testing.assert_array_equal(loaded.score_samples(images), expected)


# -- what the method does ----------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [{"blur": "svd", "k": 4}, {"geometry": Rotate()}, {"blur": None}, {"network": flat_network}],
)
def test_learning_goes_on_with_new_images(params, images):
    """The predictors change; what makes scores comparable does not."""
    detector = SVDRNDDetector(random_state=0, max_epochs=2, **params).fit(images)
    before = pickle.loads(pickle.dumps(detector))
    assert detector.partial_fit(2 * images) is detector
    for name in ("mean_", "scale_", "n_estimators_", "k_", "sample_shape_"):
        np.testing.assert_array_equal(getattr(detector, name), getattr(before, name))
    assert detector.loss_curve_[:2] == before.loss_curve_
    assert len(detector.loss_curve_) == 3
    for pair, earlier in zip(detector._pairs, before._pairs, strict=True):
        now, then = pair.state_dict(), earlier.state_dict()
        changed = {name for name in now if not torch.equal(now[name], then[name])}
        assert changed == {name for name in now if name.startswith("predictor.")}
    assert not np.array_equal(detector.score_samples(images), before.score_samples(images))
    # One pass is what a warm start of one epoch makes.
    warm = before.set_params(warm_start=True, max_epochs=1).fit(2 * images)
    np.testing.assert_array_equal(warm.score_samples(images), detector.score_samples(images))
    assert warm.offset_ == detector.offset_


class Power(torch.nn.Module):
    """Overflows where values are large."""

    def forward(self, x):
        return x**7


def overflowing(input_shape):
    return torch.nn.Sequential(flat_network(input_shape), Power())


def half_frozen(input_shape):
    """A network of a user, of which the last layer alone is to be trained."""
    return torch.nn.Sequential(
        flat_network(input_shape).requires_grad_(False), torch.nn.Linear(16, 8)
    )


def test_what_a_network_has_frozen_stays_so(images):
    def frozen_weights(detector):
        return detector._pairs[0].predictor.state_dict()["members.0.0.1.weight"]

    detector = SVDRNDDetector(network=half_frozen, max_epochs=1, random_state=0).fit(images)
    before = frozen_weights(detector)
    assert torch.equal(frozen_weights(detector.partial_fit(images)), before)
    loaded = pickle.loads(pickle.dumps(detector))
    assert torch.equal(frozen_weights(loaded.partial_fit(images)), before)


def test_what_goes_on_finds_the_new_normal(rng):
    """Rows that were novel become normal, and the threshold follows."""
    old, new = rng.normal(size=(500, 4)), rng.normal(size=(500, 4)) + 4.0
    detector = SVDRNDDetector(random_state=0).fit(old)
    assert np.mean(detector.predict(new) == -1) > 0.9
    for _ in range(10):
        detector.partial_fit(np.concatenate([old, new]))
    fresh = rng.normal(size=(500, 4)) + 4.0
    assert np.mean(detector.predict(fresh) == -1) < 0.15


@pytest.mark.parametrize("method", ["warm fit", "partial_fit", "loaded"])
def test_what_goes_on_sets_no_threshold_by_rows_it_was_trained_on(method, rng, tmp_path):
    """Among other rows, and though each fit draws rows to hold out of its own."""
    X, fresh = rng.normal(size=(600, 10)), rng.normal(size=(2000, 10))
    detector = SVDRNDDetector(max_epochs=60, n_estimators=1, random_state=0).fit(X)
    if method == "loaded":
        save(detector, tmp_path / "detector")
        detector = load(tmp_path / "detector")
    if method == "warm fit":
        detector.set_params(warm_start=True, random_state=1)
        detector.fit(np.concatenate([rng.normal(size=(100, 10)), X]))
    else:
        for seed in range(1, 6):
            detector.set_params(random_state=seed).partial_fit(X)
    # The rate that 60 rows set varies by .03, and was .3 by rows that were trained on.
    assert np.mean(detector.predict(fresh) == -1) < 0.17
    detector.set_params(contamination=0.1).partial_fit(X)
    # A share of X promises nothing of new rows.
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        detector.set_params(early_stopping=True).partial_fit(X)
    detector.set_params(contamination="auto", early_stopping=False)
    with pytest.warns(CalibrationWarning, match="All rows of X have been trained on before"):
        detector.partial_fit(X)


def test_what_goes_on_takes_its_rows_for_what_they_were(images, monkeypatch):
    """Images, though a parameter that says so has been taken away since."""
    detector = SVDRNDDetector(image_shape=(3, 8, 8), warm_start=True, **QUICK)
    detector.fit(images.reshape(60, -1))
    taken = []

    def noted(precision, device, *, plain):
        taken.append(plain)
        return resolve_precision(precision, device, plain=plain)

    monkeypatch.setattr(skrnd._detector, "resolve_precision", noted)
    detector.set_params(image_shape=None).fit(images[::-1].reshape(60, -1))
    assert taken == [False]


def test_rows_of_all_earlier_fits_are_known_again(rng):
    first, second = rng.normal(size=(2, 300, 4))
    detector = SVDRNDDetector(n_estimators=1, max_epochs=1, random_state=0).fit(first)
    detector.partial_fit(second)
    with pytest.warns(CalibrationWarning, match="270 of 300 rows were trained on"):
        detector.calibrate(first)


def test_what_sets_the_scale_of_scores_is_not_looked_at_again(images):
    """By a fit that goes on, as the targets are there and mean what they did."""
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images)
    expected = copy.deepcopy(detector).partial_fit(images[::-1]).score_samples(images)
    detector.set_params(network=flat_network, n_estimators=3, k=99, blur="dct", geometry=Rotate())
    detector.partial_fit(images[::-1])
    np.testing.assert_array_equal(detector.score_samples(images), expected)
    assert detector.n_estimators_ == 1
    loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(loaded.score_samples(images), expected)


def test_a_fit_that_begins_anew_forgets_the_one_before(rng):
    first, second = rng.normal(size=(2, 60, 4))
    detector = SVDRNDDetector(n_estimators=1, max_epochs=2, random_state=0).fit(first)
    expected = clone(detector).fit(second)
    assert detector.fit(second).loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(detector.score_samples(first), expected.score_samples(first))


def test_without_a_fit_before_both_begin_one(images):
    expected = SVDRNDDetector(max_epochs=2, random_state=0).fit(images).score_samples(images)
    first = SVDRNDDetector(max_epochs=2, random_state=0).partial_fit(images)
    warm = SVDRNDDetector(max_epochs=2, random_state=0, warm_start=True).fit(images)
    for detector in (first, warm):
        np.testing.assert_array_equal(detector.score_samples(images), expected)


def test_going_on_that_is_refused_leaves_the_detector_as_it_was(images, monkeypatch):
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images)
    scores, offset = detector.score_samples(images), detector.offset_

    def fail(*args, **kwargs):
        raise RuntimeError("in the middle")

    with pytest.raises(ValueError, match="rows of shape"):
        detector.partial_fit(images[:, :-1])
    with pytest.raises(ValueError, match="'contamination' parameter"):
        detector.set_params(contamination="automatic").partial_fit(images)
    detector.set_params(contamination="auto")
    monkeypatch.setattr(SVDRNDDetector, "_set_threshold", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        detector.partial_fit(images)
    np.testing.assert_array_equal(detector.score_samples(images), scores)
    assert detector.offset_ == offset
    assert len(detector.loss_curve_) == 1


def test_copies_that_are_no_copies_are_warned_of_in_the_callers_line(images):
    with pytest.warns(UserWarning, match="leaves the images as they are") as caught:
        SVDRNDDetector(blur=FunctionTransformer(), **QUICK).fit(images)
    assert caught[0].filename == __file__


def test_learning_from_values_of_another_range_is_warned_of(images):
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images)
    # Not for less than ten times.
    for factor in (1 / 9, 9):
        copy.deepcopy(detector).partial_fit(factor * images)
    for factor in (1 / 11, 11):
        with pytest.warns(UserWarning, match=r"The values of X spread .* times as far"):
            copy.deepcopy(detector).partial_fit(factor * images)
    with pytest.warns(UserWarning, match=r"spread 0\.004 times as far as those of the") as caught:
        detector.partial_fit(images / 250)
    assert caught[0].filename == __file__
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images)
    with pytest.warns(UserWarning, match=r"spread 2\.5e\+02 times as far"):
        detector.partial_fit(250 * images)


def test_images_of_a_smaller_range_are_warned_of(images):
    detector = SVDRNDDetector(**QUICK).fit(images)
    for method in (detector.predict, detector.p_values, detector.calibrate):
        with pytest.warns(UserWarning, match=r"spread 0\.004 times.*its scores are of no use"):
            method(images / 250)
    # These may be what they are. The mean of many .1 is not .1.
    detector.predict(np.zeros_like(images))
    detector.predict(np.full_like(images, 0.1))
    detector.predict(images / 10)
    detector.predict(250 * images)


def test_calibrating_while_another_thread_fits_is_refused(images, monkeypatch):
    detector = SVDRNDDetector(**QUICK).fit(images)
    novelties_of = SVDRNDDetector._novelties_of

    def meanwhile(self, X):
        monkeypatch.undo()
        offsets.append(detector.partial_fit(images).offset_)
        return novelties_of(self, X)

    offsets = []
    monkeypatch.setattr(SVDRNDDetector, "_novelties_of", meanwhile)
    with pytest.raises(RuntimeError, match="fitted by another thread meanwhile"):
        detector.calibrate(images)
    (offset,) = offsets
    assert detector.offset_ == offset
    assert detector.calibrate(images).offset_ != offset


def test_rows_for_which_networks_overflow_set_no_threshold(images):
    detector = SVDRNDDetector(network=overflowing, **QUICK).fit(images)
    far = images.copy()
    far[0] *= 1e30
    assert detector.p_values(far)[0] == detector.p_values(far).min()
    with pytest.raises(ValueError, match="errors are not finite"):
        detector.calibrate(far)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_until_a_fit_has_ended_scores_are_those_of_before(images, monkeypatch, method):
    """As another thread sees the detector, step by step."""
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images)
    before = detector.score_samples(images), detector.predict(images), detector.p_values(images)
    n_seen = 0

    def look():
        nonlocal n_seen
        n_seen += 1
        np.testing.assert_array_equal(detector.score_samples(images), before[0])
        np.testing.assert_array_equal(detector.predict(images), before[1])
        np.testing.assert_array_equal(detector.p_values(images), before[2])

    def looked_at(original):
        def step(*args, **options):
            look()
            result = original(*args, **options)
            look()
            return result

        return step

    for where, step in ((skrnd._detector, "run_epochs"), (SVDRNDDetector, "_set_threshold")):
        monkeypatch.setattr(where, step, looked_at(getattr(where, step)))
    getattr(detector, method)(images[::-1] * 2)
    assert n_seen == 4
    assert not np.array_equal(detector.score_samples(images), before[0])


def test_a_verdict_is_of_one_moment(images, monkeypatch):
    """A calibration in another thread moves the threshold between score and verdict."""
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(images)
    expected = detector.predict(images), detector.p_values(images)
    decisions = detector.decision_function(images)
    offset, kept = detector.offset_, detector.calibration_scores_
    original = SVDRNDDetector._scores

    def scores(self, novelties):
        detector.offset_, detector.calibration_scores_ = np.inf, np.zeros(3)
        return original(self, novelties)

    monkeypatch.setattr(SVDRNDDetector, "_scores", scores)
    for method, wanted in zip(("predict", "p_values"), expected, strict=True):
        np.testing.assert_array_equal(getattr(detector, method)(images), wanted)
        detector.offset_, detector.calibration_scores_ = offset, kept
    np.testing.assert_array_equal(detector.decision_function(images), decisions)


class Pictures(torch.utils.data.Dataset):
    """Images one by one, with labels or without."""

    def __init__(self, images, labelled):
        self.images = images
        self.labelled = labelled

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        image = torch.tensor(self.images[row])
        return (image, 1) if self.labelled else image


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images: Pictures(images, labelled=False),
        lambda images: Pictures(images, labelled=True),
        lambda images: torch.utils.data.TensorDataset(torch.tensor(images)),
        lambda images: torch.utils.data.DataLoader(Pictures(images, labelled=True), batch_size=7),
    ],
)
def test_datasets_and_loaders_of_torch_are_images(wrap, images):
    expected = SVDRNDDetector(**QUICK).fit(images)
    detector = SVDRNDDetector(**QUICK).fit(wrap(images))
    assert detector.sample_shape_ == (3, 8, 8)
    scores = expected.score_samples(images)
    np.testing.assert_allclose(detector.score_samples(wrap(images)), scores, rtol=1e-6)
    blur = SVDBlur(2)
    np.testing.assert_allclose(
        np.asarray(blur.fit_transform(wrap(images))), blur.fit_transform(images), atol=1e-6
    )


@pytest.mark.usefixtures("may_dispatch")
def test_tensors_come_back_where_scikit_learn_dispatches(images):
    X = torch.tensor(images)
    detector = SVDRNDDetector(**QUICK).fit(X)
    methods = (detector.score_samples, detector.decision_function, detector.predict)
    for method in (*methods, detector.p_values):
        expected = method(X)
        assert isinstance(expected, np.ndarray)
        with config_context(array_api_dispatch=True):
            values = method(X)
            assert isinstance(method(images), np.ndarray)
        assert values.device == X.device
        np.testing.assert_array_equal(values.numpy(), expected)
    y = np.r_[np.ones(40), -np.ones(20)]
    expected = detection_scorer(detector, images, y)
    with config_context(array_api_dispatch=True):
        assert detection_scorer(detector, X, y) == expected
        assert detection_scorer(detector, X, torch.from_numpy(y)) == expected
        ScoreHistogramDisplay.from_estimator(detector, X, y)
        DetectionCurveDisplay.from_estimator(detector, X, y)
        ContactSheetDisplay.from_estimator(detector, X)
    plt.close("all")


def test_memory_keeps_what_the_candidates_of_a_search_share(images, tmp_path):
    """One decomposition whatever k; what each target says, of the images and of the copy."""

    def kept(**params):
        options = {"blur": "svd", "max_epochs": 1, "random_state": 0, **params}
        with_memory = SVDRNDDetector(memory=str(tmp_path), **options).fit(images)
        without = SVDRNDDetector(**options).fit(images)
        np.testing.assert_array_equal(
            with_memory.score_samples(images), without.score_samples(images)
        )
        return len(list(tmp_path.rglob("output.pkl")))

    assert kept(k=2) == 3
    assert kept(k=5) == 4
    assert kept(k=5, learning_rate=1e-3) == 4
    # Another seed holds other rows out.
    assert kept(k=5, random_state=1) == 7
    # What a function builds may have changed since.
    assert kept(k=5, network=flat_network) == 7


def test_memory_tells_targets_from_those_of_another_seed(images, tmp_path):
    """Of the same rows, as all are trained on where `contamination` is a number."""
    params = {"blur": None, "contamination": 0.1, "max_epochs": 1}
    for seed in (0, 1, 0):
        detector = SVDRNDDetector(random_state=seed, **params)
        expected = clone(detector).fit(images).score_samples(images)
        detector.set_params(memory=str(tmp_path)).fit(images)
        np.testing.assert_array_equal(detector.score_samples(images), expected)
    assert len(list(tmp_path.rglob("output.pkl"))) == 2


@pytest.mark.slow
def test_blurred_copies_cure_the_blindness_to_smooth_images(load_images):
    """The whole idea: plain RND calls SVHN more normal than CIFAR-10, SVD-RND does not."""

    def halved(name, n):
        return load_images(name, n).reshape(n, 3, 16, 2, 16, 2).mean((3, 5))

    X = halved("cifar10_train", 300)
    known, novel = halved("cifar10_test", 200), halved("svhn", 200)
    y = np.r_[np.ones(200), np.zeros(200)]
    auroc = {}
    for blur in (None, "svd"):
        detector = SVDRNDDetector(blur=blur, max_epochs=30, random_state=0).fit(X)
        scores = [detector.score_samples(images) for images in (known, novel)]
        auroc[blur] = roc_auc_score(y, np.concatenate(scores))
    assert auroc[None] < 0.5
    assert auroc["svd"] > 0.85


@pytest.mark.slow
def test_a_fitted_detector_knows_its_own_blur(rng):
    def textures(n):
        return rng.normal(size=(n, 8, 8)).cumsum(axis=1).astype(np.float32)

    detector = SVDRNDDetector(7, blur="svd", max_epochs=10, random_state=0).fit(textures(500))
    known = textures(100)
    blurred = SVDBlur(7).fit_transform(known)
    y = np.r_[np.ones(100), np.zeros(100)]
    scores = detector.score_samples(np.concatenate([known, blurred]))
    assert roc_auc_score(y, scores) > 0.9


@pytest.mark.slow
def test_two_sides_are_found_where_one_side_finds_one(rng):
    def textures(n):
        return rng.normal(size=(n, 8, 8)).cumsum(axis=1).astype(np.float32)

    X, known = textures(500), textures(200)
    sharp = SVDSharpen(k=4, gain=3.0).fit_transform(known)
    y = np.r_[np.ones(200), np.zeros(200)]
    auroc = {}
    for blur in ("svd", "two-sided"):
        detector = SVDRNDDetector(blur=blur, max_epochs=10, random_state=0).fit(X)
        auroc[blur] = roc_auc_score(y, detector.score_samples(np.concatenate([known, sharp])))
    assert auroc["two-sided"] > 0.9
    assert auroc["two-sided"] > auroc["svd"] + 0.1


def test_false_alarms_on_new_rows_are_those_stated(rng):
    """2,000 held-out rows: the rate of the threshold has a standard deviation of .005."""
    X, X_new = rng.normal(size=(2, 4000, 5))
    detector = SVDRNDDetector(
        validation_fraction=0.5, max_epochs=20, n_estimators=1, random_state=0
    ).fit(X)
    assert (detector.predict(X_new) == -1).mean() == pytest.approx(0.05, abs=0.02)


def test_contamination_is_the_share_of_training_rows(images):
    detector = SVDRNDDetector(contamination=0.25, **QUICK).fit(images)
    assert (detector.predict(images) == -1).sum() == 15


def test_the_criterion_is_contrast_for_two_sides_and_error_for_all_else(images):
    """Of the same networks, which are drawn and trained alike."""

    def scores(**params):
        return SVDRNDDetector(**QUICK, **params).fit(images).score_samples(images)

    np.testing.assert_array_equal(scores(), scores(criterion="contrast"))
    np.testing.assert_array_equal(scores(), scores(blur=["two-sided"]))
    np.testing.assert_array_equal(scores(blur="svd"), scores(blur="svd", criterion="error"))
    np.testing.assert_array_equal(scores(blur=None), scores(blur=None, criterion="contrast"))


@pytest.mark.parametrize(
    ("params", "n_judgements"),
    [
        ({"blur": "svd"}, 1),
        ({"blur": "svd", "criterion": "contrast"}, 2),
        ({"criterion": "error"}, 2),
        ({}, 4),
    ],
)
def test_a_row_is_as_novel_as_the_most_surprised_judgement_finds_it(images, params, n_judgements):
    """Each in units of what all but the alarms among the training rows stay below."""
    detector = SVDRNDDetector(contamination=0.2, **QUICK, **params).fit(images)
    inputs = (images - detector.mean_[:, None, None]) / detector.scale_[:, None, None]
    with torch.no_grad():
        x = torch.from_numpy(inputs.astype(np.float32))
        novelties = torch.cat([pair(x) for pair in detector._pairs], dim=1).numpy()
    assert novelties.shape == (len(images), n_judgements)
    levels = np.quantile(novelties, 0.8, axis=0) if n_judgements > 1 else 1.0
    expected = -(novelties / levels).max(axis=1)
    np.testing.assert_allclose(detector.score_samples(images), expected, rtol=1e-4)


def test_a_judgement_that_finds_nothing_does_not_divide_by_zero(images, monkeypatch):
    """No row has any contrast, so its level is 0."""
    judge = SVDRNDDetector._novelties
    monkeypatch.setattr(
        SVDRNDDetector, "_novelties", lambda *args, **kw: judge(*args, **kw) * [1, 0]
    )
    detector = SVDRNDDetector(blur="svd", criterion="contrast", **QUICK).fit(images)
    assert np.isfinite(detector.score_samples(images)).all()


def test_held_out_rows_are_not_trained_on(images, monkeypatch):
    """Each row is told by its first pixel."""

    def record(predictor, targets, copies, **options):
        trained_on.append(copies[0][:, 0, 0, 0].tolist())
        return original(predictor, targets, copies, **options)

    def conclude(self, curves, *, judged, **options):
        held_out.append(judged[0][:, 0, 0, 0].tolist())
        return original_conclude(self, curves, judged=judged, **options)

    original, original_conclude = skrnd._detector.Training, SVDRNDDetector._conclude
    monkeypatch.setattr(skrnd._detector, "Training", record)
    monkeypatch.setattr(SVDRNDDetector, "_conclude", conclude)
    for contamination, n_trained, n_held_out in (("auto", 45, 15), (0.1, 60, 60)):
        trained_on, held_out = [], []
        SVDRNDDetector(contamination=contamination, validation_fraction=0.25, **QUICK).fit(images)
        assert all(len(set(rows)) == n_trained for rows in trained_on)
        assert all(len(set(rows)) == n_held_out for rows in held_out)
        shared = set(trained_on[0]) & set(held_out[0])
        assert len(shared) == (0 if contamination == "auto" else 60)


# -- the threshold -----------------------------------------------------------


@pytest.fixture(scope="module")
def calibrated():
    """A detector of rows, 1,000 of which are held out, and a function that draws more."""
    rng = np.random.default_rng(0)
    draw = lambda n: rng.normal(size=(n, 4))  # noqa: E731
    params = {"n_estimators": 1, "max_epochs": 10, "validation_fraction": 0.5, "random_state": 0}
    return SVDRNDDetector(**params).fit(draw(2000)), draw


def test_calibration_moves_the_threshold_and_nothing_else(calibrated):
    detector, draw = calibrated
    X = draw(50)
    before = detector.score_samples(X)
    offsets = [detector.offset_]
    for rate in (0.01, 0.1, 0.3):
        assert detector.calibrate(draw(4000), false_alarm_rate=rate) is detector
        assert (detector.predict(draw(4000)) == -1).mean() == pytest.approx(rate, abs=0.02)
        offsets.append(detector.offset_)
    np.testing.assert_array_equal(detector.score_samples(X), before)
    assert len(set(offsets)) == 4
    assert detector.calibration_scores_.shape == (4000,)
    assert (np.diff(detector.calibration_scores_) >= 0).all()


def test_calibration_by_rows_of_another_kind_is_warned_of(calibrated):
    """Most of which were novel so far."""
    detector, draw = calibrated
    with pytest.warns(UserWarning, match="100 of 100 rows, which are to be normal, were novel"):
        detector.calibrate(draw(100) + 100)
    detector.calibrate(draw(100) + 100)


def test_p_values_agree_with_the_threshold(calibrated):
    detector, draw = calibrated
    detector.calibrate(draw(999), false_alarm_rate=0.1)
    X = draw(2000)
    p_values = detector.p_values(X)
    assert p_values.dtype == np.float64
    assert ((p_values > 0) & (p_values <= 1)).all()
    np.testing.assert_array_equal(detector.predict(X) == -1, p_values <= 0.1)
    for level in (0.01, 0.05, 0.2):
        assert (p_values <= level).mean() <= level + 0.02
    assert (detector.p_values(X + 100) == 1 / 1000).all()


@pytest.mark.filterwarnings("error::skrnd.CalibrationWarning")
def test_most_rows_of_another_kind_are_more_than_half(calibrated):
    detector, draw = calibrated
    detector.calibrate(draw(999))
    X = draw(200)
    normal, novel = X[detector.predict(X) == 1][:50], draw(51) + 100
    copy.deepcopy(detector).calibrate(np.concatenate([normal, novel[:50]]))
    with pytest.warns(CalibrationWarning, match="51 of 101 rows, which are to be normal"):
        copy.deepcopy(detector).calibrate(np.concatenate([normal, novel]))


def test_rows_that_were_trained_on_set_no_threshold_unnoticed(images):
    detector = SVDRNDDetector(**QUICK).fit(images)
    with pytest.warns(CalibrationWarning, match=r"54 of 60 rows were trained on.*rate=0\.05"):
        detector.calibrate(images)
    new = images + 1e-3
    with pytest.warns(CalibrationWarning, match=r"of 110 rows were trained on"):
        detector.calibrate(np.concatenate([new, images[:50]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.calibrate(np.concatenate([new, images[:15]]))


@pytest.mark.filterwarnings("error::skrnd.CalibrationWarning")
def test_a_quarter_of_the_rows_may_have_been_trained_on(images):
    detector = SVDRNDDetector(contamination=0.1, **QUICK).fit(images)
    new = images + 1e-3
    detector.calibrate(np.concatenate([new, images[:20]]))
    with pytest.raises(CalibrationWarning, match="21 of 81 rows were trained on"):
        detector.calibrate(np.concatenate([new, images[:21]]))


@pytest.mark.parametrize(("blur", "n_rows"), [("svd", 30), ("two-sided", 20)])
def test_held_out_rows_calibrate_and_are_kept(blur, n_rows, images):
    """A third of them compares judgements, where there are several."""
    detector = SVDRNDDetector(blur=blur, validation_fraction=0.5, **QUICK).fit(images)
    assert detector.calibration_scores_.shape == (n_rows,)
    assert (detector.calibration_scores_ < detector.offset_).mean() == pytest.approx(0.05, abs=0.04)
    assert set(detector.calibration_scores_) < set(detector.score_samples(images))


@pytest.mark.filterwarnings("default::skrnd.CalibrationWarning")
def test_too_few_rows_to_calibrate_are_told_of(images):
    """A third of them compares judgements, where there are several."""
    with pytest.warns(
        CalibrationWarning, match="held out to set the threshold: 4; fewer than 19.*5%"
    ) as caught:
        detector = SVDRNDDetector(**QUICK).fit(images)
    assert caught[0].filename == __file__
    before = detector.offset_
    for rate, fewest in ((0.05, 29), (0.01, 149)):
        with pytest.raises(ValueError, match=f"={rate} requires at least {fewest} rows"):
            detector.calibrate(images[:18], false_alarm_rate=rate)
    for rate in (0, 1, -1, 2, np.nan):
        with pytest.raises(ValueError, match="'false_alarm_rate' parameter"):
            detector.calibrate(images, false_alarm_rate=rate)
    with pytest.raises(ValueError, match=r"'false_alarm_rate' parameter .*Got '5 %'"):
        detector.calibrate(images, false_alarm_rate="5 %")
    assert detector.offset_ == before
    with pytest.raises(ValueError, match=r"at least 29 rows; got 28\."):
        detector.calibrate(images[:28])
    new = images + 1e-3
    detector.calibrate(new[:29])
    detector.calibrate(new, false_alarm_rate=np.float32(0.1))
    with pytest.warns(CalibrationWarning):
        one_judgement = SVDRNDDetector(blur="svd", **QUICK).fit(images)
    one_judgement.calibrate(new[:19])
    for one, fewest in ((detector, 29), (one_judgement, 19)):
        with pytest.raises(ValueError, match=rf"at least {fewest} rows; got 1\."):
            one.calibrate(new[:1])


@pytest.mark.parametrize(
    ("params", "too_few", "enough"),
    [
        ({}, 280, 281),
        ({"blur": "svd"}, 180, 181),
        ({"blur": "svd", "criterion": "contrast"}, 280, 281),
        ({"criterion": "error"}, 280, 281),
        ({"criterion": "contrast", "blur": None, "k": "auto"}, 180, 181),
        ({"blur": "svd", "validation_fraction": 0.3}, 60, 61),
    ],
)
def test_too_few_rows_are_told_of_before_the_training(params, too_few, enough, rng, monkeypatch):
    """As an error, the warning must not cost hours."""

    def run_epoch(trainings):
        raise ZeroDivisionError

    monkeypatch.setattr(skrnd._epochs, "run_epoch", run_epoch)
    X = rng.normal(size=(enough, 4, 4))
    detector = SVDRNDDetector(**{"k": 2, **QUICK, **params})
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        with pytest.raises(CalibrationWarning, match="to set the threshold: 18; fewer than 19"):
            detector.fit(X[:too_few])
        with pytest.raises(ZeroDivisionError):
            detector.fit(X)


def test_p_values_need_rows_held_out(images):
    detector = SVDRNDDetector(contamination=0.1, **QUICK)
    for method in (detector.calibrate, detector.p_values):
        with pytest.raises(NotFittedError):
            method(images)
    detector.fit(images)
    with pytest.raises(ValueError, match=r"held no row out.*calibrate"):
        detector.p_values(images)
    assert detector.calibrate(images).p_values(images).shape == (60,)


def test_calibration_compares_judgements_at_the_rate_of_the_call(images, monkeypatch):
    """Where errors have a longer tail than contrasts, those would drown in it otherwise."""
    detector = SVDRNDDetector(blur="two-sided", **QUICK).fit(images)
    rng = np.random.default_rng(0)
    normal = np.column_stack([rng.exponential(size=(3000, 2)) ** 2, rng.uniform(size=(3000, 2))])
    novel = np.array([[0.1, 0.1, 1.2, 0.1]])
    for rate in (0.05, 0.01):
        monkeypatch.setattr(SVDRNDDetector, "_novelties", lambda *args, **kw: normal)
        detector.calibrate(images, false_alarm_rate=rate)
        compared, others = rows_apart(normal)
        levels = [np.quantile(column, 1 - rate, method="weibull") for column in compared.T]
        np.testing.assert_allclose(detector._units, levels, rtol=1e-4)
        scores = np.sort(-(others / levels).max(axis=1))
        np.testing.assert_allclose(detector.calibration_scores_, scores, rtol=1e-4)
        assert detector.offset_ == pytest.approx(
            np.quantile(scores, rate, method="weibull"), rel=1e-4
        )
    monkeypatch.setattr(SVDRNDDetector, "_novelties", lambda *args, **kw: novel)
    assert -1.3 < detector.score_samples(images[:1]) < -1.1


# -- input -------------------------------------------------------------------


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: np.moveaxis(X, 1, -1),
        lambda X: X.tolist(),
        lambda X: torch.from_numpy(X),
        lambda X: X.astype(">f4"),
        lambda X: np.asfortranarray(X),
        lambda X: X.astype(np.float64),
    ],
    ids=["channels last", "list", "tensor", "byte order", "fortran", "float64"],
)
def test_layouts_and_containers_give_the_same_model(convert, images):
    expected = SVDRNDDetector(**QUICK).fit(images).score_samples(images)
    X = convert(images)
    np.testing.assert_allclose(SVDRNDDetector(**QUICK).fit(X).score_samples(X), expected, rtol=1e-5)


def test_few_features_are_no_doubtful_images(rng):
    """Nor do plain rows that are alike mean that they were prepared in another way."""
    X = rng.normal(size=(60, 63))
    detector = SVDRNDDetector(k=4, n_estimators=1, **QUICK).fit(X)
    detector.predict(X[:5] / 1000)


def test_what_is_held_out_has_no_part_in_the_scale():
    detector = SVDRNDDetector(validation_fraction=0.5, n_estimators=1, **QUICK)
    detector.fit(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert detector.mean_.tolist() in ([0.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize("params", [{"k": 4}, {"geometry": Rotate()}])
def test_what_has_no_effect_on_plain_rows_is_warned_of(params, images):
    rows = images.reshape(60, -1)
    expected = SVDRNDDetector(**QUICK).fit(rows).score_samples(rows)
    with pytest.warns(UserWarning, match=r"plain rows of 192 features.*no effect.*image_shape"):
        detector = SVDRNDDetector(**QUICK, **params).fit(rows)
    np.testing.assert_array_equal(detector.score_samples(rows), expected)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"k": []}, "k is empty"),
        ({"blur": ["nope"]}, "Unknown blur 'nope'"),
        ({"blur": [None]}, "lists None"),
        ({"geometry": [3]}, "geometry must hold transformers"),
    ],
)
def test_what_makes_no_copies_of_images_is_refused_for_plain_rows_too(params, match, rng):
    with pytest.raises((ValueError, TypeError), match=match):
        SVDRNDDetector(**QUICK, **params).fit(rng.normal(size=(50, 3)))


@pytest.mark.parametrize("shape", [(64, 64), (60, 3, 8, 8)])
def test_rows_that_look_like_images_are_warned_of(shape, rng):
    smooth = rng.integers(0, 40, size=shape).cumsum(-1) % 256
    rows = smooth.reshape(len(smooth), -1)
    with pytest.warns(UserWarning, match="plain rows of .* square image.*image_shape") as caught:
        SVDRNDDetector(**QUICK).fit(rows)
    assert caught[0].filename == __file__
    # Counts of words, other values, a length that no square has.
    for others in (rng.poisson(5, size=rows.shape), rows + 0.5, rows * 10, rows[:, :-1]):
        SVDRNDDetector(**QUICK).fit(others)


@pytest.mark.filterwarnings("default::skrnd.CalibrationWarning")
@pytest.mark.parametrize("shape", [(300, 4), (200, 1, 8, 8)])
def test_rows_that_are_more_than_once_in_X_are_warned_of(shape, rng, recwarn):
    """Those held out are trained on as well, and new ones score worse."""
    X = rng.normal(size=shape)
    detector = SVDRNDDetector(**QUICK, blur="svd").fit(X)
    assert not [one for one in recwarn if "equal to rows" in str(one.message)]
    with pytest.warns(CalibrationWarning, match=r"held out .* are equal to rows") as caught:
        detector.fit(np.concatenate([X, X[: len(X) // 3]]))
    (own,) = [one for one in caught if "equal to rows" in str(one.message)]
    assert own.filename == __file__
    # Some may be alike by nature.
    recwarn.clear()
    detector.fit(np.concatenate([X, X[: len(X) // 20]]))
    # Nor does a share of X promise anything of new rows.
    detector.set_params(contamination=0.1, early_stopping=True)
    detector.fit(np.concatenate([X, X[: len(X) // 3]]))
    assert not [one for one in recwarn if "equal to rows" in str(one.message)]


def test_two_labels_of_which_none_is_an_outlier_are_warned_of(images):
    y = np.r_[np.zeros(50), np.ones(10)]
    with pytest.warns(UserWarning, match=r"labels 0\.0 and 1\.0, and all rows") as caught:
        detector = SVDRNDDetector(**QUICK).fit(images, y)
    assert caught[0].filename == __file__
    expected = SVDRNDDetector(**QUICK).fit(images).score_samples(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected)


def test_flat_rows_with_image_shape_are_images(images):
    expected = SVDRNDDetector(**QUICK).fit(images).score_samples(images)
    frame = pd.DataFrame(images.reshape(60, -1), columns=[f"pixel_{i}" for i in range(192)])
    detector = SVDRNDDetector(image_shape=(3, 8, 8), **QUICK).fit(frame)
    np.testing.assert_array_equal(detector.score_samples(frame), expected)
    assert detector.feature_names_in_.tolist() == list(frame.columns)
    assert detector.n_features_in_ == 192
    assert detector.input_shape_ == (3, 8, 8)


def test_integers_and_memory_maps(rng, tmp_path):
    X = rng.integers(0, 256, size=(40, 8, 8, 3)).astype(np.uint8)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = SVDRNDDetector(**QUICK).fit(X.astype(np.float64)).score_samples(X)
    np.testing.assert_array_equal(SVDRNDDetector(**QUICK).fit(mapped).score_samples(X), expected)


@pytest.mark.parametrize("kind", ["h5py", "zarr", "dask"])
def test_arrays_are_read_slice_by_slice(kind, images, tmp_path):
    expected = SVDRNDDetector(**QUICK).fit(images)
    with contextlib.ExitStack() as stack:
        if kind == "h5py":
            file = stack.enter_context(h5py.File(tmp_path / "X.h5", "w"))
            X = file.create_dataset("X", data=images)
        elif kind == "zarr":
            X = zarr.create_array(tmp_path / "X.zarr", data=images, chunks=(7, 3, 8, 8))
        else:
            X = dask.array.from_array(images, chunks=(7, 3, 8, 8))
        detector = SVDRNDDetector(**QUICK).fit(X)
        np.testing.assert_array_equal(detector.score_samples(X), expected.score_samples(images))
        assert detector.offset_ == expected.offset_


class Unread:
    """An array that may be read in slices alone, and remembers their lengths."""

    def __init__(self, X):
        self.X = X
        self.shape, self.dtype, self.ndim, self.chunks = X.shape, X.dtype, X.ndim, None
        self.lengths = []

    def __len__(self):
        return len(self.X)

    def __getitem__(self, rows):
        self.lengths.append(len(self.X[rows]))
        return self.X[rows]

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read as a whole")


@pytest.mark.filterwarnings("ignore:The values of X:UserWarning")
def test_no_array_is_read_as_a_whole(images, monkeypatch):
    monkeypatch.setattr(skrnd._inputs, "_BLOCK_VALUES", 10 * images[0].size)
    X = Unread(images)
    detector = SVDRNDDetector(**QUICK).fit(X)
    for method in ("partial_fit", "score_samples", "predict", "p_values", "calibrate"):
        getattr(detector, method)(X)
    # Up to four times the rows that are wanted, where some between them are not.
    assert max(X.lengths) <= 40


def test_bad_values_that_are_found_late_change_nothing(images):
    detector = SVDRNDDetector(**QUICK).fit(images)
    before = vars(detector).copy()
    X = images.copy()
    X[50, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        detector.fit(dask.array.from_array(X))
    with pytest.raises(ValueError, match="contains NaN"):
        detector.score_samples(dask.array.from_array(X))
    assert vars(detector) == before


def test_a_fit_from_files_is_that_in_memory(images, monkeypatch):
    """With next to no working memory, all arrays of a fit live in files."""
    mapped = []

    class Spy(np.memmap):
        def __new__(cls, *args, **kwargs):
            mapped.append(kwargs["shape"])
            return super().__new__(cls, *args, **kwargs)

    expected = SVDRNDDetector(**QUICK).fit(images).score_samples(images)
    assert mapped == []
    monkeypatch.setattr(np, "memmap", Spy)
    with config_context(working_memory=1e-6):
        detector = SVDRNDDetector(**QUICK).fit(images)
    # The images, those held out, and three copies; what five targets say.
    one = (54, 3, 8, 8)
    assert mapped == [one, (6, 3, 8, 8), one, one, one] + [(54, 128)] * 5
    np.testing.assert_array_equal(detector.score_samples(images), expected)


def test_bfloat16_tensors_are_taken(images):
    X = torch.from_numpy(images).bfloat16()
    expected = SVDRNDDetector(**QUICK).fit(X.float().numpy()).score_samples(images)
    np.testing.assert_array_equal(SVDRNDDetector(**QUICK).fit(X).score_samples(images), expected)


@pytest.mark.parametrize(
    "shape", [(8, 8), (1, 8, 8), (16, 24, 2), (4, 33, 20), (64, 64, 3), (3, 128, 128), (5, 7)]
)
def test_images_of_all_sizes(shape, rng):
    X = rng.integers(0, 256, size=(12, *shape)).astype(np.uint8)
    assert np.isfinite(SVDRNDDetector(**QUICK).fit(X).score_samples(X)).all()


@pytest.mark.slow
def test_images_of_256_pixels(rng):
    X = rng.integers(0, 256, size=(8, 256, 256, 3)).astype(np.uint8)
    assert np.isfinite(SVDRNDDetector(**QUICK).fit(X).score_samples(X)).all()


def test_channels_are_standardised(images):
    X = images * np.array([1, 10, 100])[:, None, None] + np.array([0, 50, -3])[:, None, None]
    detector = SVDRNDDetector(contamination=0.1, **QUICK).fit(X)
    np.testing.assert_allclose(detector.mean_, X.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(detector.scale_, X.std(axis=(0, 2, 3)))
    np.testing.assert_allclose(
        detector.score_samples(X),
        SVDRNDDetector(contamination=0.1, **QUICK).fit(images).score_samples(images),
        rtol=1e-3,
    )


@pytest.mark.parametrize(("many_rows", "expected"), [(55, 1), (54, 2)])
def test_two_pairs_are_averaged_from_many_images_on(images, monkeypatch, many_rows, expected):
    monkeypatch.setattr(skrnd._detector, "_MANY_ROWS", many_rows)
    assert SVDRNDDetector(**QUICK).fit(images).n_estimators_ == expected
    own = SVDRNDDetector(network=flat_network, **QUICK).fit(images)
    assert own.n_estimators_ == 1
    asked = SVDRNDDetector(n_estimators=3, **QUICK).fit(images)
    assert asked.n_estimators_ == 3


def test_plain_rows_are_standardised_and_averaged_over_pairs(rng):
    X = rng.normal(size=(100, 4)) * [1, 10, 100, 1000]
    detector = SVDRNDDetector(random_state=0).fit(X)
    assert detector.n_estimators_ == 5
    assert detector.k_ is None
    assert detector.blurs_ == []
    assert detector.input_shape_ == (4,)
    pipeline = make_pipeline(StandardScaler(), SVDRNDDetector(random_state=0)).fit(X)
    np.testing.assert_allclose(
        pipeline.score_samples(X), detector.score_samples(X), rtol=0.1, atol=0.02
    )


@pytest.mark.parametrize("constant", ["images", "channel", "feature"])
def test_constant_data_work(constant, rng):
    X = rng.normal(size=(30, 5)) if constant == "feature" else rng.normal(size=(30, 3, 8, 8))
    X[:, 1] = 7.0
    if constant == "images":
        X[:] = 7.0
    detector = SVDRNDDetector(**QUICK).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    if constant == "images":
        assert (detector.predict(X) == 1).all()
        assert (detector.predict(X + rng.normal(size=X.shape)) == -1).all()


@pytest.mark.parametrize("value", [1e30, -1e30, 1e-30, 3e38])
def test_extreme_values_score_finite(value, images):
    detector = SVDRNDDetector(**QUICK).fit(images)
    assert np.isfinite(detector.score_samples(np.full_like(images, value))).all()


# -- y -------------------------------------------------------------------------


def test_outliers_in_y_never_enter_the_training(images, rng):
    wild = 1e3 * rng.normal(size=(20, 3, 8, 8)).astype(np.float32)
    expected = SVDRNDDetector(**QUICK).fit(images)
    X = np.concatenate([images[:30], wild, images[30:]])
    y = np.r_[np.ones(30), np.full(20, -1), np.ones(30)].astype(int)
    for labels in (y, y.astype(float), pd.Series(y)):
        detector = SVDRNDDetector(**QUICK).fit(X, labels)
        np.testing.assert_array_equal(
            detector.score_samples(images), expected.score_samples(images)
        )
        assert detector.offset_ == expected.offset_
        np.testing.assert_array_equal(detector.mean_, expected.mean_)
    np.testing.assert_array_equal(SVDRNDDetector(**QUICK).fit_predict(X, y), expected.predict(X))


def test_any_other_y_is_ignored(images):
    expected = SVDRNDDetector(**QUICK).fit(images).score_samples(images)
    for y in (np.arange(60) % 10, np.array(["cat", "dog", "cow"] * 20), np.linspace(0, 1, 60)):
        np.testing.assert_array_equal(
            SVDRNDDetector(**QUICK).fit(images, y).score_samples(images), expected
        )


@pytest.mark.parametrize("cv", [StratifiedKFold(3), NoveltyKFold(3)])
def test_outliers_never_enter_a_fold_or_the_refit(cv, images, rng):
    wild = 1e3 * rng.normal(size=(12, 3, 8, 8)).astype(np.float32)
    X = np.concatenate([images, wild])
    y = np.r_[np.ones(60), np.full(12, -1)]
    search = GridSearchCV(SVDRNDDetector(**QUICK), {"k": [2, 6]}, scoring="roc_auc", cv=cv).fit(
        X, y
    )
    assert (search.cv_results_["mean_test_score"] == 1.0).all()
    expected = SVDRNDDetector(**QUICK).set_params(**search.best_params_).fit(images)
    np.testing.assert_array_equal(
        search.best_estimator_.score_samples(X), expected.score_samples(X)
    )


# -- scikit-learn ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("detector", "grid"),
    [
        (SVDRNDDetector(**QUICK), {"k": [4, 6, 0.5, [2, 6]]}),
        (
            SVDRNDDetector(**QUICK),
            {"blur": ["svd", "dct", "gaussian", None, DCTBlur(4), [SVDBlur(4), "dct"]]},
        ),
        (SVDRNDDetector(blur=GaussianBlur(), **QUICK), {"blur__sigma": [0.5, 2.0]}),
    ],
    ids=["k", "blur", "blur__sigma"],
)
def test_grid_searches(detector, grid, images, rng):
    X = np.concatenate([images, 5 * rng.normal(size=(15, 3, 8, 8)).astype(np.float32)])
    y = np.r_[np.ones(60), np.full(15, -1)]
    search = GridSearchCV(
        detector, grid, scoring="roc_auc", cv=StratifiedKFold(3), n_jobs=2, error_score="raise"
    ).fit(X, y)
    (values,) = grid.values()
    assert len(search.cv_results_["mean_test_score"]) == len(values)
    assert search.best_score_ > 0.9


def test_cross_val_score(images, rng):
    X = np.concatenate([images, 5 * rng.normal(size=(15, 3, 8, 8)).astype(np.float32)])
    y = np.r_[np.ones(60), np.full(15, -1)]
    scores = cross_val_score(
        SVDRNDDetector(**QUICK), X, y, scoring="roc_auc", cv=StratifiedKFold(3)
    )
    assert scores.min() > 0.9


# joblib before 1.6 warns of its own backend.
@pytest.mark.filterwarnings("ignore:`apply_async` is deprecated:DeprecationWarning")
@pytest.mark.slow
def test_searches_and_scores_on_a_cluster(images, rng):
    """Two processes of dask's; a search through joblib, and scores chunk by chunk."""
    X = np.concatenate([images, 5 * rng.normal(size=(15, 3, 8, 8)).astype(np.float32)])
    y = np.r_[np.ones(60), np.full(15, -1)]
    search = GridSearchCV(
        SVDRNDDetector(**QUICK), {"k": [2, 6]}, scoring="roc_auc", cv=StratifiedKFold(3)
    )
    expected = clone(search).fit(X, y)
    with (
        # dask sets variables for its processes, in this one too, and leaves them.
        mock.patch.dict(os.environ),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        with joblib.parallel_config(backend="dask"):
            search.fit(X, y)
        chunks = dask.array.from_array(X, chunks=(20, 3, 8, 8))
        scores = chunks.map_blocks(
            search.score_samples, drop_axis=(1, 2, 3), dtype=np.float64
        ).compute()
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    np.testing.assert_allclose(scores, expected.score_samples(X), rtol=1e-3)


def test_pipelines(images):
    flat = images.reshape(60, -1)
    scaled = make_pipeline(MinMaxScaler(), SVDRNDDetector(image_shape=(3, 8, 8), **QUICK))
    assert scaled.fit(flat).predict(flat).shape == (60,)
    reduced = make_pipeline(PCA(5), SVDRNDDetector(**QUICK))
    assert reduced.fit(flat).decision_function(flat).shape == (60,)
    blurred = make_pipeline(GaussianBlur(1.0), SVDRNDDetector(**QUICK)).fit(images)
    expected = SVDRNDDetector(**QUICK).fit(GaussianBlur(1.0).fit_transform(images))
    np.testing.assert_array_equal(
        blurred.score_samples(images),
        expected.score_samples(GaussianBlur(1.0).fit_transform(images)),
    )


def test_blurs_are_given_standardised_images_in_one_layout(images):
    class Spy(BaseImageTransformer):
        def _transform_images(self, images):
            seen.append(images.clone())
            return images / 2

    seen = []
    X = np.moveaxis(images * 50 + 3, 1, -1)
    SVDRNDDetector(blur=Spy(), contamination=0.1, **QUICK).fit(X)
    (whole,) = [block for block in seen if len(block) == 60]
    expected = (images - images.mean((0, 2, 3), keepdims=True)) / images.std(
        (0, 2, 3), keepdims=True
    )
    np.testing.assert_allclose(whole, expected, atol=1e-4)


# -- state of the world ------------------------------------------------------------


def test_the_callers_world_stays_as_it_was(images):
    def world():
        return (
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.random.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
        )

    before = world()
    for network in ("auto", flat_network):
        detector = SVDRNDDetector(network=network, max_epochs=1).fit(images)
        detector.predict(images)
        detector.predict(torch.utils.data.DataLoader(Pictures(images, labelled=False)))
        pickle.loads(pickle.dumps(detector))
        assert world() == before


@contextlib.contextmanager
def default_dtype_of_16_bits():
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "context",
    [
        default_dtype_of_16_bits,
        torch.inference_mode,
        torch.no_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["default dtype", "inference mode", "no grad", "autocast", "default device"],
)
def test_the_callers_torch_state_does_not_matter(context, images):
    params = {**QUICK, "precision": "bfloat16"}
    expected = SVDRNDDetector(**params).fit(images).score_samples(images)
    with context():
        detector = SVDRNDDetector(**params).fit(images)
        scores = detector.score_samples(images)
        loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(loaded.score_samples(images), expected)


def test_verbose_shows_what_is_logged_before_the_first_epoch(images, monkeypatch, caplog):
    original = SVDRNDDetector._prepare

    def prepare(*args, **options):
        skrnd._logging.logger.info("batches travel")
        return original(*args, **options)

    monkeypatch.setattr(SVDRNDDetector, "_prepare", prepare)
    SVDRNDDetector(max_epochs=1, verbose=1, random_state=0).fit(images)
    assert "batches travel" in caplog.messages


def test_verbose_logs_the_loss_of_every_epoch(images, caplog, capsys):
    SVDRNDDetector(max_epochs=2, random_state=0).fit(images)
    assert caplog.messages == []
    params = {"max_epochs": 2, "random_state": 0, "verbose": 1}
    first, second = SVDRNDDetector(**params).fit(images).loss_curve_
    told = [message.partition(", about ") for message in caplog.messages]
    assert [head for head, _, _ in told] == [
        f"epoch 1 of 2: loss {first:.4f}",
        f"epoch 2 of 2: loss {second:.4f}",
    ]
    assert told[1][2] == "0 s left"
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def served():
    """A fitted detector, images, and their scores."""
    X = np.random.default_rng(0).normal(size=(50, 3, 16, 16)).astype(np.float32)
    detector = SVDRNDDetector(**QUICK).fit(X)
    return detector, X, detector.score_samples(X)


def test_threads_score_as_one_does(served):
    detector, X, expected = served
    with ThreadPoolExecutor(16) as pool:
        for scores in pool.map(lambda _: detector.score_samples(X), range(64)):
            np.testing.assert_array_equal(scores, expected)


class Remembers(torch.nn.Module):
    """Keeps what it has seen, for itself alone."""

    def __init__(self, shape):
        super().__init__()
        self.conv = torch.nn.Conv2d(shape[0], 4, 3)

    def forward(self, x):
        features = self.conv(x)
        self.features = features.detach()
        return (features if self.training else self.features).mean((2, 3))


def test_a_network_that_remembers_scores_the_same_on_any_number_of_threads(images, two_threads):
    detector = SVDRNDDetector(network=Remembers, blur=None, max_epochs=1, random_state=0)
    detector.fit(images)
    X = np.concatenate([images] * 20)
    scores = [detector.score_samples(X) for _ in range(5)]
    torch.set_num_threads(1)
    for several in scores:
        np.testing.assert_allclose(several, detector.score_samples(X), rtol=1e-6)


def test_a_network_with_dropout_is_trained_from_random_state_alone(images, two_threads):
    def network(shape):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(192, 8))

    scores = []

    def global_states():
        there = torch.accelerator.current_accelerator(check_available=True)
        of_accelerator = [] if there is None else [torch.get_device_module(there).get_rng_state()]
        return [torch.get_rng_state(), *of_accelerator]

    for seed in (1, 2):
        torch.manual_seed(seed)
        before = global_states()
        detector = SVDRNDDetector(network=network, max_epochs=2, random_state=0).fit(images)
        assert all(map(torch.equal, before, global_states()))
        scores.append(detector.score_samples(images))
    np.testing.assert_array_equal(*scores)


def test_the_default_keeps_its_rate_with_few_rows_held_out():
    """The judgements are not compared by the rows that set the threshold."""
    images, n_rows, n_alarms, p_values = load_digits().images, 290, [], []
    for seed in range(8):
        X = np.random.default_rng(seed).permutation(images)
        detector = SVDRNDDetector(max_epochs=2, random_state=seed).fit(X[:n_rows])
        n_alarms.append(np.mean(detector.predict(X[n_rows:]) == -1))
        p_values.append(detector.p_values(X[n_rows:]))
    # Three standard errors.
    limit = 3 * np.sqrt(0.05 * 0.95 / (8 * n_rows / 15))
    assert np.mean(n_alarms) <= 0.05 + limit
    assert np.mean(np.concatenate(p_values) <= 0.1) <= 0.1 + 1.4 * limit


@pytest.mark.parametrize("factor", [1e200, 1e300])
@pytest.mark.parametrize("blur", [None, "two-sided"])
def test_values_beyond_all_bounds_are_refused(factor, blur, images):
    with pytest.raises(ValueError, match="values so large"):
        SVDRNDDetector(blur=blur).fit(images.astype(np.float64) * factor)


class Louder(SVDRNDDetector):
    """Scores that a subclass has made its own."""

    def score_samples(self, X):
        return super().score_samples(X) - 100


def test_verdicts_follow_the_scores_of_a_subclass(images):
    detector = Louder(**QUICK).fit(images)
    assert (detector.decision_function(images) < 0).all()
    assert (detector.predict(images) == -1).all()
    assert (detector.p_values(images) == detector.p_values(images).min()).all()


def test_fits_in_threads_are_those_alone(served):
    _, X, expected = served
    with ThreadPoolExecutor(4) as pool:
        fits = [pool.submit(SVDRNDDetector(**QUICK).fit, X) for _ in range(4)]
        for fit in fits:
            np.testing.assert_array_equal(fit.result().score_samples(X), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_worker_processes_score_the_same(served, method):
    detector, X, expected = served
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        for future in [pool.submit(detector.score_samples, X) for _ in range(3)]:
            np.testing.assert_allclose(future.result(timeout=120), expected, rtol=1e-6)


def blurred_array(X):
    """An array of numpy: to hand a tensor over, torch waits for OpenMP's threads itself."""
    return np.asarray(SVDBlur(4).fit_transform(X))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor])
def test_a_forked_process_fits_scores_and_blurs(served, container):
    """OpenMP's threads, which this process has long started, are not forked with it."""
    detector, X, expected = served
    given = container(X)
    torch.ones(10**6).sum()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        blurred = pool.submit(blurred_array, given).result(timeout=60)
        scores = pool.submit(detector.score_samples, given).result(timeout=60)
        fitted = pool.submit(SVDRNDDetector(**QUICK).fit, given).result(timeout=120)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    np.testing.assert_allclose(blurred, SVDBlur(4).fit_transform(X), atol=1e-5)
    np.testing.assert_allclose(fitted.score_samples(X), expected, rtol=0.05)


# -- bad input -----------------------------------------------------------------------


def ones(*shape):
    """Images of ones."""
    return np.ones(shape)


def nan_at(*shape):
    """Images with one NaN."""
    X = np.ones(shape)
    X.flat[5] = np.nan
    return X


@pytest.mark.parametrize(
    ("params", "X", "y", "error", "match"),
    [
        ({}, nan_at(20, 8, 8), None, ValueError, "contains NaN"),
        ({}, np.full((20, 8, 8), np.inf), None, ValueError, "contains infinity"),
        ({}, ones(1, 8, 8), None, ValueError, r"1 sample.*minimum of 2"),
        ({}, ones(20, 1, 1, 1), None, ValueError, "Ambiguous channels"),
        ({}, ones(20, 1, 1), None, ValueError, r"1 x 1 pixels are too small.*4 x 4"),
        ({}, ones(20, 3, 8), None, ValueError, r"3 x 8 pixels are too small.*4 x 4"),
        ({}, ones(32, 32, 3), None, ValueError, r"32 x 3 .*1 channel.*pass X\[None\]"),
        ({"channel_axis": -1}, ones(20, 3, 32, 32), None, ValueError, "32 channel.*channel_axis"),
        ({}, ["a.png", "b.png"], None, ValueError, "names files.*load_images"),
        ({"blur": SVDBlur}, ones(20, 8, 8), None, TypeError, "blur must hold transformers.*class"),
        ({"blur": [5]}, ones(20, 8, 8), None, TypeError, "blur must hold transformers.* got 5"),
        ({"geometry": ["svd"]}, ones(20, 8, 8), None, TypeError, "geometry must hold .* got 'svd'"),
        ({}, np.array(["a.png", "b.png"]), None, ValueError, "names files.*load_images"),
        ({}, "folder", None, ValueError, "names files.*load_image_folder"),
        ({}, np.array([], dtype=str), None, ValueError, "Expected 2D array"),
        ({}, [Path("a.png")], None, ValueError, r"names files \('a.png'\)"),
        ({}, Bunch(data=ones(20, 8, 8), target=1), None, TypeError, "a Bunch.*'data', 'target'"),
        ({}, iter(ones(20, 8, 8)), None, TypeError, "a list of rows; got "),
        (
            {},
            [np.ones((8, 8, 3)), np.ones((8, 9, 3)), np.ones((8, 8))],
            None,
            ValueError,
            r"differ in shape: row 1 has \(8, 9, 3\), and row 0 has \(8, 8, 3\)\. Images must",
        ),
        (
            {"image_shape": (8, 9)},
            ones(20, 65),
            None,
            ValueError,
            r"image_shape=\(8, 9\), of 72 values, .* rows have 65 values",
        ),
        ({}, ones(20, 3, 8, 3), None, ValueError, r"Ambiguous channels.*channel_axis"),
        ({}, ones(20, 9, 8, 8), None, ValueError, r"Ambiguous channels.*channel_axis"),
        ({}, ones(20, 2, 2, 2, 2), None, ValueError, "5 dimensions"),
        ({"image_shape": (8, 9)}, ones(20, 64), None, ValueError, r"image_shape=\(8, 9\)"),
        ({"image_shape": "8x8"}, ones(20, 64), None, ValueError, "'image_shape' parameter"),
        ({}, ones(20, 8, 8) * 1j, None, ValueError, "Complex data not supported"),
        ({}, np.array([["a", "b"]] * 20), None, ValueError, "convert string|numeric"),
        ({}, np.array([[{}, 1]] * 20, dtype=object), None, TypeError, "real number"),
        ({"k": 8}, ones(20, 8, 8), None, ValueError, r"k=8 is out of range.*from 1 to 7"),
        ({"k": [2, 28]}, ones(20, 8, 8), None, ValueError, "k=28 is out of range"),
        ({"k": 2.5}, ones(20, 8, 8), None, ValueError, "'k' parameter of SVDBlur"),
        ({"k": [[2, 3]]}, ones(20, 8, 8), None, ValueError, "k must be 'auto', a number"),
        ({"network": torch.nn.Flatten()}, ones(20, 8, 8), None, TypeError, "must be a function"),
        ({"blur": GaussianBlur(-1)}, ones(20, 8, 8), None, ValueError, "'sigma' parameter"),
        ({"k": 0}, ones(20, 8, 8), None, ValueError, "'k' parameter of SVDRNDDetector"),
        ({"k": "best"}, ones(20, 8, 8), None, ValueError, "'k' parameter of SVDRNDDetector"),
        ({"blur": "box"}, ones(20, 8, 8), None, ValueError, "'blur' parameter of SVDRND"),
        (
            {"blur": FunctionTransformer(lambda X: X[..., :-1])},
            ones(20, 8, 8),
            None,
            ValueError,
            "must keep the shape",
        ),
        ({"k": 10**6}, ones(20, 8, 8), None, ValueError, "k=1000000 is out of range"),
        (
            {"n_estimators": 10**7},
            ones(20, 8, 8),
            None,
            ValueError,
            "networks of each kind take about .* GB",
        ),
        (
            {"network": flat_network, "n_estimators": 10**8},
            ones(20, 8, 8),
            None,
            ValueError,
            "networks of each kind take about .* GB",
        ),
        ({"device": "tpu"}, ones(20, 8, 8), None, ValueError, "device='tpu' cannot be used"),
        ({"precision": "int8"}, ones(20, 8, 8), None, ValueError, "'precision' parameter"),
        ({"network": "vgg"}, ones(20, 8, 8), None, ValueError, "'network' parameter"),
        ({"contamination": 0.6}, ones(20, 8, 8), None, ValueError, "'contamination' parameter"),
        ({}, ones(20, 8, 8), np.ones(19), ValueError, "inconsistent numbers of samples"),
        ({}, ones(20, 8, 8), np.full(20, -1), ValueError, "no normal row"),
        ({}, ones(20, 8, 8), np.r_[1, np.full(19, -1)], ValueError, "n_samples = 1 normal"),
        (
            {"validation_fraction": 0.999},
            ones(20, 8, 8),
            None,
            ValueError,
            "validation_fraction=0.999 of 20 normal rows leaves none",
        ),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(params, X, y, error, match, images):
    detector = SVDRNDDetector(**QUICK).fit(images)
    expected = detector.score_samples(images)
    detector.set_params(**params)
    before = vars(detector).copy()
    with pytest.raises(error, match=match):
        detector.fit(X, y)
    assert vars(detector) == before
    np.testing.assert_array_equal(
        detector.set_params(**SVDRNDDetector(**QUICK).get_params()).score_samples(images),
        expected,
    )


@pytest.mark.parametrize("method", ["score_samples", "decision_function", "predict"])
def test_other_shapes_at_score_time_are_refused(method, images):
    detector = SVDRNDDetector(**QUICK)
    with pytest.raises(NotFittedError):
        getattr(detector, method)(images)
    detector.fit(images)
    for X in (images[..., :-1], images[:, 0], images.reshape(60, -1), np.moveaxis(images, 1, -1)):
        with pytest.raises(ValueError, match=r"rows of shape .* fitted on .*\(3, 8, 8\)"):
            getattr(detector, method)(X)
    with pytest.raises(ValueError, match=r"single row, pass X\[None\]"):
        getattr(detector, method)(images[0])
    with pytest.raises(ValueError, match="NaN"):
        getattr(detector, method)(np.full_like(images, np.nan))


def test_strengths_are_chosen_by_images_of_the_whole_file(rng, monkeypatch):
    """Which may be sorted by class; of large images it looks at few."""

    class SeenError(Exception):
        pass

    def make_blurs(k, blur, geometry, images, sample, memory):
        raise SeenError(sample[:, 0, 0, 0])

    monkeypatch.setattr(skrnd._detector, "make_blurs", make_blurs)
    X = np.repeat(np.arange(400, dtype=np.float32), 64 * 64 * 8).reshape(400, 8, 64, 64)
    with pytest.raises(SeenError) as seen:
        SVDRNDDetector(contamination=0.1, channel_axis=1, random_state=0).fit(X)
    (values,) = seen.value.args
    assert len(values) < 100
    # Standardised, from -1.73 to 1.73.
    assert values.min() < -1
    assert values.max() > 1


def test_strengths_are_chosen_by_images_held_out(images, monkeypatch):
    seen = {}

    def make_blurs(k, blur, geometry, images, sample, memory):
        seen.update(trained=images[:, 0, 0, 0], sample=sample[:, 0, 0, 0])
        raise RuntimeError("seen")

    monkeypatch.setattr(skrnd._detector, "make_blurs", make_blurs)
    with pytest.raises(RuntimeError, match="seen"):
        SVDRNDDetector(random_state=0).fit(images)
    assert len(seen["sample"]) == 6
    assert not np.isin(seen["sample"], seen["trained"]).any()


def test_image_shape_may_be_an_array(images):
    detector = SVDRNDDetector(image_shape=np.array([3, 8, 8]), **QUICK).fit(images.reshape(60, -1))
    expected = SVDRNDDetector(image_shape=(3, 8, 8), **QUICK).fit(images.reshape(60, -1))
    np.testing.assert_array_equal(
        detector.score_samples(images.reshape(60, -1)),
        expected.score_samples(images.reshape(60, -1)),
    )


@pytest.mark.parametrize(("n_rows", "n_epochs"), [(50, 50), (4000, 5), (30_000, 3)])
def test_the_number_of_epochs_goes_with_the_number_of_images(n_rows, n_epochs, rng):
    """18,000 images and their copies are seen, in 3 to 50 epochs."""
    X = rng.normal(size=(n_rows, 4, 4)).astype(np.float32)
    detector = SVDRNDDetector(
        blur=None, network=flat_network, batch_size=1000, contamination=0.1, random_state=0
    )
    assert len(detector.fit(X).loss_curve_) == n_epochs


def test_all_rows_may_be_one_batch_however_it_is_said(images):
    expected = SVDRNDDetector(batch_size=54 * 3, **QUICK).fit(images).score_samples(images)
    detector = SVDRNDDetector(batch_size=10**12, **QUICK).fit(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected)


def test_small_integers_of_numpy(images):
    """As a grid over np.array([...], dtype=np.int16) sets them, they must not overflow."""
    expected = SVDRNDDetector(batch_size=100, **QUICK).fit(images).score_samples(images)
    detector = SVDRNDDetector(batch_size=np.int8(100), **QUICK).fit(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected)
