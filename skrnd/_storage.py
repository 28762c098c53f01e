"""Arrays of a fit, in memory or, beyond that, in files."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import torch
from sklearn import get_config


def working_bytes(share: float) -> int:
    """A share of scikit-learn's `working_memory`, in bytes."""
    return int(share * get_config()["working_memory"] * 2**20)


class Storage:
    """Gives out arrays: from memory up to a limit in total, then mapped from files.

    A file has no name as soon as it is open, where the system can do that, and so is
    removed by the system even if the process is killed. It is made in the folder for temporary
    files (:func:`tempfile.gettempdir`, which the variable TMPDIR sets).

    Parameters
    ----------
    limit : int
        Bytes that may be taken from memory.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    def empty(self, shape: Sequence[int]) -> torch.Tensor:
        """A new tensor on the CPU, float32, whose values are to be set.

        Raises
        ------
        OSError
            If there is no room for the file.
        """
        n_bytes = 4 * math.prod(shape)
        if n_bytes <= self._left:
            self._left -= n_bytes
            return torch.empty(*shape, dtype=torch.float32)
        with tempfile.TemporaryFile(prefix="skrnd-") as file:
            try:
                _reserve(file, n_bytes)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"{error.strerror}: a file of {n_bytes / 1e9:.1f} GB beyond working_memory; "
                    "TMPDIR sets another folder",
                    tempfile.gettempdir(),
                ) from error
            return torch.from_numpy(np.memmap(file, np.float32, mode="r+", shape=tuple(shape)))


def _reserve(file: BinaryIO, n_bytes: int) -> None:
    """Take the room on the disk now: a full disk found later would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        return
    # A file that is only made longer takes no room yet on macOS.
    zeros = bytes(2**20)
    for n_left in range(n_bytes, 0, -len(zeros)):
        file.write(zeros[:n_left])
    file.flush()
