"""Displays against scikit-learn, numpy and scipy; maps of novelty whose place is known."""

import importlib.util
import pickle
import sys

import h5py
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from sklearn import config_context
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve
from torch.utils.data import DataLoader, TensorDataset

from skrnd import SVDRNDDetector, inspection
from skrnd.base import BaseImageTransformer
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften
from skrnd.geometry import Flip
from skrnd.inspection import (
    BlurLadderDisplay,
    ContactSheetDisplay,
    DetectionCurveDisplay,
    LossCurveDisplay,
    ScoreHistogramDisplay,
    judgements,
    novelty_map,
)
from skrnd.metrics import aupr_score, auroc_score, tnr_at_tpr_score

INF = float("inf")
QUICK = {"max_epochs": 1, "random_state": 0}
Y_TRUE, Y_SCORE = [1, 1, 1, -1, -1], [0.9, 0.7, 0.4, 0.5, 0.1]


@pytest.fixture(autouse=True)
def own_matplotlib_state():
    """Close what a test has drawn; the settings are as before."""
    mpl.use("agg")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="module")
def forest():
    X = np.random.default_rng(1).normal(size=(60, 2))
    return IsolationForest(n_estimators=10, random_state=0).fit(X)


@pytest.fixture(scope="module")
def detector():
    """Knows grey noise of 16 x 16 pixels."""
    X = np.random.default_rng(1).normal(size=(200, 16, 16))
    return SVDRNDDetector(blur="svd", max_epochs=3, random_state=0).fit(X)


