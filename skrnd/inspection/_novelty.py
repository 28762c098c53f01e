"""Why an image is novel, and where in it."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval

from .._decorators import validate_params
from .._detector import SVDRNDDetector, fitted_detector
from .._inputs import Inputs, block_rows, doubt_scale
from .._threads import own_torch_state
from .._validation import LOOKED_AT, layout_of
from ._pictures import array, checked, image_layout

# Side of a window of the novelty map, of the shorter side of the images trained on.
_WINDOW = 0.375


def judgements(detector: SVDRNDDetector, X: Any) -> dict[str, np.ndarray]:
    """Why a row is novel: what each judgement of the detector says of it.

    The judgements, errors and contrasts, are explained in the notes of
    :class:`~skrnd.SVDRNDDetector`.

    Parameters
    ----------
    detector : SVDRNDDetector
        Fitted.
    X : array-like or tensor
        Images or rows of the shape seen in `fit`.

    Returns
    -------
    judgements : dict of str to ndarray of shape (n,), float64
        How novel each row is by each judgement, under the name of the judgement. All are in
        the unit of the scores: the largest judgement of a row is minus its score, and those
        above ``-offset_`` raise the alarm.

        "error" is large if the row is like nothing that the predictor has seen. "contrast to
        copy 3, SVDSharpen" is large if the row looks to the predictor like that copy of the
        normal images, made by ``blurs_[2]``: sharper than they are. With "two-sided" the names
        begin with "predictor 1: " or "predictor 2: ". A detector that judges by the error
        alone (see `criterion`) has no contrasts.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    TypeError
        If it is not an SVDRNDDetector.
    ValueError, TypeError
        If `score_samples` does not take X.

    See Also
    --------
    novelty_map : Where in an image the novelty is.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.blur import SVDBlur
    >>> from skrnd.inspection import judgements
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 8, 8))
    >>> detector = SVDRNDDetector(k=6, max_epochs=10, random_state=0).fit(X)
    >>> X_smooth = SVDBlur(k=6).fit_transform(X[:1])
    >>> judged = judgements(detector, X_smooth)
    >>> max(judged, key=lambda name: judged[name][0])
    'predictor 1: contrast to copy 1, SVDBlur'
    >>> bool(max(judged.values())[0] == -detector.score_samples(X_smooth)[0])
    True
    """
    return fitted_detector(detector, "judgements")._judgements_of(X)


@validate_params(
    {
        "window": [Interval(Integral, 2, None, closed="left"), None],
        "step": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def novelty_map(
    detector: SVDRNDDetector, images: Any, *, window: int | None = None, step: int | None = None
) -> np.ndarray:
    """Map where in an image the novelty is.

    The detector scores small windows of the image, one every `step` pixels, each continued by
    mirroring to the size of the images it was trained on. The novelty of a pixel is the mean
    novelty of the windows that it is in, weighted by how near it is to their centres. Images
    may be larger than those trained on.

    Parameters
    ----------
    detector : SVDRNDDetector
        Fitted on images, with any network.
    images : array-like or tensor
        Images in a layout that the detector takes, (n, H, W), (n, C, H, W) or (n, H, W, C),
        with as many channels as in `fit` and of any size that is no smaller than `window`. Flat
        rows are images of the `image_shape` of the detector.
    window : int, default=None
        Side of a window in pixels, from 2 to the shorter side of the images trained on.
        None takes 3/8 of that side, rounded.
    step : int, default=None
        Number of pixels from one window to the next, from 1 to `window`. None takes half of
        `window`. Half the step makes a smoother map, of four times as many windows.

    Returns
    -------
    maps : ndarray of shape (n, H, W), float64
        Novelty of each pixel, in the unit of minus `score_samples`: the larger, the more
        novel.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    TypeError
        If it is not an SVDRNDDetector.
    ValueError
        If the detector was fitted on plain rows, if the images are not finite, have another
        number of channels or are smaller than a window, or if `window` or `step` is out of
        range.

    Warns
    -----
    UserWarning
        If the values of the images spread far less than in `fit`, as after a division by 255.

    See Also
    --------
    judgements : Why an image is novel.

    Notes
    -----
    A mirrored window is unlike the images trained on, and so it is somewhat novel
    whatever it shows. Only differences mean something, within a map or between maps of one
    detector, window and step: compare a map with those of normal images, not with the
    threshold. Only a `window` as large as the images trained on is not mirrored; it finds
    the place less well, in larger images too.

    A map shows what the detector finds, no finer than a window, and only roughly. The table
    is for 60 CIFAR-10 images with a foreign patch in a quarter of their area, 16 x 16 pixels,
    and the default detector of 1,500 images, three times (`benchmarks/bench_map.py`). It has
    the mean AUROC of the map, taken as a score of how likely a pixel is in the patch, the share
    of the sum of the map that is in the patch, and the share of maps with their maximum there.
    Where the patch is from another CIFAR-10 image, only its seams are foreign:

    ===========================  =====  ====  =======
    patch                        AUROC  sum   maximum
    ===========================  =====  ====  =======
    noise                        .82    .36   .46
    Tiny ImageNet, aliased       .81    .38   .48
    SVHN                         .73    .34   .44
    blurred, by ``SVDBlur(28)``  .71    .32   .35
    another CIFAR-10 image       .50    .23   .18
    ===========================  =====  ====  =======

    Maps of the error of the last features before these are averaged, and maps of the gradient
    of the novelty, mark the seams of a patch about as much as what is in it. Maps of how the
    novelty changes as a part of the image is greyed out find the place less often.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.inspection import novelty_map
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 16, 16))
    >>> detector = SVDRNDDetector(blur="svd", max_epochs=3, random_state=0).fit(X)
    >>> image = rng.normal(size=(1, 40, 40))
    >>> image[:, 20:, :20] = 0.0
    >>> (novelty,) = novelty_map(detector, image)
    >>> row, column = np.unravel_index(novelty.argmax(), novelty.shape)
    >>> bool(row >= 20 and column < 20)
    True
    """
    detector = fitted_detector(detector, "novelty_map")
    if detector._layout is None:
        raise ValueError(
            "novelty_map takes a detector of images; this one was fitted on plain rows."
        )
    images = checked(array(images))
    layout = image_layout(images.shape[1:], *layout_of(detector, images, None, "auto"))
    n_channels, *sides = layout.chw
    n_trained, *trained = detector.input_shape_
    if n_channels != n_trained:
        raise ValueError(
            f"images have {n_channels} channels; the detector was fitted on {n_trained}. "
            "A single image is images[None]."
        )
    # The integers of numpy may be too short for places in an image.
    window = max(2, round(_WINDOW * min(trained))) if window is None else int(window)
    if window > min(trained):
        raise ValueError(f"{window=} is larger than the images trained on, {min(trained)}.")
    if min(sides) < window:
        raise ValueError(f"images of {sides[0]} x {sides[1]} pixels are smaller than {window=}.")
    step = window // 2 if step is None else int(step)
    if step > window:
        raise ValueError(f"{step=} is larger than {window=}.")

    inputs = Inputs(layout, detector.mean_, detector.scale_)
    with own_torch_state():
        some = next(inputs.blocks(images, np.arange(min(LOOKED_AT, len(images)))))
        doubt_scale(some, what="its maps are")
    images = layout.to_nchw(images)
    (rows, of_row), (columns, of_column) = (
        _windows(side, window, step, own) for side, own in zip(sides, trained, strict=True)
    )
    novelty = np.empty((len(images), len(rows), len(columns)))
    for batch in gen_batches(novelty.size, block_rows(detector.input_shape_)):
        places: Any = np.unravel_index(np.r_[batch], novelty.shape)
        i, row, column = places
        seen = images[i[:, None, None], :, rows[row][:, :, None], columns[column][:, None, :]]
        seen = detector._layout.from_nchw(np.moveaxis(seen, -1, 1))
        # Windows on a sky may be all but blank.
        novelties = detector._novelties_of(seen, doubt=False)
        novelty.flat[batch] = -detector._scores(novelties)
    return of_row @ novelty @ of_column.T


def _windows(side: int, window: int, step: int, filled: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows along one axis of an image.

    Returns
    -------
    sources : ndarray of shape (n_windows, filled), int
        Which pixels each is filled with: its own, and those mirrored about its ends.
    shares : ndarray of shape (side, n_windows)
        What part each has in the mean at each pixel.
    """
    starts = np.unique(np.r_[0 : side - window + 1 : step, side - window])[:, None]
    before = (filled - window) // 2
    around = (before, filled - window - before)
    sources = starts + np.pad(np.arange(window), around, mode="symmetric")
    place = np.arange(side) - starts
    nearness = np.minimum(place + 1, window - place).clip(0).T
    return sources, nearness / nearness.sum(axis=1, keepdims=True)
