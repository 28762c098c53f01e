"""Checks of X and y."""

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from skrnd import SVDRNDDetector
from skrnd._validation import (
    doubt_labels,
    inlier_rows,
    look_like_pixels,
    unchanged_on_error,
    validate_rows,
)
from skrnd.blur import GaussianBlur, SVDBlur


@pytest.fixture
def estimator():
    """Any estimator with image_shape and channel_axis."""
    return GaussianBlur()


def test_arrays_come_back_as_they_are(estimator, rng):
    X = rng.integers(0, 256, (5, 3, 8, 8)).astype(np.uint8)
    checked, layout = validate_rows(estimator, X, reset=True)
    assert checked.dtype == np.uint8
    assert np.shares_memory(checked, X)
    assert layout.chw == (3, 8, 8)
    assert estimator.n_features_in_ == 3
    assert estimator.sample_shape_ == (3, 8, 8)


def test_lists_frames_and_memory_maps_are_taken(estimator, rng, tmp_path):
    X = rng.normal(size=(5, 6))
    np.save(tmp_path / "X.npy", X)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    for given in (X.tolist(), frame, np.load(tmp_path / "X.npy", mmap_mode="r")):
        checked, _ = validate_rows(estimator, given, reset=True)
        np.testing.assert_array_equal(checked, X)
    validate_rows(estimator, frame, reset=True)
    assert estimator.feature_names_in_.tolist() == list("abcdef")


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (np.full((4, 8, 8), np.nan), ValueError, "NaN"),
        (np.full((4, 8, 8), np.inf), ValueError, "infinity"),
        (np.ones((4, 8, 8), dtype=complex), ValueError, "Complex data not supported"),
        (np.ones((4, 2, 2, 2, 2)), ValueError, "got 5 dimensions"),
        (np.ones(4), ValueError, "Expected 2D array"),
        (np.ones((0, 8, 8)), ValueError, "0 sample"),
        (np.ones((4, 0)), ValueError, r"0 feature|no value"),
    ],
)
def test_bad_values_are_refused_in_arrays_and_tensors(estimator, make, values, error, match):
    with pytest.raises(error, match=match):
        validate_rows(estimator, make(values), reset=True)


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        (scipy.sparse.csr_array(np.eye(4)), TypeError, "[Ss]parse"),
        (torch.eye(4).to_sparse(), TypeError, "[Ss]parse"),
        (np.array([["a", "b"], ["c", "d"]]), ValueError, "could not convert string|numeric"),
        (np.array([[{}, 1], [2, 3]], dtype=object), TypeError, "string or a real number"),
        (np.array([[10**400, 1], [2, 3]], dtype=object), ValueError, "too large for float64"),
        (torch.eye(4, device="meta"), TypeError, "on the device 'meta'"),
    ],
)
def test_what_is_not_an_array_of_numbers_is_refused(estimator, X, error, match):
    with pytest.raises(error, match=match):
        validate_rows(estimator, X, reset=True)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_are_refused(estimator):
    with pytest.raises(TypeError, match="X is a nested tensor; pass a stack"):
        validate_rows(estimator, torch.nested.as_nested_tensor([torch.ones(3)] * 2), reset=True)


def test_tensors_of_8_bits(estimator):
    values = torch.tensor([[0.5, -1.0], [2.0, 448.0]])
    X, _ = validate_rows(estimator, values.to(torch.float8_e4m3fn), reset=True)
    assert torch.equal(X, values)
    with pytest.raises(ValueError, match="NaN"):
        validate_rows(estimator, (values / 0).to(torch.float8_e5m2), reset=False)


def test_values_whose_sum_is_not_finite_are_fine(estimator):
    largest = np.finfo(np.float32).max
    X = np.array([[largest, -largest], [largest, -largest]] * 20, dtype=np.float32)
    assert validate_rows(estimator, X, reset=True)[0] is X


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_other_shapes_are_compared_whole(estimator, make):
    validate_rows(estimator, make((4, 3, 8, 8)), reset=True)
    with pytest.raises(ValueError, match=r"\(3, 8, 9\).*GaussianBlur.*\(3, 8, 8\)"):
        validate_rows(estimator, make((4, 3, 8, 9)), reset=False)
    with pytest.raises(ValueError, match=r"\(192,\).*\(3, 8, 8\)"):
        validate_rows(estimator, make((4, 192)), reset=False)