def test_importing_and_mapping_take_no_matplotlib(detector, rng, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location("skrnd.once_more", inspection.__file__)
    once_more = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(once_more)
    assert once_more.novelty_map(detector, rng.normal(size=(1, 16, 16))).shape == (1, 16, 16)


IMAGES = np.linspace(0, 1, 4 * 8 * 8).reshape(4, 8, 8)
DRAWN = {
    "histogram": lambda ax=None: ScoreHistogramDisplay.from_predictions(Y_TRUE, Y_SCORE, ax=ax),
    "curve": lambda ax=None: DetectionCurveDisplay.from_predictions(Y_TRUE, Y_SCORE, ax=ax),
    "loss": lambda ax=None: LossCurveDisplay(loss_curve=np.array([2.0, 1.0])).plot(ax=ax),
    "ladder": lambda ax=None: BlurLadderDisplay.from_estimator(SVDBlur(), IMAGES[0], ax=ax),
    "sheet": lambda ax=None: ContactSheetDisplay.from_predictions(IMAGES, [4, 3, 2, 1], ax=ax),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_axes_are_the_callers_or_new(draw):
    display = draw()
    assert plt.get_fignums() == [1]
    assert display.figure_ is plt.figure(1)
    _, (ax, other) = plt.subplots(1, 2)
    display = draw(ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.plot() is display
    assert display.ax_ is not ax
    assert not other.has_data()
    assert len(plt.get_fignums()) == 3
    display.figure_.canvas.draw()


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_without_matplotlib(draw, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"Display needs matplotlib: pip install \"skrnd\[plot\]"):
        draw()


@pytest.mark.parametrize(
    "from_estimator",
    [
        lambda none: ScoreHistogramDisplay.from_estimator(none, [[0.0]], [1]),
        lambda none: DetectionCurveDisplay.from_estimator(none, [[0.0]], [1]),
        lambda none: ContactSheetDisplay.from_estimator(none, IMAGES),
    ],
    ids=["histogram", "curve", "sheet"],
)
def test_without_matplotlib_nothing_is_scored(from_estimator, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="needs matplotlib"):
        # An estimator that can do nothing.
        from_estimator(None)


# -- histograms -----------------------------------------------------------


def bars(display):
    """The heights of the bars of each group, by its colour."""
    groups = {}
    for bar in display.ax_.patches:
        groups.setdefault(bar.get_facecolor(), []).append(bar.get_height())
    return list(groups.values())


def test_histograms_are_numpys(rng):
    y_true = np.repeat([1, -1], [30, 10])
    y_score = np.r_[rng.normal(size=30), rng.normal(-3, 1, size=10)]
    edges = np.linspace(-2, 2, 9)
    display = ScoreHistogramDisplay.from_predictions(y_true, y_score, bins=edges)
    for label, heights in zip((1, -1), bars(display), strict=True):
        own = np.clip(y_score[y_true == label], -2, 2)
        np.testing.assert_allclose(heights, np.histogram(own, edges)[0] / len(own))


def test_number_of_bins_by_a_rule_of_numpys(rng):
    y_score = rng.normal(size=500)
    (heights,) = bars(ScoreHistogramDisplay.from_predictions([1] * 500, y_score, bins="fd"))
    low, high = np.quantile(y_score, [0.01, 0.99])
    assert len(heights) == len(np.histogram_bin_edges(y_score, "fd", (low, high))) - 1


def test_histograms_of_a_detector(forest, rng):
    X, y = rng.normal(size=(20, 2)), np.repeat([1, -1], 10)
    display = ScoreHistogramDisplay.from_estimator(forest, X, y)
    np.testing.assert_array_equal(display.y_score, forest.decision_function(X))
    assert display.threshold == 0
    assert display.ax_.lines[0].get_xdata() == [0, 0]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert sorted(texts) == ["normal (10)", "novel (10)", "threshold"]


def test_histograms_count_far_and_infinite_scores():
    y_score = [*np.linspace(-1, 1, 400), 1e9, -INF]
    (heights,) = bars(ScoreHistogramDisplay.from_predictions([1] * 402, y_score, bins=20))
    assert sum(heights) == pytest.approx(1)
    # About as many in each, but for the ends.
    np.testing.assert_allclose(heights[1:-1], 1 / 20, atol=0.003)


@pytest.mark.parametrize(
    ("y_true", "y_score", "message"),
    [
        ([1, 0], [0.1, 0.2], "y_true must hold 1"),
        ([1, -1], [0.1, np.nan], "y_score contains NaN"),
        ([1, -1], [0.1], "inconsistent numbers"),
        ([1, -1], [INF, -INF], "no finite score"),
    ],
)
def test_histograms_refuse(y_true, y_score, message):
    with pytest.raises(ValueError, match=message):
        ScoreHistogramDisplay.from_predictions(y_true, y_score)


# -- curves ---------------------------------------------------------------

# New ones for each example would take seconds.
AXES = Figure().subplots()
some = st.lists(st.integers(-4, 4), min_size=1, max_size=12)


def curve(normal, novel, **options):
    """Labels, scores and the curve that is drawn of them."""
    y_true = np.repeat([1, -1], [len(normal), len(novel)])
    y_score = np.array([*normal, *novel], dtype=float)
    AXES.clear()
    display = DetectionCurveDisplay.from_predictions(y_true, y_score, ax=AXES, **options)
    return y_true, y_score, display


@settings(max_examples=40)
@given(normal=some, novel=some, pos_label=st.sampled_from([1, -1]))
def test_roc_and_precision_recall_are_scikit_learns(normal, novel, pos_label):
    y_true, y_score, display = curve(normal, novel, kind="roc", pos_label=pos_label)
    fpr, tpr, _ = roc_curve(y_true == pos_label, pos_label * y_score, drop_intermediate=False)
    np.testing.assert_allclose(display.line_.get_xydata(), np.column_stack([fpr, tpr]))
    assert display.figure_of_merit == auroc_score(y_true, y_score)
    y_true, y_score, display = curve(normal, novel, kind="precision-recall", pos_label=pos_label)
    precision, recall, _ = precision_recall_curve(y_true == pos_label, pos_label * y_score)
    np.testing.assert_allclose(display.line_.get_xydata(), np.column_stack([recall, precision]))
    assert display.figure_of_merit == aupr_score(y_true, y_score, pos_label=pos_label)


@settings(max_examples=40)
@given(normal=some, novel=some, pos_label=st.sampled_from([1, -1]), tpr=st.floats(0.01, 1))
def test_the_tnr_at_each_tpr_can_be_read_off(normal, novel, pos_label, tpr):
    y_true, y_score, display = curve(normal, novel, kind="tnr-tpr", pos_label=pos_label)
    assert display.line_.get_drawstyle() == "steps-pre"
    x, y = display.line_.get_data()
    read = y[np.flatnonzero(x >= tpr - 1e-12)[0]]
    expected = tnr_at_tpr_score(y_true, y_score, tpr=tpr, pos_label=pos_label)
    assert read == pytest.approx(expected)
    assert display.figure_of_merit == tnr_at_tpr_score(y_true, y_score, pos_label=pos_label)
    assert display.ax_.lines[1].get_xydata().tolist() == [[0.95, display.figure_of_merit]]


def test_curve_by_hand_with_infinities():
    display = DetectionCurveDisplay.from_predictions([1, 1, -1, -1], [INF, 0, 1, -INF])
    points = [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert display.line_.get_xydata().tolist() == points


def test_curves_of_several_detectors_share_axes(forest, rng):
    X, y = rng.normal(size=(40, 2)), np.repeat([1, -1], 20)
    first = DetectionCurveDisplay.from_estimator(forest, X, y, kind="tnr-tpr")
    second = DetectionCurveDisplay.from_predictions(
        y, -forest.decision_function(X), kind="tnr-tpr", name="upside down", ax=first.ax_, color="k"
    )
    assert first.ax_ is second.ax_
    expected = tnr_at_tpr_score(y, forest.decision_function(X))
    assert first.figure_of_merit == expected
    texts = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert texts[0] == f"IsolationForest (TNR at 95 % TPR = {expected:.3f})"
    assert texts[1].startswith("upside down (")
    assert second.line_.get_color() == "k"
    assert first.ax_.get_xlabel() == "true positive rate (positive: normal)"


@pytest.mark.parametrize(
    ("y_true", "y_score", "options", "message"),
    [
        ([1, -1], [1, 0], {"kind": "det"}, "kind must be one of .*'tnr-tpr'.*; got 'det'"),
        ([1, -1], [1, 0], {"pos_label": 0}, "pos_label must be 1 or -1; got 0"),
        ([1, 1], [1, 0], {}, "needs both normal rows"),
        ([1, 2], [1, 0], {}, "y_true must hold 1"),
        ([1, -1], [1, np.nan], {}, "y_score contains NaN"),
    ],
)
def test_curves_refuse(y_true, y_score, options, message):
    with pytest.raises(ValueError, match=message):
        DetectionCurveDisplay.from_predictions(y_true, y_score, **options)
    assert plt.get_fignums() == []


def test_an_unknown_kind_is_refused_before_anything_is_scored():
    with pytest.raises(ValueError, match="kind must be one of"):
        DetectionCurveDisplay.from_estimator(None, None, None, kind="det")


# -- loss -----------------------------------------------------------------


def test_loss_curve(detector, forest):
    display = LossCurveDisplay.from_estimator(detector, color="k")
    assert display.line_.get_xdata().tolist() == [1, 2, 3]
    assert display.line_.get_ydata().tolist() == detector.loss_curve_
    assert display.ax_.get_legend().get_texts()[0].get_text() == "SVDRNDDetector"
    assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())
    assert display.validation_line_ is None
    for estimator in (SVDRNDDetector(), IsolationForest()):
        with pytest.raises(NotFittedError):
            LossCurveDisplay.from_estimator(estimator)
    with pytest.raises(ValueError, match=r"IsolationForest has no loss_curve_\. Of a Pipeline"):
        LossCurveDisplay.from_estimator(forest)


def test_loss_curve_of_the_rows_held_out(rng):
    detector = SVDRNDDetector(early_stopping=True, max_epochs=3, random_state=0)
    detector.fit(rng.normal(size=(100, 3)))
    display = LossCurveDisplay.from_estimator(detector)
    assert display.validation_line_.get_ydata().tolist() == detector.validation_loss_curve_
    assert display.validation_line_.get_markevery() == [np.argmin(detector.validation_loss_curve_)]
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["SVDRNDDetector", "SVDRNDDetector, rows held out"]


# -- blur ladder ----------------------------------------------------------


def titles(display):
    return [ax.get_title() for ax in display.axes_.flat]


def test_ladder_is_numpys_svd(rng):
    image = rng.uniform(size=(30, 40))
    display = BlurLadderDisplay.from_estimator(SVDBlur(), image)
    assert titles(display) == ["original", "k = 1", "k = 5", "k = 10", "k = 25"]
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
        (lambda image: image / 255, {}),
    ],
    ids=["last", "first", "flat", "tensor", "list", "float"],
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
        (SVDBlur(), np.zeros(16), {}, "are no images.*flat with image_shape"),
        (SVDBlur(), np.zeros((4, 4)), {"strengths": [4]}, "below the shorter side of the image, 4"),
        (Flip(), np.zeros((4, 4)), {}, "must have a parameter k or sigma; got Flip"),
        (SVDBlur(), np.full((4, 4), np.nan), {}, "images contains NaN"),
        (SVDBlur(channel_axis=1), np.zeros((5, 4, 4)), {}, "5 channels cannot be drawn"),
    ],
)
def test_ladder_refuses(blur, image, options, message):
    with pytest.raises(ValueError, match=message):
        BlurLadderDisplay.from_estimator(blur, image, **options)


