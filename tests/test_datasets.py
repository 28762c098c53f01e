"""Loaders against files written here, the way their publishers write them."""

import functools
import gzip
import hashlib
import inspect
import io
import pickle
import struct
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from skrnd import datasets
from skrnd.datasets import (
    fetch_cifar10,
    fetch_cifar100,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_svhn,
    load_cifar,
    load_idx,
    load_image_folder,
    load_images,
    load_npz,
    load_svhn,
)

# -- CIFAR ----------------------------------------------------------------


def python2_pickle(batch):
    """Protocol 2, old module names and byte strings, as Python 2 wrote them."""
    content = pickle.dumps(batch, protocol=2)
    return content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def cifar_batch(rng, n_images, label_key):
    X = rng.integers(0, 256, (n_images, 3072), dtype=np.uint8)
    y = rng.integers(0, 10, n_images).tolist()
    return X, y, {b"batch_label": b"a batch", label_key: y, b"data": X, b"filenames": [b"a.png"]}


def write_cifar10(folder, rng, dumps=python2_pickle):
    """The files of CIFAR-10, and what is in them."""
    folder.mkdir()
    Xs, ys = [], []
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        X, y, batch = cifar_batch(rng, 4, b"labels")
        (folder / name).write_bytes(dumps(batch))
        Xs.append(X.reshape(-1, 3, 32, 32))
        ys += y
    (folder / "batches.meta").write_bytes(dumps({b"label_names": [b"airplane", b"automobile"]}))
    return np.concatenate(Xs), np.array(ys)


def write_cifar100(folder, rng):
    """The files of CIFAR-100, and what is in them."""
    folder.mkdir()
    (X, y, train), (X_test, y_test, test) = (cifar_batch(rng, n, b"fine_labels") for n in (6, 3))
    (folder / "train").write_bytes(python2_pickle(train))
    (folder / "test").write_bytes(python2_pickle(test))
    (folder / "meta").write_bytes(python2_pickle({b"fine_label_names": [b"apple"]}))
    return np.concatenate([X, X_test]).reshape(-1, 3, 32, 32), np.array(y + y_test)


def packed(folder):
    """The folder in a tar.gz archive beside it."""
    archive = folder.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


@pytest.mark.parametrize(
    "form", [lambda folder: folder, packed, lambda folder: str(packed(folder))]
)
@pytest.mark.parametrize(
    ("write", "n_train", "names"),
    [(write_cifar10, 20, ["airplane", "automobile"]), (write_cifar100, 6, ["apple"])],
)
def test_cifar(tmp_path, rng, form, write, n_train, names):
    X, y = write(tmp_path / "cifar", rng)
    path = form(tmp_path / "cifar")
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


def test_cifar_pickled_by_python_3(tmp_path, rng):
    X, _ = write_cifar10(tmp_path / "cifar", rng, dumps=functools.partial(pickle.dumps, protocol=2))
    np.testing.assert_array_equal(load_cifar(tmp_path / "cifar", subset="all").data, X)


class Attack:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (sys.exit, (42,))


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", ["data_batch_1", "batches.meta"])
def test_a_pickle_runs_nothing(tmp_path, rng, protocol, place):
    write_cifar10(tmp_path / "cifar", rng)
    content = pickle.dumps({b"data": Attack(), b"labels": [1]}, protocol=protocol)
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
def test_a_damaged_batch_is_refused(tmp_path, rng, batch):
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "data_batch_3").write_bytes(batch)
    with pytest.raises(ValueError, match="data_batch_3 of"):
        load_cifar(tmp_path / "cifar")


