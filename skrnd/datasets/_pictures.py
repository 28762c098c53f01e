"""Pictures in files, by themselves or in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from .._decorators import validate_params
from .._warnings import warn
from ._bunch import PATH, bunch

# Formats of which Pillow knows the endings, and reads no picture; EPS, a program, which
# Pillow has Ghostscript run, whatever the ending of the file; and IPTC, which can hold EPS.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG"}


@validate_params(
    {
        "path": PATH,
        "size": "no_validation",
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
    """Load the pictures in a folder, labelled by its sub-folders.

    Each picture is read as by :func:`load_images`. This needs Pillow,
    ``pip install "skrnd[images]"``.

    Parameters
    ----------
    path : str or path-like
        The folder. The label of a picture is the sub-folder directly below `path` that
        it is in, however deep; that of pictures directly in `path` is `path` itself.
        Hidden files and folders are passed over, and so are files whose ending (.png, .jpg,
        ...) is not that of a format that is read.
    size : tuple of int
        (height, width) of the result, better no larger than the smallest picture: see
        :func:`load_images`.
    color : {"rgb", "grey"}, default="rgb"
        Three channels or one.
    antialias : bool, default=True
        Whether to filter before pixels are left out, or take the nearest: see
        :func:`load_images`.
    return_X_y : bool, default=False
        Whether to return (data, target) instead of a Bunch.

    Returns
    -------
    data : Bunch or tuple of (data, target)
        The Bunch holds `data`, the images, ndarray of shape (n, C, height, width), uint8;
        `target`, the labels as indices into `target_names`, ndarray of shape (n,), int64;
        `target_names`, list of str, sorted; and `filenames`, the paths, list of str, sorted
        within each label.

    Raises
    ------
    ImportError
        Without Pillow.
    FileNotFoundError
        If `path` is not a folder, or has no picture in it.
    OSError
        If a folder cannot be read.
    ValueError
        If pictures cannot be read, or are grey and of more than 8 bits, whose range is
        not known; the message names all of them. If `size` is not two positive integers, or
        if pictures lie directly in `path` and in a sub-folder of the same name.

    Warns
    -----
    UserWarning
        If pictures are enlarged.

    See Also
    --------
    load_images : Load pictures from a list of files.

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
    formats = _formats(Image)
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in formats}
    files: dict[str, list[Path]] = {}
    for file in sorted(_files_below(root)):
        inside = file.relative_to(root).parts
        if file.name.startswith(".") or file.suffix.lower() not in endings:
            continue
        # A link that leads nowhere is told of with all that cannot be read.
        if file.is_file() or not file.exists():
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
    return bunch(X, y, target_names, return_X_y, filenames=filenames)


def _files_below(root: Path) -> Iterator[Path]:
    """All files in a folder and in those below it, or linked to from there."""

    def refuse(error: OSError) -> None:
        raise error

    seen = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        here = Path(folder).resolve()
        # Once for each label: links can lead from one folder to the next and back again, and
        # a few of them along more ways than anyone could go.
        label = Path(folder).relative_to(root).parts[:1]
        if (label, here) in seen:
            subfolders.clear()
            continue
        seen.add((label, here))
        # Nor is a folder below itself, under another label. Hidden ones may not be ours to read,
        # as the wastebasket of a memory card.
        subfolders[:] = [
            one
            for one in subfolders
            if not one.startswith(".") and not here.is_relative_to((here / one).resolve())
        ]
        yield from (Path(folder, name) for name in names)


