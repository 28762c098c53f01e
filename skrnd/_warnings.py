"""Warnings of the package, told of the line of whoever called it."""

from __future__ import annotations

import sys
import warnings

# What stands between a caller and the place that warns. From Python 3.12 on, `warnings.warn`
# can skip files by itself.
_BETWEEN = {"contextlib", "joblib", "skrnd", "sklearn"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, from however deep in the package, the code outside that called it."""
    frame, stacklevel = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)
