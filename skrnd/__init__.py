"""Novelty detection for images, for people who live in scikit-learn."""

from . import blur, metrics, model_selection
from ._detector import SVDRNDDetector

__all__ = ["SVDRNDDetector", "__version__", "blur", "metrics", "model_selection"]

__version__ = "0.1.0"
