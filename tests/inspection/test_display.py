"""What holds of all displays."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skrnd.blur import SVDBlur
from skrnd.inspection import (
    BlurLadderDisplay,
    ContactSheetDisplay,
    DetectionCurveDisplay,
    LossCurveDisplay,
    ScoreHistogramDisplay,
)

Y_TRUE, Y_SCORE = [1, 1, 1, -1, -1], [0.9, 0.7, 0.4, 0.5, 0.1]
IMAGES = np.linspace(0, 1, 4 * 8 * 8).reshape(4, 8, 8)
DRAWN = {
    "histogram": lambda ax=None: ScoreHistogramDisplay.from_predictions(Y_TRUE, Y_SCORE, ax=ax),
    "curve": lambda ax=None: DetectionCurveDisplay.from_predictions(Y_TRUE, Y_SCORE, ax=ax),
    "loss": lambda ax=None: LossCurveDisplay(loss_curve=np.array([2.0, 1.0])).plot(ax=ax),
    "ladder": lambda ax=None: BlurLadderDisplay.from_estimator(SVDBlur(), IMAGES[0], ax=ax),
    "sheet": lambda ax=None: ContactSheetDisplay.from_predictions(IMAGES, [4, 3, 2, 1], ax=ax),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_axes_are_the_callers_or_new(draw):
    display = draw()
    assert plt.get_fignums() == [1]
    assert display.figure_ is plt.figure(1)
    _, (ax, other) = plt.subplots(1, 2)
    display = draw(ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.plot() is display
    assert display.ax_ is not ax
    assert not other.has_data()
    assert len(plt.get_fignums()) == 3
    display.figure_.canvas.draw()


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_without_matplotlib(draw, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"Display needs matplotlib: pip install \"skrnd\[plot\]"):
        draw()


@pytest.mark.parametrize(
    "from_estimator",
    [
        lambda none: ScoreHistogramDisplay.from_estimator(none, [[0.0]], [1]),
        lambda none: DetectionCurveDisplay.from_estimator(none, [[0.0]], [1]),
        lambda none: ContactSheetDisplay.from_estimator(none, IMAGES),
    ],
    ids=["histogram", "curve", "sheet"],
)
def test_without_matplotlib_nothing_is_scored(from_estimator, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="needs matplotlib"):
        # An estimator that can do nothing.
        from_estimator(None)
