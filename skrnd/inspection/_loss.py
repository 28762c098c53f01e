"""How a training went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._detector import WHAT_TO_PASS
from ._display import Display, line_style


class LossCurveDisplay(Display):
    """The loss of each epoch of a training.

    Use `from_estimator` to make one.

    Parameters
    ----------
    loss_curve : ndarray of shape (n_epochs,)
        Loss of each epoch; for a detector, the mean squared error per standardised output.
    name : str, default=None
        Name of the detector for the legend.
    validation_loss_curve : ndarray of shape (n_epochs,), default=None
        Mean error on the held-out rows after each epoch, of a detector with `early_stopping`.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The curve.
    validation_line_ : matplotlib Line2D or None
        The curve of the held-out rows, dashed, with a large mark at its lowest point. After
        a single fit, that is the epoch that was kept.
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure that holds it.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Quality over the number of rows.

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
        loss_curve: Sequence[float] | np.ndarray,
        name: str | None = None,
        validation_loss_curve: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.name = name
        self.validation_loss_curve = validation_loss_curve

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the loss of a fitted detector.

        Parameters
        ----------
        estimator : SVDRNDDetector
            Fitted. Any other estimator that has a `loss_curve_` will do as well.
        name : str, default=None
            Name of the detector for the legend. None takes the class of the estimator.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.
        **kwargs : dict
            Passed to matplotlib's `plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, which has been drawn.

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
        display : LossCurveDisplay
            This display.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        self._draw_in(ax)
        from matplotlib.ticker import MaxNLocator

        name = self.name if name is None else name
        epochs = np.arange(1, len(self.loss_curve) + 1)
        style = {"marker": "o", "markersize": 4, "label": name, **line_style(kwargs)}
        (self.line_,) = self.ax_.plot(epochs, self.loss_curve, **style)
        self.validation_line_ = None
        held_out = self.validation_loss_curve
        # A fit that was interrupted early may have looked at none.
        if held_out is not None and np.isfinite(held_out).any():
            (self.validation_line_,) = self.ax_.plot(
                np.arange(1, len(held_out) + 1),
                held_out,
                color=self.line_.get_color(),
                linestyle="--",
                marker="D",
                markevery=[int(np.nanargmin(held_out))],
                label=None if style["label"] is None else f"{style['label']}, rows held out",
            )
        self.ax_.set(xlabel="epoch", ylabel="loss")
        locator = self.ax_.xaxis.get_major_locator()
        # Of other kinds, the caller has chosen the ticks.
        if isinstance(locator, MaxNLocator):
            locator.set_params(integer=True)
        if style["label"] is not None:
            self.ax_.legend()
        return self
