"""Arrays in memory and in files."""

import os
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch
from sklearn import config_context

from skrnd._storage import Storage, working_bytes


def test_a_share_of_the_working_memory():
    with config_context(working_memory=64):
        assert working_bytes(1 / 2) == 32 * 2**20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that temporary files go to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_memory_is_taken_up_to_the_limit_and_files_beyond(folder, monkeypatch):
    def spy(*args, **kwargs):
        mapped.append(kwargs["shape"])
        return memmap(*args, **kwargs)

    mapped, memmap = [], np.memmap
    monkeypatch.setattr(np, "memmap", spy)
    storage = Storage(100)
    sizes = [(2, 6), (2, 7), (13,), (1,), (20, 30)]
    arrays = [storage.empty(size) for size in sizes]
    assert mapped == [(2, 7), (1,), (20, 30)]
    for value, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
        assert array.shape == size
        assert array.dtype == torch.float32
        array.fill_(value)
    assert [array.mean().item() for array in arrays] == [0, 1, 2, 3, 4]
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="an open file has a name there")
def test_a_killed_process_leaves_no_file(tmp_path):
    code = (
        "import os, signal; from skrnd._storage import Storage;"
        "array = Storage(0).empty((1000, 1000)).fill_(1);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is not reserved there")
def test_a_full_disk_is_an_error_at_once(folder):
    with pytest.raises(OSError, match=r"a file of .* GB beyond working_memory; TMPDIR") as told:
        Storage(0).empty((2**40, 2**18))
    assert told.value.filename == str(folder)


def test_room_is_taken_where_the_system_cannot_reserve_it(folder, monkeypatch):
    """A file with a hole ends the process when the disk is full."""

    def spy(file, *args, **kwargs):
        taken.append(os.fstat(file.fileno()).st_blocks * 512)
        return memmap(file, *args, **kwargs)

    taken, memmap = [], np.memmap
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(np, "memmap", spy)
    array = Storage(0).empty((3, 2**17 + 1))
    assert array.shape == (3, 2**17 + 1)
    assert taken[0] >= 4 * array.numel()
