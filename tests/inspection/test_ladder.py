"""Blurred images against numpy's and scipy's."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import torch
from sklearn import config_context

from skrnd.base import BaseImageTransformer
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften
from skrnd.geometry import Flip
from skrnd.inspection import BlurLadderDisplay


def titles(display):
    return [ax.get_title() for ax in display.axes_.flat]


def test_ladder_is_numpys_svd(rng):
    image = rng.uniform(size=(30, 40))
    display = BlurLadderDisplay.from_estimator(SVDBlur(), image)
    assert titles(display) == [
        "original",
        "k = 1",
        "k = 5",
        "k = 10",
        "k = 25",
    ]
    u, s, vh = np.linalg.svd(image, full_matrices=False)
    for ax, k in zip(display.axes_[0], (0, 1, 5, 10, 25), strict=True):
        expected = np.clip((u[:, : 30 - k] * s[: 30 - k]) @ vh[: 30 - k], 0, 1)
        for colour in range(3):
            np.testing.assert_allclose(ax.images[0].get_array()[..., colour], expected, atol=1e-12)


@pytest.mark.parametrize("kind", [DCTBlur, SVDSoften, SVDSharpen])
def test_ladder_of_every_blur(kind, rng):
    blur = kind()
    params = blur.get_params()
    display = BlurLadderDisplay.from_estimator(blur, rng.uniform(size=(8, 8)), strengths=[0.25, 3])
    assert titles(display) == ["original", "k = 0.25", "k = 3"]
    assert blur.get_params() == params


def test_ladder_of_sigma_is_scipys(rng):
    image = rng.uniform(size=(8, 8))
    display = BlurLadderDisplay.from_estimator(GaussianBlur(), image, strengths=[2.0])
    assert titles(display) == ["original", "sigma = 2"]
    expected = scipy.ndimage.gaussian_filter(image, 2.0)
    np.testing.assert_allclose(display.pictures[1, ..., 0], expected, atol=1e-12)


class Median(BaseImageTransformer):
    """A blur of a user, for images alone."""

    def __init__(self, size=3):
        self.size = size

    def _transform_images(self, images):
        return scipy.ndimage.median_filter(images, size=(1, 1, self.size, self.size))


def test_ladder_of_a_blur_of_ones_own(rng):
    image = rng.uniform(size=(8, 8))
    display = BlurLadderDisplay.from_estimator(Median(), image, strengths=[3, 9], parameter="size")
    assert titles(display) == ["original", "size = 3", "size = 9"]
    expected = scipy.ndimage.median_filter(image, size=9)
    np.testing.assert_allclose(display.pictures[2, ..., 0], expected, atol=1e-12)


def test_ladder_of_a_detector_is_refused(detector, rng):
    with pytest.raises(TypeError, match="takes a transformer, one of blurs_ of a detector"):
        BlurLadderDisplay.from_estimator(detector, rng.uniform(size=(8, 8)))


@pytest.mark.parametrize(
    ("shown", "layout"),
    [
        (lambda image: image, {}),
        (lambda image: image.transpose(2, 0, 1), {}),
        (lambda image: image.ravel(), {"image_shape": (12, 10, 3)}),
        (lambda image: torch.from_numpy(image), {"channel_axis": -1}),
        (lambda image: image.tolist(), {}),
        (lambda image: pd.Series(image.ravel()).rename("a row"), {"image_shape": (12, 10, 3)}),
        (lambda image: image / 255, {}),
    ],
    ids=["last", "first", "flat", "tensor", "list", "row of a frame", "float"],
)
def test_ladder_in_every_layout(shown, layout, rng):
    image = rng.integers(0, 256, size=(12, 10, 3)).astype(np.uint8)
    display = BlurLadderDisplay.from_estimator(SVDBlur(**layout), shown(image))
    np.testing.assert_allclose(display.pictures[0], image / 255, atol=1e-6)
    expected = SVDBlur(k=5).fit_transform(image[None].astype(float))[0] / 255
    np.testing.assert_allclose(display.pictures[2], np.clip(expected, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("blur", "image", "options", "message"),
    [
        (SVDBlur(), np.zeros(16), {}, "are not images.*flat with image_shape"),
        (SVDBlur(), np.zeros((4, 4)), {"strengths": [4]}, "below the shorter side of the image, 4"),
        (Flip(), np.zeros((4, 4)), {}, "must have a parameter k or sigma; got Flip"),
        (SVDBlur(), np.full((4, 4), np.nan), {}, "images contains NaN"),
        (SVDBlur(channel_axis=1), np.zeros((5, 4, 4)), {}, "5 channels cannot be drawn"),
    ],
)
def test_ladder_refuses(blur, image, options, message):
    with pytest.raises(ValueError, match=message):
        BlurLadderDisplay.from_estimator(blur, image, **options)


def test_ladder_whatever_transformers_are_set_to_return(rng):
    image = rng.uniform(size=(8, 8))
    expected = BlurLadderDisplay.from_estimator(SVDBlur(), image).pictures
    with config_context(transform_output="pandas"):
        pictures = BlurLadderDisplay.from_estimator(SVDBlur(), image).pictures
    np.testing.assert_array_equal(pictures, expected)


def test_ladder_of_a_gain_knows_no_limit(rng):
    image = rng.uniform(size=(8, 8))
    display = BlurLadderDisplay.from_estimator(
        SVDSharpen(4), image, strengths=[2, 40], parameter="gain"
    )
    assert titles(display) == ["original", "gain = 2", "gain = 40"]


def test_ladder_is_drawn_where_it_is_asked_for(rng):
    _, ax = plt.subplots()
    display = BlurLadderDisplay.from_estimator(SVDBlur(), rng.uniform(size=(8, 8)), ax=ax)
    assert display.ax_ is ax
