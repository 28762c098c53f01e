"""Files as the publishers of image sets write them, and a server to fetch them from."""

import pickle
import struct
import tarfile
import threading
from contextlib import ExitStack
from http.server import ThreadingHTTPServer

import numpy as np
import pytest
import scipy.io

IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def python2_pickle(batch):
    """Protocol 2, old module names and byte strings, as Python 2 wrote them."""
    content = pickle.dumps(batch, protocol=2)
    return content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_batch(rng, n_images, label_key):
    X = rng.integers(0, 256, (n_images, 3072), dtype=np.uint8)
    y = rng.integers(0, 10, n_images).tolist()
    return X, y, {b"batch_label": b"a batch", label_key: y, b"data": X, b"filenames": [b"a.png"]}


@pytest.fixture
def write_cifar10():
    """Write the files of CIFAR-10, and say what is in them."""

    def write(folder, rng, dumps=python2_pickle):
        folder.mkdir()
        Xs, ys = [], []
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            X, y, batch = cifar_batch(rng, 4, b"labels")
            (folder / name).write_bytes(dumps(batch))
            Xs.append(X.reshape(-1, 3, 32, 32))
            ys += y
        (folder / "batches.meta").write_bytes(dumps({b"label_names": [b"airplane", b"automobile"]}))
        return np.concatenate(Xs), np.array(ys)

    return write


@pytest.fixture
def write_cifar100():
    """Write the files of CIFAR-100, and say what is in them."""

    def write(folder, rng):
        folder.mkdir()
        (X, y, train), (X_test, y_test, test) = (
            cifar_batch(rng, n, b"fine_labels") for n in (6, 3)
        )
        (folder / "train").write_bytes(python2_pickle(train))
        (folder / "test").write_bytes(python2_pickle(test))
        (folder / "meta").write_bytes(python2_pickle({b"fine_label_names": [b"apple"]}))
        return np.concatenate([X, X_test]).reshape(-1, 3, 32, 32), np.array(y + y_test)

    return write


@pytest.fixture
def packed():
    """Pack a folder in a tar.gz archive beside it."""

    def pack(folder):
        archive = folder.with_suffix(".tar.gz")
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)
        return archive

    return pack


@pytest.fixture
def write_svhn():
    """Write a file of SVHN, and say what is in it."""

    def write(path, rng, n_images=5):
        X = rng.integers(0, 256, (32, 32, 3, n_images), dtype=np.uint8)
        y = rng.integers(1, 11, (n_images, 1), dtype=np.uint8)
        scipy.io.savemat(path, {"X": X, "y": y})
        return np.moveaxis(X, (3, 2), (0, 1)), np.where(y == 10, 0, y).ravel()

    return write


@pytest.fixture
def idx():
    """The content of an idx file, big-endian throughout."""

    def content(array):
        header = struct.pack(">BBBB", 0, 0, IDX_CODES[array.dtype.str[1:]], array.ndim)
        return (
            header
            + struct.pack(f">{array.ndim}I", *array.shape)
            + array.astype(array.dtype.newbyteorder(">")).tobytes()
        )

    return content


@pytest.fixture
def serve():
    """Start a server on the loopback address that ends with the test."""

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        at_last.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        at_last.callback(thread.join)
        at_last.callback(server.shutdown)
        return server

    with ExitStack() as at_last:
        yield start
