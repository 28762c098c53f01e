"""Image sets from the files that people have, and from the web.

What loads or fetches a set returns a :class:`~sklearn.utils.Bunch` with images `data` of
shape (n, C, H, W), labels `target` and their names `target_names`, or the pair
(data, target) with ``return_X_y=True``; `load_idx` and `load_images` return an array.
Files are read as data: nothing that one holds is ever executed.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import pickle
import struct
import tarfile
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ._download import download, is_whole

__all__ = [
    "fetch_cifar10",
    "fetch_cifar100",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "fetch_svhn",
    "load_cifar",
    "load_idx",
    "load_image_folder",
    "load_images",
    "load_npz",
    "load_svhn",
]

_PATH = [str, os.PathLike]
_SUBSETS = ("train", "test", "all")
_DIGITS = [str(digit) for digit in range(10)]


# -- CIFAR ----------------------------------------------------------------


@validate_params(
    {"path": _PATH, "subset": [StrOptions(set(_SUBSETS))], "return_X_y": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def load_cifar(path: Any, *, subset: str = "train", return_X_y: bool = False) -> Any:
    """Load CIFAR-10 or CIFAR-100 from its python archive.

    The archive holds pickles. They are read by an unpickler that knows no
    function and no class: a pickle that names anything but an array of bytes is
    refused.

    Parameters
    ----------
    path : str or path-like
        The archive, cifar-10-python.tar.gz or cifar-100-python.tar.gz, or the
        folder that it was unpacked to.
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000 images, or the one after the other.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 3, 32, 32), uint8; `target`, ndarray of
        shape (n,), int64, the fine labels for CIFAR-100; `target_names`, list of
        str.

    Raises
    ------
    FileNotFoundError
        If `path` or a batch in it is missing.
    ValueError
        If a batch is damaged or holds anything but images and labels.

    References
    ----------
    .. [1] Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
       technical report, University of Toronto, 2009.

    Examples
    --------
    >>> from skrnd.datasets import load_cifar
    >>> X, y = load_cifar("cifar-10-python.tar.gz", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (50000, 3, 32, 32)
    """
    wanted = {
        kind: [name for part in _parts(subset) for name in kind.batches[part]] for kind in _CIFARS
    }
    files = _read_files(Path(path), {kind.meta for kind in _CIFARS}.union(*wanted.values()))
    kind = next((kind for kind in _CIFARS if kind.meta in files), None)
    if kind is None:
        raise FileNotFoundError(f"{path} holds neither batches.meta nor meta of CIFAR.")
    missing = [name for name in wanted[kind] if name not in files]
    if missing:
        raise FileNotFoundError(f"{path} lacks {', '.join(missing)}.")
    parts = [_cifar_batch(files[name], kind.labels, f"{name} of {path}") for name in wanted[kind]]
    target_names = _unpickle_data(files[kind.meta], f"{kind.meta} of {path}").get(kind.names, [])
    if not isinstance(target_names, list):
        raise ValueError(f"{kind.meta} of {path} holds no list of {_text(kind.names)}.")
    return _bunch(
        np.concatenate([images for images, _ in parts]),
        np.concatenate([targets for _, targets in parts]),
        [_text(name) for name in target_names],
        return_X_y,
    )


@dataclass(frozen=True, eq=False)
class _Cifar:
    """What the files and their entries are called."""

    meta: str
    batches: dict[str, list[str]]
    labels: bytes
    names: bytes


_CIFARS = (
    _Cifar(
        "batches.meta",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        b"labels",
        b"label_names",
    ),
    _Cifar("meta", {"train": ["train"], "test": ["test"]}, b"fine_labels", b"fine_label_names"),
)


def _read_files(path: Path, names: set[str]) -> dict[str, bytes]:
    """Contents of the files called so, in a folder or a tar archive."""
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if file.name in names and file.is_file()]
        return {file.name: file.read_bytes() for file in found}
    try:
        # Nothing is extracted to disk, so a name cannot lead out of a folder.
        with tarfile.open(path) as archive:
            return {
                Path(member.name).name: archive.extractfile(member).read()  # type: ignore[union-attr]
                for member in archive
                if member.isfile() and Path(member.name).name in names
            }
    except FileNotFoundError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is not a tar archive that can be read: {error}") from error


def _cifar_batch(content: bytes, labels: bytes, what: str) -> tuple[np.ndarray, np.ndarray]:
    batch = _unpickle_data(content, what)
    rows, targets = batch.get(b"data"), batch.get(labels)
    if (
        not isinstance(rows, _ByteArray)
        or not isinstance(targets, list)
        or not all(type(label) is int for label in targets)
    ):
        raise ValueError(f"{what} lacks data or {_text(labels)}.")
    images = rows.to_numpy(what)
    if images.ndim != 2 or images.shape[1] != 3 * 32 * 32 or len(images) != len(targets):
        raise ValueError(
            f"{what} holds {images.shape} values and {len(targets)} labels; "
            "one row of 3072 values for each label is needed."
        )
    return images.reshape(-1, 3, 32, 32), np.array(targets, dtype=np.int64)


class _ByteArray:
    """What a pickled array of bytes turns into: its parts, still to be checked."""

    def __init__(self, *args: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_numpy(self, what: str) -> np.ndarray:
        try:
            _, shape, dtype, is_fortran, values = self.state
            is_bytes = isinstance(dtype, _ByteDtype) and not is_fortran
            fits = is_bytes and math.prod(shape) == len(values)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(f"{what} holds an array that is not one of bytes.")
        return np.frombuffer(values, dtype=np.uint8).reshape(shape).copy()


class _ByteDtype:
    """The pickled dtype uint8, the only one accepted."""

    def __init__(self, kind: Any, *args: Any) -> None:
        if kind not in ("u1", b"u1"):
            raise ValueError(f"an array of dtype {kind!r}")

    def __setstate__(self, state: Any) -> None:
        pass


class _NdarrayName:
    """Stands where numpy's own pickles name the class of the array."""


def _reconstruct(*args: Any) -> _ByteArray:
    return _ByteArray()


def _latin1(text: str, encoding: str) -> bytes:
    return text.encode("latin1")


# What pickles of arrays refer to, by Python 2 and 3, old numpy and new, and the
# inert things that stand in.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _ByteDtype,
    ("_codecs", "encode"): _latin1,
}


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise ValueError(f"it refers to {module}.{name}") from None


