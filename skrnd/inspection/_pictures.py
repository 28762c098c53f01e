"""Images of any layout as arrays, and as matplotlib draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._containers import array_of, as_numpy, check_values, rows_of
from .._images import ImageLayout, find_layout
from .._validation import refuse_what_holds_no_rows


def array(X: Any) -> Any:
    """Numpy of tensors, lists and frames; what is read slice by slice stays as it is."""
    X = as_numpy(rows_of(X))
    if hasattr(X, "columns"):
        return np.asarray(X)
    return X if hasattr(X, "shape") else array_of(X)


def checked(images: Any) -> np.ndarray:
    if np.ndim(images) < 2:
        refuse_what_holds_no_rows(np.asarray(images))
    return check_values(images, input_name="images", ensure_2d=False)


def image_layout(
    sample_shape: Sequence[int], image_shape: tuple[int, ...] | None, channel_axis: str | int
) -> ImageLayout:
    layout = None
    if len(sample_shape) in (1, 2, 3):
        layout = find_layout(sample_shape, image_shape, channel_axis)
    if layout is None:
        raise ValueError(
            f"Rows of shape {tuple(sample_shape)} are not images, which are (height, width), "
            "(channels, height, width) or (height, width, channels), or flat with image_shape."
        )
    return layout


def range_of(images: np.ndarray) -> tuple[float, float]:
    """The values that are drawn black and white."""
    low, high = float(images.min()), float(images.max())
    if low >= 0:
        # Numbers of another kind, as 0 to 16, are not taken for those of dark pictures.
        is_8_bit = images.dtype == np.uint8 or 127 < high <= 255
        low, high = 0.0, 1.0 if high <= 1 else 255.0 if is_8_bit else high
    return low, high if high > low else low + 1


def pictures_of(
    images: np.ndarray, layout: ImageLayout, black_and_white: tuple[float, float]
) -> np.ndarray:
    """Images of any layout as matplotlib draws them: (n, H, W, 3), from 0 to 1."""
    n_channels = layout.chw[0]
    if n_channels > 4:
        raise ValueError(
            f"Images of {n_channels} channels cannot be drawn, only those of one to four; "
            "channel_axis says which of their axes holds the channels."
        )
    channels = layout.to_nchw(images)[:, [0, 1, 2] if n_channels > 2 else [0, 0, 0]]
    black, white = black_and_white
    brightness = channels.transpose(0, 2, 3, 1).astype(np.float64)
    return np.clip((brightness - black) / (white - black), 0, 1)


def size_of(pictures: np.ndarray, inches: float) -> tuple[float, float]:
    """Width and height of a table of pictures so wide, each with a title above it."""
    n_rows, n_columns, height, width = pictures.shape[:4]
    return inches * n_columns, n_rows * (0.35 + inches * height / width)


def show(ax: Any, pictures: np.ndarray, titles: Sequence[Sequence[str]]) -> np.ndarray:
    """Draw a table of pictures, each with a title above it; return an Axes for each."""
    n_rows, n_columns = pictures.shape[:2]
    ax.set_axis_off()
    axes = np.empty((n_rows, n_columns), dtype=object)
    for row, column in np.ndindex(n_rows, n_columns):
        corner = (column / n_columns, 1 - (row + 1) / n_rows)
        own = ax.inset_axes((*corner, 0.94 / n_columns, 0.84 / n_rows))
        own.imshow(pictures[row, column])
        own.set(xticks=[], yticks=[])
        own.set_title(titles[row][column], fontsize="medium", pad=3)
        axes[row, column] = own
    return axes
