"""Thresholds."""

import numpy as np
import pytest

from skrnd._threshold import held_out_threshold, training_threshold


@pytest.mark.parametrize("n_held_out", [30, 100, 400])
def test_new_rows_are_called_novel_at_the_stated_rate(n_held_out, rng):
    """The expectation is exact; the mean of 4,000 trials has an error below 0.002."""
    rates = []
    for _ in range(4000):
        threshold = held_out_threshold(rng.normal(size=n_held_out), 0.05)
        rates.append((rng.normal(size=200) < threshold).mean())
    assert np.mean(rates) == pytest.approx(0.05, abs=0.005)


def test_the_order_statistic_by_hand():
    """Rate * (n + 1) = 1: the threshold is the smallest of 19 scores."""
    assert held_out_threshold(np.arange(19.0) - 20, 0.05) == pytest.approx(-20, rel=1e-5)
    assert held_out_threshold(np.arange(39.0) - 20, 0.05) == pytest.approx(-19, rel=1e-5)


@pytest.mark.parametrize("threshold", [held_out_threshold, training_threshold])
def test_rounding_does_not_make_the_row_on_the_threshold_novel(threshold):
    scores = -np.array([3.0, 2.0, 1.0])
    found = threshold(scores, 0.5)
    assert -3 < found < -2 * (1 + 5e-7)


def test_contamination_is_the_share_of_training_rows(rng):
    scores = rng.normal(size=300)
    assert (scores < training_threshold(scores, 0.1)).sum() == 30
