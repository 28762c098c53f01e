"""How strong a copy should be blurred or sharpened, judged from normal images alone."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from ._threads import in_parts
from .blur import _spectral_entropy

# The sample of images that the choice looks at: most images, most values.
_MAX_IMAGES = 256
_MAX_VALUES = 2**20


def sample_size(image_shape: Sequence[int]) -> int:
    """How many images of a shape (C, H, W) the choice looks at."""
    return min(_MAX_IMAGES, max(16, _MAX_VALUES // math.prod(image_shape)))


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
    channels = torch.from_numpy(images.astype(np.float64)).flatten(0, 1)
    # In parts, since the threads of LAPACK get in each other's way on small matrices.
    (s,) = in_parts(lambda part: (torch.linalg.svdvals(part),), channels)
    return float(_spectral_entropy(s).mean())


def told_apart(images: np.ndarray, copies: np.ndarray) -> float:
    """How well the copies are told from the images by their sharpness alone.

    Parameters
    ----------
    images, copies : ndarray of shape (n, C, H, W)

    Returns
    -------
    float
        Share of all pairs of an image and a copy in which the copy is the less
        sharp one, or the sharper one if that share is larger; ties count half.
        From 0.5 to 1. Sharpness is the mean squared difference between pixels
        that are neighbours.
    """
    sharpness = np.concatenate([_sharpness(images), _sharpness(copies)])
    auroc = roc_auc_score(np.repeat([1, 0], [len(images), len(copies)]), sharpness)
    return float(max(auroc, 1 - auroc))


def choose_strength(
    copies_of: Callable[[float], np.ndarray],
    candidates: list[float],
    images: np.ndarray,
    *,
    aim_told_apart: float,
    aim_rank: float | None = None,
) -> float:
    """Choose the mildest strength whose copies a network can learn to tell from the images.

    A copy that differs less from its image than the images do from each other is
    not learned, and then worse than none: the predictor says the mean of two
    targets on normal images too.

    Parameters
    ----------
    copies_of : callable
        Given a strength, returns the copies of `images`.
    candidates : list of numbers
        Strengths from mild to strong.
    images : ndarray of shape (n, C, H, W)
        Normal images. Those that are all of one value have no say.
    aim_told_apart : float
        What `told_apart` is to come nearest to, in (0.5, 1).
    aim_rank : float, default=None
        The share of the log effective rank of the images that the copies are to
        come nearest to, in (0, 1), if that takes a stronger candidate.

    Returns
    -------
    number
        One of the candidates; the mildest if all images are constant.
    """
    # A blank image and its copy are the same at any strength.
    shows = _sharpness(images) > 0
    if not shows.any():
        return candidates[0]
    images = images[shows]

    # Both searches look at the same candidates.
    @cache
    def copies(index: int) -> np.ndarray:
        return copies_of(candidates[index])[shows]

    index = _nearest(lambda i: told_apart(images, copies(i)), aim_told_apart, len(candidates))
    whole = log_effective_rank(images)
    # Rounding leaves a little to images of rank 1.
    if aim_rank is not None and whole > 1e-3:
        by_rank = _nearest(
            lambda i: -log_effective_rank(copies(i)) / whole, -aim_rank, len(candidates)
        )
        index = max(index, by_rank)
    return candidates[index]


def _sharpness(images: np.ndarray) -> np.ndarray:
    images = images.astype(np.float64)
    return sum((np.diff(images, axis=axis) ** 2).mean((1, 2, 3)) for axis in (2, 3))


def _nearest(rising: Callable[[int], float], aim: float, n: int) -> int:
    """First index from 0 to n - 1 at which a rising function comes nearest to `aim`."""
    # Each step of a search, and its end, ask for the same figures again.
    rising = cache(rising)
    reached = bisect_left(range(n - 1), aim, key=rising)
    nearest = min([max(0, reached - 1), reached], key=lambda i: abs(rising(i) - aim))
    return bisect_left(range(nearest), rising(nearest), key=rising)