# -- contact sheet --------------------------------------------------------


def test_sheet_shows_the_extremes_in_order(rng):
    X = rng.integers(0, 256, size=(6, 5, 4, 3)).astype(np.uint8)
    display = ContactSheetDisplay.from_predictions(X, [0.3, -INF, 7.0, 2.0, -12.0, 1.0], n_images=2)
    assert display.rows.tolist() == [[1, 4], [2, 3]]
    assert titles(display) == ["-inf", "-12.0", "7.00", "2.00"]
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


def test_sheet_and_map_of_what_a_detector_takes(rng):
    X = rng.normal(size=(60, 3, 8, 8)).astype(np.float32)
    detector = SVDRNDDetector(**QUICK).fit(X)
    sheet = ContactSheetDisplay.from_estimator(detector, X)
    maps = novelty_map(detector, X)
    dataset = TensorDataset(torch.from_numpy(X), torch.arange(60))
    for shown in (dataset, DataLoader(dataset, batch_size=25)):
        other = ContactSheetDisplay.from_estimator(detector, shown)
        np.testing.assert_array_equal(other.rows, sheet.rows)
        np.testing.assert_array_equal(other.pictures, sheet.pictures)
        np.testing.assert_array_equal(novelty_map(detector, shown), maps)


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


def test_ladder_whatever_transformers_are_set_to_return(rng):
    image = rng.uniform(size=(8, 8))
    expected = BlurLadderDisplay.from_estimator(SVDBlur(), image).pictures
    with config_context(transform_output="pandas"):
        pictures = BlurLadderDisplay.from_estimator(SVDBlur(), image).pictures
    np.testing.assert_array_equal(pictures, expected)


