"""What X may come in: arrays that are read slice by slice, Datasets, lists."""

import contextlib
from functools import partial

import dask.array
import h5py
import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from skrnd import SVDRNDDetector
from skrnd._containers import array_of, is_unread, note_rows_not_finite, rows_of, take_rows
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


@pytest.mark.parametrize("batch_size", [1, 4, 10, 12])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_a_loader_is_read_as_a_whole(batch_size, dtype):
    X = torch.arange(10 * 6).reshape(10, 2, 3).to(dtype)
    rows = rows_of(DataLoader(TensorDataset(X, torch.ones(10)), batch_size=batch_size))
    torch.testing.assert_close(rows, X, rtol=0, atol=0)


def test_a_dataset_is_sliced_as_an_array_is():
    X = np.arange(10 * 6, dtype=np.int16).reshape(10, 2, 3)
    rows = rows_of(Items(*((image, "label") for image in X)))
    assert is_unread(rows)
    assert (rows.shape, rows.ndim, rows.dtype, len(rows)) == ((10, 2, 3), 3, np.int16, 10)
    np.testing.assert_array_equal(rows[7], X[7])
    for cut in (slice(2, 5), slice(None, None, -3), slice(4, 4), slice(8, 99)):
        np.testing.assert_array_equal(rows[cut], X[cut])
        assert rows[cut].dtype == X.dtype
    for dtype in (None, np.float32):
        made = np.asarray(rows, dtype=dtype)
        assert made.dtype == (dtype or X.dtype)
        np.testing.assert_array_equal(made, X)


NINE = TensorDataset(torch.zeros(9, 8, 8))
batches = partial(BatchSampler, batch_size=2)


class Stream(IterableDataset):
    """Images without an end that is known."""

    def __iter__(self):
        return iter(np.zeros((4, 3, 8, 8)))


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        (Stream(), TypeError, "IterableDataset"),
        (
            DataLoader(NINE, shuffle=True),
            ValueError,
            "does not keep all rows in their order",
        ),
        (
            DataLoader(NINE, batch_sampler=batches(RandomSampler(NINE), drop_last=False)),
            ValueError,
            "does not keep all rows in their order",
        ),
        (
            DataLoader(NINE, batch_sampler=batches(SequentialSampler(NINE), drop_last=True)),
            ValueError,
            "does not keep all rows in their order",
        ),
        (
            DataLoader(NINE, batch_size=2, drop_last=True),
            ValueError,
            "does not keep all rows in their order",
        ),
        (
            DataLoader(NINE, batch_size=None),
            ValueError,
            "pass one with a batch_size",
        ),
        (
            DataLoader(NINE, batch_size=3, collate_fn=lambda rows: torch.stack([rows[0][0]])),
            ValueError,
            "gives 3 rows, and its dataset has 9",
        ),
        (
            DataLoader(NINE, batch_size=3, collate_fn=lambda rows: torch.ones(4, 8, 8)),
            ValueError,
            "gives 12 rows, and its dataset has 9",
        ),
        (
            DataLoader(
                [np.zeros((8, 8), dtype=np.uint8)] * 4 + [np.zeros((8, 8))] * 4, batch_size=4
            ),
            ValueError,
            r"unlike batches, .*uint8 .*\(8, 8\) and from row 4 on of .*float64 and \(8, 8\)",
        ),
        (
            DataLoader([np.zeros((3, 8, 8))] * 4 + [np.zeros((1, 8, 8))] * 4, batch_size=4),
            ValueError,
            r"\(3, 8, 8\) and from row 4 on of torch\.float64 and \(1, 8, 8\)",
        ),
    ],
)
def test_what_has_no_order_is_refused(X, error, match):
    with pytest.raises(error, match=match):
        rows_of(X)


@pytest.mark.parametrize("shape", [(20,), (1, 8, 8), (20, 2, 2, 2, 2)])
def test_unread_arrays_of_a_bad_shape_are_refused(unread, estimator, shape):
    with pytest.raises(ValueError, match=r"2D array|1 sample|5 dimensions"):
        validate_rows(
            estimator, unread(np.ones(shape)), reset=True, allow_unread=True, ensure_min_samples=2
        )


