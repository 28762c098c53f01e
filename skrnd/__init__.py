"""Novelty detection for images, for people who live in scikit-learn."""

from . import base, blur, datasets, geometry, metrics, model_selection
from ._detector import SVDRNDDetector

__all__ = [
    "SVDRNDDetector",
    "__version__",
    "base",
    "blur",
    "datasets",
    "geometry",
    "metrics",
    "model_selection",
]

__version__ = "0.1.0"
