"""Curves of a training against what the detector says of it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError

from skrnd import SVDRNDDetector
from skrnd.inspection import LossCurveDisplay


def test_loss_curve(detector, forest):
    display = LossCurveDisplay.from_estimator(detector, color="k")
    assert display.line_.get_xdata().tolist() == [1, 2, 3]
    assert display.line_.get_ydata().tolist() == detector.loss_curve_
    assert display.ax_.get_legend().get_texts()[0].get_text() == "SVDRNDDetector"
    assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())
    assert display.validation_line_ is None
    for estimator in (SVDRNDDetector(), IsolationForest()):
        with pytest.raises(NotFittedError):
            LossCurveDisplay.from_estimator(estimator)
    with pytest.raises(
        ValueError, match=r"IsolationForest has no loss_curve_\. Pass the last step"
    ):
        LossCurveDisplay.from_estimator(forest)


def test_loss_curve_of_rows_held_out_in_the_second_fit_alone(rng):
    """They are drawn at the epochs of that fit."""
    X = rng.normal(size=(100, 3))
    detector = SVDRNDDetector(max_epochs=2, warm_start=True, random_state=0).fit(X)
    detector.set_params(early_stopping=True).fit(X)
    line = LossCurveDisplay.from_estimator(detector).validation_line_
    assert np.isnan(line.get_ydata()).tolist() == [True, True, False, False]
    assert line.get_xdata().tolist() == [1, 2, 3, 4]
    assert detector.set_params(early_stopping=False).fit(X).validation_loss_curve_ is None


def test_loss_curve_of_the_rows_held_out(rng):
    detector = SVDRNDDetector(early_stopping=True, max_epochs=3, random_state=0)
    detector.fit(rng.normal(size=(100, 3)))
    display = LossCurveDisplay.from_estimator(detector)
    assert display.validation_line_.get_ydata().tolist() == detector.validation_loss_curve_
    assert display.validation_line_.get_markevery() == [np.argmin(detector.validation_loss_curve_)]
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["SVDRNDDetector", "SVDRNDDetector, rows held out"]


@pytest.mark.parametrize("setting", [{"xscale": "log"}, {"xticks": [1, 3]}])
def test_loss_curve_leaves_ticks_that_the_caller_has_chosen(setting, detector):
    _, ax = plt.subplots()
    ax.set(**setting)
    before = ax.xaxis.get_major_locator()
    assert LossCurveDisplay.from_estimator(detector, ax=ax).ax_ is ax
    assert ax.xaxis.get_major_locator() is before


@pytest.mark.parametrize("looked_at", [[], [np.nan, np.nan]])
def test_loss_curve_where_no_row_held_out_was_looked_at(looked_at):
    """As when Ctrl-C comes in the first epoch."""
    display = LossCurveDisplay(loss_curve=[0.9, 0.8], validation_loss_curve=looked_at)
    assert display.plot().validation_line_ is None
