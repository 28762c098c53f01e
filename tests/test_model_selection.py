"""Splitters."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from skrnd.model_selection import NoveltyKFold


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
