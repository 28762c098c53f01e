"""CIFAR's files, written here the way their publishers write them."""

import functools
import gzip
import lzma
import pickle
import tarfile

import numpy as np
import pytest

import skrnd.datasets._cifar
from skrnd.datasets import load_cifar


@pytest.mark.parametrize("form", ["folder", "archive", "path of the archive"])
@pytest.mark.parametrize(
    ("name", "n_train", "names"),
    [("cifar10", 20, ["airplane", "automobile"]), ("cifar100", 6, ["apple"])],
)
def test_cifar(tmp_path, rng, request, packed, form, name, n_train, names):
    X, y = request.getfixturevalue(f"write_{name}")(tmp_path / "cifar", rng)
    path = tmp_path / "cifar"
    if form != "folder":
        path = packed(path)
    if form == "path of the archive":
        path = str(path)
    for subset, rows in {
        "train": slice(None, n_train),
        "test": slice(n_train, None),
        "all": slice(None),
    }.items():
        bunch = load_cifar(path, subset=subset)
        np.testing.assert_array_equal(bunch.data, X[rows])
        np.testing.assert_array_equal(bunch.target, y[rows])
        assert bunch.target.dtype == np.int64
        assert bunch.target_names == names
    data, target = load_cifar(path, return_X_y=True)
    assert data.flags.writeable
    assert len(data) == len(target) == n_train


def test_two_copies_are_not_mixed(tmp_path, rng, write_cifar10, write_cifar100):
    X, _ = write_cifar10(tmp_path / "cifar-10-batches-py", rng)
    np.testing.assert_array_equal(load_cifar(tmp_path, subset="all").data, X)
    write_cifar100(tmp_path / "cifar-100-python", rng)
    with pytest.raises(ValueError, match=r"CIFAR more than once, in .*-batches-py, .*-100-python"):
        load_cifar(tmp_path)


def test_cifar_pickled_by_python_3(tmp_path, rng, write_cifar10):
    X, _ = write_cifar10(tmp_path / "cifar", rng, dumps=functools.partial(pickle.dumps, protocol=2))
    np.testing.assert_array_equal(load_cifar(tmp_path / "cifar", subset="all").data, X)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", ["data_batch_1", "batches.meta"])
def test_a_pickle_runs_nothing(tmp_path, rng, protocol, place, attack, write_cifar10):
    write_cifar10(tmp_path / "cifar", rng)
    content = pickle.dumps({b"data": attack, b"labels": [1]}, protocol=protocol)
    (tmp_path / "cifar" / place).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{place} of .* is damaged or not plain data.*sys.exit"):
        load_cifar(tmp_path / "cifar")


class Array:
    """Is pickled as an array of bytes is, with parts of one's own."""

    def __init__(self, shape, values):
        self.state = (1, shape, np.dtype(np.uint8), False, values)

    def __reduce__(self):
        return (*np.zeros(0, np.uint8).__reduce__()[:2], self.state)


def pickled_array(shape, values):
    return pickle.dumps({b"data": Array(shape, values), b"labels": [1]}, protocol=3)


