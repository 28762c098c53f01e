"""Download a file so that what ends up in its place is whole and right."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from joblib.backports import concurrency_safe_rename

from .._logging import logger

_BLOCK_BYTES = 2**18
# No file of the sets is as large. A server that never ends, or whoever answers for one that is
# asked by plain http, is not to fill the disk.
_MOST_BYTES = 2**28
_TIMEOUT_SECONDS = 60.0
# What no server is to blame for.
_OF_THE_DISK = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EISDIR,
    errno.ENOSPC,
    errno.EROFS,
}
# Of the client's errors, those that another try may not meet: timeout and too many requests.
_FOR_A_WHILE = {408, 429}


class ChecksumError(OSError):
    """A complete download that is not the file it should be."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
) -> Path:
    """Put the file at `url` in `path`, unless it is there already.

    The bytes are gathered beside `path`, in a file that ends in ".part", and
    move to `path` in one step once their SHA-256 is right. What an interrupted
    download has gathered is kept, and the next one asks for the rest only.

    Parameters
    ----------
    url : str
        http or https.
    path : Path
        Its folder is made if need be.
    sha256 : str
        Hexadecimal digest that the file must have.
    n_retries : int, default=3
        How often to try again when the connection fails.
    delay : float, default=1.0
        Seconds to wait before each new try.
    progress : bool, default=True
        Whether to show a bar; it needs rich.

    Returns
    -------
    path : Path

    Raises
    ------
    ChecksumError
        If all bytes came and they are not the right ones. They are removed.
    OSError
        If the server cannot be reached, does not have the file, or breaks off
        more often than `n_retries`. If the file cannot be written.
    """
    if is_whole(path, sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _exclusively(path.parent):
        # Another process may have finished it while this one waited.
        if is_whole(path, sha256):
            return path
        for n_left in reversed(range(n_retries + 1)):
            try:
                _gather(url, part, progress=progress)
                break
            # A ValueError is of an address or a length that the server gave, and that is none.
            except (OSError, HTTPException, ValueError) as error:
                # It is for the user to make room.
                if getattr(error, "errno", None) in _OF_THE_DISK:
                    raise
                code = error.code if isinstance(error, HTTPError) else None
                is_final = code is not None and code < 500 and code not in _FOR_A_WHILE
                if is_final or n_left == 0:
                    raise OSError(f"{url} could not be downloaded: {error}") from error
                logger.warning("Downloading %s broke off (%s); trying again.", url, error)
                time.sleep(delay)
        digest = _sha256_of(part)
        if digest != sha256:
            part.unlink()
            raise ChecksumError(
                f"{url} is not the file it should be: its SHA-256 is {digest}, not {sha256}. "
                "Nothing was kept."
            )
        concurrency_safe_rename(part, path)
    return path


def _gather(url: str, part: Path, *, progress: bool) -> None:
    """Append to `part` what it still lacks of the file at `url`."""
    n_have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={n_have}-"} if n_have else {})
    try:
        response = urlopen(request, timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        # 416: there is nothing beyond what we have, or what we have is wrong.
        # The checksum will tell.
        if error.code == 416 and n_have:
            return
        raise
    with response, _bar(part.name.removesuffix(".part"), progress) as advance:
        # A server that does not know ranges sends the whole file again.
        resumes = response.status == 206
        start = n_have if resumes else 0
        n_announced = response.headers.get("Content-Length")
        total = start + int(n_announced) if n_announced else None
        with part.open("ab" if resumes else "wb") as file:
            n_done = start
            # What is longer is wrong, as the checksum will tell.
            while n_done <= _MOST_BYTES and (block := response.read(_BLOCK_BYTES)):
                file.write(block)
                n_done += len(block)
                advance(n_done, total)
    if total is not None and n_done < min(total, _MOST_BYTES):
        raise URLError(f"the connection ended after {n_done} of {total} bytes")


@contextmanager
def _bar(name: str, wanted: bool) -> Iterator[Any]:
    """A function that shows how many bytes are done; it does nothing without rich."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
    except ImportError:
        wanted = False
    if not wanted:
        yield lambda n_done, total: None
        return
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=None)
        yield lambda n_done, total: progress.update(task, completed=n_done, total=total)


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    """Let one process at a time download into `folder`; a crash frees the lock."""
    try:
        import fcntl
    except ImportError:  # Windows, which refuses to replace a file that is open
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file is there and the one that it should be."""
    return path.exists() and _sha256_of(path) == sha256


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
