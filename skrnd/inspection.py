"""Look at a detector: what it says of images, how it came to that, and where in an image.

The displays follow scikit-learn's: ``from_estimator`` or ``from_predictions`` computes and
draws, `plot` draws again. They need matplotlib, which ``pip install "skrnd[plot]"`` brings;
:func:`judgements` and :func:`novelty_map` do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import precision_recall_curve, roc_curve
from sklearn.utils import check_scalar, gen_batches
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from ._detector import WHAT_TO_PASS, SVDRNDDetector, check_detector
from ._images import ImageLayout, find_layout
from ._validation import (
    as_numpy,
    check_values,
    layout_of,
    rows_of,
    take_rows,
)
from .metrics import aupr_score, auroc_score, labels_and_scores, ranked, tnr_at_tpr_score

__all__ = [
    "BlurLadderDisplay",
    "ContactSheetDisplay",
    "DetectionCurveDisplay",
    "LossCurveDisplay",
    "ScoreHistogramDisplay",
    "judgements",
    "novelty_map",
]

# Dark blue and light orange: told apart in grey and by the colour-blind (Okabe and Ito).
_NORMAL, _NOVEL = "#0072B2", "#E69F00"
# Side of a window of the novelty map, of the shorter side of the images trained on.
_WINDOW = 0.375
# The point of the TNR-TPR curve that the literature quotes.
_TPR = 0.95


class _Display:
    """What is drawn in one Axes."""

    ax_: Any
    figure_: Any

    def _draw_in(self, ax: Any, **options: Any) -> None:
        """Take the Axes of the caller, or new ones."""
        plt = _pyplot(type(self))
        if ax is None:
            _, ax = plt.subplots(layout="constrained", **options)
        self.ax_ = ax
        self.figure_ = ax.figure


class ScoreHistogramDisplay(_Display):
    """Histograms of the scores of normal and of novel rows, with the threshold.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    y_true : ndarray of shape (n,)
        1 for normal, -1 for novel rows.
    y_score : ndarray of shape (n,)
        The larger, the more normal.
    threshold : float or None
        Rows that score below it are called novel.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the histograms.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    DetectionCurveDisplay : What every other threshold would do.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.inspection import ScoreHistogramDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3))
    >>> detector = SVDRNDDetector(max_epochs=5, random_state=0).fit(X)
    >>> X = np.concatenate([rng.normal(size=(90, 3)), 9 + rng.normal(size=(10, 3))])
    >>> y = np.r_[np.ones(90), -np.ones(10)]
    >>> display = ScoreHistogramDisplay.from_estimator(detector, X, y)
    >>> display.ax_.get_ylabel()
    'share of rows'
    >>> plt.close()
    """

    def __init__(
        self, *, y_true: np.ndarray, y_score: np.ndarray, threshold: float | None = None
    ) -> None:
        self.y_true = y_true
        self.y_score = y_score
        self.threshold = threshold

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: ArrayLike, *, ax: Any = None, **kwargs: Any
    ) -> ScoreHistogramDisplay:
        """Score rows and draw, with the threshold at 0.

        Parameters
        ----------
        estimator : outlier detector
            Fitted; has `decision_function`.
        X : array-like or tensor
            Rows, as the detector takes them.
        y : array-like of shape (n,)
            1 for normal, -1 for novel. One of the two is enough.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        display : ScoreHistogramDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `y` holds anything but 1 and -1, or has another length than X.
        """
        _pyplot(cls)
        y_score = estimator.decision_function(X)
        return cls.from_predictions(y, y_score, threshold=0.0, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        threshold: float | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> ScoreHistogramDisplay:
        """Draw scores that are there already.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            1 for normal, -1 for novel. One of the two is enough.
        y_score : array-like of shape (n,)
            The larger, the more normal.
        threshold : float, default=None
            `offset_` for scores of `score_samples`, 0 for those of `decision_function`.
            None draws none.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Further arguments of `plot`.

        Returns
        -------
        display : ScoreHistogramDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `y_true` holds anything but 1 and -1, if `y_score` holds NaN, or if the
            lengths differ.
        """
        y_true, y_score = labels_and_scores(y_true, y_score)
        display = cls(y_true=y_true, y_score=y_score, threshold=threshold)
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, bins: int | str | Sequence[float] = 40
    ) -> ScoreHistogramDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        bins : int, str or sequence of float, default=40
            Number of bins, a rule of :func:`numpy.histogram_bin_edges` that finds it, or
            the edges. Scores beyond the outermost edges are counted in the outermost
            bins. Without edges, the bins reach from the 1st percentile of the scores to
            the 99th, of the group of which that is further out.

        Returns
        -------
        display : ScoreHistogramDisplay
            The same.
        """
        groups = [
            ("normal", _NORMAL, self.y_score[self.y_true == 1]),
            ("novel", _NOVEL, self.y_score[self.y_true == -1]),
        ]
        groups = [group for group in groups if len(group[2])]
        edges: Any = bins
        if np.ndim(edges) == 0:
            edges = _edges([scores for _, _, scores in groups], edges)
        self._draw_in(ax)
        for label, colour, scores in groups:
            self.ax_.hist(
                np.clip(scores, edges[0], edges[-1]),
                edges,
                weights=np.full(len(scores), 1 / len(scores)),
                color=colour,
                edgecolor="white",
                linewidth=0.5,
                alpha=0.75,
                label=f"{label} ({len(scores)})",
            )
        if self.threshold is not None:
            self.ax_.axvline(self.threshold, color="black", linestyle="--", label="threshold")
        self.ax_.set(xlabel="score: the larger, the more normal", ylabel="share of rows")
        self.ax_.legend()
        return self


