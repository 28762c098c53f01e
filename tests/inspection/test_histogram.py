"""Histograms against numpy's."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from skrnd.inspection import ScoreHistogramDisplay

INF = float("inf")


def bars(display):
    """The heights of the bars of each group, by its colour."""
    groups = {}
    for bar in display.ax_.patches:
        groups.setdefault(bar.get_facecolor(), []).append(bar.get_height())
    return list(groups.values())


def test_histograms_are_numpys(rng):
    y_true = np.repeat([1, -1], [30, 10])
    y_score = np.r_[rng.normal(size=30), rng.normal(-3, 1, size=10)]
    edges = np.linspace(-2, 2, 9)
    display = ScoreHistogramDisplay.from_predictions(y_true, y_score, bins=edges)
    for label, heights in zip((1, -1), bars(display), strict=True):
        own = np.clip(y_score[y_true == label], -2, 2)
        np.testing.assert_allclose(heights, np.histogram(own, edges)[0] / len(own))


def test_number_of_bins_by_a_rule_of_numpys(rng):
    y_score = rng.normal(size=500)
    (heights,) = bars(ScoreHistogramDisplay.from_predictions([1] * 500, y_score, bins="fd"))
    low, high = np.quantile(y_score, [0.01, 0.99])
    assert len(heights) == len(np.histogram_bin_edges(y_score, "fd", (low, high))) - 1


def test_histograms_of_a_detector(forest, rng):
    X, y = rng.normal(size=(20, 2)), np.repeat([1, -1], 10)
    display = ScoreHistogramDisplay.from_estimator(forest, X, y)
    np.testing.assert_array_equal(display.y_score, forest.decision_function(X))
    assert display.threshold == 0
    assert display.ax_.lines[0].get_xdata() == [0, 0]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(texts) == ["normal (10)", "novel (10)", "threshold"]


def test_options_of_matplotlibs_histograms(rng):
    y_true, y_score = np.repeat([1, -1], [30, 10]), rng.normal(size=40)
    edges = np.linspace(-4, 4, 9)
    display = ScoreHistogramDisplay.from_predictions(
        y_true, y_score, bins=edges, histtype="step", density=True, ec="k", lw=3, label=None
    )
    assert display.ax_.get_ylabel() == "density"
    assert display.ax_.get_legend() is None
    outlines = display.ax_.patches
    assert [(one.get_edgecolor()[:3], one.get_linewidth()) for one in outlines] == [
        ((0, 0, 0), 3)
    ] * 2
    # matplotlib lists the groups as they were drawn.
    for label, outline in zip((1, -1), outlines, strict=True):
        expected, _ = np.histogram(y_score[y_true == label], edges, density=True)
        np.testing.assert_allclose(outline.get_xy()[1:-1:2, 1], expected)
    display.plot(color="tab:green", alpha=1)
    assert {bar.get_facecolor() for bar in display.ax_.patches} == {to_rgba("tab:green")}


def test_histograms_count_far_and_infinite_scores():
    y_score = [*np.linspace(-1, 1, 400), 1e9, -INF]
    (heights,) = bars(ScoreHistogramDisplay.from_predictions([1] * 402, y_score, bins=20))
    assert sum(heights) == pytest.approx(1)
    # About as many in each, but for the ends.
    np.testing.assert_allclose(heights[1:-1], 1 / 20, atol=0.003)


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([1, 0], [0.1, 0.2], "y_true must hold 1"),
        ([1, -1], [0.1, np.nan], "y_score contains NaN"),
        ([1, -1], [0.1], "inconsistent numbers"),
        ([1, -1], [INF, -INF], "no finite score"),
    ],
)
def test_histograms_refuse(y_true, y_score, message):
    with pytest.raises(ValueError, match=message):
        ScoreHistogramDisplay.from_predictions(y_true, y_score)
