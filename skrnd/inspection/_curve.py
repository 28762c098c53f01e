"""What every threshold would do."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve, roc_curve
from sklearn.utils._param_validation import Options, StrOptions

from .._decorators import validate_params
from ..metrics import _labels_and_scores, _ranked, aupr_score, auroc_score, tnr_at_tpr_score
from ._display import Display, line_style, pyplot

# The point of the TNR-TPR curve that the literature quotes.
_TPR = 0.95
_KINDS: dict[str, dict[str, str]] = {
    "roc": {
        "x": "false positive rate",
        "y": "true positive rate",
        "figure_of_merit": "AUROC",
        "drawstyle": "default",
        "legend": "lower right",
    },
    "precision-recall": {
        "x": "recall",
        "y": "precision",
        "figure_of_merit": "AUPR",
        "drawstyle": "steps-post",
        "legend": "lower left",
    },
    "tnr-tpr": {
        "x": "true positive rate",
        "y": "true negative rate",
        "figure_of_merit": "TNR at 95 % TPR",
        "drawstyle": "steps-pre",
        "legend": "best",
    },
}
_CONSTRAINTS = {
    "kind": [StrOptions(set(_KINDS))],
    "pos_label": [Options(Real, {1, -1})],
}


class DetectionCurveDisplay(Display):
    """ROC, precision-recall or TNR over TPR curve of a detector.

    The curve displays of scikit-learn accept only classifiers in `from_estimator`. This one
    accepts detectors and infinite scores, takes the same scores for ``pos_label=-1``, and draws
    the true negative rate (TNR) over the true positive rate (TPR) too. Use `from_estimator`
    or `from_predictions` to make one.

    Parameters
    ----------
    x, y : ndarray of shape (n_thresholds,)
        Points of the curve, between 0 and 1.
    kind : {"roc", "precision-recall", "tnr-tpr"}
        Which curve it is.
    figure_of_merit : float
        AUROC, AUPR (average precision) or TNR at 95 % TPR, for the legend.
    pos_label : {1, -1}, default=1
        The positive class: 1 for normal, -1 for novel.
    name : str, default=None
        Name of the detector for the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure that holds it.

    See Also
    --------
    skrnd.metrics : The figures of merit.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skrnd.inspection import DetectionCurveDisplay
    >>> y_true, y_score = [1, 1, 1, -1, -1], [0.9, 0.7, 0.4, 0.5, 0.1]
    >>> display = DetectionCurveDisplay.from_predictions(y_true, y_score, kind="tnr-tpr")
    >>> display.figure_of_merit
    0.5
    >>> plt.close()
    """

    def __init__(
        self,
        *,
        x: np.ndarray,
        y: np.ndarray,
        kind: str,
        figure_of_merit: float,
        pos_label: int = 1,
        name: str | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.kind = kind
        self.figure_of_merit = figure_of_merit
        self.pos_label = pos_label
        self.name = name

    @classmethod
    @validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        kind: str = "roc",
        pos_label: int = 1,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Score rows and draw the curve.

        Parameters
        ----------
        estimator : outlier detector
            Fitted; has `decision_function`.
        X : array-like or tensor
            Rows, as the detector takes them.
        y : array-like of shape (n,)
            1 for normal, -1 for novel.
        kind : {"roc", "precision-recall", "tnr-tpr"}, default="roc"
            Which curve: true positive rate over false positive rate, precision over recall,
            or true negative rate over true positive rate with a mark at 95 % TPR.
        pos_label : {1, -1}, default=1
            The positive class: 1 for normal, -1 for novel.
        name : str, default=None
            Name of the detector for the legend. None takes the class of the estimator.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : DetectionCurveDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `kind` is none of the three, if `y` does not hold 1 and -1, both and nothing
            else, or if X and `y` differ in length.
        """
        pyplot(cls)
        return cls.from_predictions(
            y,
            estimator.decision_function(X),
            kind=kind,
            pos_label=pos_label,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    @validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        kind: str = "roc",
        pos_label: int = 1,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curve of scores that have been computed already.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            1 for normal, -1 for novel.
        y_score : array-like of shape (n,)
            The larger, the more normal, whatever `pos_label` is. Ties and infinities are
            allowed: only the order counts.
        kind : {"roc", "precision-recall", "tnr-tpr"}, default="roc"
            Which curve: true positive rate over false positive rate, precision over recall,
            or true negative rate over true positive rate with a mark at 95 % TPR.
        pos_label : {1, -1}, default=1
            The positive class: 1 for normal, -1 for novel.
        name : str, default=None
            Name of the detector for the legend. None leaves it out.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : DetectionCurveDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `kind` is none of the three, if `y_true` does not hold 1 and -1, both and
            nothing else, if `y_score` holds NaN, or if the lengths differ.
        """
        positive, ranks = _ranked(*_labels_and_scores(y_true, y_score), pos_label)
        if positive.all() or not positive.any():
            raise ValueError("A curve needs both normal rows (1) and novel rows (-1) in y_true.")
        if kind == "precision-recall":
            y, x, _ = precision_recall_curve(positive, ranks)
            figure_of_merit = aupr_score(y_true, y_score, pos_label=pos_label)
        else:
            # All points, for those on a straight line are steps of the TNR.
            fpr, tpr, _ = roc_curve(positive, ranks, drop_intermediate=False)
            if kind == "roc":
                x, y, figure_of_merit = fpr, tpr, auroc_score(y_true, y_score)
            else:
                x, y = tpr, 1 - fpr
                figure_of_merit = tnr_at_tpr_score(y_true, y_score, tpr=_TPR, pos_label=pos_label)
        display = cls(
            x=x, y=y, kind=kind, figure_of_merit=figure_of_merit, pos_label=pos_label, name=name
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; curves that are there already stay. None makes a new figure.
        name : str, default=None
            Name of the detector for the legend. None takes the name the display was made with.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : DetectionCurveDisplay
            This display.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        self._draw_in(ax)
        name = self.name if name is None else name
        kind = _KINDS[self.kind]
        label = f"{kind['figure_of_merit']} = {self.figure_of_merit:.3f}"
        style = {
            "label": label if name is None else f"{name} ({label})",
            "drawstyle": kind["drawstyle"],
            **line_style(kwargs),
        }
        (self.line_,) = self.ax_.plot(self.x, self.y, **style)
        if self.kind == "tnr-tpr":
            self.ax_.plot(_TPR, self.figure_of_merit, "o", color=self.line_.get_color())
        positive = "normal" if self.pos_label == 1 else "novel"
        self.ax_.set(
            xlabel=f"{kind['x']} (positive: {positive})",
            ylabel=f"{kind['y']} (positive: {positive})",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            aspect="equal",
        )
        if style["label"] is not None:
            self.ax_.legend(loc=kind["legend"])
        return self
