"""Geometry and photometry: transformers that turn, move or invert images.

They make the other copies of Table 2 in Choi and Chung, "Novelty Detection Via
Blurring". Like the blurs, each is a scikit-learn transformer, and makes a copy of the
normal images when it is passed to :class:`~skrnd.SVDRNDDetector`::

    SVDRNDDetector(blur=None, geometry=Flip())   # only the mirrored copy
    SVDRNDDetector(blur="svd", geometry=Rotate())  # SVD-ROT-RND

Where a pixel comes from beyond the edge of an image, the image is continued by
reflection about that edge, as in :class:`~skrnd.blur.GaussianBlur`.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from ._backend import widest_float
from ._validation import LAYOUT_CONSTRAINTS
from .base import BaseImageTransformer

__all__ = ["Contrast", "Flip", "Invert", "Rotate", "Shear", "Translate"]

_AXIS_CONSTRAINT = [StrOptions({"vertical", "horizontal"})]


class Flip(BaseImageTransformer):
    """Mirror images left to right or upside down.

    Parameters
    ----------
    axis : {"vertical", "horizontal"}, default="horizontal"
        "horizontal" swaps left and right, "vertical" top and bottom.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.

    See Also
    --------
    Rotate : Turn images.

    Examples
    --------
    >>> from skrnd.geometry import Flip
    >>> Flip().fit_transform([[[1.0, 2.0], [3.0, 4.0]]])
    array([[[2., 1.],
            [4., 3.]]])
    """

    _parameter_constraints: dict[str, Any] = {**LAYOUT_CONSTRAINTS, "axis": _AXIS_CONSTRAINT}

    def __init__(
        self,
        axis: str = "horizontal",
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.axis = axis

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        return images.flip(-1 if self.axis == "horizontal" else -2)


class Rotate(BaseImageTransformer):
    """Rotate images about their centre.

    Quarter turns of square images and half turns of all images are exact; any other
    angle interpolates linearly between pixels. The shape stays the same.

    Parameters
    ----------
    angle : float, default=90.0
        Angle in degrees, anticlockwise; negative is clockwise.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.

    See Also
    --------
    Flip : Mirror images.
    Shear : Slant images.

    Examples
    --------
    >>> from skrnd.geometry import Rotate
    >>> Rotate(90).fit_transform([[[1.0, 2.0], [3.0, 4.0]]])
    array([[[2., 4.],
            [1., 3.]]])
    """

    _parameter_constraints: dict[str, Any] = {
        **LAYOUT_CONSTRAINTS,
        "angle": [Interval(Real, None, None, closed="neither")],
    }

    def __init__(
        self,
        angle: float = 90.0,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.angle = angle

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        # Of many turns, rounding would leave anything.
        angle = math.fmod(self.angle, 360)
        quarters = angle / 90
        is_square = images.shape[-2] == images.shape[-1]
        if quarters % (1 if is_square else 2) == 0:
            return torch.rot90(images, int(quarters % 4), (-2, -1))
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # Rows count downwards: what is anticlockwise to the eye turns the other
        # way in (x, y), and a pixel comes from where the reverse turn leads.
        return _warp(images, ((cos, -sin), (sin, cos)))


class Translate(BaseImageTransformer):
    """Shift images down or to the right.

    Parameters
    ----------
    shift : int or float, default=0.25
        An int is a number of pixels, smaller in size than the side that is shifted
        along. A float in (-1, 1) is a share of the height or width, rounded to whole
        pixels so that at least one row or column of the image stays in it. Negative
        values shift up or to the left.
    axis : {"vertical", "horizontal"}, default="vertical"
        Direction of the shift: "vertical" is down, "horizontal" to the right.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.

    See Also
    --------
    Shear : Slant images.

    Examples
    --------
    >>> from skrnd.geometry import Translate
    >>> Translate(1, axis="horizontal").fit_transform([[[1.0, 2.0, 3.0]]])
    array([[[1., 1., 2.]]])
    """

    _parameter_constraints: dict[str, Any] = {
        **LAYOUT_CONSTRAINTS,
        "shift": [
            Interval(Integral, None, None, closed="neither"),
            Interval(RealNotInt, -1, 1, closed="neither"),
        ],
        "axis": _AXIS_CONSTRAINT,
    }

    def __init__(
        self,
        shift: float = 0.25,
        axis: str = "vertical",
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.shift = shift
        self.axis = axis

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        dim = -2 if self.axis == "vertical" else -1
        size = images.shape[dim]
        if isinstance(self.shift, Integral):
            n_pixels = int(self.shift)
        else:
            n_pixels = max(1 - size, min(size - 1, round(self.shift * size)))
        if abs(n_pixels) >= size:
            raise ValueError(
                f"shift={self.shift} is out of range for images of {images.shape[-2]} x "
                f"{images.shape[-1]} pixels: an integer shift must be less than {size} either "
                "way, a float between -1 and 1 fits every size."
            )
        mirrored = np.pad(np.arange(size), size, mode="symmetric")
        source = torch.from_numpy(mirrored[size - n_pixels : 2 * size - n_pixels])
        return images.index_select(dim, source.to(images.device))


class Shear(BaseImageTransformer):
    """Slant images about their centre.

    A pixel moves along `axis` by the tangent of `angle` times its distance from the
    centre, measured across that axis. Values are interpolated linearly between pixels.

    Parameters
    ----------
    angle : float, default=30.0
        Angle in degrees, in (-90, 90). A positive one moves the lower half to the
        right, or, with a vertical `axis`, the right half down.
    axis : {"vertical", "horizontal"}, default="horizontal"
        Direction in which the pixels move.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.

    See Also
    --------
    Translate : Shift images.
    Rotate : Turn images.

    Examples
    --------
    >>> from skrnd.geometry import Shear
    >>> column = [[0.0, 1.0, 0.0]] * 3
    >>> Shear(45).fit_transform([column]).round()
    array([[[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]]])
    """

    _parameter_constraints: dict[str, Any] = {
        **LAYOUT_CONSTRAINTS,
        "angle": [Interval(Real, -90, 90, closed="neither")],
        "axis": _AXIS_CONSTRAINT,
    }

    def __init__(
        self,
        angle: float = 30.0,
        axis: str = "horizontal",
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.angle = angle
        self.axis = axis

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        slope = math.tan(math.radians(self.angle))
        if self.axis == "horizontal":
            return _warp(images, ((1.0, -slope), (0.0, 1.0)))
        return _warp(images, ((1.0, 0.0), (-slope, 1.0)))


class Contrast(BaseImageTransformer):
    """Pull the pixels of every channel towards their mean, or away from it.

    In every image by itself, a pixel x of a channel with mean m becomes
    ``m + factor * (x - m)``.

    Parameters
    ----------
    factor : float, default=0.5
        Factor of the contrast, above 0: less than 1 reduces it, more than 1
        increases it.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.

    See Also
    --------
    Invert : Exchange bright and dark.

    Examples
    --------
    >>> from skrnd.geometry import Contrast
    >>> Contrast(0.5).fit_transform([[[0.0, 4.0], [4.0, 8.0]]])
    array([[[2., 4.],
            [4., 6.]]])
    """

    _parameter_constraints: dict[str, Any] = {
        **LAYOUT_CONSTRAINTS,
        "factor": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        factor: float = 0.5,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.factor = factor

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        # The sum of many large values has no room in single precision.
        mean = images.mean((-2, -1), keepdim=True, dtype=widest_float(images.device)).to(images)
        return mean + self.factor * (images - mean)


class Invert(BaseImageTransformer):
    """Swap light and dark in every channel.

    In every image by itself, a pixel x of a channel becomes ``min + max - x``, with the
    least and the greatest value of that channel, so that its range stays the same.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, where images have them: 1 (or -3) for (n, channels,
        height, width), -1 (or 3) for (n, height, width, channels). "auto" takes the first or
        the last axis of an image, whichever has one to four entries, and refuses to guess if
        both or neither have.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X is a data frame whose column names are strings.
    sample_shape_ : tuple of int
        Shape of one row of X, ``X.shape[1:]``.

    See Also
    --------
    Contrast : Less contrast, or more.

    Examples
    --------
    >>> from skrnd.geometry import Invert
    >>> Invert().fit_transform([[[0.0, 1.0], [2.0, 5.0]]])
    array([[[5., 4.],
            [3., 0.]]])
    """

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        return images.amin((-2, -1), keepdim=True) + (images.amax((-2, -1), keepdim=True) - images)


def _warp(images: torch.Tensor, source: tuple[tuple[float, float], ...]) -> torch.Tensor:
    """Fetch every pixel (x, y), counted from the centre, from ``source @ (x, y)``."""
    height, width = images.shape[-2:]
    (xx, xy), (yx, yy) = source
    # torch measures in half sides: from -1 to 1, whatever the size.
    half_sides = [[xx, xy * height / width, 0.0], [yx * width / height, yy, 0.0]]
    # Places far outside, reflected many times, need all digits there are.
    wide = images.to(widest_float(images.device))
    theta = torch.tensor(half_sides, dtype=wide.dtype, device=wide.device)
    grid = torch.nn.functional.affine_grid(theta[None], [1, 1, height, width], align_corners=False)
    warped = torch.nn.functional.grid_sample(
        wide,
        grid.expand(len(wide), -1, -1, -1),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    return warped.to(images.dtype)
