"""Checks of what comes in, shared by the public estimators."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Options, StrOptions
from sklearn.utils.validation import validate_data

from ._containers import (
    array_of,
    as_numpy,
    check_values,
    is_unread,
    note_rows_not_finite,
    refuse_masked,
    rows_of,
)
from ._images import ImageLayout, find_layout
from ._warnings import warn

LAYOUT_CONSTRAINTS = {
    "image_shape": ["array-like", None],
    "channel_axis": [StrOptions({"auto"}), Options(Integral, {-3, -1, 1, 3})],
}
# Features of plain rows from which on these may be images that have been flattened.
LIKELY_PIXELS = 64
# Rows that are looked at for such doubts.
LOOKED_AT = 32


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
    if isinstance(X, torch.Tensor):
        X = _usual(X)
    if not hasattr(X, "shape"):
        # A file of HDF5 has a mode too.
        if isinstance(getattr(X, "mode", None), str) and not hasattr(X, "keys"):
            raise ValueError(f"X is a single picture, {X!r}; pass a list of pictures, [X].")
        X = array_of(X)
    refuse_masked(X, "X")
    if getattr(X, "ndim", 2) < 2 and not (isinstance(X, torch.Tensor) or is_unread(X)):
        refuse_what_holds_no_rows(np.asarray(X))
    # Of a frame of nothing else, scikit-learn takes the nanoseconds.
    values = np.asarray(X[:0]) if hasattr(X, "columns") else X
    if isinstance(values, np.ndarray) and values.dtype.kind in "mM":
        raise TypeError(f"X holds dates or times ({values.dtype}), not numbers.")
    # Of columns of several kinds, polars makes numbers.
    for dtype in getattr(X, "dtypes", ()):
        if hasattr(dtype, "is_temporal") and dtype.is_temporal():
            raise TypeError(f"X holds dates or times ({dtype}), not numbers alone.")
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
            # Their sum, by which scikit-learn sees whether values are finite, need not be.
            with np.errstate(invalid="ignore"):
                X = validate_data(
                    estimator,
                    X,
                    reset=reset,
                    allow_nd=True,
                    dtype="numeric",
                    ensure_min_samples=ensure_min_samples,
                )
        except OverflowError as error:
            raise ValueError(f"X holds a number that is too large for float64: {error}") from error
        except ValueError as error:
            note_rows_not_finite(error, X)
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


def refuse_what_holds_no_rows(X: np.ndarray) -> None:
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
    if len(fitted) > 1 and rows == (math.prod(fitted),):
        return f" Pass X.reshape(-1, {', '.join(map(str, fitted))})."
    if len(fitted) == len(rows) > 1:
        return " skrnd.datasets.load_images brings pictures to one size and number of channels."
    return ""


def _usual(X: torch.Tensor) -> torch.Tensor:
    """A tensor of values that torch computes with; refuses what has none to read."""
    if X.is_nested:
        raise TypeError("X is a nested tensor; pass a stack of rows of one shape.")
    if X.is_meta:
        raise TypeError("X is a tensor on the device 'meta', which has no values.")
    # Of 8 bits, it tells not even the largest.
    return X.float() if X.is_floating_point() and X.element_size() == 1 else X


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
    # The extremes are NaN where anything is; `isfinite` of all takes more memory than X.
    if X.is_floating_point() and X.numel() and not all(map(torch.isfinite, X.aminmax())):
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
    refuse_masked(y, "y")
    y = np.asarray(as_numpy(y))
    if y.ndim == 0 or len(y) != n_samples:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: X has "
            f"{n_samples} rows, y has shape {y.shape}."
        )
    # Of several columns, or of words, none is the label -1.
    if y.size != n_samples or y.dtype.kind not in "biufO":
        return np.ones(n_samples, dtype=bool)
    inlier = ~outlier_labels(y.ravel())
    if n_samples and not inlier.any():
        raise ValueError("y labels every row -1 (novel); there is no normal row to learn from.")
    return inlier


def outlier_labels(labels: np.ndarray) -> np.ndarray:
    """Mask of the labels that are -1."""
    if labels.dtype.kind != "O":
        return np.asarray(labels == -1)
    return np.array([_is_minus_one(label) for label in labels], dtype=bool)


def _is_minus_one(label: Any) -> bool:
    try:
        return bool(label == -1)
    # pandas' missing value is neither equal to a number nor not; nor are several labels.
    except (TypeError, ValueError, RuntimeError):
        return False


def doubt_labels(y: Any) -> None:
    """Warn, for `fit`, of two labels of which neither is -1: one of them may mean outliers."""
    labels = np.asarray(as_numpy(y))
    if labels.dtype.kind == "f":
        labels = labels[~np.isnan(labels)]
    # Objects of several types cannot be sorted.
    distinct = np.unique(labels.astype(str) if labels.dtype.kind == "O" else labels).tolist()
    if labels.size > len(labels) or len(distinct) != 2:
        return
    one, other = distinct
    warn(
        f"y has the labels {one!r} and {other!r}, and all rows are taken for normal: outliers "
        f"are labelled -1. If {other!r} means an outlier, pass np.where(y == {other!r}, -1, 1); "
        f"if {one!r} does, np.where(y == {one!r}, -1, 1).",
    )


def look_like_pixels(X: np.ndarray | torch.Tensor) -> bool:
    """Whether plain rows may be square images, grey or in colours, of 8-bit values.

    Counts of words are whole numbers too, but neighbours among them are not alike.
    """
    n = X.shape[1]
    is_square = any(c * math.isqrt(n // c) ** 2 == n for c in (1, 3))
    if not is_square or n < LIKELY_PIXELS:
        return False
    X = np.asarray(as_numpy(X[:LOOKED_AT]), dtype=np.float64)
    if X.min() < 0 or X.max() > 255 or np.any(X % 1):
        return False
    # Of two values that have nothing in common it would be twice the variance.
    return bool(np.square(np.diff(X)).mean() < 1.3 * X.var(axis=1).mean())
