"""How the scores of normal and of novel rows lie."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ..metrics import _labels_and_scores
from ._display import Display, pyplot

# Dark blue and light orange: told apart in grey and by the colour-blind (Okabe and Ito).
_NORMAL, _NOVEL = "#0072B2", "#E69F00"


class ScoreHistogramDisplay(Display):
    """Histograms of the scores of normal and of novel rows, with the threshold.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    y_true : ndarray of shape (n,)
        1 for normal, -1 for novel.
    y_score : ndarray of shape (n,)
        The larger, the more normal.
    threshold : float, default=None
        Rows that score below it are called novel. None draws no threshold.

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
    ) -> Self:
        """Score rows by `decision_function` and draw, with the threshold at 0.

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
            Passed to `plot`: `bins`, and what it passes on to matplotlib's `hist`.

        Returns
        -------
        display : ScoreHistogramDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `y` holds anything but 1 and -1, or if X and `y` differ in length.
        """
        pyplot(cls)
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
    ) -> Self:
        """Draw scores that have been computed already.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            1 for normal, -1 for novel. One of the two is enough.
        y_score : array-like of shape (n,)
            The larger, the more normal.
        threshold : float, default=None
            Where to draw the threshold: `offset_` for scores of `score_samples`, 0 for those of
            `decision_function`. None draws no threshold.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to `plot`: `bins`, and what it passes on to matplotlib's `hist`.

        Returns
        -------
        display : ScoreHistogramDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If `y_true` holds anything but 1 and -1, if `y_score` holds NaN or no finite score,
            or if the lengths differ.
        """
        y_true, y_score = _labels_and_scores(y_true, y_score)
        display = cls(y_true=y_true, y_score=y_score, threshold=threshold)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, bins: int | str | ArrayLike = 40, **kwargs: Any) -> Self:
        """Draw the histograms.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        bins : int, str or sequence of float, default=40
            Number of bins, the name of a rule of :func:`numpy.histogram_bin_edges` that finds
            it, or the edges of the bins. If no edges are given, the bins reach from the lower 1st
            percentile of the two groups to the higher 99th. Scores beyond the outermost edges
            are counted in the outermost bins.
        **kwargs : dict
            Passed to matplotlib's `hist`, for both groups, as ``histtype="step"``.

        Returns
        -------
        display : ScoreHistogramDisplay
            This display.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If no score is finite and no edges are given.
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
            style = {
                "weights": np.full(len(scores), 1 / len(scores)),
                "color": colour,
                "alpha": 0.75,
                "rwidth": 0.88,
                "label": f"{label} ({len(scores)})",
                **kwargs,
            }
            self.ax_.hist(np.clip(scores, edges[0], edges[-1]), edges, **style)
        if self.threshold is not None:
            self.ax_.axvline(self.threshold, color="black", linestyle="--", label="threshold")
        ylabel = "density" if kwargs.get("density") else "share of rows"
        self.ax_.set(xlabel="score: the larger, the more normal", ylabel=ylabel)
        if self.ax_.get_legend_handles_labels()[0]:
            self.ax_.legend()
        return self


def _edges(groups: list[np.ndarray], bins: int | str) -> np.ndarray:
    finite = [scores[np.isfinite(scores)] for scores in groups]
    quantiles = [np.quantile(scores, [0.01, 0.99]) for scores in finite if len(scores)]
    if not quantiles:
        raise ValueError("y_score holds no finite score to draw.")
    low, high = np.min(quantiles), np.max(quantiles)
    return np.histogram_bin_edges(np.concatenate(finite), bins, (low, high))
