"""Image sets in the formats of SVHN (.mat), of MNIST (idx) and of numpy (.npz)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from typing import IO, Any

import numpy as np
import scipy.io

from .._decorators import validate_params
from ._bunch import DIGITS, PATH, bunch

# The classes of MATLAB that are dense arrays of real numbers.
_MAT_NUMBERS = {"double", "single"} | {f"{u}int{n}" for u in ("u", "") for n in (8, 16, 32, 64)}


@validate_params({"path": PATH, "return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_svhn(path: Any, *, return_X_y: bool = False) -> Any:
    """Load the cropped digits of Street View House Numbers from a .mat file.

    Parameters
    ----------
    path : str or path-like
        The file, train_32x32.mat, test_32x32.mat or extra_32x32.mat.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 3, 32, 32), uint8;
        `target`, the labels, ndarray of shape (n,), int64; and `target_names`, list of str.
        The label of the digit 0 is 0, where the file says 10.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or does not hold X and y in the shapes of SVHN.

    See Also
    --------
    fetch_svhn : Download the file first, and compare its SHA-256.

    Notes
    -----
    scipy reads the file. A few kinds of damage, as to the type of an array, end the process
    there: before reading a file of unknown origin, see whether its SHA-256 is right.

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
            kinds = [kind for name, _, kind in scipy.io.whosmat(file) if name in ("X", "y")]
            file.seek(0)
            # Nothing but numbers: cells within cells, of which a small file can hold many, end
            # the process.
            are_numbers = _MAT_NUMBERS.issuperset(kinds)
            content = scipy.io.loadmat(file, variable_names=["X", "y"]) if are_numbers else {}
        # A damaged file can raise nearly anything.
        except Exception as error:
            raise ValueError(f"{path} is not a .mat file that can be read: {error}") from error
    X, y = content.get("X"), content.get("y")
    if not (
        isinstance(X, np.ndarray)
        and isinstance(y, np.ndarray)
        and X.dtype == np.uint8
        and y.dtype.kind in "iuf"
        and X.shape[2:] == (3, y.size)
        and np.isin(y, range(11)).all()
    ):
        raise ValueError(
            f"{path} must hold X of shape (height, width, 3, n), uint8, and n labels y, "
            "each from 0 to 10."
        )
    target = y.ravel().astype(np.int64) % 10
    images = np.ascontiguousarray(X.transpose(3, 2, 0, 1))
    return bunch(images, target, DIGITS, return_X_y)


_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BLOCK_BYTES = 2**20


@validate_params({"path": PATH}, prefer_skip_nested_validation=True)
def load_idx(path: Any) -> np.ndarray:
    """Load one array from a file in the idx format of MNIST, gzipped or not.

    Parameters
    ----------
    path : str or path-like
        The file, train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz or the like.

    Returns
    -------
    array : ndarray
        In the shape and dtype of the file, for the images of MNIST (n, 28, 28) and
        uint8, and in the byte order of this machine.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or longer or shorter than its header says.

    See Also
    --------
    fetch_mnist : Download the digits in this format.
    fetch_fashion_mnist : Download the clothes in this format.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from skrnd.datasets import load_idx
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "two-rows-idx2-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]))
    ...     load_idx(path)
    array([[1, 2, 3],
           [4, 5, 6]], dtype=uint8)
    """
    with open(path, "rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not is_gzipped:
            return _read_idx(file, path)
        try:
            with gzip.open(file) as unpacked:
                return _read_idx(unpacked, path)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


def _read_idx(file: IO[bytes] | gzip.GzipFile, path: Any) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_DTYPES:
        raise ValueError(f"{path} is not in the idx format.")
    dtype, n_dims = np.dtype(_IDX_DTYPES[start[2]]), start[3]
    sizes = file.read(4 * n_dims)
    shape = struct.unpack(f">{len(sizes) // 4}I", sizes[: len(sizes) // 4 * 4])
    n_bytes = math.prod(shape) * dtype.itemsize
    # In blocks, and no further than the header says: the file can be short where the header
    # is large, and a thousand times as long once it is unpacked.
    values = bytearray()
    while len(values) <= n_bytes and (block := file.read(_BLOCK_BYTES)):
        values += block
    if len(shape) != n_dims or len(values) != n_bytes:
        raise ValueError(f"The length of {path} is not what its header says, {shape} of {dtype}.")
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))


@validate_params({"path": PATH, "return_X_y": ["boolean"]}, prefer_skip_nested_validation=True)
def load_npz(path: Any, *, return_X_y: bool = False) -> Any:
    """Load images from an .npz file of numpy.

    Parameters
    ----------
    path : str or path-like
        A file that :func:`numpy.savez` has written, with an array `X` and, where there
        are labels, an array `y` of the same length.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the array `X` as it was saved; `target`, the array `y`, or None
        if there is none; and `target_names`, an empty list.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not an .npz file, has no `X`, or holds pickled objects, which are not
        loaded; or if `X` and `y` differ in length.

    See Also
    --------
    load_images : Load files of pictures.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from skrnd.datasets import load_npz
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "images.npz")
    ...     np.savez(path, X=np.zeros((5, 3, 32, 32), dtype=np.uint8))
    ...     load_npz(path).data.shape
    (5, 3, 32, 32)
    """
    try:
        # Opened here, since numpy leaves a file open whose end is missing.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("X", "y") if name in file}
    except (FileNotFoundError, IsADirectoryError):
        raise
    # zipfile, numpy and their codecs raise errors of their own. numpy takes all that it does not
    # know for pickles, and tells how to load them.
    except Exception as error:
        raise ValueError(
            f"{path} is not an .npz file that can be read, or holds pickled objects."
        ) from error
    if "X" not in arrays:
        raise ValueError(f"{path} has no array named X.")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        # numpy returns the bytes of what has not the beginning of an array.
        raise ValueError(f"{path} has something under the name X or y that is no array.")
    X, y = arrays["X"], arrays.get("y")
    if X.ndim == 0 or (y is not None and y.shape[:1] != X.shape[:1]):
        labels = "" if y is None else f" and labels of shape {y.shape}"
        raise ValueError(f"{path} has images of shape {X.shape}{labels}.")
    return bunch(X, y, [], return_X_y)