@validate_params(
    {
        "pictures": [Iterable, *PATH],
        "size": "no_validation",
        "color": [StrOptions({"rgb", "grey"})],
        "antialias": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_images(
    pictures: Any, *, size: tuple[int, int], color: str = "rgb", antialias: bool = True
) -> np.ndarray:
    """Load pictures, resized to one size.

    Pictures are turned upright as their camera says, laid on white where they are
    transparent, and resized without regard to their proportions. Of an animation or a
    document of several pages, the first picture is taken. This needs Pillow,
    ``pip install "skrnd[images]"``.

    Parameters
    ----------
    pictures : iterable
        Files in any format that Pillow reads, except EPS, which is a program, and IPTC, which
        can hold one. Each is a path (str or path-like) or opened in binary mode, as
        ``io.BytesIO(content)`` is. Or images of Pillow's, which are not changed.
    size : tuple of int
        (height, width) of the result. A smaller picture is enlarged and thereby smoother
        than the others, and a detector rightly finds it novel.
    color : {"rgb", "grey"}, default="rgb"
        Three channels or one.
    antialias : bool, default=True
        Whether to filter before pixels are left out, by Pillow's Lanczos filter. If False, the
        nearest pixel is taken. That leaves artefacts, which are novel to a detector that was
        trained without them.

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
        not known; the message names all of them. If `size` is not two positive integers.
    TypeError
        If `pictures` is a single path.

    Warns
    -----
    UserWarning
        If pictures are enlarged.

    See Also
    --------
    load_image_folder : Load all pictures of a folder, with the names of sub-folders as labels.

    Examples
    --------
    >>> import io
    >>> from skrnd.datasets import load_images
    >>> X = load_images(["photos/new.jpg"], size=(64, 64))  # doctest: +SKIP
    >>> X = load_images([io.BytesIO(request.body)], size=(64, 64))  # doctest: +SKIP
    """
    pillow = _pillow("load_images")
    if isinstance(pictures, str | bytes | os.PathLike):
        raise TypeError(
            f"pictures must be a list of them; got {pictures!r}. load_image_folder takes a folder."
        )
    pictures = list(pictures)
    if np.shape(size) != (2,) or not all(isinstance(n, Integral) and n > 0 for n in size):
        raise ValueError(f"size must be (height, width), two positive integers; got {size!r}.")
    height, width = size
    mode, n_channels = ("RGB", 3) if color == "rgb" else ("L", 1)
    resampling = pillow.Image.Resampling
    resample = resampling.LANCZOS if antialias else resampling.NEAREST
    X = np.empty((len(pictures), n_channels, height, width), dtype=np.uint8)
    unreadable: list[str] = []
    smaller: list[tuple[int, int]] = []
    for number, (picture, pixels) in enumerate(zip(pictures, X, strict=True)):
        try:
            upright = _upright(pillow, picture).convert(mode)
        # What decodes a damaged file can raise nearly anything.
        except Exception as error:
            is_path = isinstance(picture, str | os.PathLike)
            unreadable.append(f"{picture if is_path else f'number {number}'} ({error})")
            continue
        if upright.height < height or upright.width < width:
            smaller.append((upright.height, upright.width))
        resized = np.asarray(upright.resize((width, height), resample))
        pixels[:] = resized.reshape(height, width, n_channels).transpose(2, 0, 1)
    if unreadable:
        raise ValueError(
            f"{len(unreadable)} of {len(pictures)} pictures cannot be read: {'; '.join(unreadable)}"
        )
    if smaller:
        enough = tuple(map(min, zip((height, width), *smaller, strict=True)))
        warn(
            f"{len(smaller)} of {len(pictures)} pictures are smaller than {size=} and have been "
            "enlarged: they are smoother than pictures that have not, which a detector finds "
            f"novel. None is with size={enough}."
        )
    return X


def _upright(pillow: Any, picture: Any) -> Any:
    """A picture, or the one in a file, as it is seen: turned upright, on a white page."""
    if isinstance(picture, bytes | bytearray | memoryview):
        raise TypeError("the content of a file; pass io.BytesIO(content)")
    if isinstance(picture, np.ndarray):
        raise TypeError("an array, which is an image already; a detector takes it as it is")
    is_open = isinstance(picture, pillow.Image.Image)
    formats = _formats(pillow.Image)
    with nullcontext(picture) if is_open else pillow.Image.open(picture, "r", formats) as image:
        # Of grey with transparency, Pillow keeps 8 bits, and says in the tiles what there were.
        is_cut = "LA;16" in str(getattr(image, "tile", ""))
        if is_cut or image.mode.startswith(("I", "F")):
            raise ValueError(
                f"values of more than 8 bits, Pillow's mode {image.mode}, of a range that is not "
                "known; a detector takes them as an array"
            )
        return _on_white(pillow, pillow.ImageOps.exif_transpose(image))


def _formats(Image: Any) -> list[str]:
    """Names of the formats that are read, the usual ones first."""
    Image.init()
    return [name for name in Image.ID if name not in _NOT_READ]


def _on_white(pillow: Any, picture: Any) -> Any:
    """A picture as it is seen on a white page: nobody sees the colours of what is transparent."""
    if picture.mode in ("RGBa", "La"):
        # Colours that are multiplied by their share already.
        picture = picture.convert(f"{picture.mode[:-1]}A")
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