@pytest.mark.parametrize("mode", ["1", "P", "PA"])
def test_pil_images_of_no_brightness_are_refused(estimator, mode):
    image = pytest.importorskip("PIL.Image").new("RGB", (8, 8))
    with pytest.raises(ValueError, match=rf"PIL images of mode {mode},.*convert\('RGB'\)"):
        validate_rows(estimator, [image, image.convert(mode)], reset=True)
    assert validate_rows(estimator, [image.convert("L")] * 2, reset=True)[0].shape == (2, 8, 8)


def test_a_list_of_tensors_is_read_as_each_of_them_is(estimator):
    tensors = [torch.ones(8, 8, requires_grad=True), torch.zeros(8, 8)]
    X, _ = validate_rows(estimator, [one.bfloat16() for one in tensors], reset=True)
    np.testing.assert_array_equal(X, [np.ones((8, 8)), np.zeros((8, 8))])


def test_rows_that_are_masked_or_unlike_each_other_are_refused():
    row = np.ma.masked_array(np.ones((4, 4)), mask=np.eye(4))
    with pytest.raises(ValueError, match="A row of X is a masked array"):
        array_of([np.ones((4, 4)), row])
    told = r"row 2 has \(4, 2\), and row 0 has \(4, 3\)\. Images must have one size"
    with pytest.raises(ValueError, match=told):
        array_of([np.ones((4, side)) for side in (3, 3, 2, 1)])


def test_a_note_says_which_rows_are_not_finite():
    X = np.zeros((6, 2, 2))
    error = ValueError()
    note_rows_not_finite(error, X)
    note_rows_not_finite(error, X[0, 0])
    note_rows_not_finite(error, np.array([[None]]))
    assert not hasattr(error, "__notes__")
    X[2, 1, 0], X[4, 0, 1] = np.inf, np.nan
    note_rows_not_finite(error, X)
    note_rows_not_finite(error, X[1:], np.arange(31, 36))
    assert error.__notes__ == [
        "2 of 6 rows hold NaN or infinity, row 2 is the first. All others are "
        "X[np.isfinite(X).reshape(len(X), -1).all(axis=1)].",
        "Row 32 is the first that holds NaN or infinity.",
    ]


class Pictures(Dataset):
    """Pictures, or arrays, with labels."""

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, row):
        return self.pictures[row], 0


def test_rows_of_a_dataset_are_refused_as_those_of_a_list(estimator):
    image = pytest.importorskip("PIL.Image").new("RGB", (8, 8))
    with pytest.raises(ValueError, match="PIL images of mode P"):
        validate_rows(estimator, Pictures([image.convert("P")] * 3), reset=True)
    masked = np.ma.masked_array(np.ones((8, 8)), mask=np.eye(8))
    with pytest.raises(ValueError, match="A row of X is a masked array"):
        validate_rows(estimator, Pictures([masked] * 3), reset=True)


@pytest.mark.parametrize("rows", [np.arange(20), np.array([0, 19])])
def test_masks_of_dask_are_refused(rows):
    X = np.ma.masked_array(np.ones((20, 8, 8)), mask=np.zeros((20, 8, 8)))
    X[0, 0, 0] = np.ma.masked
    with pytest.raises(ValueError, match="X is a masked array"):
        take_rows(dask.array.from_array(X, chunks=(2, 8, 8)), rows)


def test_files_and_groups_are_not_taken_for_pictures(estimator, tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["images"] = np.ones((4, 8, 8))
        group = zarr.create_group(tmp_path / "file.zarr")
        group.create_array("images", data=np.ones((4, 8, 8)))
        for X in (file, group):
            with pytest.raises(TypeError, match=r"pass what it holds under one of .*'images'"):
                validate_rows(estimator, X, reset=True)


@pytest.mark.parametrize("kind", ["Date", "Datetime", "Duration", "Time"])
def test_dates_among_the_numbers_of_a_frame_are_refused(kind, estimator):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"number": [1.0, 2.0], "date": [0, 1]})
    frame = frame.with_columns(polars.col("date").cast(getattr(polars, kind)))
    with pytest.raises(TypeError, match="X holds dates or times"):
        validate_rows(estimator, frame, reset=True)