@pytest.mark.parametrize(
    ("fitted", "shape", "code"),
    [
        ((3, 8, 9), (8, 9, 3), None),
        ((3, 8, 9), (3, 8, 9), "X[None]"),
        ((3, 8, 9), (20, 8, 9, 3), "np.moveaxis(X, -1, 1)"),
        ((8, 9, 3), (20, 3, 8, 9), "np.moveaxis(X, 1, -1)"),
        ((8, 9), (20, 1, 8, 9), "X[:, 0]"),
        ((1, 8, 9), (20, 8, 9), "X[:, None]"),
        ((8, 9), (20, 8, 9, 1), "X[..., 0]"),
        ((8, 9, 1), (20, 8, 9), "X[..., None]"),
        ((3, 8, 9), (20, 216), "X.reshape(-1, 3, 8, 9)"),
        ((8, 9), (20, 72), "X.reshape(-1, 8, 9)"),
    ],
)
def test_a_shape_that_is_nearly_right_is_told_how_to_become_it(estimator, fitted, shape, code):
    validate_rows(estimator, np.ones((4, *fitted)), reset=True)
    X = np.ones(shape)
    with pytest.raises(ValueError, match="fitted on rows of shape") as told:
        validate_rows(estimator, X, reset=False)
    if code is None:
        assert "bring its axes into that order and pass X[None]" in str(told.value)
        return
    assert re.search(r"[Pp]ass (.+)\.$", str(told.value))[1] == code
    validate_rows(estimator, eval(code, {"np": np, "X": X}), reset=False)


@pytest.mark.parametrize("shape", [(4, 3, 7, 9), (4, 1, 8, 9)])
def test_pictures_of_another_size_are_told_what_resizes_them(estimator, shape):
    validate_rows(estimator, np.ones((4, 3, 8, 9)), reset=True)
    with pytest.raises(ValueError, match=r"\(3, 8, 9\)\. skrnd\.datasets\.load_images brings"):
        validate_rows(estimator, np.ones(shape), reset=False)


@pytest.mark.parametrize("shape", [(4, 7, 9), (4, 3, 8), (4, 3, 8, 9, 2), (4, 215)])
def test_another_shape_is_told_no_way(estimator, shape):
    validate_rows(estimator, np.ones((4, 3, 8, 9)), reset=True)
    with pytest.raises(ValueError, match=r"fitted on rows of shape \(3, 8, 9\)\.$"):
        validate_rows(estimator, np.ones(shape), reset=False)


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_flat_rows_get_scikit_learns_message(estimator, make):
    validate_rows(estimator, make((4, 6)), reset=True)
    with pytest.raises(ValueError, match="X has 5 features, but GaussianBlur is expecting 6"):
        validate_rows(estimator, make((4, 5)), reset=False)


def test_rows_that_are_not_finite_are_named(estimator):
    X = np.ones((5, 4, 4))
    X[[2, 4], 1, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match="Input X contains") as caught:
        validate_rows(estimator, X, reset=True)
    (note,) = caught.value.__notes__
    assert note.startswith("2 of 5 rows hold NaN or infinity, row 2 is the first.")
    assert len(X[np.isfinite(X).reshape(len(X), -1).all(axis=1)]) == 3
    with pytest.raises(ValueError, match="NaN or infinity, first in row 2"):
        validate_rows(estimator, torch.from_numpy(X), reset=True)
    with pytest.raises(ValueError, match="0 sample") as caught:
        validate_rows(estimator, X[:0], reset=True)
    assert not hasattr(caught.value, "__notes__")


def test_a_picture_is_no_stack_of_its_rows(estimator):
    picture = pytest.importorskip("PIL.Image").new("RGB", (8, 8))
    with pytest.raises(ValueError, match=r"X is a single picture.* pass a list"):
        validate_rows(estimator, picture, reset=True)


def test_a_column_of_images_is_to_be_stacked(estimator):
    column = pd.Series([np.ones((8, 8))] * 3)
    for X in (column, column.to_numpy()):
        with pytest.raises(ValueError, match=r"column of 3 ndarray objects; pass np\.stack\(X\)"):
            validate_rows(estimator, X, reset=True)


def test_a_refused_fit_leaves_everything_as_it_was(estimator):
    validate_rows(estimator, pd.DataFrame(np.ones((4, 2)), columns=["a", "b"]), reset=True)
    before = vars(estimator).copy()
    bad = pd.DataFrame(np.full((4, 3), np.nan), columns=["c", "d", "e"])
    with pytest.raises(ValueError, match="NaN"), unchanged_on_error(estimator):
        validate_rows(estimator, bad, reset=True)
    assert vars(estimator) == before


