"""The base class of the transformers that make copies of images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import gen_batches

from ._backend import widest_float
from ._decorators import available_if, fit_context
from ._documentation import DocumentationLinkMixin
from ._images import ImageLayout
from ._storage import working_bytes
from ._threads import own_torch_state
from ._validation import LAYOUT_CONSTRAINTS, look_like_pixels, unchanged_on_error, validate_rows
from ._warnings import warn

__all__ = ["BaseImageTransformer"]


def _holds_rows(transformer: BaseImageTransformer) -> bool:
    return len(getattr(transformer, "sample_shape_", (0,))) == 1


class BaseImageTransformer(
    OneToOneFeatureMixin, TransformerMixin, DocumentationLinkMixin, BaseEstimator, ABC
):
    """Base class of blurs and geometry: images in, images of the same shape out.

    A subclass defines two methods:

    - ``__init__``, which stores its parameters. `image_shape` and `channel_axis` are among
      these if the subclass is to take flat rows, and images whose channels are not found by
      themselves. What the others may be stands in `_parameter_constraints`, as in scikit-learn;
      without it, any value is taken.
    - ``_transform_images(images)``, which is given a float32 or float64 tensor of shape
      (n, C, H, W), and returns a tensor or an array of the same shape. Unless X was a tensor of
      an accelerator, `images` is on the CPU, where numpy and scipy take it as it is. It is a
      copy, which may be changed in place.

    This class does all the rest: layouts, dtypes, checks, memory and the scikit-learn interface.

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
    skrnd.blur : Blurs, and their opposite.
    skrnd.geometry : Turned, shifted and inverted images.

    Examples
    --------
    A blur of your own, by a median filter:

    >>> import numpy as np
    >>> import scipy.ndimage
    >>> from skrnd.base import BaseImageTransformer
    >>> class MedianBlur(BaseImageTransformer):
    ...     def __init__(self, size=3, *, image_shape=None, channel_axis="auto"):
    ...         self.size = size
    ...         self.image_shape = image_shape
    ...         self.channel_axis = channel_axis
    ...
    ...     def _transform_images(self, images):
    ...         return scipy.ndimage.median_filter(images, size=(1, 1, self.size, self.size))
    >>> spot = np.zeros((1, 5, 5))
    >>> spot[0, 2, 2] = 1.0
    >>> MedianBlur().fit_transform(spot).max()
    np.float64(0.0)
    """

    # Set in the checks of X.
    n_features_in_: int
    feature_names_in_: np.ndarray
    sample_shape_: tuple[int, ...]

    _parameter_constraints: dict[str, Any] = {**LAYOUT_CONSTRAINTS}
    # Of a subclass whose __init__ does without them.
    image_shape: tuple[int, ...] | None = None
    channel_axis: str | int = "auto"

    def __init__(
        self,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        self.image_shape = image_shape
        self.channel_axis = channel_axis

    @abstractmethod
    def _transform_images(self, images: torch.Tensor) -> torch.Tensor | np.ndarray:
        """Transform a stack of images; every subclass defines this method.

        Parameters
        ----------
        images : tensor of shape (n, C, H, W)
            float32 or float64. If X was a numpy array, it is on the CPU, so that numpy and
            scipy functions take it as it is. It is a copy, which may be changed in place.

        Returns
        -------
        tensor or ndarray of shape (n, C, H, W)
            The transformed images.
        """

    @fit_context(prefer_skip_nested_validation=True)
    @own_torch_state()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check X and the parameters, and remember the shape of a row.

        Nothing is learned from the values of X.

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
            If X does not hold real, finite images, if its layout is ambiguous, or if a
            parameter is out of range for the images.
        TypeError
            If X is sparse or holds objects that are not numbers.

        Warns
        -----
        UserWarning
            If X has flat rows that seem to be square images, and no `image_shape` says so.
        """
        with unchanged_on_error(self):
            X, layout = self._validate(X, reset=True)
            self._transform_block(X[:1], layout)
            if X.ndim == 2 and self.image_shape is None and look_like_pixels(X):
                warn(
                    f"X has flat rows of {X.shape[1]} features, and their values and their number "
                    f"are those of a square image. {type(self).__name__} takes each for an image "
                    "one pixel high; say image_shape if they are others."
                )
        return self

    @own_torch_state()
    def transform(self, X: Any) -> Any:
        """Transform images.

        `fit` need not be called before, unless a data frame is to come out. If it was, images
        must have the shape seen there.

        Parameters
        ----------
        X : array-like or tensor
            Images, (n, H, W), (n, C, H, W) or (n, H, W, C), or flat rows.

        Returns
        -------
        X_new : ndarray or tensor
            The transformed images, in the shape and layout of X. If X is a tensor, so is
            X_new, on the same device. Floats of up to 64 bits keep their dtype. Booleans and
            integers of up to 16 bits become float32, longer integers float64. Values beyond
            the range of a 16-bit dtype are clipped to it.

        Raises
        ------
        ValueError
            If X does not hold real, finite images, if they have another shape than in `fit`,
            or if a parameter is out of range for them.
        TypeError
            If X is sparse or holds objects that are not numbers.
        """
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()
        X, layout = self._validate(X, reset=False)
        # Doubles, and about eight of them per value while an SVD is at work.
        row_bytes = 64 * math.prod(X.shape[1:])
        block_rows = max(1, working_bytes(1) // row_bytes)
        if len(X) <= block_rows:
            return self._transform_block(X, layout)
        _, result = _dtypes(X)
        is_tensor = isinstance(X, torch.Tensor)
        new = torch.empty_like(X, dtype=result) if is_tensor else np.empty(X.shape, result)
        for rows in gen_batches(len(X), block_rows):
            new[rows] = self._transform_block(X[rows], layout)
        return new

    def _validate(self, X: Any, *, reset: bool) -> tuple[Any, ImageLayout]:
        X, layout = validate_rows(self, X, reset=reset)
        if layout is None:
            row = (1, X.shape[1])
            layout = ImageLayout(tuple(X.shape[1:]), row, channels_last=False)
        return X, layout

    @torch.no_grad()
    def _transform_block(self, X: Any, layout: ImageLayout) -> Any:
        work, result = _dtypes(X)
        is_tensor = isinstance(X, torch.Tensor)
        images = layout.to_nchw(X)
        # A fresh array, which the subclass may change and return.
        if is_tensor:
            images = images.to(work, copy=True, memory_format=torch.contiguous_format)
        else:
            images = torch.from_numpy(np.array(images, dtype=_numpy_dtype(work), order="C"))
        with torch.autocast(images.device.type, enabled=False):
            new = _as_tensor(self._transform_images(images))
        if new.shape != images.shape:
            raise ValueError(
                f"{type(self).__name__} must keep the shape of images: {tuple(images.shape)} "
                f"became {tuple(new.shape)}."
            )
        new = layout.from_nchw(new)
        if result.itemsize == 2:
            # Floats of 16 bits have little room for what a blur adds.
            limits = torch.finfo(result) if is_tensor else np.finfo(result)
            new = new.clip(float(limits.min), float(limits.max))
        if is_tensor:
            return new.to(result).contiguous()
        return np.ascontiguousarray(new.numpy(), dtype=result)

    # Stacks of images have no features to name, and no columns to be a frame: without this
    # method, scikit-learn leaves them as they are, whatever the output is set to.
    @available_if(_holds_rows)
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Get the names of the features of flat rows: the same as those of the input.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names to use if X had none in `fit`. None makes them "x0", "x1" and so on.

        Returns
        -------
        names : ndarray of shape (`n_features_in_`,)
            The names, as strings.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If `input_features` are not those seen in `fit`.
        AttributeError
            After `fit` on a stack of images.
        """
        names: np.ndarray = super().get_feature_names_out(input_features)
        return names

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags


def _as_tensor(images: Any) -> torch.Tensor:
    """Images of numpy's, as a subclass or joblib hands them out, as a tensor."""
    if isinstance(images, torch.Tensor):
        return images
    images = np.asarray(images)
    # Torch takes no foreign byte order and no negative stride of numpy, and warns of
    # read-only memory.
    native = images.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(images, native, requirements=["C", "W"]))


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
