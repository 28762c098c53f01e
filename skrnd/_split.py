"""Which rows are trained on, and which are held out to set the threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from sklearn.model_selection import train_test_split


def row_keys(blocks: Iterable[torch.Tensor]) -> np.ndarray:
    """A number for each row, by which it is known again among any others.

    Parameters
    ----------
    blocks : iterable of tensors of shape (n, ...)
        Inputs of the networks, float32, on the CPU.

    Returns
    -------
    keys : ndarray of shape (n,), uint64
        Of rows that differ, two in billions are the same [1]_.

    References
    ----------
    .. [1] Lemire and Kaser, "Strongly universal string hashing is fast", The Computer
       Journal 57(11), 2014.
    """
    keys = [np.empty(0, np.uint64)]
    for rows in blocks:
        # Of zeros, which are equal, the sign goes.
        words = (rows.flatten(1).numpy() + np.float32(0)).view(np.uint32).astype(np.uint64)
        weights = np.random.RandomState(0).randint(2**64, size=words.shape[1], dtype=np.uint64)
        # Beyond 64 bits it wraps around, which is what the hashing wants.
        keys.append(words @ weights)
    return np.concatenate(keys)


def are_among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mask of the keys that are among others."""
    # Not by a table, whose indices overflow in numpy 2.0.
    return np.isin(keys, others, kind="sort")


def train_and_held_out(
    normal: np.ndarray,
    fraction: float,
    random_state: np.random.RandomState,
    was_trained_on: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out rows at random, of those that no training has seen.

    Rows that have been trained on score too well: a threshold that they set lets new normal
    rows raise more alarms than it promises.

    Parameters
    ----------
    normal : ndarray of int
        Rows that are not labelled as outliers, in rising order.
    fraction : float
        Share of them to hold out, in (0, 1).
    random_state : RandomState
    was_trained_on : ndarray of bool, as long as `normal`
        Whether an earlier fit has trained on the row.

    Returns
    -------
    train : ndarray of int
        In rising order.
    held_out : ndarray of int

    Raises
    ------
    ValueError
        If nothing would be left to train on.
    """
    n_held_out = math.ceil(fraction * len(normal))
    if n_held_out == len(normal):
        raise ValueError(
            f"validation_fraction={fraction} of {len(normal)} normal rows leaves none to train "
            "on; pass more rows or a smaller fraction."
        )
    unseen = normal if was_trained_on.all() else normal[~was_trained_on]
    if len(unseen) <= n_held_out:
        return normal[was_trained_on], unseen
    _, held_out = train_test_split(unseen, test_size=n_held_out, random_state=random_state)
    return np.setdiff1d(normal, held_out), held_out
