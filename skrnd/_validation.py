"""Checks of what comes in, shared by the public estimators."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Options, StrOptions
from sklearn.utils.validation import check_array, validate_data
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
)

from ._backend import global_generators_kept, widest_float
from ._images import ImageLayout, find_layout

LAYOUT_CONSTRAINTS = {
    "image_shape": ["array-like", None],
    "channel_axis": [StrOptions({"auto"}), Options(Integral, {-3, -1, 1, 3})],
}
# A palette, one with transparency, and bits.
_PIL_MODES_OF_NO_BRIGHTNESS = {"P", "PA", "1"}


def layout_of(
    estimator: Any, X: Any, image_shape: tuple[int, ...] | None, channel_axis: str | int
) -> tuple[tuple[int, ...] | None, str | int]:
    """`image_shape` and `channel_axis` as given or, if they are not, as a detector has them.

    A detector, a Pipeline that ends in one and has nothing in front of it that may lay
    images out in another way, or a search for either; the shape matters to flat rows alone.
    """
    last = estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        (*first, (_, last)) = estimator.steps
        if not all(_keeps_layout(step) for _, step in first):
            return image_shape, channel_axis
    if image_shape is None and np.ndim(X) == 2:
        image_shape = getattr(last, "image_shape", None)
    if channel_axis == "auto":
        channel_axis = getattr(last, "channel_axis", "auto")
    return image_shape, channel_axis


def _keeps_layout(step: Any) -> bool:
    # Those that scale, and our own, have a feature for each one that they are given.
    return step in (None, "passthrough") or isinstance(step, OneToOneFeatureMixin)


@contextmanager
def unchanged_on_error(estimator: BaseEstimator) -> Iterator[None]:
    """Give an estimator back the state it had if the block raises.

    A second fit that is refused must not take a good first fit with it:
    `validate_data` already writes attributes before it has seen the values.
    """
    state = vars(estimator).copy()
    try:
        yield
    except BaseException:
        # At once, for other threads may be using the estimator.
        estimator.__dict__ = state
        raise


def validate_rows(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    ensure_min_samples: int = 1,
    allow_unread: bool = False,
) -> tuple[Any, ImageLayout | None]:
    """Check plain rows or images, and say how they are laid out.

    Parameters
    ----------
    estimator : estimator
        Has the parameters `image_shape` and `channel_axis`; receives
        `n_features_in_`, `feature_names_in_` and `sample_shape_`.
    X : array-like or tensor of shape (n_samples, n_features) or a stack of images
        Real and finite. Or a torch Dataset of these rows or of tuples that begin with
        one, or a DataLoader that gives them batch by batch, in order.
    reset : bool
        Whether to record what X looks like (fit) or to compare with it.
    ensure_min_samples : int, default=1
        The fewest rows that are accepted.
    allow_unread : bool, default=False
        Whether an array that is read slice by slice, see `is_unread`, stays so. Its
        values are not looked at here, but by `take_rows`.

    Returns
    -------
    X : ndarray or tensor
        Of the type it came in: numpy for all that is not a tensor or unread.
    layout : ImageLayout or None
        None for plain rows.
    """
    X = rows_of(X)
    if not hasattr(X, "shape"):
        if isinstance(getattr(X, "mode", None), str):
            raise ValueError(f"X is a single picture, {X!r}; pass a list of pictures, [X].")
        X = array_of(X)
    _refuse_masked(X, "X")
    if getattr(X, "ndim", 2) < 2 and not (isinstance(X, torch.Tensor) or is_unread(X)):
        _refuse_what_holds_no_rows(np.asarray(X))
    # Of a frame of nothing else, scikit-learn takes the nanoseconds.
    values = np.asarray(X[:0]) if hasattr(X, "columns") else X
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        raise TypeError(f"X holds dates or times ({values.dtype}), not numbers.")
    if not reset:
        _compare_shape(estimator, tuple(X.shape))
    if isinstance(X, torch.Tensor):
        _check_tensor(estimator, X, ensure_min_samples=ensure_min_samples)
        X = validate_data(estimator, X.detach(), reset=reset, skip_check_array=True)
    elif allow_unread and is_unread(X):
        check_values(X[:ensure_min_samples], ensure_min_samples=ensure_min_samples)
        X = validate_data(estimator, X, reset=reset, skip_check_array=True)
    else:
        try:
            X = validate_data(
                estimator,
                X,
                reset=reset,
                allow_nd=True,
                dtype="numeric",
                ensure_min_samples=ensure_min_samples,
            )
        except ValueError as error:
            _note_rows_not_finite(error, X)
            raise
    if X.ndim > 4:
        raise ValueError(
            "X must be (n, features), (n, height, width), (n, channels, height, width) or "
            f"(n, height, width, channels); got {X.ndim} dimensions, shape {tuple(X.shape)}."
        )
    if 0 in X.shape[1:]:
        raise ValueError(f"X, of shape {tuple(X.shape)}, has rows that hold no value.")
    layout = find_layout(X.shape[1:], estimator.image_shape, estimator.channel_axis)
    if reset:
        estimator.sample_shape_ = tuple(X.shape[1:])
    return X, layout


def _note_rows_not_finite(error: ValueError, X: Any, numbers: np.ndarray | None = None) -> None:
    """Say in which rows X is not finite, if that may be what the error is about.

    `numbers` are those of the rows if X is a part of what was passed.
    """
    if not isinstance(X, np.ndarray) or X.dtype.kind != "f" or X.ndim < 2 or X.size == 0:
        return
    (rows,) = np.nonzero(~np.isfinite(X).reshape(len(X), -1).all(axis=1))
    if len(rows) and numbers is not None:
        error.add_note(f"Row {numbers[rows[0]]} is the first that holds NaN or infinity.")
    elif len(rows):
        error.add_note(
            f"{len(rows)} of {len(X)} rows hold NaN or infinity, row {rows[0]} is the first. All "
            "others are X[np.isfinite(X).reshape(len(X), -1).all(axis=1)]."
        )


def _refuse_masked(X: Any, input_name: str) -> None:
    if np.ma.is_masked(X):
        raise ValueError(
            f"{input_name} is a masked array, and what its mask hides would count; fill it first."
        )


def array_of(X: Any) -> np.ndarray:
    """An array of what has no shape, such as a list of images.

    Raises
    ------
    TypeError
        If X is a mapping.
    ValueError
        If its rows differ in shape, are masked, or are PIL images whose values are no
        brightness.
    """
    if isinstance(X, Mapping):
        raise TypeError(
            f"X is a {type(X).__name__}, not an array; pass what it holds under one of its keys, "
            f"{', '.join(map(repr, X))}."
        )
    if isinstance(X, list | tuple):
        X = [as_numpy(row) for row in X]
    for row in X if isinstance(X, list) else [X]:
        _refuse_masked(row, "A row of X")
        mode = getattr(row, "mode", None)
        if isinstance(mode, str) and mode in _PIL_MODES_OF_NO_BRIGHTNESS:
            raise ValueError(
                f"X holds PIL images of mode {mode}, whose values are those of a palette, or bits; "
                "pass image.convert('RGB') or image.convert('L'), or what "
                "skrnd.datasets.load_images makes of them."
            )
    try:
        return np.asarray(X)
    except ValueError as error:
        # numpy's error does not tell the sizes of the images.
        shapes = sorted({np.asarray(row).shape for row in X})
        more = ", ..." if len(shapes) > 3 else ""
        raise ValueError(
            f"The rows of X differ in shape: {', '.join(map(str, shapes[:3]))}{more}. Images must "
            "have one size; skrnd.datasets.load_images brings pictures to it."
        ) from error


def _refuse_what_holds_no_rows(X: np.ndarray) -> None:
    """Say what X is if it names files or is a single object.

    All else with fewer than two dimensions is left to scikit-learn.
    """
    first = X.flat[0] if X.size else None
    if isinstance(first, str | bytes | os.PathLike):
        raise ValueError(
            f"X names files ({str(first)!r}), not images; skrnd.datasets.load_images and "
            "load_image_folder read pictures."
        )
    if X.ndim == 1 and getattr(first, "ndim", 0) > 0:
        raise ValueError(
            f"X is a column of {len(X)} {type(first).__name__} objects; pass np.stack(X), an array "
            "of all of them."
        )
    if X.ndim == 0 and X.dtype == object:
        raise TypeError(
            f"X must be an array, a tensor or a list of rows; got {type(first).__name__}."
        )


def _compare_shape(estimator: Any, shape: tuple[int, ...]) -> None:
    """Compare images as a whole: "X has 32 features" would only speak of one axis.

    Rows of both 2-D X are left to scikit-learn, which knows their names too.
    """
    fitted = getattr(estimator, "sample_shape_", None)
    if fitted is None or len(shape) < 2 or len(shape) == len(fitted) + 1 == 2:
        return
    if shape[1:] != fitted:
        hint = _how_to_get(fitted, shape)
        raise ValueError(
            f"X has rows of shape {shape[1:]}, but {type(estimator).__name__} was fitted on "
            f"rows of shape {fitted}.{hint}"
        )


def _how_to_get(fitted: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """What brings X to the shape that is wanted, if that is plain to see."""
    rows = shape[1:]
    if shape == fitted:
        return " For a single row, pass X[None]."
    if sorted(shape) == sorted(fitted):
        return " For a single image, bring its axes into that order and pass X[None]."
    if len(fitted) == len(rows) == 3 and sorted(rows) == sorted(fitted):
        axes = "-1, 1" if (rows[-1], *rows[:-1]) == fitted else "1, -1"
        return f" Pass np.moveaxis(X, {axes})."
    if rows == (1, *fitted):
        return " Pass X[:, 0]."
    if fitted == (1, *rows):
        return " Pass X[:, None]."
    if rows == (*fitted, 1):
        return " Pass X[..., 0]."
    if fitted == (*rows, 1):
        return " Pass X[..., None]."
    return ""


class _DatasetRows:
    """Rows of a map-style torch Dataset as an array that is read as it is sliced."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        if len(dataset) == 0:
            raise ValueError("X is a Dataset with 0 sample(s); at least 1 is needed.")
        first = self._read(0)
        self.shape = (len(dataset), *first.shape)
        self.ndim = len(self.shape)
        self.dtype = first.dtype
        self.chunks = (1, *first.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        if not isinstance(rows, slice):
            return self._row(rows)
        taken = [self._row(row) for row in range(*rows.indices(len(self)))]
        return np.stack(taken) if taken else np.empty((0, *self.shape[1:]), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def _read(self, row: int) -> np.ndarray:
        return np.asarray(as_numpy(_first(self._dataset[row])))

    def _row(self, row: int) -> np.ndarray:
        values = self._read(row)
        if values.shape != self.shape[1:]:
            raise ValueError(
                f"The rows of X differ in shape: row {row} of the Dataset has {values.shape}, and "
                f"row 0 has {self.shape[1:]}. Images must have one size."
            )
        return values


def _first(item: Any) -> Any:
    """The row, of an item that may go on with its label."""
    if isinstance(item, Mapping):
        raise TypeError(
            "What a Dataset gives must be an image, or a tuple that begins with one; got "
            f"{type(item).__name__} with the keys {', '.join(map(repr, item))}."
        )
    return item[0] if isinstance(item, (tuple, list)) else item


def rows_of(X: Any) -> Any:
    """The rows of a Dataset, read as they are sliced, all those of a DataLoader, or else X."""
    if isinstance(X, DataLoader):
        # X.sampler says nothing of a batch sampler that a user gave.
        batches = X.batch_sampler
        if not (
            type(batches) is BatchSampler
            and isinstance(batches.sampler, SequentialSampler)
            and not batches.drop_last
        ):
            raise ValueError(
                "X is a DataLoader that does not keep all rows in their order, so that nothing "
                "tells whose a score is; pass one with a batch_size, shuffle=False, "
                "drop_last=False and no sampler, or its dataset."
            )
        # It draws a seed for its workers, from torch's global generator unless it has its own.
        with global_generators_kept(torch.device("cpu")):
            return _all_rows(X)
    if isinstance(X, IterableDataset):
        raise TypeError("X must be a Dataset with a length, or an array; got an IterableDataset.")
    return _DatasetRows(X) if isinstance(X, Dataset) else X


def _all_rows(loader: Any) -> torch.Tensor:
    """The rows of all batches, of which no two copies are in memory at once."""
    rows, n_read = torch.empty(0), 0
    for batch in loader:
        part = torch.as_tensor(_first(batch))
        if n_read == 0:
            rows = part.new_empty((len(loader.dataset), *part.shape[1:]))
        elif part.dtype != rows.dtype:
            raise ValueError(
                f"X is a DataLoader of unlike batches, {rows.dtype} and from row {n_read} on "
                f"{part.dtype}."
            )
        rows[n_read : n_read + len(part)] = part
        n_read += len(part)
    if n_read != len(loader.dataset):
        raise ValueError(
            f"X is a DataLoader that gives {n_read} of the {len(loader.dataset)} rows of its "
            "dataset; its collate_fn must keep all of them."
        )
    return rows


def in_namespace_of(X: Any, values: np.ndarray) -> Any:
    """Values beside X, a tensor, where scikit-learn is told to dispatch; numpy's otherwise."""
    if not isinstance(X, torch.Tensor) or not get_config()["array_api_dispatch"]:
        return values
    result = torch.from_numpy(values)
    if result.is_floating_point():
        result = result.to(widest_float(X.device))
    return result.to(X.device)


def is_unread(X: Any) -> bool:
    """Whether X is an array whose values are only read as it is sliced.

    Those of HDF5 and Zarr files and of dask all say how they are cut into chunks.
    """
    return all(hasattr(X, name) for name in ("chunks", "dtype", "shape", "__getitem__"))


def take_rows(X: Any, rows: np.ndarray) -> np.ndarray:
    """Rows of an array or an unread array, in rising order; a view where that is possible.

    Raises
    ------
    ValueError
        If unread rows are no finite, real numbers.
    """
    first, last = int(rows[0]), int(rows[-1])
    span = last + 1 - first
    if not is_unread(X):
        return X[first : last + 1] if span == len(rows) else X[rows]
    if span <= 4 * len(rows):
        taken = np.asarray(X[first : last + 1])[rows - first]
    else:
        # What lies in one chunk is read at once: for a single row, it is decoded whole.
        ends = 1 + np.flatnonzero(np.diff(rows // _rows_of_a_chunk(X)))
        groups = np.split(rows, ends)
        taken = np.concatenate([np.asarray(X[g[0] : g[-1] + 1])[g - g[0]] for g in groups])
    try:
        return check_values(taken)
    except ValueError as error:
        _note_rows_not_finite(error, taken, rows)
        raise


def _rows_of_a_chunk(X: Any) -> int:
    """Rows that an unread array keeps together; 1 where each is to be had by itself."""
    if X.chunks is None:
        return 1
    # Of each of them, or, in dask, of one after the other.
    return int(np.max(X.chunks[0]))


def check_values(values: Any, *, input_name: str = "X", **options: Any) -> np.ndarray:
    """Check that an array of any number of axes holds finite, real numbers."""
    _refuse_masked(values, input_name)
    return check_array(values, allow_nd=True, dtype="numeric", input_name=input_name, **options)


def as_numpy(X: Any) -> Any:
    """Numpy of a tensor, wherever it is; all else as it is."""
    if not isinstance(X, torch.Tensor):
        return X
    # numpy has no bfloat16; float32 holds all its values.
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy(force=True)


def _check_tensor(estimator: Any, X: torch.Tensor, *, ensure_min_samples: int) -> None:
    """Hold a tensor, wherever it lives, to the rules `check_array` sets for arrays."""
    name = type(estimator).__name__
    if X.layout != torch.strided:
        raise TypeError(f"Sparse tensors are not supported by {name}; pass X.to_dense().")
    if X.is_complex():
        raise ValueError(f"Complex data not supported by {name}; got a {X.dtype} tensor.")
    if X.ndim < 2:
        raise ValueError(
            f"Expected 2D array or a stack of images, got a tensor of shape {tuple(X.shape)}."
        )
    if len(X) < ensure_min_samples:
        raise ValueError(
            f"Found tensor with {len(X)} sample(s) (shape={tuple(X.shape)}) while a minimum of "
            f"{ensure_min_samples} is required by {name}."
        )
    if X.is_floating_point() and not torch.isfinite(X).all():
        row = int(torch.isfinite(X).flatten(1).all(dim=1).logical_not().nonzero()[0])
        raise ValueError(
            f"Input X contains NaN or infinity, first in row {row}; {name} accepts finite values "
            "only."
        )


def inlier_rows(y: Any, n_samples: int) -> np.ndarray:
    """Mask of the rows that `y` does not label as outliers (-1).

    Raises
    ------
    ValueError
        If `y` has another length than X, or if it labels every row -1.
    """
    if y is None:
        return np.ones(n_samples, dtype=bool)
    y = np.asarray(as_numpy(y))
    if y.ndim == 0 or len(y) != n_samples:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: X has "
            f"{n_samples} rows, y has shape {y.shape}."
        )
    # Of several columns, or of words, none is the label -1.
    if y.size != n_samples or y.dtype.kind not in "biufO":
        return np.ones(n_samples, dtype=bool)
    inlier = (y.ravel() != -1).astype(bool)
    if n_samples and not inlier.any():
        raise ValueError("y labels every row -1 (novel); there is no normal row to learn from.")
    return inlier


def doubt_labels(y: Any) -> None:
    """Warn, for `fit`, of two labels of which neither is -1: one of them may mean outliers."""
    labels = np.asarray(as_numpy(y))
    # Objects of several types cannot be sorted.
    distinct = np.unique(labels.astype(str) if labels.dtype.kind == "O" else labels).tolist()
    if labels.size > len(labels) or len(distinct) != 2:
        return
    one, other = distinct
    warnings.warn(
        f"y has the labels {one!r} and {other!r}, and all rows are taken for normal: outliers "
        f"are labelled -1. If {other!r} means an outlier, pass np.where(y == {other!r}, -1, 1); "
        f"if {one!r} does, np.where(y == {one!r}, -1, 1).",
        UserWarning,
        stacklevel=6,
    )


def look_like_pixels(X: np.ndarray) -> bool:
    """Whether rows may be square images, grey or in colours, of 8-bit values.

    Counts of words are whole numbers too, but neighbours among them are not alike.
    """
    X = np.asarray(X, dtype=np.float64)
    n = X.shape[1]
    is_square = any(c * math.isqrt(n // c) ** 2 == n for c in (1, 3))
    if not is_square or X.min() < 0 or X.max() > 255 or np.any(X % 1):
        return False
    # Of two values that have nothing in common it would be twice the variance.
    return bool(np.square(np.diff(X)).mean() < 1.3 * X.var(axis=1).mean())
