"""How strong a blur should be, judged from normal images alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from .base import BaseImageTransformer

# The sample of images that the choice looks at: most images, most values.
MAX_IMAGES = 256
_MAX_VALUES = 2**20


def log_effective_rank(images: np.ndarray) -> float:
    """Mean entropy of the normalised singular values of all channels.

    Parameters
    ----------
    images : ndarray of shape (n, C, H, W)

    Returns
    -------
    float
        Mean over images and channels of ``-sum(p log p)``, ``p = s / sum(s)``;
        0 for channels of rank 1 or 0.

    References
    ----------
    .. [1] Roy and Vetterli, "The effective rank", EUSIPCO 2007.
    """
    # Not numpy's, whose threads get in each other's way on small matrices.
    s = torch.linalg.svdvals(torch.from_numpy(images.astype(np.float64)))
    return float(spectral_entropy(s).mean())


def spectral_entropy(s: torch.Tensor) -> torch.Tensor:
    """Entropy of singular values, each over the sum of all; 0 where all are 0."""
    total = s.sum(-1, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)
    return torch.special.entr(s / total).sum(-1)


def choose_strength(
    make_blur: Callable[[float], BaseImageTransformer],
    candidates: list[float],
    images: np.ndarray,
    share: float,
) -> float:
    """Choose the strength that leaves a given share of the log effective rank of the images.

    Parameters
    ----------
    make_blur : callable
        Makes the blur of a given strength.
    candidates : list of numbers
        Strengths from mild to strong.
    images : ndarray of shape (n, C, H, W)
        Normal images; the first `MAX_IMAGES` at most are looked at.
    share : float
        In (0, 1).

    Returns
    -------
    number
        The candidate whose blurred images come nearest to `share` of the log
        effective rank of the images themselves; the mildest if they have none.
    """
    n_images = max(16, _MAX_VALUES // math.prod(images.shape[1:]))
    images = images[: min(n_images, MAX_IMAGES)]
    whole = log_effective_rank(images)
    if whole == 0:
        return candidates[0]

    # The search below ends beside candidates that it has already looked at.
    @cache
    def ratio(index: int) -> float:
        blurred = make_blur(candidates[index]).fit_transform(images)
        return log_effective_rank(blurred) / whole

    # The ratio falls with the strength: find the first candidate below the aim.
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if ratio(middle) > share:
            low = middle + 1
        else:
            high = middle
    neighbours = [max(0, low - 1), low]
    return candidates[min(neighbours, key=lambda i: abs(ratio(i) - share))]
