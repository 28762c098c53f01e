"""Warnings name the line that called the package, however deep in it they are raised."""

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrnd import SVDRNDDetector
from skrnd.metrics import detection_report


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(40, 8, 8))


@pytest.fixture(scope="module")
def fitted(images):
    return SVDRNDDetector(blur=None, max_epochs=1).fit(images)


@pytest.mark.parametrize("method", ["score_samples", "decision_function", "predict", "calibrate"])
def test_of_a_fitted_detector(method, fitted, images):
    with pytest.warns(UserWarning, match="The values of X spread") as caught:
        getattr(fitted, method)(images / 1e4)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_predict"])
@pytest.mark.parametrize("in_a_pipeline", [False, True])
def test_of_a_fit(method, in_a_pipeline, images):
    detector = SVDRNDDetector(blur=None, max_epochs=1)
    if in_a_pipeline and method != "partial_fit":
        detector = make_pipeline(FunctionTransformer(), detector)
    with pytest.warns(UserWarning, match="y has the labels") as caught:
        getattr(detector, method)(images, np.arange(40) % 2)
    assert caught[0].filename == __file__


def test_of_a_report():
    with pytest.warns(UserWarning, match="is undefined") as caught:
        detection_report([1, 1], [1, 2])
    assert {one.filename for one in caught} == {__file__}
