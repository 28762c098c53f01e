"""The detector as one of PyOD's, held against PyOD itself."""

import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils import get_tags

from skrnd import SVDRNDDetector

WITHOUT_PYOD = """
import sys
sys.modules["pyod"] = None
import skrnd
try:
    import skrnd.adapters
except ImportError as error:
    print(error)
"""


def test_without_pyod():
    found = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYOD], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == 'skrnd.adapters needs PyOD: pip install "skrnd[pyod]"'


pytest.importorskip("pyod")

from pyod.models.base import BaseDetector  # noqa: E402
from pyod.utils.data import evaluate_print, generate_data  # noqa: E402
from pyod.utils.persistence import load, save  # noqa: E402
from pyod.utils.utility import check_detector, score_to_label  # noqa: E402

from skrnd.adapters import PyODDetector  # noqa: E402


def make_detector(**params):
    return SVDRNDDetector(**{"n_estimators": 1, "max_epochs": 3, "random_state": 0, **params})


@pytest.fixture(scope="module")
def data():
    return generate_data(n_train=200, n_test=100, n_features=6, contamination=0.1, random_state=0)


@pytest.fixture(scope="module")
def fitted(data):
    return PyODDetector(make_detector()).fit(data[0])


def test_same_verdicts_as_the_detector(fitted, data):
    X, X_new, _, _ = data
    alone = make_detector(contamination=0.1).fit(X)
    for rows in (X, X_new):
        np.testing.assert_array_equal(fitted.decision_function(rows), -alone.score_samples(rows))
        np.testing.assert_array_equal(fitted.predict(rows), (1 - alone.predict(rows)) // 2)
    assert fitted.threshold_ == -alone.offset_
    np.testing.assert_array_equal(fitted.labels_, (1 - alone.predict(X)) // 2)
    np.testing.assert_array_equal(fitted.decision_scores_, -alone.score_samples(X))


def test_threshold_and_labels_are_what_pyod_makes_of_the_scores(fitted):
    expected = np.percentile(fitted.decision_scores_, 90)
    np.testing.assert_allclose(fitted.threshold_, expected, rtol=2e-5)
    np.testing.assert_array_equal(fitted.labels_, score_to_label(fitted.decision_scores_, 0.1))
    assert fitted.labels_.sum() == 20
    assert fitted.labels_.dtype.kind == "i"


def test_finds_the_outliers_of_pyods_generator(fitted, data, capsys):
    _, X_new, _, y_new = data
    scores = fitted.decision_function(X_new)
    assert roc_auc_score(y_new, scores) == 1.0
    evaluate_print("SVD-RND", y_new, scores)
    assert capsys.readouterr().out == "SVD-RND ROC:1.0, precision @ rank n:1.0\n"


def test_probabilities_confidence_and_rejection(fitted, data):
    X_new = data[1]
    labels = fitted.predict(X_new)
    for method in ("linear", "unify"):
        normal, novel = fitted.predict_proba(X_new, method=method).T
        np.testing.assert_allclose(normal + novel, 1)
        assert novel[labels == 1].min() >= novel[labels == 0].max()
    same, confidence = fitted.predict(X_new, return_confidence=True)
    np.testing.assert_array_equal(same, labels)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    kept = fitted.predict_with_rejection(X_new, c_r=0.1)
    np.testing.assert_array_equal(kept[kept != -2], labels[kept != -2])


def test_is_a_detector_to_pyod_and_to_scikit_learn(fitted):
    assert isinstance(fitted, BaseDetector)
    check_detector(fitted)
    assert get_tags(fitted).estimator_type == "outlier_detector"


def test_parameters(data):
    detector = make_detector()
    pyod = PyODDetector(detector, contamination=0.2)
    assert pyod.get_params()["detector__max_epochs"] == 3
    copy = clone(pyod).set_params(detector__max_epochs=1)
    assert (copy.detector.max_epochs, detector.max_epochs) == (1, 3)
    pyod.fit(data[0])
    assert detector.contamination == "auto"
    assert pyod.detector_.contamination == 0.2
    assert pyod.labels_.sum() == 40
    assert repr(pyod).startswith("PyODDetector(contamination=0.2,")


def test_default_detector(data):
    fitted = PyODDetector().fit(data[0])
    assert fitted.detector is None
    assert fitted.labels_.sum() == 20


@pytest.mark.parametrize("contamination", [0, 0.6, -1])
def test_contamination_out_of_range(contamination):
    with pytest.raises(ValueError, match=r"contamination must be in \(0, 0\.5\]"):
        PyODDetector(contamination=contamination)


def test_y_is_ignored(data):
    X, _, y, _ = data
    detector = make_detector()
    with_labels = PyODDetector(detector).fit(X, np.where(y == 1, -1, 1))
    without = PyODDetector(detector).fit(X)
    np.testing.assert_array_equal(with_labels.decision_scores_, without.decision_scores_)


class AboveTheMean:
    """What PyOD asks of a thresholder."""

    def fit(self, scores):
        self.thresh_ = float(np.mean(scores))
        self.labels_ = self.predict(scores)

    def predict(self, scores):
        return (scores > self.thresh_).astype(int)


def test_thresholder(data):
    X, X_new, _, _ = data
    fitted = PyODDetector(make_detector(), contamination=AboveTheMean()).fit(X)
    assert fitted.detector_.contamination == "auto"
    mean = fitted.decision_scores_.mean()
    assert fitted.threshold_ == mean
    np.testing.assert_array_equal(fitted.labels_, fitted.decision_scores_ > mean)
    np.testing.assert_array_equal(fitted.predict(X_new), fitted.decision_function(X_new) > mean)


def test_a_fit_that_fails_late_leaves_what_was_there(data, monkeypatch):
    X, X_new, _, _ = data
    fitted = PyODDetector(make_detector(), contamination=AboveTheMean()).fit(X)
    threshold, scores = fitted.threshold_, fitted.decision_function(X_new)
    monkeypatch.setattr(AboveTheMean, "fit", mock.Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        fitted.fit(2 * X[:30])
    assert fitted.threshold_ == threshold
    assert len(fitted.decision_scores_) == len(X)
    np.testing.assert_array_equal(fitted.decision_function(X_new), scores)


def test_images(rng):
    X = rng.normal(size=(40, 8, 8, 3))
    fitted = PyODDetector(make_detector(max_epochs=1)).fit(X)
    scores = fitted.decision_function(5 * X)
    np.testing.assert_array_equal(scores, -fitted.detector_.score_samples(5 * X))
    assert fitted.predict(5 * X).all()
    assert fitted.predict_proba(X).shape == (40, 2)
    flat = make_detector(max_epochs=1, image_shape=(8, 8, 3))
    same = PyODDetector(flat).fit(X.reshape(40, -1))
    np.testing.assert_array_equal(same.decision_scores_, fitted.decision_scores_)


@pytest.mark.usefixtures("may_dispatch")
def test_tensors_are_scored_in_numpy_whatever_is_dispatched(data):
    X, *_ = data
    expected = PyODDetector(make_detector()).fit(X)
    with config_context(array_api_dispatch=True):
        detector = PyODDetector(make_detector()).fit(torch.tensor(X))
        scores = detector.decision_function(torch.tensor(X))
    np.testing.assert_array_equal(detector.labels_, expected.labels_)
    np.testing.assert_array_equal(scores, expected.decision_function(X))


def test_not_fitted(data):
    pyod = PyODDetector()
    for method in (pyod.decision_function, pyod.predict, pyod.predict_proba):
        with pytest.raises(NotFittedError):
            method(data[1])


def test_bad_input_is_refused_by_the_detector(data):
    X = data[0].copy()
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        PyODDetector(make_detector()).fit(X)


def test_other_detectors_are_refused_before_any_training(data):
    with pytest.raises(TypeError, match="detector must be an SVDRNDDetector or None, got PyOD"):
        PyODDetector(PyODDetector()).fit(data[0])


@pytest.mark.parametrize("contamination", ["auto", None, np.float32(0.1)])
def test_what_is_no_contamination_is_refused_before_any_training(contamination, data):
    with pytest.raises(TypeError, match="contamination must be a number of Python or a threshold"):
        PyODDetector(contamination=contamination).fit(data[0])


def test_saved_and_loaded_by_pyod(fitted, data, tmp_path):
    save(fitted, tmp_path / "detector.joblib")
    loaded = load(tmp_path / "detector.joblib", trusted=True)
    np.testing.assert_array_equal(loaded.predict_proba(data[1]), fitted.predict_proba(data[1]))


def test_combined_with_other_detectors(fitted, data):
    combination = pytest.importorskip("pyod.models.combination", exc_type=ImportError)
    from pyod.models.knn import KNN
    from pyod.utils.utility import standardizer

    X, X_new, _, y_new = data
    detectors = [fitted, KNN().fit(X)]
    train = np.column_stack([detector.decision_scores_ for detector in detectors])
    new = np.column_stack([detector.decision_function(X_new) for detector in detectors])
    _, new = standardizer(train, new)
    for combine in (combination.average, combination.maximization, combination.median):
        assert roc_auc_score(y_new, combine(new)) == 1.0
    votes = np.column_stack([detector.predict(X_new) for detector in detectors])
    assert combination.majority_vote(votes).shape == (len(X_new),)


def test_bagged_by_pyod(data):
    pytest.importorskip("combo")
    from pyod.models.feature_bagging import FeatureBagging

    X, X_new, _, y_new = data
    bag = FeatureBagging(PyODDetector(make_detector()), n_estimators=2, random_state=0).fit(X)
    assert roc_auc_score(y_new, bag.decision_function(X_new)) > 0.95


def test_selected_by_pyod(data):
    from pyod.models.lscp import LSCP

    X, X_new, _, y_new = data
    detectors = [PyODDetector(make_detector(random_state=seed)) for seed in (0, 1)]
    chosen = LSCP(detectors, local_region_size=30, n_bins=2, random_state=0).fit(X)
    assert roc_auc_score(y_new, chosen.decision_function(X_new)) > 0.95


def test_scheduled_by_suod(data):
    pytest.importorskip("suod")
    from pyod.models.suod import SUOD

    X, X_new, _, y_new = data
    detectors = [PyODDetector(make_detector(random_state=seed)) for seed in (0, 1)]
    both = SUOD(
        detectors,
        rp_flag_global=False,
        approx_flag_global=False,
        bps_flag=False,
        verbose=False,
    ).fit(X)
    assert roc_auc_score(y_new, both.decision_function(X_new)) > 0.95
