"""What X may come in: arrays that are read slice by slice, Datasets, lists."""

import contextlib

import dask.array
import h5py
import numpy as np
import pytest
import torch
import zarr

from skrnd import SVDRNDDetector
from skrnd._containers import is_unread, take_rows
from skrnd._validation import validate_rows
from skrnd.blur import GaussianBlur


@pytest.fixture
def estimator():
    """Any estimator with image_shape and channel_axis."""
    return GaussianBlur()


@pytest.fixture(params=["h5py", "zarr", "dask"])
def unread(request, tmp_path):
    """A function that puts an array where it is read slice by slice."""

    def make(X):
        if request.param == "dask":
            return dask.array.from_array(X, chunks=(7, *X.shape[1:]))
        if request.param == "zarr":
            return zarr.create_array(tmp_path / "X.zarr", data=X, chunks=(7, *X.shape[1:]))
        return stack.enter_context(h5py.File(tmp_path / "X.h5", "w")).create_dataset("X", data=X)

    with contextlib.ExitStack() as stack:
        yield make


@pytest.mark.parametrize(
    "rows", [np.arange(50), np.array([3]), np.array([0, 2, 3, 5]), np.array([1, 20, 49])]
)
def test_rows_are_read_where_they_lie(unread, rows, rng):
    X = rng.normal(size=(50, 4, 5))
    X_unread = unread(X)
    assert is_unread(X_unread)
    assert not is_unread(X)
    np.testing.assert_array_equal(take_rows(X_unread, rows), X[rows])
    np.testing.assert_array_equal(take_rows(X, rows), X[rows])


def test_rows_that_follow_one_another_are_no_copy(rng):
    X = rng.normal(size=(50, 4))
    assert np.shares_memory(take_rows(X, np.arange(3, 9)), X)


def test_unread_arrays_stay_so_only_where_they_may(unread, estimator, rng):
    X = unread(rng.normal(size=(20, 8, 9)))
    checked, layout = validate_rows(estimator, X, reset=True, allow_unread=True)
    assert checked is X
    assert layout.chw == (1, 8, 9)
    assert estimator.sample_shape_ == (8, 9)
    assert isinstance(validate_rows(estimator, X, reset=True)[0], np.ndarray)


@pytest.mark.parametrize(
    ("values", "match"),
    [(np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")],
)
def test_bad_values_are_found_when_they_are_read(unread, estimator, values, match):
    X = np.ones((20, 8, 8))
    X[17, 3, 3] = values
    X, _ = validate_rows(estimator, unread(X), reset=True, allow_unread=True)
    take_rows(X, np.arange(10))
    with pytest.raises(ValueError, match=match) as raised:
        take_rows(X, np.arange(10, 20))
    assert raised.value.__notes__ == ["Row 17 is the first that holds NaN or infinity."]


def test_a_chunk_is_read_once(rng):
    """Not once for each of its rows, for it is decoded whole."""

    class Counted:
        """Says what is asked of it."""

        shape, ndim, dtype = (100, 4), 2, np.dtype(float)

        def __init__(self, chunks):
            self.chunks = chunks

        def __getitem__(self, rows):
            asked.append(rows)
            return X[rows]

    X, rows = rng.normal(size=(100, 4)), np.array([0, 17, 39, 40, 99])
    for chunks in ((20, 4), ((20, 20, 20, 20, 20), (4,))):
        asked = []
        np.testing.assert_array_equal(take_rows(Counted(chunks), rows), X[rows])
        assert asked == [slice(0, 18), slice(39, 40), slice(40, 41), slice(99, 100)]
    for chunks in (None, (1, 4)):
        asked = []
        np.testing.assert_array_equal(take_rows(Counted(chunks), rows), X[rows])
        assert asked == [slice(row, row + 1) for row in rows]


class Items(torch.utils.data.Dataset):
    """Gives what it holds."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        return self.items[row]


@pytest.mark.parametrize(
    ("dataset", "error", "match"),
    [
        (Items(), ValueError, "a Dataset with 0 sample"),
        (
            Items(*([np.ones((4, 4))] * 9), np.ones((4, 5))),
            ValueError,
            r"row 9 .* \(4, 5\)",
        ),
        (Items({"image": np.ones((4, 4))}), TypeError, "got dict with the keys 'image'"),
    ],
)
def test_datasets_that_give_no_rows(dataset, error, match):
    with pytest.raises(error, match=match):
        SVDRNDDetector().fit(dataset)


@pytest.mark.parametrize("shape", [(20,), (1, 8, 8), (20, 2, 2, 2, 2)])
def test_unread_arrays_of_a_bad_shape_are_refused(unread, estimator, shape):
    with pytest.raises(ValueError, match=r"2D array|1 sample|5 dimensions"):
        validate_rows(
            estimator, unread(np.ones(shape)), reset=True, allow_unread=True, ensure_min_samples=2
        )


@pytest.mark.parametrize("mode", ["1", "P"])
def test_pil_images_of_no_brightness_are_refused(estimator, mode):
    image = pytest.importorskip("PIL.Image").new("RGB", (8, 8))
    with pytest.raises(ValueError, match=rf"PIL images of mode {mode},.*convert\('RGB'\)"):
        validate_rows(estimator, [image, image.convert(mode)], reset=True)
    assert validate_rows(estimator, [image.convert("L")] * 2, reset=True)[0].shape == (2, 8, 8)


def test_a_list_of_tensors_is_read_as_each_of_them_is(estimator):
    tensors = [torch.ones(8, 8, requires_grad=True), torch.zeros(8, 8)]
    X, _ = validate_rows(estimator, [one.bfloat16() for one in tensors], reset=True)
    np.testing.assert_array_equal(X, [np.ones((8, 8)), np.zeros((8, 8))])
