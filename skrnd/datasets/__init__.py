"""Image sets from the files that people have, and from the web.

What loads or fetches a set returns a :class:`~sklearn.utils.Bunch` with images `data` of
shape (n, C, H, W), labels `target` and their names `target_names`, or the pair
(data, target) with ``return_X_y=True``; `load_idx` and `load_images` return an array.
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
