"""Blurs, and their opposite: transformers that take detail out of images or add it.

A blurred copy of the normal images teaches :class:`~skrnd.SVDRNDDetector` that
"smooth" is not "normal", and a sharpened copy that "sharp" is not. What makes these
copies are scikit-learn transformers, which can also be used by themselves.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import torch
from sklearn.utils._param_validation import Interval, RealNotInt

from ._backend import widest_float
from ._threads import in_parts, own_torch_state
from ._validation import LAYOUT_CONSTRAINTS
from .base import BaseImageTransformer, _as_tensor

__all__ = ["DCTBlur", "GaussianBlur", "SVDBlur", "SVDSharpen", "SVDSoften"]

_K_CONSTRAINT = [
    Interval(Integral, 1, None, closed="left"),
    Interval(RealNotInt, 0, 1, closed="neither"),
]
# Beyond it, hardly more than the first singular value is left.
_MAX_POWER = 8.0


class _SpectrumTransformer(BaseImageTransformer):
    """Change the singular values of every channel."""

    k: float
    _parameter_constraints: dict[str, Any] = {**LAYOUT_CONSTRAINTS, "k": _K_CONSTRAINT}

    @abstractmethod
    def _change(self, s: torch.Tensor, is_kept: torch.Tensor) -> torch.Tensor:
        """What becomes of the singular values, of which all but the K smallest are kept."""

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        def transformed(channels: torch.Tensor) -> tuple[torch.Tensor]:
            return self._put_together(channels, *_taken_apart(channels))

        # Without doubles, an accelerator has no decomposition either.
        there = images.device
        if widest_float(there) != torch.float64:
            images = images.cpu()
        # Both at once, while the channels are in the cache of a core.
        (new,) = in_parts(transformed, images.flatten(0, 1))
        return new.reshape(images.shape).to(there)

    @own_torch_state()
    @torch.no_grad()
    def _transform_decomposed(self, images: np.ndarray, s: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The same as `transform`, of images (n, C, H, W) that `_decompose` has seen already."""
        stacks = (_as_tensor(stack).flatten(0, 1) for stack in (images, s, v))
        (new,) = in_parts(self._put_together, *stacks)
        return new.reshape(images.shape).numpy()

    def _put_together(
        self, channels: torch.Tensor, s: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor]:
        """Channels (n, H, W) with singular values changed, given these and their vectors."""
        height, width = channels.shape[1:]
        n_smallest = _n_smallest(self.k, min(height, width), (height, width))
        x = _tall(channels)
        rank = (s > s[:, :1] * _tolerance(channels)).sum(-1, keepdim=True)
        is_kept = torch.arange(s.shape[1], device=s.device) < rank - n_smallest
        shares = self._change(s, is_kept) / torch.where(s > 0, s, 1)
        # What all channels lose needs no product.
        v = v[:, :, : int((shares != 0).sum(-1).max())]
        new = ((x @ v) * shares[:, None, : v.shape[2]]) @ v.mT
        return ((new.mT if height < width else new).to(channels.dtype),)


