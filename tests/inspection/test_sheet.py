"""Which images are drawn, and how, against what is known of them."""

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from torch.utils.data import DataLoader, TensorDataset

from skrnd import SVDRNDDetector
from skrnd.inspection import ContactSheetDisplay

INF = float("inf")
QUICK = {"max_epochs": 1, "random_state": 0}
IMAGES = np.linspace(0, 1, 4 * 8 * 8).reshape(4, 8, 8)


def test_sheet_shows_the_extremes_in_order(rng):
    X = rng.integers(0, 256, size=(6, 5, 4, 3)).astype(np.uint8)
    display = ContactSheetDisplay.from_predictions(X, [0.3, -INF, 7.0, 2.0, -12.0, 1.0], n_images=2)
    assert display.rows.tolist() == [[1, 4], [2, 3]]
    assert [ax.get_title() for ax in display.axes_.flat] == ["-inf", "-12.0", "7.00", "2.00"]
    assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == ["most novel", "least novel"]
    for ax, row in zip(display.axes_.flat, (1, 4, 2, 3), strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), X[row] / 255)


def test_sheet_of_few_images():
    display = ContactSheetDisplay.from_predictions(IMAGES, [4, 3, 2, 1])
    assert display.rows.tolist() == [[3, 2, 1, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("shown", "options"),
    [
        (lambda X: X.transpose(0, 3, 1, 2), {"channel_axis": 1}),
        (lambda X: X.reshape(len(X), -1), {"image_shape": (5, 4, 3)}),
        (lambda X: torch.from_numpy(X), {"channel_axis": -1}),
        (lambda X: X.tolist(), {}),
        (lambda X: np.concatenate([X, X[..., :1]], axis=3), {}),
    ],
    ids=["first", "flat", "tensor", "list", "alpha"],
)
def test_sheet_in_every_layout(shown, options, rng):
    X = rng.uniform(size=(4, 5, 4, 3))
    display = ContactSheetDisplay.from_predictions(shown(X), [1, 2, 3, 4], n_images=1, **options)
    np.testing.assert_allclose(display.pictures[:, 0], X[[0, 3]])


def test_sheet_of_a_file_and_a_detector(detector, tmp_path, rng):
    X = rng.normal(size=(20, 16, 16))
    scores = detector.decision_function(X)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        unread = file.create_dataset("X", data=X, chunks=(5, 16, 16))
        display = ContactSheetDisplay.from_estimator(detector, unread, n_images=3)
    np.testing.assert_array_equal(display.rows[0], np.argsort(scores)[:3])
    np.testing.assert_allclose(display.scores[1], np.sort(scores)[::-1][:3])
    # Beyond [0, 255]: stretched from black to white.
    drawn = X[display.rows]
    expected = (drawn - drawn.min()) / np.ptp(drawn)
    np.testing.assert_allclose(display.pictures[..., 1], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "values", "white"),
    [
        # Digits of scikit-learn, from 0 to 16.
        (float, (0, 16), 16),
        (float, (2, 16), 16),
        (float, (0, 0.3), 1),
        (float, (0, 200), 255),
        (int, (0, 300), 300),
        (np.uint8, (0, 16), 255),
    ],
)
def test_values_of_a_sheet_that_are_white(dtype, values, white):
    X = np.tile(np.array(values, dtype), (4, 6, 3))
    display = ContactSheetDisplay.from_predictions(X, [1, 2, 3, 4], n_images=1)
    np.testing.assert_allclose(display.pictures[0, 0, 0, :2, 0], np.array(values) / white)


def test_sheet_of_datasets_and_loaders(rng):
    X = rng.normal(size=(60, 3, 8, 8)).astype(np.float32)
    detector = SVDRNDDetector(**QUICK).fit(X)
    sheet = ContactSheetDisplay.from_estimator(detector, X)
    dataset = TensorDataset(torch.from_numpy(X), torch.arange(60))
    for shown in (dataset, DataLoader(dataset, batch_size=25)):
        other = ContactSheetDisplay.from_estimator(detector, shown)
        np.testing.assert_array_equal(other.rows, sheet.rows)
        np.testing.assert_array_equal(other.pictures, sheet.pictures)