@pytest.mark.parametrize(
    "y",
    [
        [1, -1, 0, -1],
        np.array([[1], [-1], [0], [-1]]),
        np.array([1.0, -1.0, np.nan, -1.0]),
        pd.Series([1, -1, 1, -1], index=[7, 5, 3, 1]),
        np.array([1, -1, "x", -1], dtype=object),
        pd.Series([Decimal(1), Decimal(-1), None, Decimal(-1)]),
        [np.array(1), np.array(-1), np.array(2), np.array(-1)],
        pd.Series([1, -1, pd.NA, -1], dtype="Int64"),
        pd.Series([1, -1, pd.NA, -1], dtype=object),
        pd.array([1, -1, pd.NA, -1], dtype="Int64"),
        torch.tensor([1, -1, 2, -1]),
        torch.tensor([1, -1, 2, -1], dtype=torch.bfloat16),
    ],
)
def test_minus_one_marks_outliers(y):
    assert inlier_rows(y, 4).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    "y",
    [
        None,
        ["-1", "a", "-1", "b"],
        np.full((4, 2), -1),
        [0, 1, 2, 3],
        pd.Series(["ok", "ok", pd.NA, "-1"], dtype="string"),
        pd.array([True, False, pd.NA, True], dtype="boolean"),
    ],
)
def test_any_other_y_is_ignored(y):
    assert inlier_rows(y, 4).all()


@pytest.mark.parametrize(
    ("y", "named"),
    [
        ([0, 1, 0, 1], "0 and 1"),
        ([False, True, True, True], "False and True"),
        (["good", "good", "bad", "good"], "'bad' and 'good'"),
        (np.array(["good", 1, "good", 1], dtype=object), "'1' and 'good'"),
    ],
)
def test_two_labels_without_minus_one_are_warned_of(y, named):
    assert inlier_rows(y, 4).all()
    with pytest.warns(UserWarning, match=f"labels {named}, and all rows are taken for normal"):
        doubt_labels(y)


@pytest.mark.parametrize(
    "y",
    [[1] * 4, [0] * 4, [0, 1, 2, 1], [1, -1, 0, 1], [[0, 1]] * 4, [1, np.nan, 1, 1], [np.nan] * 4],
)
def test_other_labels_are_not(y):
    doubt_labels(y)


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
@pytest.mark.parametrize("shape", [(5, 0, 4), (5, 3, 0, 4)])
def test_rows_that_hold_no_value_are_refused(make, shape):
    for estimator in (SVDRNDDetector(), SVDBlur(), GaussianBlur()):
        with pytest.raises(ValueError, match=r"shape \(5, .*rows that hold no value"):
            estimator.fit(make(shape))


@pytest.mark.parametrize("y", [[1, 1, 1], [1] * 5, 1])
def test_y_of_another_length_is_refused(y):
    with pytest.raises(ValueError, match=r"inconsistent.*X has 4 rows"):
        inlier_rows(y, 4)


def test_no_rows_have_no_labels():
    assert inlier_rows([], 0).shape == (0,)


def test_y_without_a_normal_row_is_refused():
    with pytest.raises(ValueError, match="no normal row"):
        inlier_rows([-1, -1], 2)


@pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[s]"])
def test_dates_and_times_are_refused(dtype):
    with pytest.raises(TypeError, match="dates or times"):
        SVDRNDDetector().fit(np.zeros((20, 5), dtype))
    for frame in (pd.DataFrame, pl.DataFrame):
        dates = frame({name: np.arange(20).astype(dtype.replace("[s]", "[ns]")) for name in "ab"})
        with pytest.raises(TypeError, match="dates or times"):
            SVDRNDDetector().fit(dates)


@pytest.fixture
def pixels():
    """Four smooth images of 8 x 8, from 0 to 255, as rows."""
    ramp = np.linspace(0, 255, 64).round()
    return np.stack([ramp, ramp[::-1], ramp, ramp[::-1]])


def test_rows_of_pixels_look_like_pixels(pixels):
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert look_like_pixels(pixels)
    assert look_like_pixels(pixels.astype(np.uint8))
    assert look_like_pixels(np.tile(pixels, 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X[:, :63],
        lambda X: np.tile(X, 2),
        lambda X: X - 1,
        lambda X: X + 1,
        lambda X: X / 2,
        lambda X: np.random.default_rng(0).permuted(X, axis=1),
    ],
    ids=["no square", "two channels", "below 0", "beyond 255", "fractions", "no neighbours"],
)
def test_other_rows_do_not(change, pixels):
    assert not look_like_pixels(change(pixels))
