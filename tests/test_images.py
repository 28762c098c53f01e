"""Layouts of images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skrnd._images import find_layout

channels = st.integers(1, 4)
sides = st.integers(5, 12)


@pytest.mark.parametrize(
    ("sample_shape", "image_shape", "channel_axis", "chw"),
    [
        ((8, 9), None, "auto", (1, 8, 9)),
        ((3, 8, 9), None, "auto", (3, 8, 9)),
        ((8, 9, 3), None, "auto", (3, 8, 9)),
        ((7, 8, 9), None, 1, (7, 8, 9)),
        ((7, 8, 9), None, -1, (9, 7, 8)),
        ((3, 3, 3), None, -3, (3, 3, 3)),
        ((3, 8, 4), None, 3, (4, 3, 8)),
        ((72,), (8, 9), "auto", (1, 8, 9)),
        ((216,), (3, 8, 9), "auto", (3, 8, 9)),
        ((216,), (8, 9, 3), "auto", (3, 8, 9)),
        ((8, 9), (8, 9), "auto", (1, 8, 9)),
    ],
)
def test_layouts_are_recognised(sample_shape, image_shape, channel_axis, chw):
    assert find_layout(sample_shape, image_shape, channel_axis).chw == chw


def test_flat_rows_without_image_shape_hold_no_image():
    assert find_layout((64,)) is None


@pytest.mark.parametrize(("shape", "why"), [((3, 8, 4), "both"), ((8, 9, 10), "neither")])
def test_ambiguous_channels_are_refused(shape, why):
    with pytest.raises(ValueError, match=f"Ambiguous channels.*{why}.*channel_axis=1.*-1"):
        find_layout(shape)


@pytest.mark.parametrize("image_shape", [(8, 8), (8, 9, 3), (3, 8, 8)])
def test_image_shape_must_fit_the_rows(image_shape):
    with pytest.raises(ValueError, match=r"image_shape=.* does not fit X.* 72 values"):
        find_layout((72,), image_shape)


def test_image_shape_must_be_that_of_stacked_images():
    with pytest.raises(ValueError, match=r"image_shape=\(9, 8\), of 72 values, does not fit"):
        find_layout((8, 9), (9, 8))


@pytest.mark.parametrize("image_shape", [(72,), (2, 2, 2, 9), (-8, -9), (0, 9), (8.0, 9.0)])
def test_image_shape_must_be_two_or_three_positive_integers(image_shape):
    with pytest.raises(ValueError, match="image_shape must be"):
        find_layout((72,), image_shape)


@given(n=st.integers(0, 3), c=channels, h=sides, w=sides, last=st.booleans(), flat=st.booleans())
def test_nchw_and_back_is_the_identity(n, c, h, w, last, flat):
    nchw = np.arange(n * c * h * w).reshape(n, c, h, w)
    stack = np.moveaxis(nchw, 1, -1) if last else nchw
    X = stack.reshape(n, c * h * w) if flat else stack
    layout = find_layout(X.shape[1:], stack.shape[1:] if flat else None)

    for convert in (np.asarray, lambda array: torch.from_numpy(array.copy())):
        images = layout.to_nchw(convert(X))
        np.testing.assert_array_equal(images, nchw)
        np.testing.assert_array_equal(layout.from_nchw(images), X)
