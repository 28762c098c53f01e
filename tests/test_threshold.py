"""Thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from skrnd._threshold import (
    alarm_levels,
    conformal_p_values,
    fewest_rows,
    held_out_threshold,
    rows_apart,
    training_threshold,
)


@pytest.mark.parametrize("n_held_out", [30, 100, 400])
def test_new_rows_are_called_novel_at_the_stated_rate(n_held_out, rng):
    """The expectation is exact; the mean of 4,000 trials has an error below 0.002."""
    rates = []
    for _ in range(4000):
        threshold = held_out_threshold(rng.normal(size=n_held_out), 0.05)
        rates.append((rng.normal(size=200) < threshold).mean())
    assert np.mean(rates) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("period", [2, 3, 4])
def test_rows_are_set_apart_whatever_their_order(period):
    """Kinds of rows that take turns, as planes of colour do, are in both parts alike."""
    kind = np.arange(1200) % period
    parts = rows_apart(np.column_stack([kind, np.arange(1200)]))
    assert [len(part) for part in parts] == [400, 800]
    assert sorted(np.concatenate(parts)[:, 1]) == list(range(1200))
    for part in parts:
        shares = np.bincount(part[:, 0].astype(int)) / len(part)
        np.testing.assert_allclose(shares, 1 / period, atol=0.06)


def test_one_judgement_or_one_row_is_not_set_apart(rng):
    for novelties in (rng.normal(size=(9, 1)), rng.normal(size=(1, 2))):
        for part in rows_apart(novelties):
            np.testing.assert_array_equal(part, novelties)


def test_each_judgement_has_the_level_at_which_it_would_raise_the_alarm():
    """One that is 0 for nearly all normal rows would raise it nowhere."""
    of_one = np.arange(1.0, 101)
    novelties = np.column_stack([of_one, 1e-9 * of_one, np.where(of_one > 99, 1, 0)])

    def second_least(scores):
        return np.sort(scores)[1]

    np.testing.assert_array_equal(alarm_levels(novelties, second_least), [99, 1e-9 * 99, 1])
    # Alone, a judgement is in its own unit.
    np.testing.assert_array_equal(alarm_levels(novelties[:, :1], second_least), [1])


def test_the_order_statistic_by_hand():
    """Rate * (n + 1) = 1: the threshold is the smallest of 19 scores."""
    assert held_out_threshold(np.arange(19.0) - 20, 0.05) == pytest.approx(-20, rel=2e-5)
    assert held_out_threshold(np.arange(39.0) - 20, 0.05) == pytest.approx(-19, rel=2e-5)


@pytest.mark.parametrize("threshold", [held_out_threshold, training_threshold])
def test_rounding_does_not_make_the_row_on_the_threshold_novel(threshold):
    scores = -np.array([3.0, 2.0, 1.0])
    found = threshold(scores, 0.5)
    assert -2 * (1 + 1e-4) < found < -2 * (1 + 5e-6)


def test_rounding_does_not_make_a_tie_rarer():
    """A fifth of all rows are alike, and score as much to the last bits."""
    held_out = -np.arange(5.0, 0, -1).repeat(100)
    for rounding in (1 - 5e-6, 1, 1 + 5e-6):
        np.testing.assert_allclose(
            conformal_p_values(np.array([-5.0 * rounding]), held_out), 0.2, atol=0.01
        )


def test_contamination_is_the_share_of_training_rows(rng):
    scores = rng.normal(size=300)
    assert (scores < training_threshold(scores, 0.1)).sum() == 30


@pytest.mark.parametrize(
    ("rate", "n_rows"), [(0.5, 1), (0.34, 2), (0.05, 19), (0.049, 20), (0.01, 99), (0.001, 999)]
)
def test_fewest_rows(rate, n_rows):
    assert fewest_rows(rate) == n_rows
    # The threshold is the lowest score, or above it, from so many rows on.
    scores = np.arange(float(n_rows)) - n_rows - 1
    position = rate * (n_rows + 1)
    assert position >= 1 - 1e-9
    assert held_out_threshold(scores, rate) == pytest.approx(
        np.interp(position, np.arange(1, n_rows + 1), scores), rel=2e-5
    )


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.integers(-6, 6), min_size=1, max_size=10),
)
def test_p_values_count_the_rows_that_score_no_higher(held_out, scores):
    expected = [(1 + sum(h <= s for h in held_out)) / (1 + len(held_out)) for s in scores]
    np.testing.assert_allclose(
        conformal_p_values(np.array(scores), np.sort(np.array(held_out))), expected
    )


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_p_values_of_new_rows_are_super_uniform(decimals, rng):
    """Each is at most p with probability p or less, with ties or without."""
    p_values = []
    for _ in range(3000):
        scores = rng.normal(size=60).round(decimals)
        p_values.append(conformal_p_values(scores[:10], np.sort(scores[10:])))
    p_values = np.concatenate(p_values)
    for level in (0.02, 0.05, 0.1, 0.3, 0.7):
        assert (p_values <= level).mean() <= level + 0.01


def test_false_discoveries_are_controlled(rng):
    """Of the rows called novel, one in five may be normal."""
    shares, found = [], []
    for _ in range(500):
        held_out = np.sort(rng.normal(size=400))
        scores = np.concatenate([rng.normal(size=80), rng.normal(size=20) - 4])
        is_novel = false_discovery_control(conformal_p_values(scores, held_out)) <= 0.2
        shares.append(is_novel[:80].sum() / max(1, is_novel.sum()))
        found.append(is_novel[80:].mean())
    assert np.mean(shares) <= 0.2
    assert np.mean(found) > 0.9


def test_scores_that_are_no_numbers_are_the_least():
    p = conformal_p_values(np.array([-np.inf, np.nan, -3.0]), np.array([-2.0, -1.0]))
    np.testing.assert_allclose(p, 1 / 3)


def test_no_number_of_rows_keeps_a_rate_next_to_nothing():
    assert fewest_rows(5e-324) > 10**299
