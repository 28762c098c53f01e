"""Curves against scikit-learn's, and what is read off them against the metrics."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from skrnd.inspection import DetectionCurveDisplay
from skrnd.metrics import aupr_score, auroc_score, tnr_at_tpr_score

INF = float("inf")
# New ones for each example would take seconds.
AXES = Figure().subplots()
some = st.lists(st.integers(-4, 4), min_size=1, max_size=12)


def curve(normal, novel, **options):
    """Labels, scores and the curve that is drawn of them."""
    y_true = np.repeat([1, -1], [len(normal), len(novel)])
    y_score = np.array([*normal, *novel], dtype=float)
    AXES.clear()
    display = DetectionCurveDisplay.from_predictions(y_true, y_score, ax=AXES, **options)
    return y_true, y_score, display


@settings(max_examples=40)
@given(normal=some, novel=some, pos_label=st.sampled_from([1, -1]))
def test_roc_and_precision_recall_are_scikit_learns(normal, novel, pos_label):
    y_true, y_score, display = curve(normal, novel, kind="roc", pos_label=pos_label)
    fpr, tpr, _ = roc_curve(y_true == pos_label, pos_label * y_score, drop_intermediate=False)
    np.testing.assert_allclose(display.line_.get_xydata(), np.column_stack([fpr, tpr]))
    assert display.figure_of_merit == auroc_score(y_true, y_score)
    y_true, y_score, display = curve(normal, novel, kind="precision-recall", pos_label=pos_label)
    precision, recall, _ = precision_recall_curve(y_true == pos_label, pos_label * y_score)
    np.testing.assert_allclose(display.line_.get_xydata(), np.column_stack([recall, precision]))
    assert display.figure_of_merit == aupr_score(y_true, y_score, pos_label=pos_label)


@settings(max_examples=40)
@given(normal=some, novel=some, pos_label=st.sampled_from([1, -1]), tpr=st.floats(0.01, 1))
def test_the_tnr_at_each_tpr_can_be_read_off(normal, novel, pos_label, tpr):
    y_true, y_score, display = curve(normal, novel, kind="tnr-tpr", pos_label=pos_label)
    assert display.line_.get_drawstyle() == "steps-pre"
    x, y = display.line_.get_data()
    read = y[np.flatnonzero(x >= tpr - 1e-12)[0]]
    expected = tnr_at_tpr_score(y_true, y_score, tpr=tpr, pos_label=pos_label)
    assert read == pytest.approx(expected)
    assert display.figure_of_merit == tnr_at_tpr_score(y_true, y_score, pos_label=pos_label)
    assert display.ax_.lines[1].get_xydata().tolist() == [[0.95, display.figure_of_merit]]


def test_curve_by_hand_with_infinities():
    display = DetectionCurveDisplay.from_predictions([1, 1, -1, -1], [INF, 0, 1, -INF])
    points = [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert display.line_.get_xydata().tolist() == points


def test_curves_of_several_detectors_share_axes(forest, rng):
    X, y = rng.normal(size=(40, 2)), np.repeat([1, -1], 20)
    first = DetectionCurveDisplay.from_estimator(forest, X, y, kind="tnr-tpr")
    second = DetectionCurveDisplay.from_predictions(
        y, -forest.decision_function(X), kind="tnr-tpr", name="upside down", ax=first.ax_, color="k"
    )
    assert first.ax_ is second.ax_
    expected = tnr_at_tpr_score(y, forest.decision_function(X))
    assert first.figure_of_merit == expected
    texts = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert texts[0] == f"IsolationForest (TNR at 95 % TPR = {expected:.3f})"
    assert texts[1].startswith("upside down (")
    assert second.line_.get_color() == "k"
    assert first.ax_.get_xlabel() == "true positive rate (positive: normal)"


@pytest.mark.parametrize(
    ("y_true", "y_score", "options", "message"),
    [
        ([1, -1], [1, 0], {"kind": "det"}, "'kind' parameter .* among .*'tnr-tpr'.*Got 'det'"),
        ([1, -1], [1, 0], {"pos_label": 0}, "'pos_label' parameter .* among .*Got 0"),
        ([1, 1], [1, 0], {}, "needs both normal rows"),
        ([1, 2], [1, 0], {}, "y_true must hold 1"),
        ([1, -1], [1, np.nan], {}, "y_score contains NaN"),
    ],
)
def test_curves_refuse(y_true, y_score, options, message):
    with pytest.raises(ValueError, match=message):
        DetectionCurveDisplay.from_predictions(y_true, y_score, **options)
    assert plt.get_fignums() == []


def test_a_curve_without_a_label_has_no_legend():
    display = DetectionCurveDisplay.from_predictions([1, -1], [1, 0], label=None)
    assert display.ax_.get_legend() is None


def test_short_names_of_matplotlibs(rng):
    display = DetectionCurveDisplay.from_predictions([1, -1], [1, 0], ds="default", c="k", lw=3)
    line = display.line_
    assert (line.get_drawstyle(), line.get_color(), line.get_linewidth()) == ("default", "k", 3)


def test_an_unknown_kind_is_refused_before_anything_is_scored():
    with pytest.raises(ValueError, match="'kind' parameter of DetectionCurveDisplay"):
        DetectionCurveDisplay.from_estimator(None, None, None, kind="det")