def _edges(groups: list[np.ndarray], bins: int | str) -> np.ndarray:
    finite = [scores[np.isfinite(scores)] for scores in groups]
    quantiles = [np.quantile(scores, [0.01, 0.99]) for scores in finite if len(scores)]
    if not quantiles:
        raise ValueError("y_score holds no finite score to draw.")
    low, high = np.min(quantiles), np.max(quantiles)
    return np.histogram_bin_edges(np.concatenate(finite), bins, (low, high))


class DetectionCurveDisplay(_Display):
    """What every threshold would do: a curve of one of three kinds.

    scikit-learn's own curve displays take classifiers only in `from_estimator`. These take
    detectors, infinite scores and ``pos_label=-1`` for the same scores, and draw TNR over
    TPR too. Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    x, y : ndarray of shape (n_thresholds,)
        The curve.
    kind : {"roc", "precision-recall", "tnr-tpr"}
        What it shows.
    figure_of_merit : float
        AUROC, AUPR (average precision) or TNR at 95 % TPR.
    pos_label : {1, -1}
        The positive class: 1 is the in-distribution, -1 novelty.
    name : str or None
        Of the detector, for the legend.

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
    ) -> DetectionCurveDisplay:
        """Score rows and draw.

        Parameters
        ----------
        estimator : outlier detector
            Fitted; has `decision_function`.
        X : array-like or tensor
            Rows, as the detector takes them.
        y : array-like of shape (n,)
            1 for normal, -1 for novel.
        kind : {"roc", "precision-recall", "tnr-tpr"}, default="roc"
            True positive rate over false positive rate; precision over recall; or true
            negative rate over true positive rate, with a mark at 95 % TPR.
        pos_label : {1, -1}, default=1
            The positive class: 1 for the in-distribution, -1 for novelty.
        name : str, default=None
            For the legend. None takes the name of the class of the estimator.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : DetectionCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `kind` is none of the three, if `y` holds anything but 1 and -1 or not
            both, or if it has another length than X.
        """
        _pyplot(cls)
        _check_kind(kind)
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
    ) -> DetectionCurveDisplay:
        """Draw the curve of scores that are there already.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            1 for normal, -1 for novel.
        y_score : array-like of shape (n,)
            The larger, the more normal, whatever `pos_label` is. Ties and infinities
            are fine: only the order counts.
        kind : {"roc", "precision-recall", "tnr-tpr"}, default="roc"
            True positive rate over false positive rate; precision over recall; or true
            negative rate over true positive rate, with a mark at 95 % TPR.
        pos_label : {1, -1}, default=1
            The positive class: 1 for the in-distribution, -1 for novelty.
        name : str, default=None
            For the legend.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : DetectionCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `kind` is none of the three, if `y_true` holds anything but 1 and -1 or not
            both, if `y_score` holds NaN, or if the lengths differ.
        """
        _check_kind(kind)
        if pos_label not in (1, -1):
            raise ValueError(f"pos_label must be 1 or -1; got {pos_label!r}.")
        positive, ranks = ranked(*labels_and_scores(y_true, y_score), pos_label)
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

    def plot(
        self, ax: Any = None, *, name: str | None = None, **kwargs: Any
    ) -> DetectionCurveDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, beside the curves that are there. None makes a new figure.
        name : str, default=None
            For the legend. None takes the display's own.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : DetectionCurveDisplay
            The same.
        """
        self._draw_in(ax)
        name = self.name if name is None else name
        kind = _KINDS[self.kind]
        label = f"{kind['figure_of_merit']} = {self.figure_of_merit:.3f}"
        style = {
            "label": label if name is None else f"{name} ({label})",
            "drawstyle": kind["drawstyle"],
            **kwargs,
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
        self.ax_.legend(loc=kind["legend"])
        return self


_KINDS = {
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
        "legend": "lower left",
    },
}


