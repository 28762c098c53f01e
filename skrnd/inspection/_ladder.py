"""What a blur makes of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

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
        The image and its blurred copies, with values from 0 (black) to 1 (white).
    strengths : sequence of float
        Strengths of the blur, one for each copy.
    strength_name : str
        Name of the parameter of the blur that the strengths are values of.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, of shape (1, 1 + n_strengths)
        Axes of each picture.
    ax_ : matplotlib Axes
        Axes that holds these.
    figure_ : matplotlib Figure
        Figure that holds them all.

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
        self, *, pictures: np.ndarray, strengths: Sequence[float] | np.ndarray, strength_name: str
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
        strengths: Sequence[float] | np.ndarray = (1, 5, 10, 25, 50, 100),
        parameter: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Blur an image at several strengths and draw.

        Parameters
        ----------
        blur : transformer
            One of :mod:`skrnd.blur`, or of your own; it is not changed. Its `image_shape` and
            `channel_axis` say how the image is laid out: the `blurs_` of a detector take the
            channels first, however X was laid out in `fit`. Here the blur is given the image as
            it is, while a detector gives it images with every channel standardised. That makes a
            difference to a blur of your own that is not linear.
        image : array-like or tensor of shape (H, W), (C, H, W), (H, W, C) or (n_features,)
            A single image of one to four channels; with two or four, the last is alpha and
            not shown. One of uint8 is shown as it is, and so is another if all values are within
            [0, 1], or within [0, 255] and some above 127; otherwise it is stretched from black
            to white.
        strengths : sequence of float, default=(1, 5, 10, 25, 50, 100)
            Values of the parameter. For `k` and `sigma` of the blurs of this package, those that
            are not below the shorter side of the image are left out.
        parameter : str, default=None
            Name of the parameter of `blur` that sets its strength. None takes `k`, or else
            `sigma`. Another one, such as `gain`, may need `strengths` of its own.
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : BlurLadderDisplay
            The display, which has been drawn.

        Raises
        ------
        ImportError
            Without matplotlib.
        TypeError
            If `blur` is not a transformer.
        ValueError
            If `image` is not an image, if `blur` has no such parameter, or if no strength is
            left.
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
            hint = " Name its strength by parameter." if parameter is None else ""
            raise ValueError(
                f"blur must have a parameter {' or '.join(wanted)}; got {blur!r}.{hint}"
            )
        images = checked(np.asarray(array(image))[None])
        layout = image_layout(
            images.shape[1:], params.get("image_shape"), params.get("channel_axis", "auto")
        )
        shorter_side = min(layout.chw[1:])
        if type(blur).__module__ == "skrnd.blur" and strength_name in ("k", "sigma"):
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

    def plot(self, ax: Any = None) -> Self:
        """Draw the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None makes a new figure.

        Returns
        -------
        display : BlurLadderDisplay
            This display.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        self._draw_in(ax, figsize=size_of(self.pictures[None], 2.0))
        titles = ["original", *(f"{self.strength_name} = {s:g}" for s in self.strengths)]
        self.axes_ = show(self.ax_, self.pictures[None], [titles])
        return self