@pytest.mark.parametrize(
    "batch",
    [
        b"no pickle",
        pickle.dumps([1, 2, 3]),
        pickle.dumps({b"labels": [1, 2]}),
        pickle.dumps({b"data": b"bytes", b"labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}, protocol=2),
        pickle.dumps({b"data": np.zeros((2, 5), dtype=np.uint8), b"labels": [1, 2]}, protocol=2),
        pickle.dumps({b"data": np.zeros((3, 3072), dtype=np.uint8), b"labels": [1]}, protocol=2),
        pickle.dumps({b"data": np.array([{}]), b"labels": [1]}, protocol=2),
        pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10**30]}, protocol=2),
        pickled_array((1.0, 3072.0), bytes(3072)),
        pickled_array((-1, -3072), bytes(3072)),
        pickled_array((), b"1"),
        pickled_array((1, 3072), "1" * 3072),
        pickled_array((1, 3072), [1] * 3072),
        pickled_array(([1], 3072), bytes(3072)),
    ],
)
def test_a_damaged_batch_is_refused(tmp_path, rng, batch, write_cifar10):
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "data_batch_3").write_bytes(batch)
    with pytest.raises(ValueError, match="data_batch_3 of"):
        load_cifar(tmp_path / "cifar")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        # A memo of so many places.
        (b"Nr\xff\xff\xff\x0f.", "names 268435455 things in 2 steps"),
        (b"Np268435455\n.", "names 268435455 things in 2 steps"),
        # A tuple that holds the one before it twice, and so on, as a key.
        (b"})" + 50 * b"2\x86" + b"Ns.", "one thing twice"),
        (b"})" + 50 * b"q\1h\1\x86" + b"Ns.", "one thing twice"),
        (b"})" + 50 * b"\x94h\0\x86" + b"Ns.", "one thing twice"),
        (b"}\x8c\1a0)q\1h\1\x86Ns.", "one thing twice"),
        # A dtype whose name is printed in the message.
        (b"cnumpy\ndtype\n)" + 50 * b"2\x86" + b"R.", "one thing twice"),
        # One long string encoded time and again.
        (b"c_codecs\nencode\nq\0(X\xe8\3\0\0" + 1000 * b"a" + b"q\1h\1tR.", "one thing twice"),
        (b"(" + 10**6 * b"]" + b"l.", "more than 1000000 steps"),
        (b"c_codecs\nencode\n}X\4\0\0\0nameK\1sb.", "changes a function"),
        (b"cnumpy\nndarray\n}X\4\0\0\0nameK\1sb.", "changes a function"),
    ],
)
def test_a_small_pickle_takes_little(tmp_path, rng, content, match, write_cifar10):
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "data_batch_2").write_bytes(b"\x80\2" + content)
    with pytest.raises(ValueError, match=f"data_batch_2 of .* is damaged or not plain.*{match}"):
        load_cifar(tmp_path / "cifar")


@pytest.mark.parametrize("names", [[3], [[b"airplane"]]])
def test_names_are_strings(tmp_path, rng, names, write_cifar10):
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}))
    with pytest.raises(ValueError, match="holds no list of label_names"):
        load_cifar(tmp_path / "cifar")


def test_cifar_that_is_not_there(tmp_path, rng, write_cifar10):
    with pytest.raises(FileNotFoundError):
        load_cifar(tmp_path / "missing.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"neither batches.meta nor meta"):
        load_cifar(tmp_path)
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="lacks data_batch_4"):
        load_cifar(tmp_path / "cifar")


def test_a_damaged_archive_is_refused(tmp_path, rng, write_cifar10, packed):
    write_cifar10(tmp_path / "cifar", rng)
    archive = packed(tmp_path / "cifar")
    archive.write_bytes(archive.read_bytes()[:-20_000])
    with pytest.raises(ValueError, match="is not a tar archive that can be read"):
        load_cifar(archive)


def header(**fields):
    member = tarfile.TarInfo("batches.meta")
    for name, value in fields.items():
        setattr(member, name, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def sparse(n_bytes):
    """The header of a file of nothing but a hole."""
    content = bytearray(header(type=tarfile.GNUTYPE_SPARSE))
    content[386:410] = 2 * b"00000000000\0"
    content[483:495] = b"%011o\0" % n_bytes
    content[148:156] = b"%06o\0 " % (sum(content) - sum(content[148:156]) + 8 * ord(" "))
    return bytes(content)


@pytest.mark.parametrize("content", [header(size=2**40), 3 * sparse(2**27), header(size=-1024)])
def test_an_archive_that_speaks_of_more_than_cifar_is_refused(tmp_path, content):
    (tmp_path / "cifar.tar").write_bytes(content + bytes(1024))
    with pytest.raises(ValueError, match="can be read: it goes on beyond 268435456 bytes"):
        load_cifar(tmp_path / "cifar.tar")


def test_an_archive_of_many_small_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(skrnd.datasets._cifar, "_MOST_BYTES", 2**16)
    (tmp_path / "cifar.tar.gz").write_bytes(gzip.compress(200 * header()))
    with pytest.raises(ValueError, match="it goes on beyond 65536 bytes"):
        load_cifar(tmp_path / "cifar.tar.gz")


def test_an_archive_whose_compression_is_damaged_is_refused(tmp_path, rng):
    content = header(size=10**5) + rng.bytes(10**5)
    compressed = bytearray(lzma.compress(content + bytes(1024)))
    compressed[-2000] ^= 1
    (tmp_path / "cifar.tar.xz").write_bytes(compressed)
    with pytest.raises(ValueError, match="not a tar archive that can be read: Corrupt"):
        load_cifar(tmp_path / "cifar.tar.xz")


def test_subset_out_of_range():
    with pytest.raises(ValueError, match="'subset' parameter of load_cifar must be"):
        load_cifar("cifar.tar.gz", subset="validation")
