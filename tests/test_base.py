"""The contract that every blur and every geometry keeps."""

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skrnd.base import BaseImageTransformer
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften
from skrnd.geometry import Contrast, Flip, Invert, Rotate, Shear, Translate

TRANSFORMERS = [
    SVDBlur(k=3),
    SVDBlur(),
    SVDSharpen(),
    SVDSoften(),
    DCTBlur(k=3),
    DCTBlur(),
    GaussianBlur(),
    GaussianBlur(2.5),
    Flip(),
    Rotate(),
    Rotate(20.0),
    Translate(),
    Translate(-2, axis="horizontal"),
    Shear(),
    Shear(axis="vertical"),
    Contrast(),
    Invert(),
]


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
def test_layouts_agree(transformer, rng):
    nchw = rng.normal(size=(4, 3, 12, 10)).astype(np.float32)
    expected = clone(transformer).fit_transform(nchw)
    assert expected.shape == nchw.shape

    nhwc = np.moveaxis(nchw, 1, -1)
    np.testing.assert_array_equal(
        clone(transformer).fit_transform(nhwc), np.moveaxis(expected, 1, -1)
    )
    np.testing.assert_array_equal(clone(transformer).fit_transform(nchw[:, 0]), expected[:, 0])
    for stack, new in ((nchw, expected), (nhwc, np.moveaxis(expected, 1, -1))):
        flat = clone(transformer).set_params(image_shape=stack.shape[1:])
        np.testing.assert_array_equal(flat.fit_transform(stack.reshape(4, -1)), new.reshape(4, -1))


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.uint8, np.float32),
        (np.int16, np.float32),
        (bool, np.float32),
        (np.int32, np.float64),
        (np.float16, np.float16),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (">f8", np.float64),
    ],
)
def test_dtypes(transformer, dtype, expected, rng):
    X = (rng.random((3, 8, 8)) * 50).astype(dtype)
    new = clone(transformer).fit_transform(X)
    assert new.dtype == expected
    assert new.dtype.isnative
    reference = clone(transformer).fit_transform(X.astype(np.float64))
    tolerance = 1e-2 if dtype == np.float16 else 1e-4
    np.testing.assert_allclose(new, reference, atol=tolerance * 50)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_tensor_in_tensor_out(transformer, dtype, rng):
    X = (
        torch.from_numpy(rng.random((3, 3, 8, 9)) * 50)
        .to(dtype)
        .requires_grad_(dtype == torch.float32)
    )
    new = clone(transformer).fit_transform(X)
    assert isinstance(new, torch.Tensor)
    assert new.device == X.device
    assert new.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    assert not new.requires_grad
    reference = clone(transformer).fit_transform(X.detach().double().numpy())
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    np.testing.assert_allclose(new.double(), reference, atol=tolerance * 50)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
def test_blocks_do_not_show(transformer, rng):
    X = rng.normal(size=(50, 8, 8))
    whole = clone(transformer).fit_transform(X)
    with config_context(working_memory=0.02):
        np.testing.assert_array_equal(clone(transformer).fit_transform(X), whole)


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [
        (np.float16, np.finfo(np.float16).max),
        (torch.float16, torch.finfo(torch.float16).max),
        (torch.bfloat16, torch.finfo(torch.bfloat16).max),
    ],
)
def test_what_16_bits_have_no_room_for_becomes_their_largest(dtype, largest):
    """Twice of it, as sharpening makes it, would be infinite."""
    X = np.full((2, 8, 8), float(largest))
    X[1] *= -1
    X = torch.tensor(X, dtype=dtype) if isinstance(dtype, torch.dtype) else X.astype(dtype)
    new = SVDSharpen(gain=2.0).fit_transform(X)
    assert new.dtype == dtype
    np.testing.assert_array_equal(np.asarray(new.tolist()), np.asarray(X.tolist()))


def test_parameters_are_checked_without_a_fit(rng):
    with pytest.raises(ValueError, match="'sigma' parameter of GaussianBlur must be"):
        GaussianBlur(-1.0).transform(rng.normal(size=(2, 8, 8)))


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
def test_input_stays_as_it_is(transformer, rng):
    X = rng.normal(size=(4, 8, 8))
    before = X.copy()
    X.flags.writeable = False
    clone(transformer).fit_transform(X)
    clone(transformer).fit_transform(X[::-1, :, ::-1])
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("transformer", TRANSFORMERS, ids=repr)
def test_needs_no_fit(transformer, rng):
    X = rng.normal(size=(4, 8, 8))
    np.testing.assert_array_equal(
        clone(transformer).transform(X), clone(transformer).fit_transform(X)
    )


