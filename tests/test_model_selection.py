"""Splitters, and scores that need no novel image."""

from functools import partial
from unittest import mock

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.ndimage
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import DataLoader, TensorDataset

from skrnd import SVDRNDDetector
from skrnd._containers import as_numpy
from skrnd.blur import GaussianBlur, SVDBlur, SVDSharpen
from skrnd.geometry import Flip
from skrnd.model_selection import NoveltyKFold, ProbeScorer


def test_outliers_are_in_every_test_fold_and_in_no_training_fold(rng):
    y = np.where(rng.random(50) < 0.3, -1, 1)
    X = np.zeros((50, 2))
    outliers = set(np.flatnonzero(y == -1))
    tested = []
    for train, test in NoveltyKFold(n_splits=4).split(X, y):
        assert outliers.isdisjoint(train)
        assert outliers <= set(test)
        assert set(train).isdisjoint(test)
        assert len(train) + len(test) == 50
        tested += list(set(test) - outliers)
    assert sorted(tested) == np.flatnonzero(y != -1).tolist()


def test_labels_that_are_missing_are_normal():
    y = pd.Series([1, -1, pd.NA, 1, pd.NA, 1], dtype="Int64")
    folds = list(NoveltyKFold(n_splits=2).split(np.zeros((6, 2)), y))
    assert sorted(row for train, _ in folds for row in train) == [0, 2, 3, 4, 5]


def test_without_outliers_it_is_kfold():
    X = np.zeros((20, 2))
    options = {"n_splits": 3, "shuffle": True, "random_state": 0}
    for ours, theirs in zip(
        NoveltyKFold(**options).split(X, np.ones(20)), KFold(**options).split(X), strict=True
    ):
        for our_rows, their_rows in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(our_rows, their_rows)


@pytest.mark.parametrize(
    ("n_rows", "y", "match"),
    [
        (6, None, "NoveltyKFold needs y"),
        (6, [1, 1, 1, -1], "inconsistent numbers of samples"),
        (4, [1, -1, -1, -1], "n_splits=2 greater than the number of samples"),
    ],
)
def test_bad_input(n_rows, y, match):
    with pytest.raises(ValueError, match=match):
        list(NoveltyKFold(n_splits=2).split(np.zeros((n_rows, 1)), y))


class Roughness:
    """A detector for which the mean square of neighbouring differences is normal below 3."""

    def score_samples(self, X):
        return -np.abs(np.square(np.diff(np.asarray(X, dtype=float), axis=-1)).mean((1, 2)) - 2)


def test_probe_scores_are_the_definition(rng):
    X = rng.normal(size=(100, 12, 12))
    probes = [GaussianBlur(0.5), SVDSharpen(0.5, gain=2.0)]
    known = Roughness().score_samples(X)
    threshold = np.sort(known)[5]
    expected = [
        (Roughness().score_samples(probe.fit_transform(X)) < threshold).mean() for probe in probes
    ]
    assert min(expected) > 0
    assert ProbeScorer(probes)(Roughness(), X) == pytest.approx(np.mean(expected), abs=0.02)


def test_probes_by_default_are_of_both_sides(rng):
    class Blind:
        def score_samples(self, X):
            return np.zeros(len(X))

    X = rng.normal(size=(200, 12, 12))
    assert ProbeScorer()(Blind(), X) == 0
    # More than two of three.
    assert ProbeScorer()(Roughness(), X) > 0.7


@pytest.mark.parametrize("channel_axis", [1, -1])
def test_probes_by_default_are_the_documented_ones(channel_axis, rng):
    """In the layout that they are told, which the images alone do not tell here."""

    class Rough:
        def score_samples(self, X):
            return -np.abs(np.log(np.square(np.diff(X, axis=2)).mean((1, 2, 3)) / 2))

    X = rng.normal(size=(100, 3, 12, 4)) * rng.uniform(0.5, 1.5, size=(100, 1, 1, 1))
    layout = {"channel_axis": channel_axis}
    axes = (2, 3) if channel_axis == 1 else (1, 2)
    average = partial(scipy.ndimage.uniform_filter, axes=axes, mode="nearest")
    documented = [
        # A window of two pixels reaches back by default.
        FunctionTransformer(partial(average, size=2, origin=-1)),
        FunctionTransformer(partial(average, size=3)),
        SVDSharpen(0.5, gain=2.0, **layout),
    ]
    each = [ProbeScorer(probe)(Rough(), X) for probe in documented]
    assert len(set(each)) == 3
    assert ProbeScorer(**layout)(Rough(), X) == pytest.approx(np.mean(each))


