"""Copies of the training images."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from joblib import Memory
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import FunctionTransformer

from skrnd import _copies
from skrnd._copies import check_choice, count_targets, make_copies
from skrnd._copies import make_blurs as make_blurs_with
from skrnd.base import BaseImageTransformer
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften
from skrnd.geometry import Flip

make_blurs = partial(make_blurs_with, memory=Memory(None))


def copy_of(blur, images):
    """The copy that a fitted blur makes."""
    copy = np.empty_like(images)
    make_copies([blur], images, [copy], Memory(None))
    return copy


@pytest.fixture
def images(rng):
    """Standardised images."""
    return rng.normal(size=(20, 3, 8, 9)).astype(np.float32)


@pytest.mark.parametrize(
    ("k", "blur", "expected", "k_"),
    [
        (3, "svd", [SVDBlur(3)], 3),
        ([3, 0.5], "svd", [SVDBlur(3), SVDBlur(0.5)], [3, 0.5]),
        ((3,), "svd", [SVDBlur(3)], [3]),
        (np.array([3, 5]), "dct", [DCTBlur(3), DCTBlur(5)], [3, 5]),
        (2.5, "gaussian", [GaussianBlur(2.5)], 2.5),
        (3, ["svd", "dct"], [SVDBlur(3), DCTBlur(3)], [3, 3]),
        (3, "two-sided", [SVDBlur(3), SVDSoften(3), SVDSharpen(4)], 3),
        (
            [3, 0.5],
            "two-sided",
            [SVDBlur(3), SVDBlur(0.5), SVDSoften(3), SVDSoften(0.5), SVDSharpen(4)],
            [3, 0.5],
        ),
        (3, ["svd", SVDSharpen(5)], [SVDBlur(3), SVDSharpen(5)], 3),
        (3, None, [], None),
        ("auto", None, [], None),
        ([3, 4], None, [], None),
        ("auto", SVDBlur(5), [SVDBlur(5)], None),
        ([2, 4], SVDBlur(5), [SVDBlur(2), SVDBlur(4)], [2, 4]),
        ("auto", GaussianBlur(2.0), [GaussianBlur(2.0)], None),
        (3, ["svd", GaussianBlur(2.0)], [SVDBlur(3), GaussianBlur(2.0)], 3),
    ],
)
def test_strengths_meet_blurs(k, blur, expected, k_, images):
    blurs, _, used = make_blurs(k, blur, None, images, images)
    assert used == k_
    for actual, wanted in zip(blurs, expected, strict=True):
        np.testing.assert_array_equal(
            copy_of(actual, images), wanted.set_params(channel_axis=1).fit_transform(images)
        )


@pytest.mark.parametrize(
    ("k", "expected"),
    [(np.int64(3), 3), (np.float32(0.5), 0.5), (np.array([3, 4]), [3, 4]), ([0.5, 4], [0.5, 4])],
)
def test_strengths_are_numbers_of_python(k, expected, images):
    _, _, used = make_blurs(k, "svd", None, images, images)
    assert used == expected
    kinds = [type(one) for one in (used if isinstance(used, list) else [used])]
    assert kinds == [type(one) for one in np.atleast_1d(np.array(expected, object))]


@pytest.mark.parametrize("name", ["svd", "dct", "gaussian", "two-sided"])
def test_auto_chooses_one_strength_for_each_blur(name, images):
    (blur, *_), _, k_ = make_blurs("auto", name, None, images, images)
    assert np.isscalar(k_)
    assert k_ in blur.get_params().values()
    blurs, _, several = make_blurs("auto", [name, "svd"], None, images, images)
    assert several[0] == k_
    assert len(blurs) == (4 if name == "two-sided" else 2)


@pytest.mark.parametrize(
    ("k", "blur", "geometry", "groups"),
    [
        (3, "svd", None, [[0]]),
        ([3, 5], ["svd", "dct"], None, [[0, 1, 2, 3]]),
        (3, "svd", Flip(), [[0, 1]]),
        ("auto", None, None, [[]]),
        ("auto", None, [Flip(), Flip()], [[0, 1]]),
        (3, "two-sided", None, [[0], [1, 2]]),
        ([3, 5], "two-sided", None, [[0, 1], [2, 3, 4]]),
        (3, ["two-sided", "dct"], [Flip()], [[0, 1, 4], [2, 3, 4]]),
        ([3, 5], [SVDBlur(2), GaussianBlur(), DCTBlur(4)], None, [[0, 1, 2, 3, 4]]),
    ],
)
def test_sharpened_copy_has_a_predictor_of_its_own(k, blur, geometry, groups, images):
    blurs, made, _ = make_blurs(k, blur, geometry, images, images)
    assert made == groups
    assert count_targets(k, blur, geometry) == [1 + len(group) for group in groups]
    sharpened = [i for i, one in enumerate(blurs) if isinstance(one, SVDSharpen)]
    blurred = [i for i, one in enumerate(blurs) if isinstance(one, SVDBlur)]
    assert not any(set(sharpened) & set(group) and set(blurred) & set(group) for group in made)


def test_auto_looks_at_the_images_held_out(images):
    flat = np.broadcast_to(images[..., :1], images.shape)
    assert make_blurs("auto", "svd", None, images, flat)[2] == 1
    assert make_blurs("auto", "svd", None, flat, images)[2] > 1


def standardised(images):
    images = images.astype(np.float32)
    mean, std = (f(images, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    return (images - mean) / std


@pytest.mark.parametrize(
    ("name", "low", "high"), [("svd", 27, 28), ("dct", 18, 22), ("gaussian", 0.6, 0.9)]
)
def test_auto_finds_a_strength_that_works_on_cifar10(name, low, high, load_images):
    """Those with which SVHN is found, see docs/benchmark_strength.md."""
    images = standardised(load_images("cifar10_train", 256))
    assert low <= make_blurs("auto", name, None, images, images)[2] <= high


def test_smooth_images_are_changed_more(load_images):
    """What can be seen in CIFAR-10 cannot be seen in SVHN, which is smoother."""
    sharp = standardised(load_images("cifar10_train", 256))
    smooth = standardised(load_images("svhn", 256))
    of_sharp, of_smooth = (make_blurs("auto", "two-sided", None, x, x)[0] for x in (sharp, smooth))
    assert of_sharp[2].k == 16
    assert all(ours.k > theirs.k for ours, theirs in zip(of_smooth, of_sharp, strict=True))


def test_given_transformers_are_cloned_and_not_changed(images):
    mine = SVDBlur(5, image_shape=(3, 8, 9))
    blurs, _, _ = make_blurs("auto", [mine], mine, images, images)
    assert mine.image_shape == (3, 8, 9)
    assert not hasattr(mine, "n_features_in_")
    assert all(blur is not mine for blur in blurs)


class Constant(SVDBlur):
    """Makes something else of the images than the blur it is derived from."""

    def transform(self, X):
        return np.ones_like(X)


class Dimmed(SVDBlur):
    """The same by the method that transformers of one's own define."""

    def _transform_images(self, images):
        return images / 2


