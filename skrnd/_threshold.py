"""Where the scores of normal rows end."""

from __future__ import annotations

import numpy as np

# The score of a row repeats to this relative precision whatever its company.
_SCORE_PRECISION = 1e-6


def held_out_threshold(scores: np.ndarray, false_alarm_rate: float) -> float:
    """Score below which a share `false_alarm_rate` of new normal rows falls.

    Parameters
    ----------
    scores : ndarray of shape (n_rows,)
        Scores, larger for more normal, of normal rows that were not trained on.
    false_alarm_rate : float
        Expected share of alarms among new normal rows, in (0, 1).

    Notes
    -----
    A new score is equally likely to fall into each of the n + 1 gaps that n
    exchangeable scores leave, so the quantile stands at ``rate * (n + 1)``
    (numpy's "weibull"); the usual ``1 + rate * (n - 1)`` would raise 8 % of
    alarms instead of 5 % on 30 rows.
    """
    return _just_below(np.quantile(scores, false_alarm_rate, method="weibull"))


def training_threshold(scores: np.ndarray, contamination: float) -> float:
    """Score below which a share `contamination` of the training rows falls."""
    return _just_below(np.quantile(scores, contamination))


def _just_below(threshold: np.floating) -> float:
    """Keep rounding from calling a row novel that sits on the threshold itself."""
    return float(threshold - _SCORE_PRECISION * abs(threshold))
