"""Where the scores of normal rows end."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# The score of a row repeats to this relative precision whatever its company: an error to
# 2e-7, a contrast, in which larger numbers may cancel, to 3e-6 where it was worst.
_SCORE_PRECISION = 1e-5


class CalibrationWarning(UserWarning):
    """Warning that a threshold may not keep the rate of false alarms that it promises.

    The rows that set it are too few, were trained on, or, in
    :meth:`~skrnd.SVDRNDDetector.calibrate`, were mostly novel so far.
    """


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


def rows_apart(novelties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that tell how judgements compare, and rows for the threshold of all of them.

    New rows are as likely to pass a threshold as those that set it only if all have been
    treated alike. A single judgement has nothing to compare.

    Parameters
    ----------
    novelties : ndarray of shape (n_rows, n_judgements)
    """
    if novelties.shape[1] == 1 or len(novelties) == 1:
        return novelties, novelties
    # Every third would be rows of one kind where kinds take turns, as planes of colour do.
    order = np.random.RandomState(0).permutation(len(novelties))
    return novelties[order[::3]], novelties[np.delete(order, np.s_[::3])]


def alarm_levels(novelties: np.ndarray, threshold: Callable[[np.ndarray], float]) -> np.ndarray:
    """Where each of several judgements alone would raise the alarm; 1 if that is nowhere.

    Parameters
    ----------
    novelties : ndarray of shape (n_rows, n_judgements)
    threshold : callable
        Of scores, the larger the more normal.
    """
    if novelties.shape[1] == 1:
        return np.ones(1)
    levels = np.array([-threshold(-column) for column in novelties.T])
    return np.where(levels > 0, levels, 1.0)


def fewest_rows(false_alarm_rate: float) -> int:
    """How many held-out rows it takes at least to keep a rate of false alarms.

    Of n of them the least can be undercut with probability ``1 / (n + 1)``, and no
    threshold that they tell of is rarer.
    """
    # A little less, lest rounding takes 1 / .05 for more than 20; and not for ever.
    return math.ceil(min(1 / false_alarm_rate, 1e300) * (1 - 1e-12)) - 1


def conformal_p_values(scores: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Share of normal rows, a new one among them, that score no higher.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Of the rows in question.
    held_out : ndarray of shape (m,)
        Of normal rows that were not trained on, in rising order.

    References
    ----------
    .. [1] Bates et al., "Testing for outliers with conformal p-values", Annals of
       Statistics 51(1), 2023, equation 2.
    """
    # An image for which networks overflow is as novel as can be.
    lowest = np.finfo(np.float64).min
    scores = np.nan_to_num(scores, nan=lowest, neginf=lowest)
    # A row that ties with others does so to that precision only; the larger p is the valid one.
    n_lower = np.searchsorted(held_out, scores + _SCORE_PRECISION * np.abs(scores), side="right")
    return (1 + n_lower) / (1 + len(held_out))


def _just_below(threshold: np.floating) -> float:
    """Keep rounding from calling a row novel that sits on the threshold itself."""
    return float(threshold - _SCORE_PRECISION * abs(threshold))
