"""What a blur makes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone

from ._display import Display, pyplot
from ._pictures import array, checked, image_layout, pictures_of, range_of, show, size_of


class BlurLadderDisplay(Display):
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
            `channel_axis` say how the image is laid out: those of `blurs_` take the channels
            first, whatever their detector takes. It is given the image as it is,
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
        pyplot(cls)
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
        images = checked(np.asarray(array(image))[None])
        layout = image_layout(
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
        pictures = pictures_of(np.concatenate([images, *blurred]), layout, range_of(images))
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
        self._draw_in(ax, figsize=size_of(self.pictures[None], 2.0))
        titles = ["original", *(f"{self.strength_name} = {s:g}" for s in self.strengths)]
        self.axes_ = show(self.ax_, self.pictures[None], [titles])
        return self