def test_a_constant_picture_is_drawn():
    display = ContactSheetDisplay.from_predictions(np.full((2, 3, 3), -5.0), [0, 1])
    assert np.isfinite(display.pictures).all()


@pytest.mark.parametrize(
    ("X", "scores", "options", "message"),
    [
        (np.zeros((2, 9)), [0, 1], {}, "are no images.*flat with image_shape"),
        (np.zeros((2, 3, 3)), [0, 1, 2], {}, "inconsistent numbers"),
        (np.zeros((2, 3, 3)), [0, np.nan], {}, "y_score contains NaN"),
        (np.zeros((2, 3, 3)), [0, 1], {"n_images": 0}, "n_images == 0, must be >= 1"),
        (np.zeros((2, 5, 3, 3)), [0, 1], {"channel_axis": 1}, "5 channels cannot be drawn"),
    ],
)
def test_sheet_refuses(X, scores, options, message):
    with pytest.raises(ValueError, match=message):
        ContactSheetDisplay.from_predictions(X, scores, **options)


# -- novelty maps ---------------------------------------------------------


def found(maps, places):
    """Mean over images of how well the map tells the place from the rest (AUROC)."""
    pairs = zip(places, maps, strict=True)
    return np.mean([roc_auc_score(place.ravel(), novelty.ravel()) for place, novelty in pairs])


@pytest.mark.parametrize("side", [16, 40])
def test_the_place_of_a_smooth_patch_is_found(detector, side, rng):
    X = rng.normal(size=(10, side, side))
    smooth = scipy.ndimage.gaussian_filter(X, (0, 2, 2))
    places = np.zeros(X.shape, dtype=bool)
    size = side // 2
    for place, row, column in zip(places, *rng.integers(0, side - size + 1, (2, 10)), strict=True):
        place[row : row + size, column : column + size] = True
    X_patched = np.where(places, smooth, X)
    assert found(novelty_map(detector, X_patched, step=3), places) > 0.85
    # The same places with nothing in them.
    assert 0.35 < found(novelty_map(detector, X, step=3), places) < 0.65


