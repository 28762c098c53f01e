"""Files: those that hold the arrays of a fit beyond memory, and those that are written whole."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from joblib.backports import concurrency_safe_rename
from sklearn import get_config

# Hexadecimal digits that tell files apart: few, since Windows allows 259 characters in a path.
_N_DIGITS = 8


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


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Put a file in its place in one step, once it is whole and on the disk.

    Raises
    ------
    OSError
        If that cannot be done. What was in its place is there still.
    """
    # A link stays one, and what is no file is not to become one.
    path = Path(os.path.realpath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    # Of a name of its own, for others may be writing the same file.
    part = path.with_name(_part_name(path, uuid.uuid4().hex[:_N_DIGITS]))
    try:
        with part.open("xb") as file:
            _let_the_same_read(path, part)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        concurrency_safe_rename(part, path)
    except OSError as error:
        # Nobody asked for the part; set to None, the second name would be told as such.
        error.filename = str(path)
        del error.filename2
        raise
    finally:
        # It is gone already, or what has failed before fails again.
        with suppress(OSError):
            # Windows removes no file that may only be read.
            part.chmod(stat.S_IWRITE)
            part.unlink()


def _let_the_same_read(path: Path, part: Path) -> None:
    """Who may read a file is for whoever put it there to say."""
    # Some mounts refuse to set even the mode that is there.
    if path.exists() and path.stat().st_mode != part.stat().st_mode:
        shutil.copymode(path, part)


def remove_parts(path: Path) -> None:
    """Remove what killed processes have left that were about to put a file in this place."""
    for part in path.parent.glob(_part_name(path, "[0-9a-f]" * _N_DIGITS)):
        with suppress(OSError):
            part.unlink()


def _part_name(path: Path, unique: str) -> str:
    # A digest, since the name itself may leave no room for more, or be a pattern.
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:_N_DIGITS]
    return f".skrnd-{digest}.{unique}.part"