def test_outliers_are_left_out(rng):
    X = rng.normal(size=(50, 12, 12))
    wild = np.concatenate([X, 100 * X])
    y = np.r_[np.ones(50), -np.ones(50)]
    assert ProbeScorer()(Roughness(), wild, y) == ProbeScorer()(Roughness(), X)


def test_layouts(rng):
    X = rng.normal(size=(50, 12, 12))

    class Flat(Roughness):
        def score_samples(self, X):
            return super().score_samples(np.reshape(X, (-1, 12, 12)))

    flat = ProbeScorer(image_shape=(12, 12))(Flat(), X.reshape(50, -1))
    assert flat == ProbeScorer()(Roughness(), X)


def test_flat_rows_are_probed_as_the_images_that_the_detector_knows(rng):
    X = rng.normal(size=(60, 8, 8))
    rows = X.reshape(60, -1)
    detector = SVDRNDDetector(image_shape=(8, 8), max_epochs=1, random_state=0)
    expected = ProbeScorer(image_shape=(8, 8))(detector.fit(rows), rows)
    assert ProbeScorer()(detector, rows) == expected
    pipeline = make_pipeline("passthrough", detector).fit(rows)
    assert ProbeScorer()(pipeline, rows) == expected
    plain = SVDRNDDetector(max_epochs=1, random_state=0).fit(rows)
    with pytest.raises(ValueError, match="flat rows, in which the probes can change nothing"):
        ProbeScorer()(plain, rows)
    ProbeScorer([FunctionTransformer(np.negative)])(plain, rows)


def test_the_layout_of_a_detector_is_not_that_in_front_of_other_steps(rng):
    """A step may move the channels; what then lies where is for the caller to say."""
    X = rng.normal(size=(60, 8, 8, 3)).cumsum(1)
    to_front = FunctionTransformer(np.moveaxis, kw_args={"source": -1, "destination": 1})
    detector = SVDRNDDetector(channel_axis=1, max_epochs=1, random_state=0)
    pipeline = make_pipeline(to_front, detector).fit(X)
    expected = ProbeScorer()(pipeline[-1], np.moveaxis(X, -1, 1))
    assert ProbeScorer()(pipeline, X) == ProbeScorer(channel_axis=-1)(pipeline, X) == expected


@pytest.mark.parametrize("params", [{"channel_axis": "last"}, {"image_shape": 64}])
@pytest.mark.parametrize("probes", [None, SVDBlur(2)])
def test_parameters_of_the_scorer_are_its_own(params, probes, rng):
    with pytest.raises(ValueError, match=f"'{next(iter(params))}' parameter of ProbeScorer"):
        ProbeScorer(probes, **params)(Roughness(), rng.normal(size=(50, 12, 12)))


def test_one_probe_is_a_list_of_one(rng):
    X = rng.normal(size=(50, 12, 12))
    one = ProbeScorer(SVDBlur(2))(Roughness(), X)
    assert one == ProbeScorer([SVDBlur(2)])(Roughness(), X)
    for probes in ("svd", [None], SVDBlur, np.zeros(3)):
        with pytest.raises(TypeError, match="probes must hold transformers"):
            ProbeScorer(probes)(Roughness(), X)


def test_probes_stay_as_they_are(rng):
    """As estimators that are passed do: what is fitted, and told of containers, is a copy."""
    probe = SVDBlur(2, image_shape=(12, 12))
    before = dict(vars(probe))
    flat = pd.DataFrame(rng.normal(size=(50, 144))).rename(columns=str)
    detector = mock.Mock(spec=["score_samples"], score_samples=lambda X: np.asarray(X)[:, 0])
    for probes in (probe, [probe]):
        ProbeScorer(probes)(detector, flat)
        assert vars(probe) == before


def test_scores_of_datasets_and_loaders(rng):
    X = torch.from_numpy(rng.normal(size=(60, 8, 8)))
    detector = SVDRNDDetector(max_epochs=1, random_state=0).fit(X)
    dataset = TensorDataset(X)
    for shown in (dataset, DataLoader(dataset, batch_size=25)):
        assert ProbeScorer()(detector, shown) == ProbeScorer()(detector, X)


def test_scores_of_an_array_that_is_read_as_it_is_sliced(rng, tmp_path):
    zarr = pytest.importorskip("zarr")
    X = rng.normal(size=(30, 1, 8, 8))
    unread = zarr.create_array(tmp_path / "X.zarr", data=X)
    detector = SVDRNDDetector(blur="svd", max_epochs=2, random_state=0).fit(X)
    y = np.r_[np.ones(25), -np.ones(5)]
    assert ProbeScorer()(detector, unread, y) == ProbeScorer()(detector, X, y)