def _unpickle_data(content: bytes, what: str) -> dict[bytes, Any]:
    """Read a pickled dict of lists, strings and arrays of bytes; run nothing."""
    try:
        loaded = _DataUnpickler(io.BytesIO(content), encoding="bytes").load()
    # A damaged pickle can raise nearly anything.
    except Exception as error:
        raise ValueError(f"{what} is damaged or not plain data: {error}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{what} holds no dictionary.")
    return {key if isinstance(key, bytes) else str(key).encode(): v for key, v in loaded.items()}


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


# -- SVHN, idx, npz ---------------------------------------------------------


@validate_params({"path": _PATH, "return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_svhn(path: Any, *, return_X_y: bool = False) -> Any:
    """Load the cropped digits of Street View House Numbers from a .mat file.

    Parameters
    ----------
    path : str or path-like
        train_32x32.mat, test_32x32.mat or extra_32x32.mat.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 3, 32, 32), uint8; `target`, ndarray of
        shape (n,), int64, the digits, 0 being 0 (the file says 10);
        `target_names`, list of str.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or does not hold X and y in the shapes of SVHN.

    References
    ----------
    .. [1] Netzer et al., "Reading Digits in Natural Images with Unsupervised
       Feature Learning", NIPS workshop, 2011.

    Examples
    --------
    >>> from skrnd.datasets import load_svhn
    >>> X, y = load_svhn("test_32x32.mat", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (26032, 3, 32, 32)
    """
    with open(path, "rb") as file:
        try:
            content = scipy.io.loadmat(file, variable_names=["X", "y"])
        # A damaged file can raise nearly anything.
        except Exception as error:
            raise ValueError(f"{path} is not a .mat file that can be read: {error}") from error
    X, y = content.get("X"), content.get("y")
    is_there = X is not None and y is not None and X.ndim == 4
    if not is_there or X.dtype != np.uint8 or X.shape[2:] != (3, y.size):
        raise ValueError(
            f"{path} must hold X of shape (height, width, 3, n), uint8, and n labels y."
        )
    target = y.ravel().astype(np.int64) % 10
    images = np.ascontiguousarray(X.transpose(3, 2, 0, 1))
    return _bunch(images, target, _DIGITS, return_X_y)


_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@validate_params({"path": _PATH}, prefer_skip_nested_validation=True)
def load_idx(path: Any) -> np.ndarray:
    """Load one array from a file in the idx format of MNIST, gzipped or not.

    Parameters
    ----------
    path : str or path-like
        train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz or the like.

    Returns
    -------
    array : ndarray
        Of the shape and dtype in the file, (n, 28, 28) and uint8 for the images
        of MNIST, in the byte order of this machine.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or longer or shorter than its header says.

    Examples
    --------
    >>> import tempfile
    >>> from skrnd.datasets import load_idx
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    ...     file.flush()
    ...     load_idx(file.name)
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """
    content = Path(path).read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    n_dims = content[3] if len(content) > 3 else 0
    start = 4 + 4 * n_dims
    if content[:2] != b"\0\0" or content[2:3] == b"" or content[2] not in _IDX_DTYPES:
        raise ValueError(f"{path} is not in the idx format.")
    dtype = np.dtype(_IDX_DTYPES[content[2]])
    shape = struct.unpack(f">{n_dims}I", content[4:start]) if len(content) >= start else ()
    if len(shape) != n_dims or len(content) != start + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} has {len(content)} bytes, which is not what its header says.")
    return (
        np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
    )


@validate_params({"path": _PATH, "return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_npz(path: Any, *, return_X_y: bool = False) -> Any:
    """Load images from an .npz file of numpy.

    Parameters
    ----------
    path : str or path-like
        Written by :func:`numpy.savez` with an array `X` and, where there are
        labels, an array `y`.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple
        With `data`, `X` as it was saved; `target`, `y` or None; `target_names`,
        an empty list.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not an .npz file, has no X, holds pickled objects, which are not
        loaded, or if X and y differ in length.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skrnd.datasets import load_npz
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     np.savez(file, X=np.zeros((5, 3, 32, 32), dtype=np.uint8))
    ...     file.flush()
    ...     load_npz(file.name).data.shape
    (5, 3, 32, 32)
    """
    try:
        # Opened here, since numpy leaves a file open whose end is missing.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("X", "y") if name in file}
    except FileNotFoundError:
        raise
    # zipfile, numpy and their codecs raise errors of their own.
    except Exception as error:
        raise ValueError(f"{path} is not an .npz file that can be read: {error}") from error
    if "X" not in arrays:
        raise ValueError(f"{path} has no array named X.")
    X, y = arrays["X"], arrays.get("y")
    if X.ndim == 0 or (y is not None and y.shape[:1] != X.shape[:1]):
        labels = "" if y is None else f" and labels of shape {y.shape}"
        raise ValueError(f"{path} has images of shape {X.shape}{labels}.")
    return _bunch(X, y, [], return_X_y)


# -- folders ----------------------------------------------------------------

# Formats of which Pillow knows the endings, and reads no picture.
_NOT_READ = {"BUFR", "GRIB", "HDF5", "MPEG"}


@validate_params(
    {
        "path": _PATH,
        "size": ["array-like"],
        "color": [StrOptions({"rgb", "grey"})],
        "antialias": ["boolean"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_image_folder(
    path: Any,
    *,
    size: tuple[int, int],
    color: str = "rgb",
    antialias: bool = True,
    return_X_y: bool = False,
) -> Any:
    """Load the pictures in a folder, its sub-folders being the labels.

    Each picture is read as by :func:`load_images`. It needs Pillow, ``pip install
    "skrnd[images]"``.

    Parameters
    ----------
    path : str or path-like
        A picture belongs to the sub-folder, directly below `path`, that it is
        in, however deep. Pictures directly in `path` belong to `path` itself.
        Files that do not end like a picture that Pillow reads (.png, .jpg, ...) and
        hidden ones are passed over.
    size : tuple of int
        (height, width) of the result, which had better be no larger than the smallest
        picture, see :func:`load_images`.
    color : {"rgb", "grey"}, default="rgb"
        Three channels or one.
    antialias : bool, default=True
        Whether to average over the pixels that fall together, or take the nearest.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, C, height, width), uint8; `target`,
        ndarray of shape (n,), int64, indices into `target_names`;
        `target_names`, list of str, sorted; and `filenames`, list of str, the
        paths, sorted within each label.

    Raises
    ------
    ImportError
        Without Pillow.
    FileNotFoundError
        If `path` is no folder or has no picture in it.
    ValueError
        If pictures cannot be read, or are grey and of more than 8 bits, all of which are
        named; if `size` is not two positive integers; or if pictures lie directly in
        `path` and in a sub-folder of the same name.

    Examples
    --------
    Pictures in the folders "photos/good" and "photos/scratched", with the labels that a
    detector knows, 1 for normal and -1 for novel:

    >>> import numpy as np
    >>> from skrnd.datasets import load_image_folder
    >>> photos = load_image_folder("photos", size=(64, 64))  # doctest: +SKIP
    >>> good = photos.target_names.index("good")  # doctest: +SKIP
    >>> X, y = photos.data, np.where(photos.target == good, 1, -1)  # doctest: +SKIP
    """
    Image = _pillow("load_image_folder").Image
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"{path} is no folder.")
    endings = {
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _NOT_READ
    }
    files: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*")):
        inside = file.relative_to(root).parts
        if any(part.startswith(".") for part in inside) or file.suffix.lower() not in endings:
            continue
        if file.is_file():
            files.setdefault(inside[0] if len(inside) > 1 else "", []).append(file)
    if "" in files:
        name = root.resolve().name
        if name in files:
            raise ValueError(
                f"There are pictures in {path} and in its sub-folder {name!r}, which would have "
                "the same label; rename one of the two."
            )
        files[name] = files.pop("")
    if not files:
        raise FileNotFoundError(f"There is no picture in {path}.")
    target_names = sorted(files)
    filenames = [str(file) for name in target_names for file in files[name]]
    X = load_images(filenames, size=size, color=color, antialias=antialias)
    y = np.repeat(np.arange(len(target_names)), [len(files[name]) for name in target_names])
    return _bunch(X, y, target_names, return_X_y, filenames=filenames)


@validate_params(
    {
        "pictures": ["array-like"],
        "size": ["array-like"],
        "color": [StrOptions({"rgb", "grey"})],
        "antialias": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_images(
    pictures: Any, *, size: tuple[int, int], color: str = "rgb", antialias: bool = True
) -> np.ndarray:
    """Load pictures, resized to one size.

    They are turned upright as their camera says, laid on white where they are
    transparent, and resized without regard to their proportions. It needs Pillow,
    ``pip install "skrnd[images]"``.

    Parameters
    ----------
    pictures : list
        Of files, each by its path (str or path-like) or opened in binary mode, as
        ``io.BytesIO(content)`` is, in any format that Pillow reads; or of images of Pillow's,
        which are not changed.
    size : tuple of int
        (height, width) of the result. A picture that is smaller is enlarged, and so
        smoother than others, which a detector rightly finds novel.
    color : {"rgb", "grey"}, default="rgb"
        Three channels or one.
    antialias : bool, default=True
        Whether to average over the pixels that fall together. Without it, the
        nearest pixel is taken, and the artefacts that leaves are a novelty to a
        detector that was trained without them.

    Returns
    -------
    X : ndarray of shape (n, C, height, width), uint8
        The pictures, in their order.

    Raises
    ------
    ImportError
        Without Pillow.
    ValueError
        If pictures cannot be read, or are grey and of more than 8 bits, whose range is
        not known; all of them are named. Or if `size` is not two positive integers.

    Examples
    --------
    >>> import io
    >>> from skrnd.datasets import load_images
    >>> X = load_images(["photos/new.jpg"], size=(64, 64))  # doctest: +SKIP
    >>> X = load_images([io.BytesIO(request.body)], size=(64, 64))  # doctest: +SKIP
    """
    pillow = _pillow("load_images")
    if len(size) != 2 or not all(isinstance(n, Integral) and n > 0 for n in size):
        raise ValueError(f"size must be (height, width), two positive integers; got {size!r}.")
    height, width = size
    mode, n_channels = ("RGB", 3) if color == "rgb" else ("L", 1)
    resampling = pillow.Image.Resampling
    resample = resampling.LANCZOS if antialias else resampling.NEAREST
    X = np.empty((len(pictures), n_channels, height, width), dtype=np.uint8)
    unreadable: list[str] = []
    for number, (picture, pixels) in enumerate(zip(pictures, X, strict=True)):
        try:
            upright = _upright(pillow, picture).convert(mode)
        # What decodes a damaged file raises errors of several kinds.
        except (OSError, SyntaxError, ValueError, pillow.Image.DecompressionBombError) as error:
            is_path = isinstance(picture, str | os.PathLike)
            unreadable.append(f"{picture if is_path else f'number {number}'} ({error})")
            continue
        resized = np.asarray(upright.resize((width, height), resample))
        pixels[:] = resized.reshape(height, width, n_channels).transpose(2, 0, 1)
    if unreadable:
        raise ValueError(
            f"{len(unreadable)} of {len(pictures)} pictures cannot be read: {'; '.join(unreadable)}"
        )
    return X


def _upright(pillow: Any, picture: Any) -> Any:
    """A picture, or the one in a file, as it is seen: turned upright, on a white page."""
    is_open = isinstance(picture, pillow.Image.Image)
    with nullcontext(picture) if is_open else pillow.Image.open(picture) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(
                f"values of more than 8 bits, Pillow's mode {image.mode}, of a range that is not "
                "known; a detector takes them as an array"
            )
        return _on_white(pillow, pillow.ImageOps.exif_transpose(image))


def _on_white(pillow: Any, picture: Any) -> Any:
    """A picture as it is seen on a white page: nobody sees the colours of what is transparent."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    opaque = picture.convert("RGBA")
    page = pillow.Image.new("RGBA", opaque.size, "white")
    page.alpha_composite(opaque)
    return page


def _pillow(asked_by: str) -> Any:
    """Pillow's package with the modules that are used."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(f'{asked_by} needs Pillow: pip install "skrnd[images]"') from error
    return PIL


# -- the web ----------------------------------------------------------------


@dataclass(frozen=True)
class _RemoteFile:
    url: str
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
_SVHN_URL = "http://ufldl.stanford.edu/housenumbers/"
_MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

# The files of each set by subset. The digests are those that the checksum lists
# of TensorFlow Datasets and the loaders of Keras hold for the same files.
_REMOTE: dict[str, dict[str, list[_RemoteFile]]] = {
    "cifar10": {
        "all": [
            _RemoteFile(
                _CIFAR_URL + "cifar-10-python.tar.gz",
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            )
        ]
    },
    "cifar100": {
        "all": [
            _RemoteFile(
                _CIFAR_URL + "cifar-100-python.tar.gz",
                "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            )
        ]
    },
    "svhn": {
        "train": [
            _RemoteFile(
                _SVHN_URL + "train_32x32.mat",
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            )
        ],
        "test": [
            _RemoteFile(
                _SVHN_URL + "test_32x32.mat",
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            )
        ],
    },
    "mnist": {
        "train": [
            _RemoteFile(
                _MNIST_URL + "train-images-idx3-ubyte.gz",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            _RemoteFile(
                _MNIST_URL + "train-labels-idx1-ubyte.gz",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
        ],
        "test": [
            _RemoteFile(
                _MNIST_URL + "t10k-images-idx3-ubyte.gz",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            _RemoteFile(
                _MNIST_URL + "t10k-labels-idx1-ubyte.gz",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ],
    },
    "fashion_mnist": {
        "train": [
            _RemoteFile(
                _FASHION_URL + "train-images-idx3-ubyte.gz",
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            _RemoteFile(
                _FASHION_URL + "train-labels-idx1-ubyte.gz",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
        ],
        "test": [
            _RemoteFile(
                _FASHION_URL + "t10k-images-idx3-ubyte.gz",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            _RemoteFile(
                _FASHION_URL + "t10k-labels-idx1-ubyte.gz",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ],
    },
}
_FASHION_NAMES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]

_FETCH_CONSTRAINTS = {
    "subset": [StrOptions(set(_SUBSETS))],
    "data_home": [*_PATH, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="left")],
    "progress": ["boolean"],
}


@dataclass(frozen=True)
class _Cache:
    """Where fetched files lie, and how they get there."""

    data_home: Any
    download_if_missing: bool
    n_retries: int
    delay: float
    progress: bool

    def fetch(self, name: str, part: str) -> list[Path]:
        """Paths of the files of one part of a set, all of them whole and right."""
        folder = Path(get_data_home(self.data_home)) / "skrnd" / name
        paths = []
        for file in _REMOTE[name][part]:
            path = folder / file.name
            if self.download_if_missing:
                download(
                    file.url,
                    path,
                    sha256=file.sha256,
                    n_retries=self.n_retries,
                    delay=self.delay,
                    progress=self.progress,
                )
            elif not is_whole(path, file.sha256):
                raise OSError(f"{path} is not there, or damaged, and download_if_missing is False.")
            paths.append(path)
        return paths


@validate_params(_FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_cifar10(
    *,
    subset: str = "train",
    data_home: Any = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
) -> Any:
    """Fetch CIFAR-10, pictures of ten kinds of animals and vehicles.

    60,000 colour photographs of 32 x 32 pixels.
    Downloaded at the first call, 170 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000 images, or the one after the other.
    data_home : str or path-like, default=None
        Folder of the cache; None is scikit-learn's, ~/scikit_learn_data.
    download_if_missing : bool, default=True
        Whether to download what is not there, or to raise an OSError.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again when the connection fails. What has come is kept.
    delay : float, default=1.0
        Seconds between tries.
    progress : bool, default=True
        Whether to show a bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 3, 32, 32), uint8; `target`, ndarray of
        shape (n,), int64; `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be had, or is not the one it should be.

    References
    ----------
    .. [1] Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
       technical report, University of Toronto, 2009.

    Examples
    --------
    >>> from skrnd.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10(return_X_y=True)  # doctest: +SKIP
    """
    cache = _Cache(data_home, download_if_missing, n_retries, delay, progress)
    (path,) = cache.fetch("cifar10", "all")
    return load_cifar(path, subset=subset, return_X_y=return_X_y)


@validate_params(_FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_cifar100(
    *,
    subset: str = "train",
    data_home: Any = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
) -> Any:
    """Fetch CIFAR-100, pictures of a hundred kinds of things.

    60,000 colour photographs of 32 x 32 pixels.
    Downloaded at the first call, 169 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000 images, or the one after the other.
    data_home : str or path-like, default=None
        Folder of the cache; None is scikit-learn's, ~/scikit_learn_data.
    download_if_missing : bool, default=True
        Whether to download what is not there, or to raise an OSError.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again when the connection fails. What has come is kept.
    delay : float, default=1.0
        Seconds between tries.
    progress : bool, default=True
        Whether to show a bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 3, 32, 32), uint8; `target`, ndarray of
        shape (n,), int64; `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be had, or is not the one it should be.

    References
    ----------
    .. [1] Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
       technical report, University of Toronto, 2009.

    Examples
    --------
    >>> from skrnd.datasets import fetch_cifar100
    >>> X, y = fetch_cifar100(return_X_y=True)  # doctest: +SKIP
    """
    cache = _Cache(data_home, download_if_missing, n_retries, delay, progress)
    (path,) = cache.fetch("cifar100", "all")
    return load_cifar(path, subset=subset, return_X_y=return_X_y)


@validate_params(_FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_svhn(
    *,
    subset: str = "train",
    data_home: Any = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
) -> Any:
    """Fetch the cropped digits of Street View House Numbers.

    99,289 colour photographs of 32 x 32 pixels, for non-commercial use.
    Downloaded at the first call, 182 MB and 64 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        73,257 images, 26,032 images, or the one after the other.
    data_home : str or path-like, default=None
        Folder of the cache; None is scikit-learn's, ~/scikit_learn_data.
    download_if_missing : bool, default=True
        Whether to download what is not there, or to raise an OSError.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again when the connection fails. What has come is kept.
    delay : float, default=1.0
        Seconds between tries.
    progress : bool, default=True
        Whether to show a bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 3, 32, 32), uint8; `target`, ndarray of
        shape (n,), int64; `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be had, or is not the one it should be.

    References
    ----------
    .. [1] Netzer et al., "Reading Digits in Natural Images with Unsupervised
       Feature Learning", NIPS workshop, 2011.

    Examples
    --------
    >>> from skrnd.datasets import fetch_svhn
    >>> X, y = fetch_svhn(return_X_y=True)  # doctest: +SKIP
    """
    cache = _Cache(data_home, download_if_missing, n_retries, delay, progress)
    loaded = [load_svhn(*cache.fetch("svhn", part)) for part in _parts(subset)]
    return _bunch(
        np.concatenate([one.data for one in loaded]),
        np.concatenate([one.target for one in loaded]),
        _DIGITS,
        return_X_y,
    )


@validate_params(_FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_mnist(
    *,
    subset: str = "train",
    data_home: Any = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
) -> Any:
    """Fetch MNIST, handwritten digits.

    70,000 grey images of 28 x 28 pixels.
    Downloaded at the first call, 12 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        60,000 images, 10,000 images, or the one after the other.
    data_home : str or path-like, default=None
        Folder of the cache; None is scikit-learn's, ~/scikit_learn_data.
    download_if_missing : bool, default=True
        Whether to download what is not there, or to raise an OSError.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again when the connection fails. What has come is kept.
    delay : float, default=1.0
        Seconds between tries.
    progress : bool, default=True
        Whether to show a bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 1, 28, 28), uint8; `target`, ndarray of
        shape (n,), int64; `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be had, or is not the one it should be.

    References
    ----------
    .. [1] LeCun et al., "Gradient-Based Learning Applied to Document
       Recognition", Proceedings of the IEEE, 1998.

    Examples
    --------
    >>> from skrnd.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    """
    cache = _Cache(data_home, download_if_missing, n_retries, delay, progress)
    return _idx_bunch([cache.fetch("mnist", part) for part in _parts(subset)], _DIGITS, return_X_y)


@validate_params(_FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_fashion_mnist(
    *,
    subset: str = "train",
    data_home: Any = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
) -> Any:
    """Fetch Fashion-MNIST, pictures of clothes.

    70,000 grey images of 28 x 28 pixels.
    Downloaded at the first call, 31 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        60,000 images, 10,000 images, or the one after the other.
    data_home : str or path-like, default=None
        Folder of the cache; None is scikit-learn's, ~/scikit_learn_data.
    download_if_missing : bool, default=True
        Whether to download what is not there, or to raise an OSError.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again when the connection fails. What has come is kept.
    delay : float, default=1.0
        Seconds between tries.
    progress : bool, default=True
        Whether to show a bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple
        With `data`, ndarray of shape (n, 1, 28, 28), uint8; `target`, ndarray of
        shape (n,), int64; `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be had, or is not the one it should be.

    References
    ----------
    .. [1] Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking
       Machine Learning Algorithms", 2017, arXiv:1708.07747.

    Examples
    --------
    >>> from skrnd.datasets import fetch_fashion_mnist
    >>> X, y = fetch_fashion_mnist(return_X_y=True)  # doctest: +SKIP
    """
    cache = _Cache(data_home, download_if_missing, n_retries, delay, progress)
    paths = [cache.fetch("fashion_mnist", part) for part in _parts(subset)]
    return _idx_bunch(paths, _FASHION_NAMES, return_X_y)


def _idx_bunch(paths: list[list[Path]], target_names: list[str], return_X_y: bool) -> Any:
    """Join the parts of a set of images and labels in idx files."""
    images = np.concatenate([load_idx(image_path) for image_path, _ in paths])
    target = np.concatenate([load_idx(label_path) for _, label_path in paths])
    return _bunch(images[:, None], target.astype(np.int64), target_names, return_X_y)


def _bunch(
    data: np.ndarray, target: Any, target_names: list[str], return_X_y: bool, **more: Any
) -> Any:
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, target_names=target_names, **more)


def _parts(subset: str) -> list[str]:
    return ["train", "test"] if subset == "all" else [subset]