def _check_kind(kind: str) -> None:
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {list(_KINDS)}; got {kind!r}.")


class LossCurveDisplay(_Display):
    """The loss of each epoch of a training.

    Use `from_estimator` to make one.

    Parameters
    ----------
    loss_curve : ndarray of shape (n_epochs,)
        For a detector, the mean squared error per standardised output.
    name : str or None
        Of the detector, for the legend.
    validation_loss_curve : ndarray of shape (n_epochs,) or None
        Mean error on the rows held out, of a detector with `early_stopping`.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    validation_line_ : matplotlib Line2D or None
        The one of the rows held out, dashed, with a large mark at its lowest point, the
        epoch that was kept.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure that holds it.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.inspection import LossCurveDisplay
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> detector = SVDRNDDetector(max_epochs=5, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(detector)
    >>> display.line_.get_xdata().tolist()
    [1, 2, 3, 4, 5]
    >>> plt.close()
    """

    def __init__(
        self,
        *,
        loss_curve: np.ndarray,
        name: str | None = None,
        validation_loss_curve: np.ndarray | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.name = name
        self.validation_loss_curve = validation_loss_curve

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> LossCurveDisplay:
        """Draw the loss of a fitted detector.

        Parameters
        ----------
        estimator : SVDRNDDetector
            Fitted; or any estimator that has a `loss_curve_`.
        name : str, default=None
            For the legend. None takes the name of the class of the estimator.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If it has no `loss_curve_`.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(f"{type(estimator).__name__} has no loss_curve_. {WHAT_TO_PASS}")
        name = type(estimator).__name__ if name is None else name
        held_out = getattr(estimator, "validation_loss_curve_", None)
        display = cls(
            loss_curve=np.asarray(estimator.loss_curve_),
            name=name,
            validation_loss_curve=None if held_out is None else np.asarray(held_out),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> LossCurveDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, beside the curves that are there. None makes a new figure.
        name : str, default=None
            For the legend. None takes the display's own.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : LossCurveDisplay
            The same.
        """
        self._draw_in(ax)
        name = self.name if name is None else name
        epochs = np.arange(1, len(self.loss_curve) + 1)
        style = {"marker": "o", "markersize": 4, "label": name, **kwargs}
        (self.line_,) = self.ax_.plot(epochs, self.loss_curve, **style)
        self.validation_line_ = None
        if self.validation_loss_curve is not None:
            held_out = self.validation_loss_curve
            (self.validation_line_,) = self.ax_.plot(
                np.arange(1, len(held_out) + 1),
                held_out,
                color=self.line_.get_color(),
                linestyle="--",
                marker="D",
                markevery=[int(np.argmin(held_out))],
                label=None if style["label"] is None else f"{style['label']}, rows held out",
            )
        self.ax_.set(xlabel="epoch", ylabel="loss")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        if style["label"] is not None:
            self.ax_.legend()
        return self


class BlurLadderDisplay(_Display):
    """One image, blurred more and more.

    Use `from_estimator` to make one.

    Parameters
    ----------
    pictures : ndarray of shape (1 + n_strengths, H, W, 3)
        The image and what the blur makes of it, from 0 (black) to 1.
    strengths : sequence of numbers
        Of the blur.
    strength_name : str
        Which of the parameters of the blur they are.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (1, 1 + n_strengths)
        One for each picture.
    ax_ : matplotlib Axes
        Axes that they are in.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    skrnd.blur : The blurs.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_sample_image
    >>> from skrnd.blur import SVDBlur
    >>> from skrnd.inspection import BlurLadderDisplay
    >>> image = load_sample_image("china.jpg")[:64, :64]
    >>> display = BlurLadderDisplay.from_estimator(SVDBlur(), image)
    >>> [ax.get_title() for ax in display.axes_[0]]
    ['original', 'k = 1', 'k = 5', 'k = 10', 'k = 25', 'k = 50']
    >>> plt.close()
    """

    def __init__(
        self, *, pictures: np.ndarray, strengths: Sequence[float], strength_name: str
    ) -> None:
        self.pictures = pictures
        self.strengths = strengths
        self.strength_name = strength_name

    @classmethod
    def from_estimator(
        cls,
        blur: Any,
        image: Any,
        *,
        strengths: Sequence[float] = (1, 5, 10, 25, 50, 100),
        parameter: str | None = None,
        ax: Any = None,
    ) -> BlurLadderDisplay:
        """Blur an image and draw.

        Parameters
        ----------
        blur : transformer
            One of :mod:`skrnd.blur`, or of your own; it is not changed. Its `image_shape` and
            `channel_axis` say how the image is laid out. It is given the image as it is,
            and by a detector images of which every channel is standardised: that matters
            to a blur of your own that is not linear.
        image : array-like or tensor of shape (H, W), (C, H, W), (H, W, C) or (n_features,)
            Of one to four channels; of two and four, the last is alpha and not shown.
            Values within [0, 1] or [0, 255] are shown as they are; any others are
            stretched from black to white.
        strengths : sequence of numbers, default=(1, 5, 10, 25, 50, 100)
            Values of the parameter. Those that are not below the shorter side of the image
            are left out for the blurs of this package.
        parameter : str, default=None
            Name of the parameter of `blur`. None takes `k`, or else `sigma`.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : BlurLadderDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        TypeError
            If `blur` is no transformer.
        ValueError
            If the image is none, if `blur` has no such parameter, or if no strength is left.
        """
        _pyplot(cls)
        if not hasattr(blur, "transform") or isinstance(blur, type):
            raise TypeError(
                f"BlurLadderDisplay takes a transformer, one of blurs_ of a detector; got {blur!r}."
            )
        params = blur.get_params()
        wanted = ("k", "sigma") if parameter is None else (parameter,)
        strength_name = next((name for name in wanted if name in params), None)
        if strength_name is None:
            raise ValueError(
                f"blur must have a parameter {' or '.join(wanted)}; got {blur!r}. Name its "
                "strength by parameter."
            )
        images = _checked(_array(image)[None])
        layout = _image_layout(
            images.shape[1:], params.get("image_shape"), params.get("channel_axis", "auto")
        )
        shorter_side = min(layout.chw[1:])
        if type(blur).__module__ == "skrnd.blur":
            strengths = [strength for strength in strengths if strength < shorter_side]
        if not len(strengths):
            raise ValueError(
                f"strengths must hold one below the shorter side of the image, {shorter_side}."
            )
        with config_context(transform_output="default"):
            blurred = [
                clone(blur).set_params(**{strength_name: strength}).fit_transform(images)
                for strength in strengths
            ]
        pictures = _pictures(np.concatenate([images, *blurred]), layout, _range(images))
        display = cls(pictures=pictures, strengths=strengths, strength_name=strength_name)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> BlurLadderDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : BlurLadderDisplay
            The same.
        """
        self._draw_in(ax, figsize=_size(self.pictures[None], 2.0))
        titles = ["original", *(f"{self.strength_name} = {s:g}" for s in self.strengths)]
        self.axes_ = _show(self.ax_, self.pictures[None], [titles])
        return self


class ContactSheetDisplay(_Display):
    """The most and the least novel of many images, with their scores.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    pictures : ndarray of shape (2, n_images, H, W, 3)
        The most novel, then the least novel images, from 0 (black) to 1.
    scores : ndarray of shape (2, n_images)
        Their scores.
    rows : ndarray of shape (2, n_images)
        Which rows of X they are.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (2, n_images)
        One for each picture.
    ax_ : matplotlib Axes
        Axes that they are in.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    ScoreHistogramDisplay : The scores of all rows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from skrnd.inspection import ContactSheetDisplay
    >>> X = np.random.default_rng(0).uniform(size=(20, 8, 8))
    >>> display = ContactSheetDisplay.from_predictions(X, X.std((1, 2)), n_images=3)
    >>> bool(display.scores[0].max() < display.scores[1].min())
    True
    >>> plt.close()
    """

    def __init__(self, *, pictures: np.ndarray, scores: np.ndarray, rows: np.ndarray) -> None:
        self.pictures = pictures
        self.scores = scores
        self.rows = rows

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_images: int = 8,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
        ax: Any = None,
    ) -> ContactSheetDisplay:
        """Score images and draw; scores below 0 are of images that are called novel.

        Parameters
        ----------
        estimator : outlier detector
            Fitted; has `decision_function`.
        X : array-like or tensor
            Images, as the detector takes them, see `from_predictions`.
        n_images : int, default=8
            How many of each side, at least 1.
        image_shape : tuple of int, default=None
            Shape of one image, for flat rows. None is that of the detector.
        channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
            Axis of X that holds the channels of 3-D images. "auto" is that of the detector.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : ContactSheetDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If X holds no images.
        """
        _pyplot(cls)
        scores = estimator.decision_function(X)
        X = _array(X)
        image_shape, channel_axis = layout_of(estimator, X, image_shape, channel_axis)
        return cls.from_predictions(
            X,
            scores,
            n_images=n_images,
            image_shape=image_shape,
            channel_axis=channel_axis,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        X: Any,
        y_score: ArrayLike,
        *,
        n_images: int = 8,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
        ax: Any = None,
    ) -> ContactSheetDisplay:
        """Draw images whose scores are there already.

        Parameters
        ----------
        X : array-like or tensor
            Images, (n, H, W), (n, C, H, W) or (n, H, W, C), or flat rows. Of one to four
            channels; of two and four, the last is alpha and not shown. If the values of
            those that are drawn are within [0, 1] or [0, 255], they are shown as they
            are; any others are stretched from black to white.
        y_score : array-like of shape (n,)
            The larger, the more normal.
        n_images : int, default=8
            How many of each side, at least 1; all of them if there are fewer.
        image_shape : tuple of int, default=None
            Shape of one image, for flat rows.
        channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
            Axis of X that holds the channels of 3-D images.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : ContactSheetDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If X holds no images, if `y_score` holds NaN, or if the lengths differ.
        """
        _pyplot(cls)
        check_scalar(n_images, "n_images", Integral, min_val=1)
        X = _array(X)
        scores = column_or_1d(as_numpy(y_score))
        check_consistent_length(X, scores)
        if np.isnan(scores).any():
            raise ValueError("y_score contains NaN.")
        layout = _image_layout(X.shape[1:], image_shape, channel_axis)
        order = np.argsort(scores, kind="stable")
        rows = np.stack([order[:n_images], order[::-1][:n_images]])
        # In rising order, as they lie in a file.
        rising, place = np.unique(rows, return_inverse=True)
        images = _checked(take_rows(X, rising))
        pictures = _pictures(images, layout, _range(images))[place.reshape(rows.shape)]
        return cls(pictures=pictures, scores=scores[rows], rows=rows).plot(ax=ax)

    def plot(self, ax: Any = None) -> ContactSheetDisplay:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : ContactSheetDisplay
            The same.
        """
        self._draw_in(ax, figsize=_size(self.pictures, 1.4))
        titles = [[f"{score:#.3g}" for score in own] for own in self.scores]
        self.axes_ = _show(self.ax_, self.pictures, titles)
        for label, first in zip(("most novel", "least novel"), self.axes_[:, 0], strict=True):
            first.set_ylabel(label)
        return self


def judgements(detector: SVDRNDDetector, X: Any) -> dict[str, np.ndarray]:
    """Why a row is novel: what each judgement of the detector says of it.

    Parameters
    ----------
    detector : SVDRNDDetector
        Fitted.
    X : array-like or tensor
        Images or rows of the shape seen in `fit`.

    Returns
    -------
    judgements : dict of str to ndarray of shape (n,), float64
        How novel each row is by each judgement, named after it. All are in the unit of the
        scores: the largest of a row is minus its score, and what is above ``-offset_``
        raises the alarm.

        "error" is that of the mimicry: the row is like nothing that the predictor has seen.
        "contrast to copy 3, SVDSharpen" is large where the row looks to it like that copy
        of the normal images, ``blurs_[2]``: sharper than they are. With "two-sided" there
        are "predictor 1: ..." and "predictor 2: ..."; where ``novelty`` is "error" there
        are no contrasts.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    TypeError
        If it is no SVDRNDDetector.
    ValueError
        If `score_samples` does not take X.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.blur import SVDBlur
    >>> from skrnd.inspection import judgements
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 8, 8))
    >>> detector = SVDRNDDetector(k=6, max_epochs=10, random_state=0).fit(X)
    >>> X_smooth = SVDBlur(k=6).fit_transform(X[:1])
    >>> judged = judgements(detector, X_smooth)
    >>> max(judged, key=lambda name: judged[name][0])
    'predictor 1: contrast to copy 1, SVDBlur'
    >>> bool(max(judged.values())[0] == -detector.score_samples(X_smooth)[0])
    True
    """
    check_detector(detector, "judgements")
    return detector._judgements_of(X)


def novelty_map(
    detector: SVDRNDDetector, images: Any, *, window: int | None = None, step: int | None = None
) -> np.ndarray:
    """Where in an image the novelty is.

    The detector scores a small window of the image, continued by mirroring to the size of
    the images it was trained on, and then the next, `step` pixels further. A pixel has the
    mean novelty of the windows that it is in, weighted by how near it is to their centres.
    Images may be larger than those trained on.

    Parameters
    ----------
    detector : SVDRNDDetector
        Fitted on images, with any network.
    images : array-like or tensor
        In a layout that the detector takes, of the same channels and of any size from
        `window` on. Flat rows are images of the `image_shape` of the detector.
    window : int, default=None
        Side of a window in pixels, from 2 to the shorter side of the images trained on.
        None takes 3/8 of that side.
    step : int, default=None
        Pixels from one window to the next, from 1 to `window`. None takes half of
        `window`. Half the step makes a smoother map of four times as many windows.

    Returns
    -------
    maps : ndarray of shape (n, H, W), float64
        Minus scores of `score_samples`, the larger the more novel.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    TypeError
        If it is no SVDRNDDetector.
    ValueError
        If the detector was fitted on plain rows, if the images have other channels or are
        smaller than a window, or if `window` or `step` is out of range.

    Notes
    -----
    A window that is mirrored is no image like those trained on, and novel to a degree
    whatever it shows. Only differences within a map, or between maps of one detector,
    window and step, mean something: compare them with the maps of normal images, not with
    the threshold. Only a `window` as large as the images trained on is not mirrored; it
    finds the place less well, in larger images too.

    It finds what the detector finds, no finer than a window, and no more than roughly. In
    60 CIFAR-10 images with a foreign patch in a quarter of their area, 16 x 16 pixels, for the
    default detector of 1,500 images (six epochs), this share of maps has its maximum in the
    patch, and this is the mean AUROC of the map as a score of the pixels of the patch; where
    the patch is of another CIFAR-10 image, only its seams are foreign:

    ===========================  =====  ====================
    patch                        AUROC  maximum in the patch
    ===========================  =====  ====================
    noise                        .89    .65
    Tiny ImageNet, aliased       .78    .60
    SVHN                         .69    .45
    blurred, by ``SVDBlur(28)``  .65    .30
    another CIFAR-10 image       .46    .10
    ===========================  =====  ====================

    Maps of the error of the last features before they are averaged, and of the gradient of
    the novelty, mark the seams of a patch about as much as what is in it; the change of the
    novelty as a part of the image is greyed out finds the place less often.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.inspection import novelty_map
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 16, 16))
    >>> detector = SVDRNDDetector(blur="svd", max_epochs=3, random_state=0).fit(X)
    >>> image = rng.normal(size=(1, 40, 40))
    >>> image[:, 20:, :20] = 0.0
    >>> (novelty,) = novelty_map(detector, image)
    >>> row, column = np.unravel_index(novelty.argmax(), novelty.shape)
    >>> bool(row >= 20 and column < 20)
    True
    """
    check_detector(detector, "novelty_map")
    if detector._layout is None:
        raise ValueError("The detector was fitted on plain rows, which have no places.")
    images = _checked(_array(images))
    layout = _image_layout(images.shape[1:], *layout_of(detector, images, None, "auto"))
    n_channels, *sides = layout.chw
    n_trained, *trained = detector.input_shape_
    if n_channels != n_trained:
        raise ValueError(
            f"images have {n_channels} channels; the detector was fitted on {n_trained}. "
            "A single image is images[None]."
        )
    window = max(2, round(_WINDOW * min(trained))) if window is None else window
    check_scalar(window, "window", Integral, min_val=2, max_val=min(trained))
    if min(sides) < window:
        raise ValueError(f"images of {sides[0]} x {sides[1]} pixels are smaller than {window=}.")
    step = window // 2 if step is None else step
    check_scalar(step, "step", Integral, min_val=1, max_val=window)

    images = layout.to_nchw(images)
    (rows, of_row), (columns, of_column) = (
        _windows(side, window, step, own) for side, own in zip(sides, trained, strict=True)
    )
    novelty = np.empty((len(images), len(rows), len(columns)))
    for batch in gen_batches(novelty.size, detector._block_rows()):
        places: Any = np.unravel_index(np.r_[batch], novelty.shape)
        i, row, column = places
        seen = images[i[:, None, None], :, rows[row][:, :, None], columns[column][:, None, :]]
        seen = detector._layout.from_nchw(np.moveaxis(seen, -1, 1))
        novelty.flat[batch] = -detector._scores(detector._novelties_of(seen))
    return of_row @ novelty @ of_column.T


def _windows(side: int, window: int, step: int, filled: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows along one axis of an image.

    Returns
    -------
    sources : ndarray of shape (n_windows, filled), int
        Which pixels each is filled with: its own, and those mirrored about its ends.
    shares : ndarray of shape (side, n_windows)
        What part each has in the mean at each pixel.
    """
    starts = np.unique(np.r_[0 : side - window + 1 : step, side - window])[:, None]
    turn = (np.arange(filled) - (filled - window) // 2) % (2 * window)
    sources = starts + np.minimum(turn, 2 * window - 1 - turn)
    place = np.arange(side) - starts
    nearness = np.minimum(place + 1, window - place).clip(0).T
    return sources, nearness / nearness.sum(axis=1, keepdims=True)


def _pyplot(display: type) -> Any:
    """matplotlib.pyplot, imported only where something is drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f'{display.__name__} needs matplotlib: pip install "skrnd[plot]"'
        ) from error
    return plt


def _size(pictures: np.ndarray, inches: float) -> tuple[float, float]:
    """Width and height of a table of pictures so wide, each with a title above it."""
    n_rows, n_columns, height, width = pictures.shape[:4]
    return inches * n_columns, n_rows * (0.35 + inches * height / width)


def _show(ax: Any, pictures: np.ndarray, titles: Sequence[Sequence[str]]) -> np.ndarray:
    """Draw a table of pictures, each with a title above it; return an Axes for each."""
    n_rows, n_columns = pictures.shape[:2]
    ax.set_axis_off()
    axes = np.empty((n_rows, n_columns), dtype=object)
    for row, column in np.ndindex(n_rows, n_columns):
        corner = (column / n_columns, 1 - (row + 1) / n_rows)
        own = ax.inset_axes((*corner, 0.94 / n_columns, 0.84 / n_rows))
        own.imshow(pictures[row, column])
        own.set(xticks=[], yticks=[])
        own.set_title(titles[row][column], fontsize="medium", pad=3)
        axes[row, column] = own
    return axes


def _image_layout(
    sample_shape: Sequence[int], image_shape: tuple[int, ...] | None, channel_axis: str | int
) -> ImageLayout:
    layout = None
    if len(sample_shape) in (1, 2, 3):
        layout = find_layout(sample_shape, image_shape, channel_axis)
    if layout is None:
        raise ValueError(
            f"Rows of shape {tuple(sample_shape)} are no images: these are (height, width), "
            "(channels, height, width) or (height, width, channels), or flat with image_shape."
        )
    return layout


def _array(X: Any) -> Any:
    """Numpy of tensors, lists and frames; what is read slice by slice stays as it is."""
    X = as_numpy(rows_of(X))
    return X if hasattr(X, "shape") and not hasattr(X, "columns") else np.asarray(X)


def _checked(images: Any) -> np.ndarray:
    return check_values(images, input_name="images", ensure_2d=False)


def _range(images: np.ndarray) -> tuple[float, float]:
    """The values that are drawn black and white."""
    low, high = float(images.min()), float(images.max())
    for usual in (1.0, 255.0):
        if low >= 0 and high <= usual:
            return 0.0, usual
    return low, high if high > low else low + 1


def _pictures(
    images: np.ndarray, layout: ImageLayout, black_and_white: tuple[float, float]
) -> np.ndarray:
    """Images of any layout as matplotlib draws them: (n, H, W, 3), from 0 to 1."""
    n_channels = layout.chw[0]
    if n_channels > 4:
        raise ValueError(f"Images of {n_channels} channels cannot be drawn; one to four can.")
    channels = layout.to_nchw(images)[:, [0, 1, 2] if n_channels > 2 else [0, 0, 0]]
    black, white = black_and_white
    return np.clip((channels.transpose(0, 2, 3, 1) - black) / (white - black), 0, 1)