def test_windows_side_by_side_are_scores(detector, rng):
    tiles = rng.normal(size=(6, 16, 16)) * np.linspace(0.5, 2, 6)[:, None, None]
    image = np.block([[*tiles[:3]], [*tiles[3:]]])
    expected = -detector.score_samples(tiles).reshape(2, 3)
    novelty = novelty_map(detector, [image], window=16, step=16)
    np.testing.assert_allclose(novelty, [np.kron(expected, np.ones((16, 16)))], rtol=1e-5)


def test_judgements_are_those_of_the_formula(rng):
    """Error and contrast of the detector's notes, from what the networks say."""
    X = rng.normal(size=(60, 8, 8))
    detector = SVDRNDDetector(geometry=Flip(), **QUICK).fit(X)
    judged = judgements(detector, X)
    assert list(judged) == [
        "predictor 1: error",
        "predictor 1: contrast to copy 1, SVDBlur",
        "predictor 1: contrast to copy 4, Flip",
        "predictor 2: error",
        "predictor 2: contrast to copy 2, SVDSoften",
        "predictor 2: contrast to copy 3, SVDSharpen",
        "predictor 2: contrast to copy 4, Flip",
    ]
    np.testing.assert_array_equal(max_of(judged), -detector.score_samples(X))
    x = torch.from_numpy((X[:, None] - detector.mean_) / detector.scale_).float()
    units = detector._units.reshape(2, 2)
    for number, (pair, of_pair) in enumerate(zip(detector._pairs, units, strict=True), start=1):
        f = pair.predictor(x).double().numpy()
        g = pair.targets(x, len(pair.targets.mean)).double().numpy()
        apart = np.square(f[:, None] - g).sum(2)
        own = {name: value for name, value in judged.items() if f"predictor {number}" in name}
        error, *contrasts = own.values()
        np.testing.assert_allclose(error * of_pair[0], apart[:, 0] / f.shape[1], rtol=1e-4)
        for i, contrast in enumerate(contrasts, start=1):
            way = np.square(g[:, i] - g[:, 0]).sum(1)
            expected = np.maximum(0, 1 + (apart[:, 0] - apart[:, i]) / way)
            np.testing.assert_allclose(contrast * of_pair[1], expected, rtol=1e-3, atol=1e-4)


def max_of(judged):
    return np.max(list(judged.values()), axis=0)


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"blur": None}, ["error"]),
        ({"blur": "svd"}, ["error"]),
        ({"blur": None, "novelty": "contrast"}, ["error"]),
        ({"blur": "dct", "novelty": "contrast"}, ["error", "contrast to copy 1, DCTBlur"]),
        ({"novelty": "error"}, ["predictor 1: error", "predictor 2: error"]),
    ],
)
def test_judgements_of_other_detectors(params, names, rng):
    X = rng.normal(size=(60, 8, 8))
    detector = SVDRNDDetector(**params, **QUICK).fit(X)
    judged = judgements(pickle.loads(pickle.dumps(detector)), X)
    assert list(judged) == names
    np.testing.assert_array_equal(max_of(judged), -detector.score_samples(X))


def test_judgements_of_plain_rows_and_of_what_is_no_detector(forest, rng):
    X = rng.normal(size=(60, 3))
    detector = SVDRNDDetector(**QUICK)
    with pytest.raises(NotFittedError):
        judgements(detector, X)
    judged = judgements(detector.fit(X), X)
    np.testing.assert_array_equal(judged.pop("error"), -detector.score_samples(X))
    assert judged == {}
    with pytest.raises(ValueError, match="X has 2 features"):
        judgements(detector, X[:, :2])
    with pytest.raises(TypeError, match="takes an SVDRNDDetector; got IsolationForest"):
        judgements(forest, X)


@pytest.mark.parametrize("window", [6, 7, 16])
def test_maps_window_by_window(detector, window, rng):
    """A loop over windows, filled by numpy's pad."""
    images = rng.normal(size=(2, 19, 23))
    total, weight = np.zeros(images.shape), np.zeros(images.shape)
    before = (16 - window) // 2
    around = (before, 16 - window - before)
    nearness = 1 + np.minimum(np.arange(window), np.arange(window)[::-1])
    for row in {*range(0, 20 - window, 4), 19 - window}:
        for column in {*range(0, 24 - window, 4), 23 - window}:
            place = np.s_[:, row : row + window, column : column + window]
            seen = np.pad(images[place], ((0, 0), around, around), mode="symmetric")
            novelty = -detector.score_samples(seen)[:, None, None]
            total[place] += novelty * np.outer(nearness, nearness)
            weight[place] += np.outer(nearness, nearness)
    maps = novelty_map(detector, images, window=window, step=4)
    np.testing.assert_allclose(maps, total / weight, rtol=1e-5)


