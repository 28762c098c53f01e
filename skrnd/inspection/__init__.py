"""Look at a detector: what it says of images, how it came to that, and where in an image.

The displays follow scikit-learn's: ``from_estimator`` or ``from_predictions`` computes and
draws, `plot` draws again. They need matplotlib, which ``pip install "skrnd[plot]"`` brings;
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
