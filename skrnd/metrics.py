"""Figures of merit of a novelty detector, and scorers made of them.

`y_true` holds 1 for normal rows and -1 for novel rows, as `predict` returns them.
`y_score` holds a number for each row, the larger the more normal, as `decision_function`
and `score_samples` return it. Ties and infinities are allowed: only the order counts.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, make_scorer, roc_auc_score, roc_curve
from sklearn.utils._param_validation import Interval, Options
from sklearn.utils.validation import check_consistent_length, column_or_1d

from ._containers import as_numpy, refuse_masked
from ._decorators import validate_params
from ._warnings import warn

__all__ = [
    "aupr_score",
    "aupr_scorer",
    "auroc_score",
    "auroc_scorer",
    "detection_accuracy_score",
    "detection_accuracy_scorer",
    "detection_report",
    "detection_scorer",
    "tnr_at_tpr_score",
    "tnr_at_tpr_scorer",
]

_LABELS = {
    "y_true": ["array-like"],
    "y_score": ["array-like"],
    "pos_label": [Options(Real, {1, -1})],
}


@validate_params(
    {**_LABELS, "tpr": [Interval(Real, 0, 1, closed="right")]}, prefer_skip_nested_validation=True
)
def tnr_at_tpr_score(
    y_true: ArrayLike, y_score: ArrayLike, *, tpr: float = 0.95, pos_label: int = 1
) -> float:
    """True negative rate at the threshold that keeps a given true positive rate.

    The threshold is the strictest that still accepts a share `tpr` of the
    positive rows; the score is the share of negative rows that it rejects. Rows
    that tie with the threshold are accepted. By default, where normal rows are
    positive, the score is the share of novel rows that are found if 5 % of normal
    rows may raise a false alarm.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 for normal, -1 for novel.
    y_score : array-like of shape (n,)
        The larger, the more normal, whatever `pos_label` is.
    tpr : float, default=0.95
        True positive rate, in (0, 1].
    pos_label : {1, -1}, default=1
        The positive class: 1 for normal, -1 for novel.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, if there are no rows of one class.

    Raises
    ------
    ValueError
        If `y_true` holds anything but 1 and -1, if `y_score` holds NaN, if the
        lengths differ, or if `tpr` is out of range.

    See Also
    --------
    auroc_score : Of all thresholds instead of one.
    sklearn.metrics.roc_curve : The rates at every threshold.

    Examples
    --------
    >>> from skrnd.metrics import tnr_at_tpr_score
    >>> tnr_at_tpr_score([1, 1, 1, 1, -1, -1], [0.9, 0.8, 0.7, 0.2, 0.5, 0.1], tpr=0.75)
    1.0
    """

    def tnr(positive: np.ndarray, ranks: np.ndarray) -> float:
        fpr, reached, _ = roc_curve(positive, ranks, drop_intermediate=False)
        # The first point that reaches tpr, to the rounding of a share of rows.
        return 1 - fpr[np.flatnonzero(reached >= tpr * (1 - 1e-12))[0]]

    return _figure(tnr, "TNR at a given TPR", y_true, y_score, pos_label)


@validate_params(_LABELS, prefer_skip_nested_validation=True)
def auroc_score(y_true: ArrayLike, y_score: ArrayLike, *, pos_label: int = 1) -> float:
    """Area under the receiver operating characteristic curve.

    The probability that a normal row scores higher than a novel one, where ties
    count half. It is the same whichever class is positive.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 for normal, -1 for novel.
    y_score : array-like of shape (n,)
        The larger, the more normal, whatever `pos_label` is.
    pos_label : {1, -1}, default=1
        The positive class. It makes no difference; the other scores have it too.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, if there are no rows of one class.

    Raises
    ------
    ValueError
        If `y_true` holds anything but 1 and -1, if `y_score` holds NaN, or if
        the lengths differ.

    See Also
    --------
    sklearn.metrics.roc_auc_score : The same figure, which refuses infinite scores.
    tnr_at_tpr_score : At one threshold.

    Examples
    --------
    >>> from skrnd.metrics import auroc_score
    >>> auroc_score([1, 1, -1, -1], [0.9, 0.4, 0.5, -float("inf")])
    0.75
    """
    return _figure(roc_auc_score, "AUROC", y_true, y_score, pos_label)


@validate_params(_LABELS, prefer_skip_nested_validation=True)
def detection_accuracy_score(y_true: ArrayLike, y_score: ArrayLike, *, pos_label: int = 1) -> float:
    """Largest mean of true positive rate and true negative rate over all thresholds.

    It is the accuracy of the best threshold if both classes are equally likely,
    however many rows of each there are here.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 for normal, -1 for novel.
    y_score : array-like of shape (n,)
        The larger, the more normal, whatever `pos_label` is.
    pos_label : {1, -1}, default=1
        The positive class. It makes no difference; the other scores have it too.

    Returns
    -------
    float
        In [0.5, 1]; NaN, with an `UndefinedMetricWarning`, if there are no rows of one class.

    Raises
    ------
    ValueError
        If `y_true` holds anything but 1 and -1, if `y_score` holds NaN, or if
        the lengths differ.

    See Also
    --------
    sklearn.metrics.balanced_accuracy_score : Of labels, that is at a threshold that is given.

    Examples
    --------
    >>> from skrnd.metrics import detection_accuracy_score
    >>> detection_accuracy_score([1, 1, -1, -1], [0.9, 0.4, 0.5, 0.1])
    0.75
    """

    def accuracy(positive: np.ndarray, ranks: np.ndarray) -> float:
        fpr, tpr, _ = roc_curve(positive, ranks)
        return ((tpr + 1 - fpr) / 2).max()

    return _figure(accuracy, "Detection accuracy", y_true, y_score, pos_label)


@validate_params(_LABELS, prefer_skip_nested_validation=True)
def aupr_score(y_true: ArrayLike, y_score: ArrayLike, *, pos_label: int = 1) -> float:
    """Area under the precision-recall curve, as average precision.

    With ``pos_label=1`` this is called AUPR-in in the literature, with
    ``pos_label=-1`` AUPR-out. Unlike the other figures, it depends on the share of
    novel rows.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 for normal, -1 for novel.
    y_score : array-like of shape (n,)
        The larger, the more normal, whatever `pos_label` is.
    pos_label : {1, -1}, default=1
        The positive class: 1 for normal, -1 for novel.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, if there are no rows of one class.

    Raises
    ------
    ValueError
        If `y_true` holds anything but 1 and -1, if `y_score` holds NaN, or if
        the lengths differ.

    See Also
    --------
    sklearn.metrics.average_precision_score : The same figure, which refuses infinite scores.
    auroc_score : Area under the ROC curve.

    Examples
    --------
    >>> from skrnd.metrics import aupr_score
    >>> y_true, y_score = [1, 1, -1, -1], [0.9, 0.4, 0.5, 0.1]
    >>> round(aupr_score(y_true, y_score), 3)
    0.833
    >>> round(aupr_score(y_true, y_score, pos_label=-1), 3)
    0.833
    """
    return _figure(average_precision_score, "AUPR", y_true, y_score, pos_label)


def detection_report(
    y_true: ArrayLike, y_score: ArrayLike, *, tpr: float = 0.95, pos_label: int = 1
) -> dict[str, float]:
    """Compute all five figures of merit.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        1 for normal, -1 for novel.
    y_score : array-like of shape (n,)
        The larger, the more normal, whatever `pos_label` is.
    tpr : float, default=0.95
        True positive rate for the first figure, in (0, 1].
    pos_label : {1, -1}, default=1
        The positive class: 1 for normal, -1 for novel. AUPR-in and AUPR-out have
        their own and ignore it.

    Returns
    -------
    dict of str to float
        "tnr_at_tpr", "auroc", "detection_accuracy", "aupr_in" and "aupr_out"; all are NaN,
        with an `UndefinedMetricWarning`, if there are no rows of one class.

    Raises
    ------
    ValueError
        If `y_true` holds anything but 1 and -1, if `y_score` holds NaN, if the
        lengths differ, or if `tpr` is out of range.

    See Also
    --------
    tnr_at_tpr_score : Share of novel rows found, at a TPR.
    auroc_score : Area under the ROC curve.
    detection_accuracy_score : Accuracy at the best threshold.
    aupr_score : Area under the precision-recall curve.

    Examples
    --------
    >>> from skrnd.metrics import detection_report
    >>> report = detection_report([1, 1, 1, -1], [0.9, 0.8, 0.7, 0.1])
    >>> report["tnr_at_tpr"], report["auroc"]
    (1.0, 1.0)
    """
    return {
        "tnr_at_tpr": tnr_at_tpr_score(y_true, y_score, tpr=tpr, pos_label=pos_label),
        "auroc": auroc_score(y_true, y_score, pos_label=pos_label),
        "detection_accuracy": detection_accuracy_score(y_true, y_score, pos_label=pos_label),
        "aupr_in": aupr_score(y_true, y_score, pos_label=1),
        "aupr_out": aupr_score(y_true, y_score, pos_label=-1),
    }


def detection_scorer(estimator: Any, X: Any, y: ArrayLike) -> dict[str, float]:
    """Scorer of several metrics: the `detection_report` of a fitted detector.

    Pass it as `scoring` to :class:`~sklearn.model_selection.GridSearchCV` and the like.

    Parameters
    ----------
    estimator : outlier detector
        Fitted; has `decision_function`.
    X : array-like or tensor
        Rows, as the detector takes them.
    y : array-like of shape (n,)
        1 for normal, -1 for novel.

    Returns
    -------
    dict of str to float
        The five figures of `detection_report`, from one pass over X.

    Raises
    ------
    ValueError
        If `y` holds anything but 1 and -1, or if `decision_function` does not take X.

    See Also
    --------
    detection_report : The same figures, of labels and scores.

    Examples
    --------
    ``GridSearchCV(detector, grid, scoring=detection_scorer, refit="auroc")``.

    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skrnd.metrics import detection_scorer
    >>> X = np.r_[np.random.default_rng(0).normal(size=(99, 2)), [[9.0, 9.0]]]
    >>> y = np.r_[np.ones(99), -1]
    >>> detection_scorer(IsolationForest(random_state=0).fit(X), X, y)["auroc"]
    1.0
    """
    return detection_report(y, estimator.decision_function(X))


tnr_at_tpr_scorer: Callable[..., float] = make_scorer(
    tnr_at_tpr_score, response_method="decision_function"
)
auroc_scorer: Callable[..., float] = make_scorer(auroc_score, response_method="decision_function")
detection_accuracy_scorer: Callable[..., float] = make_scorer(
    detection_accuracy_score, response_method="decision_function"
)
aupr_scorer: Callable[..., float] = make_scorer(aupr_score, response_method="decision_function")


def _figure(
    metric: Callable[[np.ndarray, np.ndarray], float],
    name: str,
    y_true: Any,
    y_score: Any,
    pos_label: int,
) -> float:
    """What a metric makes of labels and ranks, or nan, with a warning, where a class is empty."""
    positive, ranks = _ranked(*_labels_and_scores(y_true, y_score), pos_label)
    if positive.any() and not positive.all():
        return float(metric(positive, ranks))
    warn(
        f"{name} is undefined without both in-distribution and novel rows.",
        UndefinedMetricWarning,
    )
    return float("nan")


def _labels_and_scores(y_true: Any, y_score: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels, 1 or -1, and scores, numbers, of equal length and without NaN."""
    refuse_masked(y_true, "y_true")
    y_true, y_score = column_or_1d(as_numpy(y_true)), _scores_of(y_score)
    check_consistent_length(y_true, y_score)
    if not np.isin(y_true, [1, -1]).all():
        raise ValueError(
            "y_true must hold 1 (in-distribution) and -1 (novel) only; got "
            f"{list(dict.fromkeys(y_true.tolist()))[:5]}."
        )
    return y_true, y_score


def _scores_of(y_score: Any) -> np.ndarray:
    """Scores, numbers, without NaN."""
    refuse_masked(y_score, "y_score")
    y_score = column_or_1d(as_numpy(y_score))
    if y_score.dtype.kind in "mM":
        raise ValueError(f"y_score must hold numbers; got {y_score.dtype}.")
    # Numbers stay as they are, for float64 does not tell all of them apart.
    if y_score.dtype.kind not in "iuf":
        y_score = y_score.astype(np.float64)
    if np.isnan(y_score).any():
        raise ValueError("y_score contains NaN.")
    return y_score


def _ranked(
    y_true: np.ndarray, y_score: np.ndarray, pos_label: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mask of positive rows, and finite numbers in the order of being positive."""
    # Ranks order infinities as well, which scikit-learn's curves refuse.
    return y_true == pos_label, pos_label * scipy.stats.rankdata(y_score, method="dense")