def _decompose(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values and right singular vectors of every channel.

    Parameters
    ----------
    images : ndarray of shape (n, C, H, W)
        float32 or float64.

    Returns
    -------
    s : ndarray of shape (n, C, m), float64
        Of the channel or, if it is wider than high, its transpose; the largest first.
        ``m = min(H, W)``.
    v : ndarray of shape (n, C, m, m), float64
        The vectors, as columns.
    """
    # Not as decorators: joblib, which caches this, knows a new version by its source.
    with own_torch_state(), torch.no_grad():
        stacks = in_parts(_taken_apart, _as_tensor(images).flatten(0, 1))
        s, v = (stack.unflatten(0, images.shape[:2]).numpy() for stack in stacks)
    return s, v


def _taken_apart(channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Singular values (n, m) and right singular vectors (n, m, m) of channels (n, H, W)."""
    x = _tall(channels)
    # The squares of very large values, and of very small ones, have no room in a double.
    largest = x.abs().amax((1, 2), keepdim=True)
    scale = torch.where(largest > 0, largest, 1)
    x = x / scale
    # The eigenvectors of x^T x are to be had in half the time of an SVD.
    squares, v = torch.linalg.eigh(x.mT @ x)
    s, v = squares.clamp_min(0).sqrt().flip(-1), v.flip(-1)
    # Of the singular values, squaring leaves half of the digits.
    told = 10 * math.sqrt(x.shape[1] * torch.finfo(x.dtype).eps)
    if _tolerance(channels) < told:
        unsure = s[:, -1] < s[:, 0] * told
        if unsure.any():
            _, s[unsure], vh = torch.linalg.svd(x[unsure], full_matrices=False)
            v[unsure] = vh.mT
    return s * scale[:, :, 0], v


def _tolerance(images: torch.Tensor) -> float:
    """Which share of the largest singular value is to be told from 0."""
    return max(images.shape[-2:]) * torch.finfo(images.dtype).eps


def _tall(channels: torch.Tensor) -> torch.Tensor:
    """Channels in double precision, transposed if they are wider than high.

    Double whatever comes in: where two singular values nearly meet, the truncation
    magnifies the error of the decomposition by s / gap.
    """
    x = channels.to(widest_float(channels.device))
    return x.mT if x.shape[1] < x.shape[2] else x


class SVDBlur(_SpectrumTransformer):
    """Zero the smallest singular values of every channel of every image.

    Channel ``X_j`` of numerical rank ``N_j`` with singular value decomposition
    ``U diag(s) V^T`` becomes ``U diag(s_1, ..., s_{N_j - K}, 0, ..., 0) V^T``:
    the K smallest of its non-zero singular values are zeroed [1]_. A channel of
    rank K or less has none left then and becomes zero, as in the authors' code.
    The rank is the number of singular values above ``s_1 * max(H, W) * eps``, as in
    :func:`numpy.linalg.matrix_rank`, with the eps of float32 for floats of up to
    32 bits, and of float64 for all other X (integers are exact).

    Parameters
    ----------
    k : int or float, default=0.875
        How many singular values are zeroed. An int is the paper's K, from 1 to
        ``min(H, W) - 1``. A float in (0, 1) is a share of ``min(H, W)``, rounded
        to an int in that range; it keeps its meaning when the size of the images
        changes. The default is the paper's 28 of 32.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high. Such an image has one
        singular value, so a float `k` leaves it as it is, and an int `k` is out
        of range.
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
    SVDSoften : Makes an image as simple, but keeps most of its rank.
    SVDSharpen : The opposite.

    References
    ----------
    .. [1] Choi and Chung, "Novelty Detection Via Blurring", ICLR 2020,
       arXiv:1911.11943, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd.blur import SVDBlur
    >>> X = np.random.default_rng(0).normal(size=(10, 3, 32, 32))
    >>> X_blurred = SVDBlur(k=28).fit_transform(X)
    >>> X_blurred.shape
    (10, 3, 32, 32)
    >>> int(np.linalg.matrix_rank(X_blurred[0, 0]))
    4
    """

    def __init__(
        self,
        k: float = 0.875,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.k = k

    def _change(self, s: torch.Tensor, is_kept: torch.Tensor) -> torch.Tensor:
        return s * is_kept


class SVDSoften(_SpectrumTransformer):
    """Let the singular values of every channel of every image fall off faster.

    A singular value ``s_i`` becomes ``s_1 * (s_i / s_1) ** p``. The power p, at most 8,
    is found for each channel: it leaves as much of the log effective rank [1]_, the
    entropy of ``s / sum(s)``, as :class:`SVDBlur` does by zeroing the K smallest.

    Zeroing singular values leaves an image of low rank, which hardly any other image
    has, and a network that is trained for long recognises the copy by that alone. A
    softened image is as simple but keeps most of its rank, so that little but its
    simplicity is left to recognise it by.

    Parameters
    ----------
    k : int or float, default=0.8
        How many singular values :class:`SVDBlur` would zero to make the image as
        simple: an int from 1 to ``min(H, W) - 1``, or a share of ``min(H, W)``
        in (0, 1).
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high. Such an image has one
        singular value, so a float `k` leaves it as it is, and an int `k` is out
        of range.
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
    SVDBlur : The blur of the paper.
    SVDSharpen : Amplifies what a blur takes.

    References
    ----------
    .. [1] Roy and Vetterli, "The effective rank", EUSIPCO 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd.blur import SVDSoften
    >>> X = np.random.default_rng(0).normal(size=(10, 32, 32))
    >>> X_soft = SVDSoften(k=16).fit_transform(X)
    >>> before, after = (np.linalg.svd(x, compute_uv=False) for x in (X[0], X_soft[0]))
    >>> float(np.ptp(np.log(after[1:] / after[0]) / np.log(before[1:] / before[0])).round(6))
    0.0
    """

    def __init__(
        self,
        k: float = 0.8,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.k = k

    def _change(self, s: torch.Tensor, is_kept: torch.Tensor) -> torch.Tensor:
        first = s[..., :1]
        shares = s / torch.where(first > 0, first, 1)
        wanted = _spectral_entropy(s * is_kept)[..., None]
        low, high = torch.ones_like(first), torch.full_like(first, _MAX_POWER)
        # The entropy falls as the power grows: halve the range of powers, to 1e-8.
        for _ in range(30):
            middle = (low + high) / 2
            falls_short = _spectral_entropy(shares**middle)[..., None] > wanted
            low = torch.where(falls_short, middle, low)
            high = torch.where(falls_short, high, middle)
        return first * shares**high


class SVDSharpen(_SpectrumTransformer):
    """Amplify the smallest singular values of every channel of every image.

    The opposite of :class:`SVDBlur`: the K smallest of the non-zero singular
    values are multiplied by `gain`, so that an image ``x`` becomes
    ``x + (gain - 1) * (x - blur(x))``. In a channel of rank K or less, all of them
    are.

    Parameters
    ----------
    k : int or float, default=0.5
        How many singular values are amplified, counted as in :class:`SVDBlur`:
        an int from 1 to ``min(H, W) - 1``, or a share of ``min(H, W)`` in (0, 1).
    gain : float, default=4.0
        Factor by which they are multiplied, above 1.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), where each row of X is a flattened image.
        Without it, a flat row is an image one pixel high. Such an image has one
        singular value, so a float `k` leaves it as it is, and an int `k` is out
        of range.
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
    SVDBlur : The opposite.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd.blur import SVDBlur, SVDSharpen
    >>> X = np.random.default_rng(0).normal(size=(10, 3, 32, 32))
    >>> X_sharp = SVDSharpen(k=16, gain=4.0).fit_transform(X)
    >>> detail = X - SVDBlur(k=16).fit_transform(X)
    >>> bool(np.allclose(X_sharp, X + 3.0 * detail))
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **_SpectrumTransformer._parameter_constraints,
        "gain": [Interval(Real, 1, None, closed="neither")],
    }

    def __init__(
        self,
        k: float = 0.5,
        gain: float = 4.0,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.k = k
        self.gain = gain

    def _change(self, s: torch.Tensor, is_kept: torch.Tensor) -> torch.Tensor:
        return torch.where(is_kept, s, self.gain * s)


class _SeparableBlur(BaseImageTransformer):
    """A blur that is one linear map of the rows and one of the columns."""

    @abstractmethod
    def _operator(self, size: int, image: tuple[int, int]) -> np.ndarray:
        """Matrix (size, size) that acts on the columns, or the rows, of images (H, W)."""

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        vertical, horizontal = (
            torch.from_numpy(self._operator(size, (height, width))).to(images)
            for size in (height, width)
        )
        # The rows of all images are one matrix, to be multiplied at once.
        return vertical @ (images @ horizontal.T)


class DCTBlur(_SeparableBlur):
    """Keep the lowest frequencies of the discrete cosine transform.

    In the orthonormal 2-D DCT-II of every channel, the coefficient at vertical
    frequency u and horizontal frequency v is kept if ``u < H - k`` and
    ``v < W - k``, and set to zero otherwise.

    Parameters
    ----------
    k : int or float, default=0.6
        How many of the highest frequencies are dropped along each axis. An int
        is that number, from 1 to ``min(H, W) - 1``. A float in (0, 1) is a share
        of the frequencies of each axis, rounded; at least one frequency is dropped
        and at least one is kept.
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
    SVDBlur : A blur that goes by each image.
    GaussianBlur : A blur that has no hard edge in the frequencies.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.fft import dctn
    >>> from skrnd.blur import DCTBlur
    >>> X = np.random.default_rng(0).normal(size=(10, 8, 8))
    >>> spectrum = dctn(DCTBlur(k=6).fit_transform(X)[0], norm="ortho")
    >>> np.argwhere(abs(spectrum) > 1e-9).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """

    _parameter_constraints: dict[str, Any] = {**LAYOUT_CONSTRAINTS, "k": _K_CONSTRAINT}

    def __init__(
        self,
        k: float = 0.6,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.k = k

    def _operator(self, size: int, image: tuple[int, int]) -> np.ndarray:
        n_kept = size - _n_smallest(self.k, size, image)
        basis = scipy.fft.dct(np.eye(size), norm="ortho", axis=0)[:n_kept]
        return basis.T @ basis


class GaussianBlur(_SeparableBlur):
    """Convolve every channel with a Gaussian.

    The result is that of :func:`scipy.ndimage.gaussian_filter` on each channel: the
    kernel is cut off at four standard deviations, and the image is continued by
    reflection about its edges.

    Parameters
    ----------
    sigma : float, default=1.0
        Standard deviation of the Gaussian in pixels, in (0, 1e6].
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
    SVDBlur : A blur that goes by each image.
    DCTBlur : Drops the highest frequencies altogether.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd.blur import GaussianBlur
    >>> X = np.random.default_rng(0).normal(size=(10, 32, 32, 3))
    >>> X_blurred = GaussianBlur(sigma=2.0).fit_transform(X)
    >>> bool(X_blurred.std() < X.std())
    True
    """

    _parameter_constraints: dict[str, Any] = {
        **LAYOUT_CONSTRAINTS,
        "sigma": [Interval(Real, 0, 1e6, closed="right")],
    }

    def __init__(
        self,
        sigma: float = 1.0,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.sigma = sigma

    def _operator(self, size: int, image: tuple[int, int]) -> np.ndarray:
        return scipy.ndimage.gaussian_filter(np.eye(size), (self.sigma, 0))


def _n_smallest(k: float, size: int, image: tuple[int, int]) -> int:
    """How many of `size` singular values or frequencies the strength `k` speaks of."""
    if not isinstance(k, Integral):
        return min(max(1, round(k * size)), size - 1)
    if k >= size:
        hint = " Flat rows need image_shape." if image[0] == 1 else ""
        raise ValueError(
            f"k={k} is out of range for images of {image[0]} x {image[1]} pixels: an integer k "
            f"must be from 1 to {size - 1}, a float between 0 and 1 fits every size.{hint}"
        )
    return int(k)


def _spectral_entropy(s: torch.Tensor) -> torch.Tensor:
    """Entropy of singular values, each over the sum of all; 0 where all are 0."""
    total = s.sum(-1, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)
    return torch.special.entr(s / total).sum(-1)