def test_maps_of_every_layout(rng):
    X = rng.integers(0, 256, size=(60, 8, 12, 3)).astype(np.uint8)
    detector = SVDRNDDetector(**QUICK).fit(X)
    maps = novelty_map(detector, X[:3])
    assert maps.shape == (3, 8, 12)
    assert maps.dtype == np.float64
    tensor = torch.from_numpy(X[:3]).float().requires_grad_()
    for shown in (tensor, X[:3].astype(float), X[:3].tolist()):
        np.testing.assert_allclose(novelty_map(detector, shown), maps, rtol=1e-5)
    first = X.transpose(0, 3, 1, 2)
    maps_first = novelty_map(SVDRNDDetector(**QUICK).fit(first), first[:3])
    np.testing.assert_allclose(maps_first, maps, rtol=1e-4)


def test_maps_of_flat_rows_with_names(rng):
    X = pd.DataFrame(rng.normal(size=(60, 64))).rename(columns="pixel{}".format)
    detector = SVDRNDDetector(image_shape=(8, 8), **QUICK).fit(X)
    maps = novelty_map(detector, X[:3])
    assert maps.shape == (3, 8, 8)
    images = X.to_numpy().reshape(-1, 8, 8)
    np.testing.assert_array_equal(novelty_map(detector, images[:3]), maps)
    assert novelty_map(detector, np.tile(images[:1], (1, 2, 2))).shape == (1, 16, 16)


def test_maps_of_a_network_of_ones_own(rng):
    def own(input_shape):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8))

    X = rng.normal(size=(60, 8, 8))
    detector = SVDRNDDetector(network=own, **QUICK).fit(X)
    maps = novelty_map(detector, X[:2], window=8, step=8)
    expected = -detector.score_samples(X[:2])[:, None, None] * np.ones((8, 8))
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_maps_whatever_torch_is_set_to(detector, rng):
    X = rng.normal(size=(2, 16, 16))
    expected = novelty_map(detector, X)
    seed = torch.get_rng_state()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        maps = novelty_map(detector, X)
        assert torch.is_inference_mode_enabled()
    np.testing.assert_array_equal(maps, expected)
    assert torch.equal(torch.get_rng_state(), seed)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 3, 16, 16), {}, r"3 channels; the detector was fitted on 1.*images\[None\]"),
        ((16, 16), {}, "are no images"),
        ((2, 1, 1, 16, 16), {}, "are no images"),
        ((2,), {}, "are no images"),
        ((2, 5, 16), {}, "5 x 16 pixels are smaller than window=6"),
        ((2, 16, 16), {"window": 17}, "window == 17, must be <= 16"),
        ((2, 16, 16), {"window": 1}, "window == 1, must be >= 2"),
        ((2, 16, 16), {"window": 8, "step": 9}, "step == 9, must be <= 8"),
        ((2, 16, 16), {"step": 0}, "step == 0, must be >= 1"),
        ((0, 16, 16), {}, "0 sample"),
    ],
)
def test_maps_refuse(detector, shape, options, message):
    with pytest.raises(ValueError, match=message):
        novelty_map(detector, np.zeros(shape), **options)


def test_maps_refuse_what_is_no_number(detector):
    with pytest.raises(ValueError, match="images contains NaN"):
        novelty_map(detector, np.full((1, 16, 16), np.nan))
    with pytest.raises(TypeError, match="window must be an instance of int"):
        novelty_map(detector, np.zeros((1, 16, 16)), window=7.5)


def test_maps_refuse_other_detectors(forest, rng):
    with pytest.raises(TypeError, match="takes an SVDRNDDetector; got IsolationForest"):
        novelty_map(forest, IMAGES)
    with pytest.raises(NotFittedError):
        novelty_map(SVDRNDDetector(), IMAGES)
    plain = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    with pytest.raises(ValueError, match="fitted on plain rows"):
        novelty_map(plain, IMAGES)
