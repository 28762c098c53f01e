"""Fetchers, from a server on the loopback address."""

import gzip
import hashlib
import inspect
from http.server import SimpleHTTPRequestHandler

import numpy as np
import pytest

from skrnd import datasets
from skrnd.datasets import (
    _fetch,
    fetch_cifar10,
    fetch_cifar100,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_svhn,
)


@pytest.fixture
def web(tmp_path, monkeypatch, serve):
    """Publish files on the loopback address in the place of those of the web."""

    def publish(name, files):
        folder = tmp_path / "web" / name
        folder.mkdir(parents=True)
        remote = {
            part: [
                _fetch._RemoteFile(
                    f"http://127.0.0.1:{server.server_address[1]}/{name}/{file_name}",
                    hashlib.sha256(content).hexdigest(),
                )
                for file_name, content in contents.items()
            ]
            for part, contents in files.items()
        }
        for contents in files.values():
            for file_name, content in contents.items():
                (folder / file_name).write_bytes(content)
        monkeypatch.setitem(_fetch._REMOTE, name, remote)
        return folder

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "web"))

        def log_message(self, *args):
            pass

    server = serve(Handler)
    return publish


@pytest.mark.parametrize(
    ("name", "fetch"), [("cifar10", fetch_cifar10), ("cifar100", fetch_cifar100)]
)
def test_fetch_cifar(web, tmp_path, rng, request, packed, name, fetch):
    X, y = request.getfixturevalue(f"write_{name}")(tmp_path / "cifar", rng)
    archive = packed(tmp_path / "cifar")
    web(name, {"all": {archive.name: archive.read_bytes()}})
    bunch = fetch(subset="all", data_home=tmp_path / "home", progress=False)
    np.testing.assert_array_equal(bunch.data, X)
    np.testing.assert_array_equal(bunch.target, y)
    data, _ = fetch(data_home=str(tmp_path / "home"), return_X_y=True, progress=False)
    assert len(data) < len(X)


def test_fetch_svhn(web, tmp_path, rng, write_svhn):
    sets = {}
    for part, n_images in (("train", 5), ("test", 3)):
        sets[part] = write_svhn(tmp_path / f"{part}.mat", rng, n_images)
    web("svhn", {part: {f"{part}.mat": (tmp_path / f"{part}.mat").read_bytes()} for part in sets})
    X, y = fetch_svhn(data_home=tmp_path / "home", return_X_y=True, progress=False)
    np.testing.assert_array_equal(X, sets["train"][0])
    assert not (tmp_path / "home" / "skrnd" / "svhn" / "test.mat").exists()
    X, y = fetch_svhn(subset="all", data_home=tmp_path / "home", return_X_y=True, progress=False)
    np.testing.assert_array_equal(X, np.concatenate([sets["train"][0], sets["test"][0]]))
    np.testing.assert_array_equal(y, np.concatenate([sets["train"][1], sets["test"][1]]))


@pytest.mark.parametrize(
    ("name", "fetch"), [("mnist", fetch_mnist), ("fashion_mnist", fetch_fashion_mnist)]
)
def test_fetch_idx(web, tmp_path, rng, idx, name, fetch):
    X = rng.integers(0, 256, (7, 28, 28), dtype=np.uint8)
    y = rng.integers(0, 10, 7).astype(np.uint8)
    web(
        name,
        {
            part: {
                f"{part}-images.gz": gzip.compress(idx(X[rows])),
                f"{part}-labels.gz": gzip.compress(idx(y[rows])),
            }
            for part, rows in {"train": slice(None, 4), "test": slice(4, None)}.items()
        },
    )
    bunch = fetch(subset="all", data_home=tmp_path / "home", progress=False)
    np.testing.assert_array_equal(bunch.data, X[:, None])
    np.testing.assert_array_equal(bunch.target, y)
    assert len(bunch.target_names) == 10


def test_fetch_keeps_no_wrong_file_and_mends_a_damaged_one(web, tmp_path, rng, write_svhn):
    write_svhn(tmp_path / "train.mat", rng)
    content = (tmp_path / "train.mat").read_bytes()
    published = web("svhn", {"train": {"train.mat": content}})
    home, cached = tmp_path / "home", tmp_path / "home" / "skrnd" / "svhn" / "train.mat"

    (published / "train.mat").write_bytes(content[:-1])
    with pytest.raises(OSError, match="not the file it should be"):
        fetch_svhn(data_home=home, progress=False)
    assert list(cached.parent.iterdir()) == []

    (published / "train.mat").write_bytes(content)
    fetch_svhn(data_home=home, progress=False)
    cached.write_bytes(b"damaged")
    fetch_svhn(data_home=home, progress=False)
    assert cached.read_bytes() == content


def test_fetch_can_stay_off_the_web(tmp_path):
    with pytest.raises(OSError, match="download_if_missing is False"):
        fetch_mnist(data_home=tmp_path, download_if_missing=False)
    # Nor is what is damaged there fetched again.
    damaged = tmp_path / "skrnd" / "mnist" / "train-images-idx3-ubyte.gz"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"nothing of the kind")
    with pytest.raises(OSError, match="or damaged, and download_if_missing is False"):
        fetch_mnist(data_home=tmp_path, download_if_missing=False)
    assert damaged.read_bytes() == b"nothing of the kind"


def test_scikit_learns_folder_is_the_default(web, tmp_path, rng, monkeypatch, write_svhn):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    write_svhn(tmp_path / "train.mat", rng)
    web("svhn", {"train": {"train.mat": (tmp_path / "train.mat").read_bytes()}})
    fetch_svhn(progress=False)
    assert (tmp_path / "scikit_learn_data" / "skrnd" / "svhn" / "train.mat").exists()


@pytest.mark.parametrize("name", _fetch._REMOTE)
def test_fetchers_agree(name):
    """On their parameters; and every remote file has a digest."""
    fetch = getattr(datasets, f"fetch_{name}")
    assert inspect.signature(fetch) == inspect.signature(fetch_cifar10)
    for files in _fetch._REMOTE[name].values():
        for file in files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.url.startswith(("http://", "https://"))


def test_subset_out_of_range():
    with pytest.raises(ValueError, match="'subset' parameter of fetch_mnist must be"):
        fetch_mnist(subset="validation")
