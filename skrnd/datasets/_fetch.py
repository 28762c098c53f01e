"""Image sets from the web."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils._param_validation import Interval, StrOptions

from .._decorators import validate_params
from ._bunch import DIGITS, PATH, SUBSETS, bunch, parts_of
from ._cifar import load_cifar
from ._download import download, is_whole
from ._formats import load_idx, load_svhn


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
    "subset": [StrOptions(set(SUBSETS))],
    "data_home": [*PATH, None],
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
    """Fetch CIFAR-10, photographs of ten kinds of animals and vehicles.

    60,000 colour photographs of 32 x 32 pixels.
    They are downloaded at the first call, 170 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000 images, or both, in this order.
    data_home : str or path-like, default=None
        Folder of the cache. None is scikit-learn's: ~/scikit_learn_data, or what the
        environment variable SCIKIT_LEARN_DATA names.
    download_if_missing : bool, default=True
        Whether to download files that are missing or damaged. If False, an OSError is
        raised instead.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again if the connection fails, at least 0. What has been received
        is kept, and only the rest is asked for.
    delay : float, default=1.0
        Seconds between tries, at least 0.
    progress : bool, default=True
        Whether to show a progress bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 3, 32, 32), uint8;
        `target`, the labels, ndarray of shape (n,), int64; and `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be downloaded, or its SHA-256 is not the one it should be.

    See Also
    --------
    load_cifar : Read an archive that is there already.
    fetch_cifar100 : 100 classes of images of the same kind.

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
    """Fetch CIFAR-100, photographs of a hundred kinds of things.

    60,000 colour photographs of 32 x 32 pixels. The labels are the hundred fine ones.
    They are downloaded at the first call, 169 MB, and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        50,000 images, 10,000 images, or both, in this order.
    data_home : str or path-like, default=None
        Folder of the cache. None is scikit-learn's: ~/scikit_learn_data, or what the
        environment variable SCIKIT_LEARN_DATA names.
    download_if_missing : bool, default=True
        Whether to download files that are missing or damaged. If False, an OSError is
        raised instead.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again if the connection fails, at least 0. What has been received
        is kept, and only the rest is asked for.
    delay : float, default=1.0
        Seconds between tries, at least 0.
    progress : bool, default=True
        Whether to show a progress bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 3, 32, 32), uint8;
        `target`, the labels, ndarray of shape (n,), int64; and `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be downloaded, or its SHA-256 is not the one it should be.

    See Also
    --------
    load_cifar : Read an archive that is there already.
    fetch_cifar10 : Ten classes of images of the same kind.

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
    Each of the two parts is downloaded when it is first asked for, 182 MB for "train" and
    64 MB for "test", and kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        73,257 images, 26,032 images, or both, in this order.
    data_home : str or path-like, default=None
        Folder of the cache. None is scikit-learn's: ~/scikit_learn_data, or what the
        environment variable SCIKIT_LEARN_DATA names.
    download_if_missing : bool, default=True
        Whether to download files that are missing or damaged. If False, an OSError is
        raised instead.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again if the connection fails, at least 0. What has been received
        is kept, and only the rest is asked for.
    delay : float, default=1.0
        Seconds between tries, at least 0.
    progress : bool, default=True
        Whether to show a progress bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 3, 32, 32), uint8;
        `target`, the labels, ndarray of shape (n,), int64; and `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be downloaded, or its SHA-256 is not the one it should be.

    See Also
    --------
    load_svhn : Read a file that is there already.

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
    loaded = [load_svhn(*cache.fetch("svhn", part)) for part in parts_of(subset)]
    return bunch(
        np.concatenate([one.data for one in loaded]),
        np.concatenate([one.target for one in loaded]),
        DIGITS,
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
    Each of the two parts is downloaded when it is first asked for, 12 MB together, and
    kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        60,000 images, 10,000 images, or both, in this order.
    data_home : str or path-like, default=None
        Folder of the cache. None is scikit-learn's: ~/scikit_learn_data, or what the
        environment variable SCIKIT_LEARN_DATA names.
    download_if_missing : bool, default=True
        Whether to download files that are missing or damaged. If False, an OSError is
        raised instead.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again if the connection fails, at least 0. What has been received
        is kept, and only the rest is asked for.
    delay : float, default=1.0
        Seconds between tries, at least 0.
    progress : bool, default=True
        Whether to show a progress bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 1, 28, 28), uint8;
        `target`, the labels, ndarray of shape (n,), int64; and `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be downloaded, or its SHA-256 is not the one it should be.

    See Also
    --------
    load_idx : Read a file that is there already.
    fetch_fashion_mnist : Clothes in the same format.

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
    return _idx_bunch([cache.fetch("mnist", part) for part in parts_of(subset)], DIGITS, return_X_y)


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
    Each of the two parts is downloaded when it is first asked for, 31 MB together, and
    kept in `data_home`.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        60,000 images, 10,000 images, or both, in this order.
    data_home : str or path-like, default=None
        Folder of the cache. None is scikit-learn's: ~/scikit_learn_data, or what the
        environment variable SCIKIT_LEARN_DATA names.
    download_if_missing : bool, default=True
        Whether to download files that are missing or damaged. If False, an OSError is
        raised instead.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.
    n_retries : int, default=3
        How often to try again if the connection fails, at least 0. What has been received
        is kept, and only the rest is asked for.
    delay : float, default=1.0
        Seconds between tries, at least 0.
    progress : bool, default=True
        Whether to show a progress bar while downloading, if rich is installed.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, 1, 28, 28), uint8;
        `target`, the labels, ndarray of shape (n,), int64; and `target_names`, list of str.

    Raises
    ------
    OSError
        If a file cannot be downloaded, or its SHA-256 is not the one it should be.

    See Also
    --------
    load_idx : Read a file that is there already.
    fetch_mnist : Digits in the same format.

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
    paths = [cache.fetch("fashion_mnist", part) for part in parts_of(subset)]
    return _idx_bunch(paths, _FASHION_NAMES, return_X_y)


def _idx_bunch(paths: list[list[Path]], target_names: list[str], return_X_y: bool) -> Any:
    """Join the parts of a set of images and labels in idx files."""
    images = np.concatenate([load_idx(image_path) for image_path, _ in paths])
    target = np.concatenate([load_idx(label_path) for _, label_path in paths])
    return bunch(images[:, None], target.astype(np.int64), target_names, return_X_y)
