"""Which images are the most novel, and which the least."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_consistent_length

from .._containers import take_rows
from .._decorators import validate_params
from .._validation import LAYOUT_CONSTRAINTS, layout_of
from ..metrics import _scores_of
from ._display import Display, pyplot
from ._pictures import array, checked, image_layout, pictures_of, range_of, show, size_of


class ContactSheetDisplay(Display):
    """The most and the least novel of many images, with their scores.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    pictures : ndarray of shape (2, n_images, H, W, 3)
        The most novel images, then the least novel ones, with values from 0 (black) to 1
        (white).
    scores : ndarray of shape (2, n_images)
        Their scores.
    rows : ndarray of shape (2, n_images), int
        Their indices in X.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (2, n_images)
        Axes of each picture.
    ax_ : matplotlib Axes
        Axes that holds these.
    figure_ : matplotlib Figure
        Figure that holds them all.

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
    ) -> Self:
        """Score images by `decision_function` and draw: those below 0 are called novel.

        Parameters
        ----------
        estimator : outlier detector
            Fitted; has `decision_function`.
        X : array-like or tensor
            Images, as the detector takes them; for how they are shown, see `from_predictions`.
        n_images : int, default=8
            How many of the most and of the least novel images, at least 1; all of them if
            there are fewer.
        image_shape : tuple of int, default=None
            Shape of one image, where each row of X is a flattened image. None takes it from the
            detector, also from one that ends a Pipeline if all steps before it return one
            feature for each that they are given, as scalers and blurs do.
        channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
            Axis that holds the channels, as in :class:`~skrnd.SVDRNDDetector`. "auto" takes it
            from the detector as well.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : ContactSheetDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If X holds no images, or if another parameter is out of range.
        """
        pyplot(cls)
        scores = estimator.decision_function(X)
        X = array(X)
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
    @validate_params(
        {"n_images": [Interval(Integral, 1, None, closed="left")], **LAYOUT_CONSTRAINTS},
        prefer_skip_nested_validation=True,
    )
    def from_predictions(
        cls,
        X: Any,
        y_score: ArrayLike,
        *,
        n_images: int = 8,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
        ax: Any = None,
    ) -> Self:
        """Draw images whose scores have been computed already.

        Parameters
        ----------
        X : array-like or tensor
            Images, (n, H, W), (n, C, H, W) or (n, H, W, C), or flat rows, of one to four
            channels; with two or four, the last is alpha and not shown. Images of uint8 are
            shown as they are, and so are others if all values of those that are drawn are within
            [0, 1], or within [0, 255] and some above 127; otherwise they are stretched from
            black to white.
        y_score : array-like of shape (n,)
            The larger, the more normal.
        n_images : int, default=8
            How many of the most and of the least novel images, at least 1; all of them if
            there are fewer.
        image_shape : tuple of int, default=None
            Shape of one image, where each row of X is a flattened image.
        channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
            Axis that holds the channels, as in :class:`~skrnd.SVDRNDDetector`.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : ContactSheetDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If X holds no images, if `y_score` holds NaN, if the lengths differ, or if another
            parameter is out of range.
        """
        pyplot(cls)
        X, scores = array(X), _scores_of(y_score)
        check_consistent_length(X, scores)
        if len(scores) == 0:
            raise ValueError("X has no image to draw.")
        layout = image_layout(X.shape[1:], image_shape, channel_axis)
        order = np.argsort(scores, kind="stable")
        rows = np.stack([order[:n_images], order[::-1][:n_images]])
        # In rising order, as they lie in a file.
        rising, place = np.unique(rows, return_inverse=True)
        images = checked(take_rows(X, rising))
        pictures = pictures_of(images, layout, range_of(images))[place.reshape(rows.shape)]
        return cls(pictures=pictures, scores=scores[rows], rows=rows).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : ContactSheetDisplay
            This display.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        self._draw_in(ax, figsize=size_of(self.pictures, 1.4))
        titles = [[f"{score:#.3g}" for score in own] for own in self.scores]
        self.axes_ = show(self.ax_, self.pictures, titles)
        for label, first in zip(("most novel", "least novel"), self.axes_[:, 0], strict=True):
            first.set_ylabel(label)
        return self
