"""Files that are put in their place whole."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from skrnd._files import remove_parts, write_whole


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError) as told:
        write_whole(path, b"")
    assert str(told.value).endswith(f": {str(path)!r}")


def test_a_file_that_cannot_be_written_is_as_before(tmp_path, monkeypatch):
    def fails(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left") as told:
        write_whole(path, b"new")
    assert told.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="there are none")
def test_links_stay_and_special_files_are_refused(tmp_path):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "file")
    write_whole(link, b"content")
    assert link.is_symlink()
    assert (tmp_path / "file").read_bytes() == b"content"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"Not a regular file: .*pipe"):
        write_whole(pipe, b"content")
    assert pipe.is_fifo()


@pytest.mark.skipif(os.name != "posix", reason="permissions are other ones there")
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    path.chmod(0o600)
    modes, fsync = [], os.fsync

    def spy(descriptor):
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    # And while it is written.
    assert [*modes, path.stat().st_mode & 0o777] == [0o600, 0o600]


@pytest.mark.skipif(os.name != "posix", reason="permissions are other ones there")
def test_permissions_that_are_right_are_not_set(tmp_path, monkeypatch):
    """Some mounts refuse that."""

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    write_whole(tmp_path / "file", b"old")
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_parts_of_killed_processes_are_removed(tmp_path):
    """And no others."""
    path = tmp_path / ("[*]?" + "x" * 240)
    code = (
        "import os, signal, sys; from pathlib import Path; from skrnd._files import write_whole;"
        "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL);"
        "write_whole(Path(sys.argv[1]), b'content')"
    )
    process = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    other = part.with_name(part.name.replace(".part", ".other.part"))
    other.touch()
    remove_parts(path)
    assert list(tmp_path.iterdir()) == [other]


def test_parts_of_files_with_a_long_beginning_in_common_are_told_apart(tmp_path, monkeypatch):
    path, other = (tmp_path / ("of the search with many folds, in which number " + n) for n in "12")
    monkeypatch.setattr(os, "fsync", lambda file: remove_parts(other))
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"


def test_several_may_write_the_same_file(tmp_path):
    path = tmp_path / ("x" * 250)
    contents = [bytes([number]) * 10**5 for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda content: write_whole(path, content), contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
