"""What the networks are given of X: rows in one layout, standardised, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import assert_all_finite, gen_batches

from ._containers import take_rows
from ._distributed import Ranks
from ._images import ImageLayout
from ._storage import Storage
from ._warnings import warn

# Values of the rows that are read, standardised and scored at once.
_BLOCK_VALUES = 2**22
# Standard deviations from the mean beyond which all values are equally novel;
# the square of an output still has room in float32.
FARTHEST = 1e6


def block_rows(shape: Sequence[int]) -> int:
    """How many rows of a shape are read, standardised and scored at once."""
    return max(1, _BLOCK_VALUES // math.prod(shape))


@dataclass(frozen=True)
class Inputs:
    """How rows of X become inputs of the networks.

    Attributes
    ----------
    layout : ImageLayout or None
        None for plain rows.
    mean, scale : ndarray of shape (n_channels,) or (n_features,), float64
        Of what is trained on: inputs have mean 0 and standard deviation 1 there.
    """

    layout: ImageLayout | None
    mean: np.ndarray
    scale: np.ndarray

    def blocks(self, X: Any, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """Inputs, (n, C, H, W) or (n, n_features), float32, on the CPU, block by block."""
        per_channel = (-1,) if self.layout is None else (-1, 1, 1)
        mean, scale = (
            torch.tensor(values).reshape(per_channel) for values in (self.mean, self.scale)
        )
        for values in _values(X, rows, self.layout):
            standardised = torch.from_numpy(values).sub_(mean).div_(scale)
            yield standardised.clamp_(-FARTHEST, FARTHEST).float()

    def stored(self, X: Any, rows: np.ndarray, storage: Storage) -> torch.Tensor:
        """Inputs, all of them."""
        shape = X.shape[1:] if self.layout is None else self.layout.chw
        stored = storage.empty((len(rows), *shape))
        for block, inputs in zip(
            stored.split(block_rows(shape)), self.blocks(X, rows), strict=True
        ):
            block.copy_(inputs)
        return stored


def learn_scale(
    X: Any, rows: np.ndarray, layout: ImageLayout | None, ranks: Ranks
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel or feature, over the rows of all processes.

    Raises
    ------
    ValueError
        If one of them is not finite.
    """
    scaler = StandardScaler()
    for values in _values(X, rows, layout):
        if layout is not None:
            # Each channel in one piece, which is added up several times as fast.
            values = values.swapaxes(0, 1).reshape(values.shape[1], -1).T
        with np.errstate(over="ignore", invalid="ignore"):
            scaler.partial_fit(values)
    mean, variance, scale = scaler.mean_, scaler.var_, scaler.scale_
    if ranks.size > 1:
        mean, variance = ranks.pooled(mean, variance)
        rounding = 10 * len(rows) * np.finfo(np.float64).eps * np.abs(mean)
        scale = np.where(variance > rounding**2, np.sqrt(variance), 1.0)
    # Not the scale, which scikit-learn makes 1 where the variance is infinite.
    if not np.isfinite([mean, variance]).all():
        raise ValueError(
            "X holds values so large that their mean or variance is infinite in float64; "
            "scale them down."
        )
    return mean, scale


def doubt_scale(
    inputs: torch.Tensor, *, what: str, least: float = 0.02, most: float = math.inf
) -> None:
    """Warn where inputs spread as if X had been prepared in another way than in the first fit.

    Where they spread too far, scores tell it.
    """
    axes = tuple(axis for axis in range(inputs.ndim) if axis != 1)
    spread = float(np.median(inputs.numpy().std(axis=axes, dtype=np.float64)))
    # What is all of one value may be so in any range.
    if spread > 0 and not least <= spread <= most:
        warn(
            f"The values of X spread {spread:.2g} times as far as those of the first fit, "
            "whose scale is kept. If X was prepared in another way (divided by 255, for "
            f"instance), {what} of no use. Images that are nearly blank look like that too.",
        )


def _values(X: Any, rows: np.ndarray, layout: ImageLayout | None) -> Iterator[np.ndarray]:
    """Values of the rows, float64, in the order of the networks, block by block."""
    for block in gen_batches(len(rows), block_rows(X.shape[1:])):
        values = take_rows(X, rows[block])
        if layout is not None:
            values = layout.to_nchw(values)
        values = np.array(values, dtype=np.float64, order="C")
        # X may have changed since it was checked, and what it is now may not be decomposed.
        assert_all_finite(values, input_name="X")
        yield values
