"""What X may come in, and its rows as numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn import get_config
from sklearn.utils.validation import check_array
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
)

from ._backend import global_generators_kept, widest_float

# A palette, one with transparency, and bits.
_PIL_MODES_OF_NO_BRIGHTNESS = {"P", "PA", "1"}


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
        values = as_numpy(_first(self._dataset[row]))
        _check_row(values)
        return np.asarray(values)

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


def _all_rows(loader: Any) -> torch.Tensor:
    """The rows of all batches, of which no two copies are in memory at once."""
    rows, n_read = torch.empty(0), 0
    for batch in loader:
        part = torch.as_tensor(_first(batch))
        if n_read == 0:
            rows = part.new_empty((len(loader.dataset), *part.shape[1:]))
        elif (part.dtype, part.shape[1:]) != (rows.dtype, rows.shape[1:]):
            raise ValueError(
                f"X is a DataLoader of unlike batches, rows of {rows.dtype} and shape "
                f"{tuple(rows.shape[1:])} and from row {n_read} on of {part.dtype} and "
                f"{tuple(part.shape[1:])}."
            )
        n_read += len(part)
        if n_read <= len(rows):
            rows[n_read - len(part) : n_read] = part
    if n_read != len(loader.dataset):
        raise ValueError(
            f"X is a DataLoader that gives {n_read} rows, and its dataset has "
            f"{len(loader.dataset)}; its collate_fn must keep all of them."
        )
    return rows


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
    # Not every group is a Mapping: Zarr's are none.
    if hasattr(X, "keys"):
        raise TypeError(
            f"X is a {type(X).__name__}, not an array; pass what it holds under one of its keys, "
            f"{', '.join(map(repr, X.keys()))}."
        )
    if isinstance(X, list | tuple):
        X = [as_numpy(row) for row in X]
    for row in X if isinstance(X, list) else [X]:
        _check_row(row)
    try:
        return np.asarray(X)
    except ValueError as error:
        # numpy's error does not tell the sizes of the images.
        shapes = [np.asarray(row).shape for row in X]
        row = next((row for row, shape in enumerate(shapes) if shape != shapes[0]), None)
        if row is None:
            raise
        raise ValueError(
            f"The rows of X differ in shape: row {row} has {shapes[row]}, and row 0 has "
            f"{shapes[0]}. Images must have one size; skrnd.datasets.load_images brings pictures "
            "to it."
        ) from error


def _check_row(row: Any) -> None:
    """Refuse a row whose mask hides values, or a picture whose values are no brightness."""
    refuse_masked(row, "A row of X")
    mode = getattr(row, "mode", None)
    if isinstance(mode, str) and mode in _PIL_MODES_OF_NO_BRIGHTNESS:
        raise ValueError(
            f"X holds PIL images of mode {mode}, whose values are those of a palette, or bits; "
            "pass image.convert('RGB') or image.convert('L'), or what "
            "skrnd.datasets.load_images makes of them."
        )


def as_numpy(X: Any) -> Any:
    """Numpy of a tensor, wherever it is; all else as it is."""
    if not isinstance(X, torch.Tensor):
        return X
    # numpy has no bfloat16; float32 holds all its values.
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy(force=True)


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
        taken = _slice(X, first, last)[rows - first]
    else:
        # What lies in one chunk is read at once: for a single row, it is decoded whole.
        ends = 1 + np.flatnonzero(np.diff(rows // _rows_of_a_chunk(X)))
        groups = np.split(rows, ends)
        taken = np.concatenate([_slice(X, g[0], g[-1])[g - g[0]] for g in groups])
    try:
        return check_values(taken)
    except ValueError as error:
        note_rows_not_finite(error, taken, rows)
        raise


def _slice(X: Any, first: int, last: int) -> np.ndarray:
    values = X[first : last + 1]
    # numpy would drop the masks of dask.
    values = values.compute() if hasattr(values, "compute") else values
    refuse_masked(values, "X")
    return np.asarray(values)


def _rows_of_a_chunk(X: Any) -> int:
    """Rows that an unread array keeps together; 1 where each is to be had by itself."""
    if X.chunks is None:
        return 1
    # Of each of them, or, in dask, of one after the other.
    return int(np.max(X.chunks[0]))


def check_values(values: Any, *, input_name: str = "X", **options: Any) -> np.ndarray:
    """Check that an array of any number of axes holds finite, real numbers."""
    refuse_masked(values, input_name)
    return check_array(values, allow_nd=True, dtype="numeric", input_name=input_name, **options)


def refuse_masked(X: Any, input_name: str) -> None:
    # Columns of pandas have masks too, of what is missing.
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"{input_name} is a masked array, and what its mask hides would count; fill it first."
        )


def note_rows_not_finite(error: ValueError, X: Any, numbers: np.ndarray | None = None) -> None:
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
