"""Geometry against numpy's and scipy's, and against pixels placed by hand."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skrnd.geometry import Contrast, Flip, Invert, Rotate, Shear, Translate

images = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=9),
    elements=st.floats(-100, 100),
)


def warped(image, matrix):
    """scipy's: each output pixel (row, column) is fetched from matrix @ it, about the centre."""
    centre = (np.array(image.shape) - 1) / 2
    return scipy.ndimage.affine_transform(
        image, matrix, offset=centre - matrix @ centre, order=1, mode="reflect"
    )


@given(images)
def test_flip(X):
    np.testing.assert_array_equal(Flip().fit_transform(X), X[..., ::-1])
    np.testing.assert_array_equal(Flip("vertical").fit_transform(X), X[:, ::-1])


@given(images, st.integers(-5, 5))
def test_quarter_turns_of_squares_and_half_turns_of_all_are_exact(X, n_quarters):
    side = min(X.shape[1:])
    squares = X[:, :side, :side]
    np.testing.assert_array_equal(
        Rotate(90 * n_quarters).fit_transform(squares), np.rot90(squares, n_quarters, (1, 2))
    )
    np.testing.assert_array_equal(Rotate(180).fit_transform(X), X[:, ::-1, ::-1])


@pytest.mark.parametrize("angle", [20.0, -33.3, 90.0, 135.0])
@pytest.mark.parametrize("shape", [(8, 8), (7, 11)])
def test_rotation_agrees_with_scipys(angle, shape, rng):
    X = rng.normal(size=(3, *shape))
    # scipy turns its first axis, the rows, towards its second.
    expected = scipy.ndimage.rotate(X, angle, (1, 2), reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(Rotate(angle).fit_transform(X), expected, atol=1e-9)


def test_rotation_is_anticlockwise():
    X = np.zeros((1, 9, 9))
    X[0, 4, 8] = 1.0  # right of the centre
    turned = Rotate(45).fit_transform(X)[0]
    row, column = np.unravel_index(turned.argmax(), turned.shape)
    assert row < 4 < column  # above, still to the right


@given(images, st.sampled_from(["vertical", "horizontal"]), st.data())
def test_translation_reflects_at_the_edge(X, axis, data):
    axis_of_stack = {"vertical": 1, "horizontal": 2}[axis]
    size = X.shape[axis_of_stack]
    shift = data.draw(st.integers(1 - size, size - 1))
    shape_of_shift = np.roll([0, shift, 0], 0 if axis == "vertical" else 1)
    expected = scipy.ndimage.shift(X, shape_of_shift, order=0, mode="reflect")
    np.testing.assert_array_equal(Translate(shift, axis).fit_transform(X), expected)


@pytest.mark.parametrize(
    ("share", "height", "n_pixels"),
    [(0.25, 8, 2), (-0.5, 9, -4), (0.01, 8, 0), (0.9, 8, 7), (0.99, 8, 7), (-0.9, 1, 0)],
)
def test_a_share_of_the_side_is_rounded_to_pixels(share, height, n_pixels, rng):
    X = rng.normal(size=(2, height, 20))
    np.testing.assert_array_equal(
        Translate(share).fit_transform(X), Translate(n_pixels).fit_transform(X)
    )


@pytest.mark.parametrize("shape", [(8, 8), (7, 11)])
@pytest.mark.parametrize("angle", [30.0, -50.0])
def test_shear_agrees_with_scipys(shape, angle, rng):
    X = rng.normal(size=(2, *shape))
    slope = np.tan(np.radians(angle))
    for axis, matrix in {
        "horizontal": np.array([[1.0, 0.0], [-slope, 1.0]]),
        "vertical": np.array([[1.0, -slope], [0.0, 1.0]]),
    }.items():
        np.testing.assert_allclose(
            Shear(angle, axis).fit_transform(X), [warped(x, matrix) for x in X], atol=1e-9
        )


@given(images, st.floats(0.1, 5))
def test_contrast(X, factor):
    mean = X.mean((1, 2), keepdims=True)
    new = Contrast(factor).fit_transform(X)
    np.testing.assert_allclose(new, mean + factor * (X - mean), atol=1e-9)
    np.testing.assert_allclose(new.mean((1, 2)), mean[:, 0, 0], atol=1e-9)


def test_large_values_have_room():
    X = np.linspace(2e38, 3e38, 64, dtype=np.float32).reshape(1, 8, 8)
    mean = X.mean(dtype=np.float64)
    np.testing.assert_allclose(Contrast().fit_transform(X), (X + mean) / 2, rtol=1e-6)
    np.testing.assert_allclose(Invert().fit_transform(X), X[:, ::-1, ::-1], rtol=1e-6)


@given(images)
def test_invert_keeps_the_range_and_undoes_itself(X):
    inverted = Invert().fit_transform(X)
    np.testing.assert_allclose(inverted.min((1, 2)), X.min((1, 2)), atol=1e-9)
    np.testing.assert_allclose(inverted.max((1, 2)), X.max((1, 2)), atol=1e-9)
    np.testing.assert_allclose(Invert().fit_transform(inverted), X, atol=1e-9)


def test_invert_of_a_picture_is_its_negative(load_images):
    X = load_images("cifar10_test", 20)
    X[:, :, 0, :2] = [0, 255]
    np.testing.assert_array_equal(Invert().fit_transform(X), 255.0 - X)


@pytest.mark.parametrize(
    "transformer", [Flip(), Rotate(20), Translate(), Shear(), Contrast(), Invert()], ids=repr
)
def test_standardising_before_or_after_is_the_same(transformer, rng):
    """So a detector, which transforms standardised images, makes the picture one sees."""
    X = rng.normal(size=(3, 1, 8, 8))
    np.testing.assert_allclose(
        transformer.fit_transform((X - 2) / 5), (transformer.fit_transform(X) - 2) / 5, atol=1e-9
    )


@pytest.mark.parametrize(
    ("transformer", "match"),
    [
        (Flip("diagonal"), "'axis' parameter of Flip must be"),
        (Rotate(np.inf), "'angle' parameter of Rotate must be"),
        (Translate(1.5), "'shift' parameter of Translate must be"),
        (Translate(8), "shift=8 is out of range for images of 8 x 9 pixels.*less than 8"),
        (Translate(-9, "horizontal"), "shift=-9 is out of range.*less than 9"),
        (Shear(90), "'angle' parameter of Shear must be"),
        (Contrast(0), "'factor' parameter of Contrast must be"),
    ],
)
def test_parameters_out_of_range(transformer, match, rng):
    X = rng.normal(size=(4, 8, 9))
    for method in (transformer.fit, transformer.transform):
        with pytest.raises(ValueError, match=match):
            method(X)


@pytest.mark.parametrize("transformer", [Shear(89.9), Shear(30.0), Rotate(33.0)], ids=repr)
def test_single_precision_is_as_good_as_double(transformer, rng):
    X = rng.uniform(size=(1, 128, 128))
    expected = transformer.fit_transform(X.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(transformer.fit_transform(X.astype(np.float32)), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [1e17, -1e17, 3e20])
def test_many_turns_are_what_is_left_of_them(angle, rng):
    X = rng.normal(size=(2, 8, 8))
    expected = Rotate(float(np.fmod(angle, 360))).fit_transform(X)
    np.testing.assert_allclose(Rotate(angle).fit_transform(X), expected)
