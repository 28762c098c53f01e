"""CIFAR-10 and CIFAR-100, whose files are pickles, of which nothing is executed."""

from __future__ import annotations

import io
import lzma
import math
import pickle
import pickletools
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from .._decorators import validate_params
from ._bunch import PATH, SUBSETS, bunch, parts_of


@validate_params(
    {"path": PATH, "subset": [StrOptions(set(SUBSETS))], "return_X_y": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def load_cifar(path: Any, *, subset: str = "train", return_X_y: bool = False) -> Any:
    """Load CIFAR-10 or CIFAR-100 from its python archive.

    The archive holds pickles, but nothing in them is executed: a pickle that names
    a function or a class, other than those of an array of bytes, is refused.

    Parameters
    ----------
    path : str or path-like
        The archive, cifar-10-python.tar.gz or cifar-100-python.tar.gz, or the
        folder it was unpacked to.
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000 images, or both, in this order.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 3, 32, 32), uint8;
        `target`, the labels (the fine ones of CIFAR-100), ndarray of shape (n,), int64; and
        `target_names`, list of str.

    Raises
    ------
    FileNotFoundError
        If `path` or a batch in it is missing.
    ValueError
        If the archive or a batch is damaged, or holds anything but images and labels, or if
        several folders below `path` hold CIFAR.

    See Also
    --------
    fetch_cifar10 : Download the archive of ten classes first.
    fetch_cifar100 : Download that of 100 classes.

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
        kind: [name for part in parts_of(subset) for name in kind.batches[part]] for kind in _CIFARS
    }
    files = _read_files(Path(path), {kind.meta for kind in _CIFARS}.union(*wanted.values()))
    kind = next((kind for kind in _CIFARS if kind.meta in files), None)
    if kind is None:
        raise FileNotFoundError(f"{path} holds neither batches.meta nor meta of CIFAR.")
    missing = [name for name in wanted[kind] if name not in files]
    if missing:
        raise FileNotFoundError(f"{path} lacks {', '.join(missing)}.")
    batches = [_cifar_batch(files[name], kind.labels, f"{name} of {path}") for name in wanted[kind]]
    target_names = _unpickle_data(files[kind.meta], f"{kind.meta} of {path}").get(kind.names, [])
    if not isinstance(target_names, list) or not all(
        isinstance(name, bytes | str) for name in target_names
    ):
        raise ValueError(f"{kind.meta} of {path} holds no list of {_text(kind.names)}.")
    return bunch(
        np.concatenate([images for images, _ in batches]),
        np.concatenate([targets for _, targets in batches]),
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


# The archives hold 190 MB, and the largest batch a few hundred thousand steps. A small file
# can hold a thousand times as much, which is not to be unpacked.
_MOST_BYTES = 2**28
_MOST_STEPS = 10**6


def _read_files(path: Path, names: set[str]) -> dict[str, bytes]:
    """Contents of the files called so, in a folder or a tar archive."""
    if path.is_dir():
        metas = {kind.meta for kind in _CIFARS}
        folders = sorted({file.parent for file in path.rglob("*") if file.name in metas})
        if len(folders) > 1:
            raise ValueError(
                f"{path} holds CIFAR more than once, in {', '.join(map(str, folders))}; "
                "name one of these."
            )
        found = [file for folder in folders for file in folder.iterdir() if file.name in names]
        return {file.name: file.read_bytes() for file in found if file.is_file()}
    try:
        # Nothing is extracted to disk, so a name cannot lead out of a folder.
        with tarfile.open(path) as archive:
            files = {}
            for member in archive:
                # Of a sparse file, the holes take no room in the archive.
                if member.issparse() or not 0 <= member.size <= _MOST_BYTES - member.offset:
                    raise tarfile.TarError(
                        f"it goes on beyond {_MOST_BYTES} bytes, which CIFAR does not"
                    )
                name = Path(member.name).name
                if member.isfile() and name in names:
                    files[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
            return files
    except FileNotFoundError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is not a tar archive that can be read: {error}") from error


def _cifar_batch(content: bytes, labels: bytes, what: str) -> tuple[np.ndarray, np.ndarray]:
    batch = _unpickle_data(content, what)
    rows, targets = batch.get(b"data"), batch.get(labels)
    if (
        not isinstance(rows, _ByteArray)
        or not isinstance(targets, list)
        or not all(type(label) is int and label.bit_length() < 64 for label in targets)
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
            fits = is_bytes and isinstance(values, bytes) and all(type(n) is int for n in shape)
            fits = fits and min(shape) >= 0 and math.prod(shape) == len(values)
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


@dataclass(frozen=True)
class _Function:
    """What a pickle can call, and cannot change."""

    call: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a function")


# What pickles of arrays refer to, by Python 2 and 3, old numpy and new, and the
# inert things that stand in.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy", "ndarray"): _Function(_NdarrayName),
    ("numpy", "dtype"): _Function(_ByteDtype),
    ("_codecs", "encode"): _Function(_latin1),
}


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise ValueError(f"it refers to {module}.{name}") from None


def _check_steps(content: bytes) -> None:
    """Refuse a pickle that makes of a few bytes more than there is time or memory for.

    What it names a second time must be a function or a short string. Of tuples, say, each
    could hold the one before it twice, and the fiftieth would be hashed 2**50 times.
    """
    is_plain = False
    may_be_named: dict[Any, bool] = {}
    for number, (step, arg, _) in enumerate(pickletools.genops(content)):
        if number == _MOST_STEPS:
            raise ValueError(f"it takes more than {_MOST_STEPS} steps")
        if step.name == "MEMOIZE" or step.name.endswith("PUT"):
            place = len(may_be_named) if arg is None else arg
            # There would be room for all below it.
            if place > number:
                raise ValueError(f"it names {place} things in {number} steps")
            may_be_named[place] = is_plain
        elif step.name == "DUP" or (step.name.endswith("GET") and not may_be_named.get(arg)):
            raise ValueError("it holds one thing twice")
        elif not step.name.endswith("GET"):
            is_text = isinstance(arg, str | bytes) and len(arg) <= 100
            is_plain = is_text or step.name in ("GLOBAL", "STACK_GLOBAL")


def _unpickle_data(content: bytes, what: str) -> dict[bytes, Any]:
    """Read a pickled dict of lists, strings and arrays of bytes; run nothing."""
    try:
        _check_steps(content)
        loaded = _DataUnpickler(io.BytesIO(content), encoding="bytes").load()
    # A damaged pickle can raise nearly anything.
    except Exception as error:
        raise ValueError(f"{what} is damaged or not plain data: {error}") from error
    if not isinstance(loaded, dict):
        raise ValueError(f"{what} holds no dictionary.")
    return {key if isinstance(key, bytes) else str(key).encode(): v for key, v in loaded.items()}


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
