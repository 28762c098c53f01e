"""Novelty detection for images, for people who live in scikit-learn."""

from . import (
    base,
    blur,
    datasets,
    export,
    geometry,
    inspection,
    metrics,
    model_selection,
    persistence,
)
from ._detector import SVDRNDDetector
from ._threshold import CalibrationWarning

__all__ = [
    "CalibrationWarning",
    "SVDRNDDetector",
    "__version__",
    "base",
    "blur",
    "datasets",
    "export",
    "geometry",
    "inspection",
    "metrics",
    "model_selection",
    "persistence",
]

__version__ = "0.1.0"
