"""Loaders of files in the formats of SVHN, MNIST and numpy."""

import gzip
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from skrnd.datasets import load_idx, load_npz, load_svhn


def test_svhn(tmp_path, rng, write_svhn):
    X, y = write_svhn(tmp_path / "train_32x32.mat", rng)
    bunch = load_svhn(tmp_path / "train_32x32.mat")
    np.testing.assert_array_equal(bunch.data, X)
    np.testing.assert_array_equal(bunch.target, y)
    assert bunch.data.flags.c_contiguous
    assert bunch.target_names == list("0123456789")


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 5), dtype=np.uint8)},
        {"X": np.zeros((32, 32, 3, 5), dtype=np.uint8), "y": np.ones(4)},
        {"X": np.zeros((32, 32, 3, 5)), "y": np.ones(5)},
        {"X": np.zeros((32, 32), dtype=np.uint8), "y": np.ones(5)},
        {"X": np.zeros((32, 32, 3, 5), dtype=np.uint8), "y": scipy.sparse.csc_matrix(np.ones(5))},
        {"X": np.zeros((32, 32, 3, 1), dtype=np.uint8), "y": {"digit": 5}},
        {"X": np.zeros((32, 32, 3, 2), dtype=np.uint8), "y": np.array([1, np.nan])},
        {"X": np.zeros((32, 32, 3, 2), dtype=np.uint8), "y": np.array([1, -3])},
    ],
)
def test_other_mat_files_are_refused(tmp_path, content):
    scipy.io.savemat(tmp_path / "file.mat", content)
    with pytest.raises(ValueError, match="must hold X"):
        load_svhn(tmp_path / "file.mat")


@pytest.mark.parametrize("name", ["X", "y"])
def test_cells_of_a_mat_file_are_not_looked_into(tmp_path, name, monkeypatch):
    """Cells within cells, some ten thousand of them, would end the process."""
    content = {"X": np.zeros((32, 32, 3, 1), dtype=np.uint8), "y": np.ones(1)}
    inner, outer = np.array([None, 1])[1:], np.array([None, 1])[1:]
    outer[0] = inner
    scipy.io.savemat(tmp_path / "file.mat", content | {name: outer})
    monkeypatch.setattr(scipy.io, "loadmat", lambda *args, **kwargs: pytest.fail("looked into"))
    with pytest.raises(ValueError, match="must hold X"):
        load_svhn(tmp_path / "file.mat")


def test_a_damaged_mat_file_is_refused(tmp_path, rng, write_svhn):
    write_svhn(tmp_path / "file.mat", rng)
    (tmp_path / "file.mat").write_bytes((tmp_path / "file.mat").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"not a .mat file that can be read"):
        load_svhn(tmp_path / "file.mat")
    with pytest.raises(FileNotFoundError):
        load_svhn(tmp_path / "missing.mat")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5,), (3, 4, 6), (0, 2)])
def test_idx(tmp_path, rng, idx, compress, dtype, shape):
    array = (100 * rng.random(shape)).astype(dtype)
    (tmp_path / "file").write_bytes(compress(idx(array)))
    loaded = load_idx(tmp_path / "file")
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == dtype
    assert loaded.flags.writeable


# An array of bytes of shape (2, 3, 4).
WHOLE = b"\0\0\x08\x03" + struct.pack(">3I", 2, 3, 4) + bytes(range(24))


@pytest.mark.parametrize(
    ("header", "match"),
    [(b"", "not in the idx format"), (WHOLE[:16], "not what its header says")],
)
def test_an_idx_file_is_not_unpacked_beyond_its_header(tmp_path, header, match):
    content = gzip.compress(header + bytes(2**27), mtime=0)
    (tmp_path / "file").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match):
            load_idx(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not in the idx format"),
        (b"PK\x03\x04", "not in the idx format"),
        (b"\0\0\x07\x01", "not in the idx format"),
        (WHOLE[:-1], "not what its header says"),
        (WHOLE + b"!", "not what its header says"),
        (WHOLE[:7], "not what its header says"),
        (WHOLE[:4] + b"\xff" * 12 + b"few", "not what its header says"),
        (gzip.compress(WHOLE, mtime=0)[:-4], "is damaged"),
        (b"\x1f\x8bnonsense and more of it", "is damaged"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content, match):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        load_idx(tmp_path / "file")


def test_npz(tmp_path, rng):
    X, y = rng.random((4, 1, 8, 8)), np.array([1, 1, -1, 1])
    np.savez(tmp_path / "both.npz", X=X, y=y, more=X)
    np.savez_compressed(tmp_path / "images.npz", X=X)
    data, target = load_npz(tmp_path / "both.npz", return_X_y=True)
    np.testing.assert_array_equal(data, X)
    np.testing.assert_array_equal(target, y)
    assert load_npz(tmp_path / "images.npz").target is None


def test_npz_that_cannot_be_used(tmp_path, attack):
    for name, arrays, match in (
        ("none", {"Y": np.zeros(3)}, "no array named X"),
        (
            "lengths",
            {"X": np.zeros((3, 8)), "y": np.zeros(2)},
            r"\(3, 8\) and labels.*\(2,\)",
        ),
        ("scalar", {"X": np.zeros(())}, r"images of shape \(\)"),
        ("objects", {"X": np.array([attack, None])}, "or holds pickled objects"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(ValueError, match=match):
            load_npz(tmp_path / f"{name}.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and nothing else")
    (tmp_path / "other.npz").write_bytes(pickle.dumps(attack))
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("X.npy", b"no array")
    with pytest.raises(ValueError, match=r"raw.npz has something .* no array"):
        load_npz(tmp_path / "raw.npz")
    for name in ("damaged", "other"):
        with pytest.raises(ValueError, match=f"{name}.npz is not an .npz file"):
            load_npz(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "missing.npz")