def test_what_a_subclass_makes_is_taken(images):
    np.testing.assert_array_equal(copy_of(Constant().fit(images), images), np.ones_like(images))
    np.testing.assert_array_equal(copy_of(Dimmed().fit(images), images), images / 2)


def flip(images):
    """Mirror left and right; a view with a negative stride."""
    return images[..., ::-1]


def test_geometry_and_function_transformers_make_copies(images):
    blurs, _, k_ = make_blurs(3, "svd", [FunctionTransformer(flip)], images, images)
    assert k_ == 3
    np.testing.assert_array_equal(copy_of(blurs[1], images), images[..., ::-1])


def test_images_with_few_columns_are_not_ambiguous(rng):
    images = rng.normal(size=(5, 3, 9, 4)).astype(np.float32)
    for blur in ("svd", SVDBlur()):
        (made,), _, _ = make_blurs("auto", blur, None, images, images)
        assert copy_of(made, images).shape == images.shape


def test_copies_are_made_block_by_block(images):
    whole = copy_of(SVDBlur(3, channel_axis=1).fit(images), images)
    seen = []

    def spy(block):
        seen.append(len(block))
        return SVDBlur(3, channel_axis=1).fit_transform(block)

    # A sixteenth of it has room for 7 images of 864 bytes.
    with config_context(working_memory=0.1):
        np.testing.assert_array_equal(copy_of(FunctionTransformer(spy), images), whole)
    assert seen == [7, 7, 6]