def test_cifar_that_is_not_there(tmp_path, rng):
    with pytest.raises(FileNotFoundError):
        load_cifar(tmp_path / "missing.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"neither batches.meta nor meta"):
        load_cifar(tmp_path)
    write_cifar10(tmp_path / "cifar", rng)
    (tmp_path / "cifar" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="lacks data_batch_4"):
        load_cifar(tmp_path / "cifar")


def test_a_damaged_archive_is_refused(tmp_path, rng):
    write_cifar10(tmp_path / "cifar", rng)
    archive = packed(tmp_path / "cifar")
    archive.write_bytes(archive.read_bytes()[:-20_000])
    with pytest.raises(ValueError, match="is not a tar archive that can be read"):
        load_cifar(archive)


# -- SVHN, idx, npz ---------------------------------------------------------


def write_svhn(path, rng, n_images=5):
    X = rng.integers(0, 256, (32, 32, 3, n_images), dtype=np.uint8)
    y = rng.integers(1, 11, (n_images, 1), dtype=np.uint8)
    scipy.io.savemat(path, {"X": X, "y": y})
    return np.moveaxis(X, (3, 2), (0, 1)), np.where(y == 10, 0, y).ravel()


def test_svhn(tmp_path, rng):
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
    ],
)
def test_other_mat_files_are_refused(tmp_path, content):
    scipy.io.savemat(tmp_path / "file.mat", content)
    with pytest.raises(ValueError, match="must hold X"):
        load_svhn(tmp_path / "file.mat")


def test_a_damaged_mat_file_is_refused(tmp_path, rng):
    write_svhn(tmp_path / "file.mat", rng)
    (tmp_path / "file.mat").write_bytes((tmp_path / "file.mat").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"not a .mat file that can be read"):
        load_svhn(tmp_path / "file.mat")
    with pytest.raises(FileNotFoundError):
        load_svhn(tmp_path / "missing.mat")


IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx(array):
    """The format as its publishers describe it: big-endian throughout."""
    header = struct.pack(">BBBB", 0, 0, IDX_CODES[array.dtype.str[1:]], array.ndim)
    return (
        header
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("dtype", IDX_CODES)
@pytest.mark.parametrize("shape", [(5,), (3, 4, 6), (0, 2)])
def test_idx(tmp_path, rng, compress, dtype, shape):
    array = (100 * rng.random(shape)).astype(dtype)
    (tmp_path / "file").write_bytes(compress(idx(array)))
    loaded = load_idx(tmp_path / "file")
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == dtype
    assert loaded.flags.writeable


WHOLE = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not in the idx format"),
        (b"PK\x03\x04", "not in the idx format"),
        (b"\0\0\x07\x01", "not in the idx format"),
        (WHOLE[:-1], "not what its header says"),
        (WHOLE + b"!", "not what its header says"),
        (WHOLE[:7], "not what its header says"),
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


def test_npz_that_cannot_be_used(tmp_path):
    for name, arrays, match in (
        ("none", {"Y": np.zeros(3)}, "no array named X"),
        (
            "lengths",
            {"X": np.zeros((3, 8)), "y": np.zeros(2)},
            r"\(3, 8\) and labels.*\(2,\)",
        ),
        ("scalar", {"X": np.zeros(())}, r"images of shape \(\)"),
        ("objects", {"X": np.array([Attack(), None])}, "Object arrays cannot be loaded"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(ValueError, match=match):
            load_npz(tmp_path / f"{name}.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 and nothing else")
    (tmp_path / "other.npz").write_bytes(pickle.dumps(Attack()))
    for name in ("damaged", "other"):
        with pytest.raises(ValueError, match=f"{name}.npz is not an .npz file"):
            load_npz(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "missing.npz")


# -- folders ----------------------------------------------------------------


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_folder(tmp_path, rng):
    pictures = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for name, pixels in zip(
        ["good/b.png", "good/deep/a.PNG", "bad/a.bmp", "bad/b.png"], pictures, strict=True
    ):
        save(tmp_path / name, pixels)
    (tmp_path / "good" / "notes.txt").write_text("no picture")
    save(tmp_path / ".hidden" / "a.png", pictures[0])
    bunch = load_image_folder(tmp_path, size=(8, 8))
    assert bunch.target_names == ["bad", "good"]
    np.testing.assert_array_equal(bunch.target, [0, 0, 1, 1])
    np.testing.assert_array_equal(bunch.data, pictures[[2, 3, 0, 1]].transpose(0, 3, 1, 2))
    assert [name.rsplit("/", 1)[1] for name in bunch.filenames] == [
        "a.bmp",
        "b.png",
        "b.png",
        "a.PNG",
    ]


def test_pictures_directly_in_the_folder(tmp_path, rng):
    save(tmp_path / "photos" / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    X, y = load_image_folder(tmp_path / "photos", size=(4, 6), color="grey", return_X_y=True)
    assert X.shape == (1, 1, 4, 6)
    np.testing.assert_array_equal(y, [0])


def test_other_files_are_passed_over(tmp_path, rng):
    save(tmp_path / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    for name in ("notes.pdf", "film.mpg", "table.h5", "list.txt"):
        (tmp_path / name).write_bytes(b"no picture")
    assert len(load_image_folder(tmp_path, size=(8, 8)).data) == 1


def test_one_label_for_two_folders_is_refused(tmp_path, rng):
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    save(tmp_path / "photos" / "a.png", pixels)
    save(tmp_path / "photos" / "photos" / "b.png", pixels)
    with pytest.raises(ValueError, match="sub-folder 'photos', which would have the same label"):
        load_image_folder(tmp_path / "photos", size=(8, 8))


def test_resizing_averages_unless_told_not_to(tmp_path):
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    save(tmp_path / "stripes.png", stripes)
    smooth, _ = load_image_folder(tmp_path, size=(16, 16), color="grey", return_X_y=True)
    nearest, _ = load_image_folder(
        tmp_path, size=(16, 16), color="grey", antialias=False, return_X_y=True
    )
    assert np.abs(smooth[..., 2:-2].astype(float) - 127.5).max() < 5
    assert set(np.unique(nearest)) <= {0, 255}


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    X, _ = load_image_folder(tmp_path, size=(8, 8), color="grey", return_X_y=True)
    np.testing.assert_array_equal(X[0, 0], pixels[::-1])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode, tmp_path, rng):
    """Whatever colours it has, which nobody sees."""
    seen = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    seen[4:] = 255
    hidden = seen.copy()
    hidden[4:] = rng.integers(0, 256, (4, 8, 3))
    if mode == "P":
        # One of its colours stands for nothing.
        picture = Image.fromarray(np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8), "P")
        picture.putpalette([*range(21), 9, 9, 9])
        picture.info["transparency"] = 7
        expected = np.arange(24, dtype=np.uint8).reshape(8, 1, 3).repeat(8, 1)
        expected[7] = 255
    else:
        picture = Image.fromarray(hidden).convert(mode)
        alpha = np.full((8, 8), 255, dtype=np.uint8)
        alpha[4:] = 0
        picture.putalpha(Image.fromarray(alpha))
        grey = mode == "LA"
        expected = np.asarray(Image.fromarray(seen).convert("L" if grey else "RGB").convert("RGB"))
    picture.save(tmp_path / "picture.png")
    X = load_images([tmp_path / "picture.png"], size=(8, 8))
    np.testing.assert_array_equal(X[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pictures_of_any_kind(tmp_path, rng, mode):
    picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    picture.save(tmp_path / "a.tiff")
    X, _ = load_image_folder(tmp_path, size=(8, 8), return_X_y=True)
    np.testing.assert_array_equal(X[0].transpose(1, 2, 0), np.asarray(picture.convert("RGB")))


def test_folders_that_cannot_be_used(tmp_path, rng):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_image_folder(tmp_path / "missing", size=(8, 8))
    with pytest.raises(FileNotFoundError, match="no picture"):
        load_image_folder(tmp_path, size=(8, 8))
    save(tmp_path / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    for size in [(8,), (8, 0), (8.0, 8)]:
        with pytest.raises(ValueError, match="size must be"):
            load_image_folder(tmp_path, size=size)
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"2 of 3 pictures .*b\.png \(cannot.*; .*c\.png \("):
        load_image_folder(tmp_path, size=(8, 8))


def test_files_come_in_the_order_asked_for(tmp_path, rng):
    pictures = rng.integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    paths = [tmp_path / "b.png", str(tmp_path / "a.png")]
    for path, pixels in zip(paths, pictures, strict=True):
        save(Path(path), pixels)
    X = load_images(paths, size=(6, 8))
    np.testing.assert_array_equal(X, pictures.transpose(0, 3, 1, 2))
    assert load_images([], size=(6, 8), color="grey").shape == (0, 1, 6, 8)


def test_pictures_come_from_anywhere(tmp_path, rng):
    """By their path, from a request, or as Pillow has them; only what is bad is not read."""
    picture = Image.fromarray(rng.integers(0, 256, (12, 16, 4), dtype=np.uint8), "RGBA")
    picture.getexif()[0x0112] = 6  # lies on its side
    before = picture.tobytes()
    picture.save(tmp_path / "a.png", exif=picture.getexif())
    content = (tmp_path / "a.png").read_bytes()
    X = load_images([tmp_path / "a.png", io.BytesIO(content), picture], size=(8, 6))
    assert X.shape == (3, 3, 8, 6)
    np.testing.assert_array_equal(X, X[[0, 0, 0]])
    assert picture.tobytes() == before
    assert picture.size == (16, 12)
    deep = Image.fromarray(np.zeros((8, 8), np.uint16))
    (tmp_path / "bad.ppm").write_bytes(b"P6\nab 4\n255\n" + bytes(48))
    bad = [picture, io.BytesIO(content[:40]), deep, tmp_path / "bad.ppm"]
    with pytest.raises(ValueError, match=r"3 of 4 .*number 1 \(.*number 2 \(values.*bad.ppm \("):
        load_images(bad, size=(8, 6))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_are_refused(tmp_path, dtype):
    save(tmp_path / "a.tiff", np.full((8, 8), 1000, dtype=dtype))
    with pytest.raises(ValueError, match=r"a.tiff \(values of more than 8 bits"):
        load_image_folder(tmp_path, size=(8, 8))


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "skrnd\[images\]"'):
        load_image_folder(tmp_path, size=(8, 8))
    with pytest.raises(ImportError, match=r'load_images .*pip install "skrnd\[images\]"'):
        load_images([], size=(8, 8))


# -- the web ----------------------------------------------------------------


@pytest.fixture
def web(tmp_path, monkeypatch):
    """Publish files on the loopback address in the place of those of the web."""

    def publish(name, files):
        folder = tmp_path / "web" / name
        folder.mkdir(parents=True)
        remote = {
            part: [
                datasets._RemoteFile(
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
        monkeypatch.setitem(datasets._REMOTE, name, remote)
        return folder

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "web"))

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield publish
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "fetch", "write"),
    [("cifar10", fetch_cifar10, write_cifar10), ("cifar100", fetch_cifar100, write_cifar100)],
)
def test_fetch_cifar(web, tmp_path, rng, name, fetch, write):
    X, y = write(tmp_path / "cifar", rng)
    archive = packed(tmp_path / "cifar")
    web(name, {"all": {archive.name: archive.read_bytes()}})
    bunch = fetch(subset="all", data_home=tmp_path / "home", progress=False)
    np.testing.assert_array_equal(bunch.data, X)
    np.testing.assert_array_equal(bunch.target, y)
    data, _ = fetch(data_home=str(tmp_path / "home"), return_X_y=True, progress=False)
    assert len(data) < len(X)


def test_fetch_svhn(web, tmp_path, rng):
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
def test_fetch_idx(web, tmp_path, rng, name, fetch):
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


def test_fetch_keeps_no_wrong_file_and_mends_a_damaged_one(web, tmp_path, rng):
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


def test_scikit_learns_folder_is_the_default(web, tmp_path, rng, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "scikit_learn_data"))
    write_svhn(tmp_path / "train.mat", rng)
    web("svhn", {"train": {"train.mat": (tmp_path / "train.mat").read_bytes()}})
    fetch_svhn(progress=False)
    assert (tmp_path / "scikit_learn_data" / "skrnd" / "svhn" / "train.mat").exists()


@pytest.mark.parametrize("name", datasets._REMOTE)
def test_fetchers_agree(name):
    """On their parameters; and every remote file has a digest."""
    fetch = getattr(datasets, f"fetch_{name}")
    assert inspect.signature(fetch) == inspect.signature(fetch_cifar10)
    for files in datasets._REMOTE[name].values():
        for file in files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.url.startswith(("http://", "https://"))


def test_parameters_out_of_range():
    with pytest.raises(ValueError, match="'subset' parameter of fetch_mnist must be"):
        fetch_mnist(subset="validation")
    with pytest.raises(ValueError, match="'subset' parameter of load_cifar must be"):
        load_cifar("cifar.tar.gz", subset="validation")
