"""From any accepted layout of X to images of shape (n, C, H, W) and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

# Photographs have one to four channels (grey, grey + alpha, RGB, RGBA). An
# axis of that length is what channel_axis="auto" recognises.
_CHANNEL_COUNTS = range(1, 5)


@dataclass(frozen=True)
class ImageLayout:
    """How a row of X holds one image.

    Attributes
    ----------
    sample_shape : tuple of int
        Shape of one row of X as the caller gives it.
    image_shape : tuple of int
        The same row read as an image: (H, W), (C, H, W) or (H, W, C).
    channels_last : bool
        Whether the last axis of a 3-D `image_shape` holds the channels.
    """

    sample_shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    channels_last: bool

    @property
    def chw(self) -> tuple[int, int, int]:
        """Number of channels, height and width."""
        if len(self.image_shape) == 2:
            return (1, *self.image_shape)
        if self.channels_last:
            height, width, channels = self.image_shape
            return (channels, height, width)
        return self.image_shape  # type: ignore[return-value]

    def to_nchw(self, X: Any) -> Any:
        """View rows of X, a numpy array or torch tensor, as (n, C, H, W)."""
        # Not len(X), of which torch's export would make a constant.
        images = X.reshape((X.shape[0], *self.image_shape))
        if len(self.image_shape) == 2:
            return images[:, None]
        return images.swapaxes(2, 3).swapaxes(1, 2) if self.channels_last else images

    def from_nchw(self, images: Any) -> Any:
        """Undo `to_nchw`."""
        if self.channels_last:
            images = images.swapaxes(1, 2).swapaxes(2, 3)
        return images.reshape((len(images), *self.sample_shape))


def find_layout(
    sample_shape: Sequence[int],
    image_shape: Sequence[int] | None = None,
    channel_axis: str | int = "auto",
) -> ImageLayout | None:
    """Work out how rows of shape `sample_shape` hold images.

    Parameters
    ----------
    sample_shape : sequence of int
        ``X.shape[1:]``.
    image_shape : sequence of int or None
        Shape of one image when the rows of X are flat.
    channel_axis : {"auto", 1, -1, 3, -3}
        Axis of a stack of 3-D images that holds the channels.

    Returns
    -------
    ImageLayout or None
        None for flat rows without `image_shape`: they hold no image.

    Raises
    ------
    ValueError
        If `image_shape` does not fit the rows, or if it is ambiguous which
        axis holds the channels.
    """
    sample_shape = tuple(int(n) for n in sample_shape)
    if image_shape is None:
        if len(sample_shape) == 1:
            return None
        shape = sample_shape
    else:
        shape = tuple(image_shape)
        whole = all(isinstance(n, Integral) and n > 0 for n in shape)
        if len(shape) not in (2, 3) or not whole:
            raise ValueError(
                "image_shape must be (height, width), (channels, height, width) or "
                f"(height, width, channels), all positive integers; got {shape}."
            )
        # Whole numbers of numpy are no JSON, nor sizes to torch.
        shape = tuple(map(int, shape))
        is_flat = len(sample_shape) == 1
        if (math.prod(shape) != sample_shape[0]) if is_flat else (shape != sample_shape):
            has = f"{sample_shape[0]} values" if is_flat else f"shape {sample_shape}"
            raise ValueError(
                f"image_shape={shape}, of {math.prod(shape)} values, does not fit X, whose rows "
                f"have {has}."
            )
    channels_last = len(shape) == 3 and _channels_are_last(shape, channel_axis)
    return ImageLayout(sample_shape, shape, channels_last)


def _channels_are_last(shape: tuple[int, ...], channel_axis: str | int) -> bool:
    if channel_axis != "auto":
        return int(channel_axis) % 4 == 3
    first, last = shape[0] in _CHANNEL_COUNTS, shape[2] in _CHANNEL_COUNTS
    if first == last:
        raise ValueError(
            f"Ambiguous channels in images of shape {shape}: "
            f"{'both the first and the last axis' if first else 'neither end'} could be "
            "one to four channels. Pass channel_axis=1 for (n, channels, height, width) "
            "or channel_axis=-1 for (n, height, width, channels)."
        )
    return last
