"""Look at a detector: how it scores images, why, and where in an image the novelty is.

The displays follow scikit-learn's: ``from_estimator`` or ``from_predictions`` computes and
draws, and `plot` draws again. They need matplotlib, ``pip install "skrnd[plot]"``;
:func:`judgements` and :func:`novelty_map` do not.
"""

from ._curve import DetectionCurveDisplay
from ._histogram import ScoreHistogramDisplay
from ._ladder import BlurLadderDisplay
from ._loss import LossCurveDisplay
from ._novelty import judgements, novelty_map
from ._sheet import ContactSheetDisplay

__all__ = [
    "BlurLadderDisplay",
    "ContactSheetDisplay",
    "DetectionCurveDisplay",
    "LossCurveDisplay",
    "ScoreHistogramDisplay",
    "judgements",
    "novelty_map",
]
