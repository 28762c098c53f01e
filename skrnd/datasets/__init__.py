"""Load sets of images from local files, or download them.

These functions return a :class:`~sklearn.utils.Bunch` that holds images `data`, uint8 of shape
(n, C, H, W) but for `load_npz`, labels `target` and the names of the labels `target_names`, or,
with ``return_X_y=True``, the tuple (data, target); `load_idx` and `load_images` return an array.
The labels are the classes of a set, not the 1 and -1 that a detector knows (`load_npz`
returns those that the file holds).
Files are read as data: nothing that one holds is ever executed.
"""

from ._cifar import load_cifar
from ._fetch import fetch_cifar10, fetch_cifar100, fetch_fashion_mnist, fetch_mnist, fetch_svhn
from ._formats import load_idx, load_npz, load_svhn
from ._pictures import load_image_folder, load_images

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
