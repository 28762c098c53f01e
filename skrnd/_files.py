"""Files that are put in their place whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from joblib.backports import concurrency_safe_rename

# Hexadecimal digits that tell files apart: few, since Windows allows 259 characters in a path.
_N_DIGITS = 8


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
