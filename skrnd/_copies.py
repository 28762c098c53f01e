"""Which copies of the training images there are: blurred, sharpened and turned ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from joblib import Memory
from sklearn.base import clone
from sklearn.utils import gen_batches

from ._storage import working_bytes
from ._strength import choose_strength
from ._warnings import warn
from .base import BaseImageTransformer
from .blur import (
    DCTBlur,
    GaussianBlur,
    SVDBlur,
    SVDSharpen,
    SVDSoften,
    _decompose,
)


class _Kind(NamedTuple):
    """A kind of copy whose strength can be chosen, see `choose_strength`."""

    make: Callable[..., BaseImageTransformer]
    candidates: Callable[[int], list[float]]
    aim_told_apart: float
    aim_rank: float | None = None


def _counts(shorter_side: int) -> list[float]:
    return list(range(1, shorter_side))


def _larger_counts(shorter_side: int) -> list[float]:
    return list(range(max(1, shorter_side // 2), shorter_side))


def _sigmas(shorter_side: int) -> list[float]:
    return np.geomspace(0.3, shorter_side / 4, 16).round(2).tolist()


# Share of the energy of the images that a copy changes at least, if it is to be one.
_LEAST_CHANGE = 1e-6

# Where the aims are had from: docs/benchmark_strength.md. A filter, which treats all
# images alike, has to be seen more clearly than the SVD, which goes by each image; and
# less clearly what "two-sided" judges, by contrasts too.
BLURS = {
    "svd": _Kind(SVDBlur, _counts, 0.75, 0.5),
    "dct": _Kind(DCTBlur, _counts, 0.85, 0.75),
    "gaussian": _Kind(GaussianBlur, _sigmas, 0.85, 0.85),
    "two-sided": _Kind(SVDBlur, _counts, 0.6, 0.5),
}
# The sharpened copy stays as near to the images as can be learned, so that what is a
# little sharper is found.
_SHARPENED = _Kind(SVDSharpen, _larger_counts, 0.63)


def check_choice(k: Any, blur: Any, geometry: Any) -> None:
    """Refuse what a detector was given to make copies with, as far as no image is needed.

    Raises
    ------
    ValueError
        If `k` holds no strength or something else, if it would be in two units, or if `blur`
        is, or lists, an unknown name or None among others.
    TypeError
        If there is something else than transformers.
    """
    if not isinstance(k, str):
        strengths = k if np.ndim(k) > 0 else [k]
        if not len(strengths):
            raise ValueError("k is empty; pass at least one strength, or blur=None for no blur.")
        if not all(isinstance(strength, Real) for strength in strengths):
            raise ValueError(f"k must be 'auto', a number or a list of numbers; got {k!r}.")
    named = as_list(blur)
    if None in named:
        raise ValueError(f"blur={blur!r} lists None; the unblurred images are always trained on.")
    unknown = [one for one in named if isinstance(one, str) and one not in BLURS]
    if unknown:
        raise ValueError(f"Unknown blur {unknown[0]!r}; the blurs with a name are {sorted(BLURS)}.")
    check_transformers([one for one in named if not isinstance(one, str)], "blur")
    if not isinstance(k, str) and "gaussian" in named and any(map(_counts_by_k, named)):
        raise ValueError(
            f"k={k!r} would be pixels for 'gaussian', and something else for the others of "
            f"blur={blur!r}; leave k='auto', or pass a GaussianBlur with its own sigma."
        )
    check_transformers(as_list(geometry), "geometry")


def count_targets(k: Any, blur: Any, geometry: Any) -> list[int]:
    """How many targets each predictor will have: for the images, and for each of its copies."""
    n_given = 1 if isinstance(k, str) or np.ndim(k) == 0 else len(k)
    named, n_turned = as_list(blur), len(as_list(geometry))
    n_first = sum(n_given if isinstance(one, str) or _takes_strength(one) else 1 for one in named)
    n_second = named.count("two-sided") * (n_given + 1)
    return [1 + n + n_turned for n in ([n_first, n_second] if n_second else [n_first])]


def make_blurs(
    k: Any,
    blur: Any,
    geometry: Any,
    images: np.ndarray,
    sample: np.ndarray,
    memory: Memory,
) -> tuple[list[Any], list[list[int]], Any]:
    """Turn the parameters of the detector into one transformer for each copy.

    "two-sided" takes a second predictor for the sharpened copy. One that has to
    tell a blurred and a sharpened copy apart learns to recognise these very copies
    and mimics well on everything else, smooth images of another kind included. The
    predictor that only ever sees the blurred copy goes on finding those.

    Parameters
    ----------
    k, blur, geometry
        As the detector was given them, and `check_choice` takes them.
    images : ndarray of shape (n, C, H, W)
        Standardised training images.
    sample : ndarray of shape (m, C, H, W)
        Normal images by which strengths that are not given are chosen.
    memory : joblib.Memory
        Keeps what other choices can use.

    Returns
    -------
    blurs : list of transformers
        Fitted, in the order of the copies.
    groups : list of lists of int
        For each predictor, which of the copies it is trained on.
    k_ : number, list of numbers or None
        The strengths that came to be used.
    """
    is_auto = isinstance(k, str)
    several = not is_auto and np.ndim(k) > 0
    given = list(k) if several else [k]
    if not is_auto:
        # Numbers of Python, for `k_`, also from a grid of numpy's.
        given = [int(one) if isinstance(one, Integral) else float(one) for one in given]
    named, turned = as_list(blur), as_list(geometry)
    seen = Images(sample, memory)
    first: list[Any] = []
    second: list[Any] = []
    used: list[Any] = []
    for one in named:
        strengths = given
        if isinstance(one, str):
            kind = BLURS[one]
            if is_auto:
                strengths = [_chosen(kind, seen)]
            first += [kind.make(strength) for strength in strengths]
            if one == "two-sided":
                sharpened = SVDSharpen(_chosen(_SHARPENED, seen))
                second += [*map(SVDSoften, strengths), sharpened]
        elif not is_auto and _takes_strength(one):
            first += [clone(one).set_params(k=strength) for strength in strengths]
        else:
            strengths = []
            first.append(clone(one))
        used += strengths
    if named and not is_auto and not used:
        raise ValueError(
            f"k={k!r} has no effect on blur={blur!r}; leave k='auto' and set the strength of the "
            "blur itself, as blur__sigma."
        )
    blurs = first + second + [clone(one) for one in turned]
    shown = _read_only(images)
    for transformer in blurs:
        if isinstance(transformer, BaseImageTransformer):
            # Not by set_params: to one of a user's they may be no parameters.
            transformer.image_shape, transformer.channel_axis = None, 1
        if hasattr(transformer, "set_output"):
            transformer.set_output(transform="default")
        transformer.fit(shown)
    n_own = len(first + second)
    of_all = list(range(n_own, len(blurs)))
    groups = [[*range(len(first)), *of_all]]
    if second:
        groups.append([*range(len(first), n_own), *of_all])
    if not used:
        return blurs, groups, None
    return blurs, groups, used if several or len(used) > 1 else used[0]


class Images:
    """Standardised images, decomposed once for all the copies that need that.

    Parameters
    ----------
    values : ndarray of shape (n, C, H, W)
        float32.
    memory : joblib.Memory
        Keeps the decomposition for other fits.
    """

    def __init__(self, values: np.ndarray, memory: Memory) -> None:
        self._values = values
        self.shown = _read_only(values)
        self._memory = memory
        self._decomposition: tuple[np.ndarray, np.ndarray] | None = None

    def transformed(self, transformer: Any) -> np.ndarray:
        """What a fitted transformer makes of the images."""
        # A subclass of somebody else may make something else of them.
        if type(transformer) in (SVDBlur, SVDSharpen, SVDSoften):
            if self._decomposition is None:
                self._decomposition = self._memory.cache(_decompose)(self._values)
            return transformer._transform_decomposed(self._values, *self._decomposition)
        try:
            return np.asarray(transformer.transform(self.shown))
        except Exception as error:
            error.add_note(
                f"It was raised by {transformer}, which makes copies of the images. These are "
                "read-only; a transformer that works in place has to copy them first."
            )
            raise


def make_copies(
    blurs: Sequence[Any], images: np.ndarray, out: Sequence[np.ndarray], memory: Memory
) -> None:
    """Make the copies of the training images, block by block.

    Parameters
    ----------
    blurs : sequence of transformers
        Fitted.
    images : ndarray of shape (n, C, H, W)
        float32.
    out : sequence of ndarrays of the same shape
        Where the copy of each blur goes.
    memory : joblib.Memory
        Keeps what copies of another strength can use.

    Raises
    ------
    ValueError
        If a transformer changes the shape, or returns NaN or infinity.
    """
    changes, energy = [0.0] * len(blurs), 0.0
    # A decomposition takes twice the room of its images.
    block_rows = max(1, working_bytes(1 / 16) // (4 * math.prod(images.shape[1:])))
    for rows in gen_batches(len(images), block_rows):
        block = Images(images[rows], memory)
        for number, (blur, copies) in enumerate(zip(blurs, out, strict=True)):
            made = block.transformed(blur)
            if made.shape != block.shown.shape:
                raise ValueError(
                    "blur and geometry must keep the shape of the images: "
                    f"{blur} made {made.shape} of {block.shown.shape}."
                )
            copies[rows] = made
            if not np.isfinite(copies[rows]).all():
                raise ValueError(f"{blur} returned NaN or infinity.")
            changes[number] += _energy(copies[rows] - block.shown)
        energy += _energy(block.shown)
    for blur, change in zip(blurs, changes, strict=True):
        if change < _LEAST_CHANGE * energy:
            warn(
                f"{blur} leaves the images as they are, or nearly so. A copy that is not told from "
                "the images teaches nothing, and spoils what is learned from them.",
            )


def _chosen(kind: _Kind, sample: Images) -> float:
    def copies_of(strength: float) -> np.ndarray:
        # Not fitted, which would try it on an image first.
        return sample.transformed(kind.make(strength, channel_axis=1))

    return choose_strength(
        copies_of,
        kind.candidates(min(sample.shown.shape[-2:])),
        sample.shown,
        aim_told_apart=kind.aim_told_apart,
        aim_rank=kind.aim_rank,
    )


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def check_transformers(transformers: list[Any], name: str) -> None:
    for one in transformers:
        has_all = all(hasattr(one, method) for method in ("fit", "transform", "get_params"))
        if isinstance(one, type) or not has_all:
            raise TypeError(f"{name} must hold transformers of scikit-learn; got {one!r}.")


def _counts_by_k(blur: Any) -> bool:
    """Whether the detector's `k` would be a number of singular values or frequencies to it."""
    return blur != "gaussian" if isinstance(blur, str) else _takes_strength(blur)


def _takes_strength(transformer: Any) -> bool:
    """Whether the detector's `k` is for it: that of blurs is, their opposite keeps its own."""
    return "k" in transformer.get_params() and not isinstance(transformer, SVDSharpen)


def _energy(images: np.ndarray) -> float:
    return float(np.vdot(images, images))


def _read_only(images: np.ndarray) -> np.ndarray:
    """Images that a transformer which works in place cannot change."""
    shown = images.view()
    shown.flags.writeable = False
    return shown