def test_sheet_has_the_layout_of_the_detector(rng):
    X = rng.normal(size=(60, 4, 8, 4))
    detector = SVDRNDDetector(channel_axis=-1, **QUICK).fit(X)
    assert ContactSheetDisplay.from_estimator(detector, X).pictures.shape == (2, 8, 4, 8, 3)
    rows = X[..., 0].reshape(60, 32)
    detector = SVDRNDDetector(image_shape=(4, 8), **QUICK)
    for shown in (rows, pd.DataFrame(rows), pd.DataFrame(rows).add_prefix("pixel")):
        display = ContactSheetDisplay.from_estimator(detector.fit(shown), shown)
        scores = detector.decision_function(shown)
        np.testing.assert_array_equal(display.rows[0], np.argsort(scores)[:8])
        assert display.pictures.shape == (2, 8, 4, 8, 3)


def test_floats_of_16_bits_are_drawn(rng):
    """Which have no room for the difference of the largest and the smallest."""
    X = np.linspace(-4e4, 4e4, 2 * 8 * 8).reshape(2, 8, 8).astype(np.float16)
    display = ContactSheetDisplay.from_predictions(X, ["0.5", "1.5"])
    expected = (X.astype(float) - X.min()) / np.ptp(X.astype(float))
    np.testing.assert_allclose(display.pictures[1, ::-1, ..., 0], expected, atol=1e-12)


def test_sheet_of_a_search_and_flat_rows(rng):
    X = rng.integers(0, 256, size=(40, 8, 8)).astype(np.uint8)
    detector = SVDRNDDetector(k=4, blur="svd", image_shape=(8, 8), **QUICK)
    search = GridSearchCV(detector, {"k": [4]}, scoring=lambda *given: 0.0, cv=2)
    search.fit(X.reshape(40, -1))
    display = ContactSheetDisplay.from_estimator(search, X.reshape(40, -1), n_images=1)
    np.testing.assert_allclose(display.pictures[0, 0, :, :, 0], X[display.rows[0, 0]] / 255)


def test_a_constant_picture_is_drawn():
    display = ContactSheetDisplay.from_predictions(np.full((2, 3, 3), -5.0), [0, 1])
    assert np.isfinite(display.pictures).all()


@pytest.mark.parametrize(
    ("X", "scores", "options", "message"),
    [
        (np.zeros((2, 9)), [0, 1], {}, "are not images.*flat with image_shape"),
        (np.zeros((2, 3, 3)), [0, 1, 2], {}, "inconsistent numbers"),
        (np.zeros((2, 3, 3)), [0, np.nan], {}, "y_score contains NaN"),
        (np.zeros((2, 3, 3)), [0, 1], {"n_images": 0}, "'n_images' parameter .*Got 0"),
        (np.zeros((2, 3, 3)), [0, 1], {"n_images": 2.5}, "'n_images' parameter .*Got 2.5"),
        (np.zeros((2, 3, 3, 3)), [0, 1], {"channel_axis": 2}, "'channel_axis' parameter .*Got 2"),
        (np.zeros((0, 3, 3)), [], {}, "no image to draw"),
        (np.ma.masked_equal(np.zeros((2, 3, 3)), 0), [0, 1], {}, "images is a masked array"),
        ([np.ma.masked_equal(np.zeros((3, 3)), 0)] * 2, [0, 1], {}, "A row of X is a masked"),
        (np.zeros((2, 5, 3, 3)), [0, 1], {"channel_axis": 1}, "5 channels cannot be drawn"),
    ],
)
def test_sheet_refuses(X, scores, options, message):
    with pytest.raises(ValueError, match=message):
        ContactSheetDisplay.from_predictions(X, scores, **options)
