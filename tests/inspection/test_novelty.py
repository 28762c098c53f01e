"""Judgements against their formula; maps of novelty whose place is known."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import torch
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

from skrnd import SVDRNDDetector
from skrnd.geometry import Flip
from skrnd.inspection import judgements, novelty_map

QUICK = {"max_epochs": 1, "random_state": 0}
IMAGES = np.zeros((4, 8, 8))


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
        f = pair.predictor(x).detach().double().numpy()
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
        ({"blur": None, "criterion": "contrast"}, ["error"]),
        ({"blur": "dct", "criterion": "contrast"}, ["error", "contrast to copy 1, DCTBlur"]),
        ({"criterion": "error"}, ["predictor 1: error", "predictor 2: error"]),
    ],
)
def test_judgements_of_other_detectors(params, names, rng):
    X = rng.normal(size=(60, 8, 8))
    detector = SVDRNDDetector(**params, **QUICK).fit(X)
    judged = judgements(pickle.loads(pickle.dumps(detector)), X)
    assert list(judged) == names
    np.testing.assert_array_equal(max_of(judged), -detector.score_samples(X))


@pytest.mark.parametrize("ask", [judgements, novelty_map])
def test_what_other_threads_make_of_the_detector_meanwhile_changes_nothing(ask, rng, monkeypatch):
    X = rng.normal(size=(60, 8, 8))
    detector = SVDRNDDetector(**QUICK).fit(X)
    expected = ask(detector, X[:2])
    original = SVDRNDDetector._novelties

    def disturbed(self, *args, **options):
        novelties = original(self, *args, **options)
        detector._units = 2 * detector._units
        return novelties

    monkeypatch.setattr(SVDRNDDetector, "_novelties", disturbed)
    np.testing.assert_equal(ask(detector, X[:2]), expected)


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


def test_maps_step_by_half_a_window(rng):
    X = rng.normal(size=(60, 16, 16))
    detector = SVDRNDDetector(**QUICK).fit(X)
    expected = novelty_map(detector, X[:2], window=6, step=3)
    np.testing.assert_array_equal(novelty_map(detector, X[:2]), expected)


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


def test_maps_of_datasets_and_loaders(rng):
    X = rng.normal(size=(60, 3, 8, 8)).astype(np.float32)
    detector = SVDRNDDetector(**QUICK).fit(X)
    maps = novelty_map(detector, X)
    dataset = TensorDataset(torch.from_numpy(X), torch.arange(60))
    for shown in (dataset, DataLoader(dataset, batch_size=25)):
        np.testing.assert_array_equal(novelty_map(detector, shown), maps)


def test_maps_without_matplotlib(detector, rng, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    assert novelty_map(detector, rng.normal(size=(1, 16, 16))).shape == (1, 16, 16)


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
        ((16, 16), {}, "are not images"),
        ((2, 1, 1, 16, 16), {}, "are not images"),
        ((2,), {}, "are not images"),
        ((2, 5, 16), {}, "5 x 16 pixels are smaller than window=6"),
        ((2, 16, 16), {"window": 17}, "window=17 is larger than the images trained on, 16"),
        ((2, 16, 16), {"window": 1}, "'window' parameter .*Got 1"),
        ((2, 16, 16), {"window": 8, "step": 9}, "step=9 is larger than window=8"),
        ((2, 16, 16), {"step": 0}, "'step' parameter .*Got 0"),
        ((0, 16, 16), {}, "0 sample"),
    ],
)
def test_maps_refuse(detector, shape, options, message):
    with pytest.raises(ValueError, match=message):
        novelty_map(detector, np.zeros(shape), **options)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint64])
def test_integers_of_numpy_are_as_good_as_pythons(detector, kind, rng):
    image = rng.normal(size=(1, 16, 200))
    maps = novelty_map(detector, image, window=kind(6), step=kind(6))
    np.testing.assert_array_equal(maps, novelty_map(detector, image, window=6, step=6))


def test_maps_of_another_range_are_warned_of(detector, rng):
    with pytest.warns(UserWarning, match=r"divided by 255, for instance\), its maps are of no use"):
        novelty_map(detector, rng.normal(size=(2, 20, 20)) / 255)


def test_maps_refuse_what_is_no_number(detector):
    with pytest.raises(ValueError, match=r"names files \('a\.png'\).*load_images"):
        novelty_map(detector, ["a.png"])
    with pytest.raises(ValueError, match="images contains NaN"):
        novelty_map(detector, np.full((1, 16, 16), np.nan))
    with pytest.raises(ValueError, match=r"'window' parameter .*Got 7\.5"):
        novelty_map(detector, np.zeros((1, 16, 16)), window=7.5)


def test_maps_refuse_other_detectors(forest, rng):
    with pytest.raises(TypeError, match="takes an SVDRNDDetector; got IsolationForest"):
        novelty_map(forest, IMAGES)
    with pytest.raises(NotFittedError):
        novelty_map(SVDRNDDetector(), IMAGES)
    plain = SVDRNDDetector(n_estimators=1, **QUICK).fit(rng.normal(size=(50, 3)))
    with pytest.raises(ValueError, match="fitted on plain rows"):
        novelty_map(plain, IMAGES)