def test_masked_labels_are_refused():
    y = np.ma.array([1, -1] * 10, mask=[0, 1] * 10)
    with pytest.raises(ValueError, match="y is a masked array"):
        next(NoveltyKFold(2).split(np.zeros((20, 3)), y))


def test_groups_are_ignored_aloud():
    y = [1, 1, -1, 1]
    with pytest.warns(UserWarning, match="NoveltyKFold ignores the groups"):
        list(NoveltyKFold(n_splits=2).split(np.zeros((4, 1)), y, groups=[1, 1, 2, 2]))


def test_scores_whatever_transformers_are_set_to_return(rng):
    X = rng.normal(size=(50, 12, 12))
    flat, detector = X.reshape(50, -1), mock.Mock(spec=["score_samples"])
    detector.score_samples = lambda X: Roughness().score_samples(X.reshape(-1, 12, 12))
    expected = ProbeScorer()(Roughness(), X)
    with config_context(transform_output="pandas"):
        assert ProbeScorer()(Roughness(), X) == expected
        assert ProbeScorer(image_shape=(12, 12))(detector, flat) == expected


def test_containers_come_to_the_detector_as_they_are(rng):
    X = rng.normal(size=(50, 12, 12)).astype(np.float32)
    expected = ProbeScorer()(Roughness(), X)
    y = np.r_[np.ones(50), [-1]]
    with_outlier = np.concatenate([X, np.zeros((1, 12, 12), np.float32)])
    for wrap in (torch.tensor, lambda X: torch.tensor(X, requires_grad=True), np.ma.masked_array):
        detector = mock.Mock(
            spec=["score_samples"],
            score_samples=lambda X: Roughness().score_samples(np.asarray(as_numpy(X))),
        )
        assert ProbeScorer()(detector, wrap(with_outlier), y) == pytest.approx(expected)
    for frame in (pd.DataFrame, pl.DataFrame):
        seen = []

        class Flat(Roughness):
            def score_samples(self, X):
                seen.append((type(X), list(X.columns)))  # noqa: B023
                return super().score_samples(np.reshape(X.to_numpy(), (-1, 12, 12)))

        X_frame = (
            frame(X.reshape(50, -1)).rename(columns=str)
            if frame is pd.DataFrame
            else frame(X.reshape(50, -1))
        )
        assert ProbeScorer(image_shape=(12, 12))(Flat(), X_frame) == pytest.approx(expected)
        assert seen == [(frame, list(X_frame.columns))] * 4
    hidden = np.ma.masked_array(X, mask=X > 3)
    with pytest.raises(ValueError, match="masked array"):
        ProbeScorer()(SVDRNDDetector(max_epochs=1).fit(X), hidden)


def test_no_probe_is_refused(rng):
    with pytest.raises(ValueError, match="probes is empty"):
        ProbeScorer([])(Roughness(), rng.normal(size=(5, 8, 8)))
    with pytest.raises(ValueError, match="every row -1"):
        ProbeScorer()(Roughness(), rng.normal(size=(5, 8, 8)), -np.ones(5))


def test_grid_search_without_a_novel_image(rng):
    """In worker processes, so the scorer is pickled; plain RND is what it must not choose."""
    X = rng.normal(size=(200, 8, 8)).astype(np.float32)
    search = GridSearchCV(
        SVDRNDDetector(max_epochs=6, random_state=0),
        {"blur": [None, "two-sided"]},
        scoring=ProbeScorer([GaussianBlur(1.0), SVDSharpen(0.5, gain=2.0)]),
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(X)
    assert search.best_params_ == {"blur": "two-sided"}
    assert 0 <= search.best_score_ <= 1


def test_repr():
    assert repr(ProbeScorer()) == "ProbeScorer()"
    scorer = ProbeScorer([GaussianBlur()], image_shape=(8, 8))
    assert repr(scorer) == "ProbeScorer(image_shape=(8, 8), probes=[GaussianBlur()])"


def test_is_part_of_the_parameters_of_a_search():
    search = GridSearchCV(SVDRNDDetector(), {"k": [2]}, scoring=ProbeScorer([Flip()]))
    assert search.get_params()["scoring__probes"] == search.scoring.probes
    copy = clone(search).scoring
    assert isinstance(copy.probes[0], Flip)
    assert copy is not search.scoring