def test_shape_is_remembered(rng):
    blur = GaussianBlur().fit(rng.normal(size=(4, 8, 8)))
    with pytest.raises(ValueError, match=r"\(8, 9\).*GaussianBlur.*\(8, 8\)"):
        blur.transform(rng.normal(size=(4, 8, 9)))


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_flat_rows_that_look_like_images_are_warned_of(convert, rng):
    images = convert(rng.integers(0, 40, size=(40, 8, 8)).cumsum(-1) % 256)
    rows = images.reshape(40, 64)
    match = r"64 features.*SVDBlur .* one pixel high.*image_shape"
    with pytest.warns(UserWarning, match=match) as caught:
        SVDBlur().fit(rows)
    assert caught[0].filename == __file__
    SVDBlur(image_shape=(8, 8)).fit(rows)
    SVDBlur().fit(images)
    SVDBlur().fit(rows + 0.5)


def test_names_of_flat_rows(rng):
    frame = pd.DataFrame(rng.normal(size=(4, 64)), columns=[f"pixel_{i}" for i in range(64)])
    blur = SVDBlur(3, image_shape=(8, 8)).set_output(transform="pandas")
    new = blur.fit_transform(frame)
    assert list(new.columns) == list(frame.columns)
    np.testing.assert_array_equal(
        new, SVDBlur(3).fit_transform(frame.to_numpy().reshape(-1, 8, 8)).reshape(4, 64)
    )
    assert blur.get_feature_names_out().tolist() == list(frame.columns)


@pytest.mark.parametrize("shape", [(6, 8, 8), (6, 3, 8, 8)])
def test_stacks_stay_arrays_whatever_the_output_is_set_to(shape, rng):
    """They have no columns to be a frame."""
    X = rng.random(shape)
    expected = GaussianBlur().fit_transform(X)
    blur = GaussianBlur().set_output(transform="pandas")
    np.testing.assert_array_equal(blur.fit_transform(X), expected)
    assert not hasattr(blur, "get_feature_names_out")
    with config_context(transform_output="pandas"):
        new = make_pipeline(GaussianBlur(), Flip()).fit_transform(X)
    np.testing.assert_array_equal(new, Flip().fit_transform(expected))
    # Of flat rows it does the same as before, after a stack too.
    assert list(blur.fit_transform(pd.DataFrame({"a": [1.0], "b": [2.0]})).columns) == ["a", "b"]


def test_lives_in_a_pipeline_of_flat_rows(rng):
    X = rng.random((6, 64))
    pipeline = make_pipeline(GaussianBlur(image_shape=(8, 8)), MinMaxScaler())
    expected = MinMaxScaler().fit_transform(
        [scipy.ndimage.gaussian_filter(row.reshape(8, 8), 1.0).ravel() for row in X]
    )
    np.testing.assert_allclose(pipeline.fit_transform(X), expected, atol=1e-12)


class MedianBlur(BaseImageTransformer):
    """A blur of a user."""

    def __init__(self, size=3, *, image_shape=None, channel_axis="auto"):
        self.size = size
        self.image_shape = image_shape
        self.channel_axis = channel_axis

    def _transform_images(self, images):
        return scipy.ndimage.median_filter(images, size=(1, 1, self.size, self.size))


def test_a_blur_of_a_users_own(rng):
    X = rng.random((4, 8, 9, 3)).astype(np.float32)
    new = MedianBlur().fit_transform(X)
    assert new.dtype == np.float32
    np.testing.assert_array_equal(new, scipy.ndimage.median_filter(X, size=(1, 3, 3, 1)))


class Identity(BaseImageTransformer):
    """Returns what it is given."""

    def _transform_images(self, images):
        return images


@pytest.mark.parametrize("container", [np.asarray, torch.from_numpy])
def test_what_comes_back_is_no_view_of_the_input(container, rng):
    X = rng.random((4, 8, 9, 3))
    before = X.copy()
    new = Identity().fit_transform(container(X))
    new += 1
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(new, X + 1)


class Cropping(BaseImageTransformer):
    """Breaks the contract."""

    def _transform_images(self, images):
        return images[..., 1:]


def test_a_transformer_must_keep_the_shape(rng):
    with pytest.raises(ValueError, match="Cropping must keep the shape"):
        Cropping().fit(rng.random((4, 8, 8)))


def test_the_base_class_is_abstract():
    with pytest.raises(TypeError, match=r"abstract.*_transform_images"):
        BaseImageTransformer()


class Returns(BaseImageTransformer):
    """What numpy makes of the images."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def _transform_images(self, images):
        return self.function(images.numpy())


def read_only(images):
    images.flags.writeable = False
    return images


@pytest.mark.parametrize(
    "function",
    [lambda images: images[..., ::-1], lambda images: images.astype(">f4"), read_only],
)
def test_a_transformer_may_return_any_array(function, rng):
    X = rng.normal(size=(4, 3, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(Returns(function).fit_transform(X), function(X.copy()))


@pytest.mark.parametrize("bad", [np.full((4, 8, 8), np.nan), np.ones((4, 9, 9, 9))])
def test_a_fit_that_is_refused_leaves_what_was_fitted(bad, rng):
    blur = GaussianBlur().fit(pd.DataFrame(rng.normal(size=(4, 3)), columns=list("abc")))
    before = vars(blur).copy()
    with pytest.raises(ValueError, match=r"NaN|[Aa]mbiguous"):
        blur.fit(bad)
    assert vars(blur) == before