def double(images):
    """Work in place."""
    images *= 2
    return images


@pytest.mark.parametrize(
    ("blur", "aims"),
    [
        ("svd", [(0.75, 0.5)]),
        ("dct", [(0.85, 0.75)]),
        ("gaussian", [(0.85, 0.85)]),
        ("two-sided", [(0.6, 0.5), (0.63, None)]),
    ],
)
def test_strengths_aim_at_what_is_documented(blur, aims, images, monkeypatch):
    """Shares of pairs told apart, and of the log effective rank."""

    def choose_strength(*args, aim_told_apart, aim_rank):
        seen.append((aim_told_apart, aim_rank))
        return original(*args, aim_told_apart=aim_told_apart, aim_rank=aim_rank)

    seen, original = [], _copies.choose_strength
    monkeypatch.setattr(_copies, "choose_strength", choose_strength)
    make_blurs("auto", blur, None, images, images)
    assert seen == aims


@pytest.mark.parametrize(
    ("k", "blur", "geometry", "error", "match"),
    [
        ([], "svd", None, ValueError, "k is empty"),
        (3, ["svd", "box"], None, ValueError, "Unknown blur 'box'.*dct.*gaussian.*svd"),
        ([3, "auto"], "svd", None, ValueError, r"k must be 'auto', a number or a list .*'auto'"),
        ([[2, 3]], "svd", None, ValueError, "k must be 'auto', a number or a list of numbers"),
        (3, ["svd", None], None, ValueError, "lists None"),
        (3, ["svd", "gaussian"], None, ValueError, r"k=3 would be pixels for 'gaussian'.*k='auto'"),
        ([3], [DCTBlur(), "gaussian"], None, ValueError, r"k=\[3\] would be pixels"),
        ("auto", [SVDBlur], None, TypeError, "blur must hold transformers.*class"),
        ("auto", None, [3], TypeError, "geometry must hold transformers .*got 3"),
    ],
)
def test_what_makes_no_copies_of_any_image(k, blur, geometry, error, match):
    with pytest.raises(error, match=match):
        check_choice(k, blur, geometry)


@pytest.mark.parametrize(
    "others", [GaussianBlur(2.0), SVDSharpen(0.5), FunctionTransformer(), "gaussian"]
)
def test_a_strength_in_pixels_goes_with_blurs_that_take_no_other(others):
    check_choice(1.5, ["gaussian", others], None)


