"""CIFAR's files, written here the way their publishers write them."""

import functools
import pickle

import numpy as np
import pytest

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
    ],
)
def test_a_damaged_batch_is_refused(tmp_path, rng, batch, write_cifar10):
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "data_batch_3").write_bytes(batch)
    with pytest.raises(ValueError, match="data_batch_3 of"):
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


def test_subset_out_of_range():
    with pytest.raises(ValueError, match="'subset' parameter of load_cifar must be"):
        load_cifar("cifar.tar.gz", subset="validation")
