"""How strong a blur should be, judged from normal images alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from .base import BaseImageTransformer

# On CIFAR-10 this gives the K that the method's best results were had with.
TARGET_RATIO = 0.5
# Values of the sample of images that the choice looks at.
_SAMPLE_VALUES = 2**20


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
    s = torch.linalg.svdvals(torch.from_numpy(images.astype(np.float64))).numpy()
    total = s.sum(-1, keepdims=True)
    p = np.divide(s, total, out=np.zeros_like(s), where=total > 0)
    return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum(-1).mean())


def choose_strength(
    make_blur: Callable[[float], BaseImageTransformer],
    candidates: list[float],
    images: np.ndarray,
) -> float:
    """Choose the strength that halves the log effective rank of the images.

    Parameters
    ----------
    make_blur : callable
        Makes the blur of a given strength.
    candidates : list of numbers
        Strengths from mild to strong.
    images : ndarray of shape (n, C, H, W)
        Normal images; the first few hundred are looked at.

    Returns
    -------
    number
        The candidate whose blurred images come nearest to half the log effective
        rank of the images themselves; the mildest if they have none to halve.
    """
    n_images = max(16, _SAMPLE_VALUES // math.prod(images.shape[1:]))
    images = images[: min(n_images, 256)]
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
        if ratio(middle) > TARGET_RATIO:
            low = middle + 1
        else:
            high = middle
    neighbours = [max(0, low - 1), low]
    return candidates[min(neighbours, key=lambda i: abs(ratio(i) - TARGET_RATIO))]
