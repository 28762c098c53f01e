"""Blurs: transformers that take detail out of images and keep their shape.

A blurred copy of the normal images is what teaches
:class:`~skrnd.SVDRNDDetector` that "smooth" is not "normal". Each blur is also
a scikit-learn transformer of its own.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, RealNotInt

from ._backend import widest_float
from ._images import ImageLayout
from ._validation import LAYOUT_CONSTRAINTS, unchanged_on_error, validate_rows

__all__ = ["BaseBlur", "DCTBlur", "GaussianBlur", "SVDBlur"]


class BaseBlur(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Base class of blurs: images in, images of the same shape out.

    A subclass writes an ``__init__`` that stores its parameters (with
    `image_shape` and `channel_axis` among them) and `_blur`. All the rest, the
    layouts, dtypes, checks, memory and the scikit-learn interface, is here.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), for X of flat rows. Without it, a flat row is
        an image one pixel high.
    channel_axis : {"auto", 1, -1}, default="auto"
        Axis of the stack (n, ...) that holds the channels of 3-D images: 1 for
        (n, channels, height, width), -1 for (n, height, width, channels).
        "auto" takes the end that has one to four entries and refuses to guess
        when both or neither have. 3 and -3 are accepted as other names of -1
        and 1.

    See Also
    --------
    SVDBlur, DCTBlur, GaussianBlur : The blurs of the paper.

    Examples
    --------
    A median filter as a blur:

    >>> import numpy as np
    >>> import scipy.ndimage
    >>> from skrnd.blur import BaseBlur
    >>> class MedianBlur(BaseBlur):
    ...     def __init__(self, size=3, *, image_shape=None, channel_axis="auto"):
    ...         self.size = size
    ...         self.image_shape = image_shape
    ...         self.channel_axis = channel_axis
    ...
    ...     def _blur(self, images):
    ...         return scipy.ndimage.median_filter(images, size=(1, 1, self.size, self.size))
    >>> spot = np.zeros((1, 5, 5))
    >>> spot[0, 2, 2] = 1.0
    >>> MedianBlur().fit_transform(spot).max()
    np.float64(0.0)
    """

    _parameter_constraints: dict = {**LAYOUT_CONSTRAINTS}

    def __init__(
        self,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        self.image_shape = image_shape
        self.channel_axis = channel_axis

    def _blur(self, images: torch.Tensor) -> torch.Tensor | np.ndarray:
        """Blur a stack of images; to be written by the subclass.

        Parameters
        ----------
        images : tensor of shape (n, C, H, W)
            float32 or float64, on the CPU when X was a numpy array, so that
            numpy and scipy functions take it as it is.

        Returns
        -------
        tensor or ndarray of shape (n, C, H, W)
        """
        raise NotImplementedError(f"{type(self).__name__} does not define _blur.")

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> BaseBlur:
        """Check X and the parameters, and remember the shape of a row.

        Parameters
        ----------
        X : array-like or tensor
            Images, (n, H, W), (n, C, H, W) or (n, H, W, C), or flat rows.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If X is not a stack of real, finite images in a layout that can be
            told, or if the strength of the blur is out of range for them.
        """
        with unchanged_on_error(self):
            X, layout = self._validate(X, reset=True)
            self._blur_block(X[:1], layout, _dtypes(X)[0])
        return self

    def transform(self, X: Any) -> Any:
        """Blur images.

        Parameters
        ----------
        X : array-like or tensor
            Images, (n, H, W), (n, C, H, W) or (n, H, W, C), or flat rows.

        Returns
        -------
        X_blurred : ndarray or tensor
            Of the shape and layout of X; a tensor on the same device if X is
            one. Floats keep their dtype; integers and booleans come back as
            float32 up to 16 bits and as float64 beyond.
        """
        self._validate_params()
        X, layout = self._validate(X, reset=False)
        work, result = _dtypes(X)
        is_tensor = isinstance(X, torch.Tensor)
        blurred = torch.empty_like(X, dtype=result) if is_tensor else np.empty(X.shape, result)
        # Doubles, and about eight of them per value while an SVD is at work.
        row_bytes = 64 * max(1, math.prod(X.shape[1:]))
        block_rows = max(1, int(get_config()["working_memory"] * 2**20) // row_bytes)
        for rows in gen_batches(len(X), block_rows):
            blurred[rows] = self._blur_block(X[rows], layout, work)
        return blurred

    def _validate(self, X: Any, *, reset: bool) -> tuple[Any, ImageLayout]:
        X, layout = validate_rows(self, X, reset=reset)
        if layout is None:
            row = (1, X.shape[1])
            layout = ImageLayout(tuple(X.shape[1:]), row, channels_last=False)
        return X, layout

    @torch.no_grad()
    def _blur_block(self, X: Any, layout: ImageLayout, work: torch.dtype) -> Any:
        images = layout.to_nchw(X)
        if isinstance(X, torch.Tensor):
            images = images.to(work).contiguous()
        else:
            # A fresh array: torch takes no foreign byte order and no negative
            # stride, and it warns of read-only memory.
            images = torch.from_numpy(np.array(images, dtype=_numpy_dtype(work), order="C"))
        blurred = torch.as_tensor(self._blur(images))
        if blurred.shape != images.shape:
            raise ValueError(
                f"{type(self).__name__} must keep the shape of images: {tuple(images.shape)} "
                f"became {tuple(blurred.shape)}."
            )
        blurred = layout.from_nchw(blurred)
        return blurred if isinstance(X, torch.Tensor) else blurred.numpy()

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


_K_CONSTRAINT = [
    Interval(Integral, 1, None, closed="left"),
    Interval(RealNotInt, 0, 1, closed="neither"),
]


class SVDBlur(BaseBlur):
    """Zero the smallest singular values of every channel of every image.

    Channel ``X_j`` of numerical rank ``N_j`` with singular value decomposition
    ``U diag(s) V^T`` becomes ``U diag(s_1, ..., s_{N_j - K}, 0, ..., 0) V^T``:
    the K smallest of its non-zero singular values are zeroed [1]_. A channel of
    rank K or less has none to spare and becomes zero, as in the authors' code.
    The rank counts the singular values above
    ``s_1 * max(H, W) * eps``, as :func:`numpy.linalg.matrix_rank` does, with eps
    that of the dtype of X (float64 for integers, which are exact).

    Parameters
    ----------
    k : int or float, default=0.875
        How many singular values are zeroed. An int is the paper's K, from 1 to
        ``min(H, W) - 1``. A float in (0, 1) is a share of ``min(H, W)``, rounded
        and at most ``min(H, W) - 1``; the default is the paper's 28 of 32. The
        share keeps its meaning when the size of the images changes.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), for X of flat rows. Without it, a flat row is
        an image one pixel high; it has one singular value and so a float `k`
        leaves it as it is, and an int `k` is out of range.
    channel_axis : {"auto", 1, -1}, default="auto"
        Axis of the stack that holds the channels of 3-D images. "auto" takes
        the end that has one to four entries.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features of flat rows, if they have string names.
    sample_shape_ : tuple of int
        Shape of one row of X.

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

    _parameter_constraints: dict = {
        **LAYOUT_CONSTRAINTS,
        "k": _K_CONSTRAINT,
    }

    def __init__(
        self,
        k: float = 0.875,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.k = k

    def _blur(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        n_dropped = _n_dropped(self.k, min(height, width), (height, width))
        # float64 whatever comes in: where two singular values nearly meet, the
        # truncation magnifies the error of the decomposition by s / gap.
        u, s, vh = torch.linalg.svd(images.to(widest_float(images.device)), full_matrices=False)
        tolerance = s[..., :1] * max(height, width) * torch.finfo(images.dtype).eps
        rank = (s > tolerance).sum(-1, keepdim=True)
        kept = torch.arange(s.shape[-1], device=s.device) < rank - n_dropped
        return ((u * (s * kept).unsqueeze(-2)) @ vh).to(images.dtype)


class _SeparableBlur(BaseBlur):
    """A blur that is one linear map of the rows and one of the columns."""

    def _operators(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Matrices (H, H) and (W, W) that act on columns and on rows."""
        raise NotImplementedError

    def _blur(self, images: torch.Tensor) -> torch.Tensor:
        vertical, horizontal = (
            torch.from_numpy(operator).to(images)
            for operator in self._operators(*images.shape[-2:])
        )
        return vertical @ images @ horizontal.T


class DCTBlur(_SeparableBlur):
    """Keep the lowest frequencies of the discrete cosine transform.

    Of the orthonormal 2-D DCT-II of every channel, the coefficient at vertical
    frequency u and horizontal frequency v is kept if ``u < H - k`` and
    ``v < W - k`` and set to zero otherwise.

    Parameters
    ----------
    k : int or float, default=0.75
        How many of the highest frequencies are dropped along each axis. An int
        is that number, from 1 to ``min(H, W) - 1``. A float in (0, 1) is a share
        of the frequencies of each axis, rounded, of which at least one stays.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), for X of flat rows. Without it, a flat row is
        an image one pixel high.
    channel_axis : {"auto", 1, -1}, default="auto"
        Axis of the stack that holds the channels of 3-D images. "auto" takes
        the end that has one to four entries.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features of flat rows, if they have string names.
    sample_shape_ : tuple of int
        Shape of one row of X.

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

    _parameter_constraints: dict = {
        **LAYOUT_CONSTRAINTS,
        "k": _K_CONSTRAINT,
    }

    def __init__(
        self,
        k: float = 0.75,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.k = k

    def _operators(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        return tuple(self._projection(size, (height, width)) for size in (height, width))

    def _projection(self, size: int, image: tuple[int, int]) -> np.ndarray:
        n_kept = size - _n_dropped(self.k, size, image)
        basis = scipy.fft.dct(np.eye(size), norm="ortho", axis=0)[:n_kept]
        return basis.T @ basis


class GaussianBlur(_SeparableBlur):
    """Convolve every channel with a Gaussian.

    The same as :func:`scipy.ndimage.gaussian_filter` on each channel: the
    kernel is cut at four standard deviations and the image is continued by
    reflection about its edges.

    Parameters
    ----------
    sigma : float, default=1.0
        Standard deviation of the Gaussian in pixels, above 0.
    image_shape : tuple of int, default=None
        Shape of one image, (height, width), (channels, height, width) or
        (height, width, channels), for X of flat rows. Without it, a flat row is
        an image one pixel high.
    channel_axis : {"auto", 1, -1}, default="auto"
        Axis of the stack that holds the channels of 3-D images. "auto" takes
        the end that has one to four entries.

    Attributes
    ----------
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features of flat rows, if they have string names.
    sample_shape_ : tuple of int
        Shape of one row of X.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd.blur import GaussianBlur
    >>> X = np.random.default_rng(0).normal(size=(10, 32, 32, 3))
    >>> X_blurred = GaussianBlur(sigma=2.0).fit_transform(X)
    >>> bool(X_blurred.std() < X.std())
    True
    """

    _parameter_constraints: dict = {
        **LAYOUT_CONSTRAINTS,
        "sigma": [Interval(Real, 0, None, closed="neither")],
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

    def _operators(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        return tuple(
            scipy.ndimage.gaussian_filter1d(np.eye(size), self.sigma, axis=0)
            for size in (height, width)
        )


def _n_dropped(k: float, size: int, image: tuple[int, int]) -> int:
    """How many of `size` singular values or frequencies the strength `k` drops."""
    if not isinstance(k, Integral):
        return min(round(k * size), size - 1)
    if k >= size:
        hint = " Flat rows need image_shape." if image[0] == 1 else ""
        raise ValueError(
            f"k={k} is out of range for images of {image[0]} x {image[1]} pixels: an integer k "
            f"must be from 1 to {size - 1}, a float between 0 and 1 fits every size.{hint}"
        )
    return int(k)


def _dtypes(X: np.ndarray | torch.Tensor) -> tuple[torch.dtype, Any]:
    """The torch dtype to compute in, and the dtype of X's own kind to return.

    Integers are exact, so they are computed in float64; float32 holds the result
    as finely as 16 bits need.
    """
    if isinstance(X, torch.Tensor):
        is_float, widest = X.dtype.is_floating_point, widest_float(X.device)
    else:
        is_float, widest = X.dtype.kind == "f", torch.float64
    narrow = X.dtype.itemsize <= (4 if is_float else 2)
    work = torch.float32 if is_float and narrow else widest
    result = torch.float32 if narrow else widest
    if isinstance(X, torch.Tensor):
        return work, X.dtype if is_float else result
    if is_float and narrow:
        return work, X.dtype.newbyteorder("=")
    return work, _numpy_dtype(result)


def _numpy_dtype(dtype: torch.dtype) -> np.dtype:
    return np.dtype(str(dtype).removeprefix("torch."))