@pytest.mark.parametrize(
    ("k", "blur", "match"),
    [
        (3, GaussianBlur(), r"k=3 has no effect on blur=GaussianBlur\(\).*blur__sigma"),
        (4, SVDSharpen(0.5), r"k=4 has no effect on blur=SVDSharpen\(\)"),
        (8, "svd", "k=8 is out of range for images of 8 x 9"),
        ([3, 28], "dct", "k=28 is out of range for images of 8 x 9"),
        (2.5, "svd", "'k' parameter of SVDBlur must be"),
    ],
)
def test_parameters_that_do_not_go_together(k, blur, match, images):
    with pytest.raises(ValueError, match=match):
        make_blurs(k, blur, None, images, images)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda images: images[..., 1:], r"must keep the shape.*\(20, 3, 8, 8\).*\(20, 3, 8, 9\)"),
        (lambda images: np.full_like(images, np.nan), "returned NaN or infinity"),
        (double, "read-only"),
    ],
)
def test_transformers_that_make_no_copy(function, match, images):
    before = images.copy()
    with pytest.raises(ValueError, match=match):
        copy_of(FunctionTransformer(function), images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("n_changed", [0, 1])
def test_copies_that_are_the_images_are_warned_of(n_changed, images):
    """All of them: some images have nothing to blur."""

    def same(X):
        return np.concatenate([X[:n_changed] / 2, X[n_changed:]])

    caught = nullcontext() if n_changed else pytest.warns(UserWarning, match="leaves the images as")
    with caught:
        copy_of(FunctionTransformer(same), images)
    # There is nothing to change here.
    copy_of(FunctionTransformer(same), np.zeros_like(images))


@pytest.mark.parametrize("row", [0, 19])
def test_one_image_that_changes_is_enough_in_whichever_block_it_is(row, images):
    def without_one(X):
        is_this = (images[row] == X).all(axis=(1, 2, 3), keepdims=True)
        return np.where(is_this, 0, X)

    with config_context(working_memory=0.1):
        copy = copy_of(FunctionTransformer(without_one), images)
    np.testing.assert_array_equal(copy[row], np.zeros_like(copy[row]))


def test_blank_images_at_the_end_hide_no_copies_that_are_the_images(images):
    images[14:] = 0
    with (
        config_context(working_memory=0.1),
        pytest.warns(UserWarning, match="leaves the images as"),
    ):
        copy_of(FunctionTransformer(), images)


def test_copies_are_arrays_whatever_transformers_are_set_to_return(images):
    """As pandas has no frames of images, its output is that of plain rows alone."""
    in_frames = FunctionTransformer(flip).set_output(transform="pandas")
    for blur, output in ((in_frames, "default"), (FunctionTransformer(flip), "pandas")):
        with config_context(transform_output=output):
            (made,), _, _ = make_blurs("auto", blur, None, images, images)
            np.testing.assert_array_equal(copy_of(made, images), flip(images))


def test_an_error_tells_which_transformer_raised_it(images):
    def fail(X):
        raise ZeroDivisionError("one's own")

    with pytest.raises(ZeroDivisionError) as caught:
        copy_of(FunctionTransformer(fail), images)
    assert "FunctionTransformer(func=<function" in caught.value.__notes__[0]


class Halved(BaseImageTransformer):
    """With nothing but what it needs."""

    def _transform_images(self, images):
        return images / 2

    def __init__(self):
        pass


def test_a_transformer_may_do_without_layouts(images):
    (blur,), _, _ = make_blurs("auto", Halved(), None, images, images)
    np.testing.assert_allclose(copy_of(blur, images), images / 2)
    np.testing.assert_allclose(Halved().fit_transform(images), images / 2)
    # Whose channels could not be told from the images alone.
    many = images.repeat(2, axis=1)
    (blur,), _, _ = make_blurs("auto", Halved(), None, many, many)
    np.testing.assert_allclose(copy_of(blur, many), many / 2)


class FitsInPlace(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        X *= 0
        return self

    def transform(self, X):
        return X


def test_a_transformer_cannot_change_what_it_is_fitted_on(images):
    before = images.copy()
    with pytest.raises(ValueError, match="read-only"):
        make_blurs("auto", FitsInPlace(), None, images, images)
    np.testing.assert_array_equal(images, before)


def test_copies_share_one_decomposition(images, monkeypatch):
    """Choosing strengths, and making the copies, decomposes each image once."""
    seen = []
    decompose = _copies._decompose
    monkeypatch.setattr(
        _copies, "_decompose", lambda block: seen.append(len(block)) or decompose(block)
    )
    blurs, _, _ = make_blurs("auto", "two-sided", None, images, images[:15])
    assert seen == [15]
    copies = [np.empty_like(images) for _ in blurs]
    make_copies(blurs, images, copies, Memory(None))
    assert seen == [15, 20]
    for blur, copy in zip(blurs, copies, strict=True):
        np.testing.assert_array_equal(copy, blur.transform(images))


def test_memory_keeps_the_decomposition_for_other_strengths(images, tmp_path):
    memory = Memory(tmp_path, verbose=0)
    for n_calls, (k, some) in enumerate([(2, images), (2, images), (5, images), (5, images + 1)]):
        (blur,), _, _ = make_blurs_with(k, "svd", None, some, some, memory)
        copy = np.empty_like(some)
        make_copies([blur], some, [copy], memory)
        np.testing.assert_array_equal(copy, copy_of(blur, some))
        kept = list(tmp_path.rglob("output.pkl"))
        assert len(kept) == (2 if n_calls == 3 else 1)
