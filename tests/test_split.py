"""Which rows are held out, and how rows are known again."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.model_selection import train_test_split

from skrnd._split import are_among, row_keys, train_and_held_out

rows = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-8, 8, width=32) | st.sampled_from([0.0, -0.0]),
)


@given(rows)
def test_keys_are_alike_for_rows_that_are(X):
    keys = row_keys([torch.tensor(X)])
    assert keys.dtype == np.uint64
    flat = X.reshape(len(X), -1)
    are_equal = (flat[:, None] == flat[None]).all(axis=2)
    np.testing.assert_array_equal(keys[:, None] == keys[None], are_equal)
    # Whatever they are among.
    one_by_one = torch.tensor(X[::-1].copy()).split(1)
    np.testing.assert_array_equal(row_keys(one_by_one), keys[::-1])


keys = arrays(np.uint64, st.integers(0, 6), elements=st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]))


@given(keys, keys)
def test_keys_that_are_among_others(keys, others):
    known = set(others.tolist())
    assert are_among(keys, others).tolist() == [key in known for key in keys.tolist()]


def test_images_a_value_apart_have_other_keys(rng):
    image = rng.normal(size=(3, 16, 16)).astype(np.float32)
    apart = np.repeat(image[None], image.size + 1, axis=0)
    for number in range(image.size):
        apart[number].flat[number] = np.nextafter(image.flat[number], np.float32(9))
    assert len(np.unique(row_keys([torch.tensor(apart)]))) == len(apart)


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 2**32 - 1), st.data())
def test_no_row_that_was_trained_on_is_held_out(n_rows, fraction, seed, data):
    normal = np.arange(0, 3 * n_rows, 3)
    was_trained_on = data.draw(arrays(bool, n_rows))
    n_held_out = int(np.ceil(fraction * n_rows))
    if n_held_out == n_rows:
        with pytest.raises(ValueError, match="leaves none to train on"):
            train_and_held_out(normal, fraction, np.random.RandomState(seed), was_trained_on)
        return
    if was_trained_on.all():
        was_trained_on[0] = False
    train, held_out = train_and_held_out(
        normal, fraction, np.random.RandomState(seed), was_trained_on
    )
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), normal)
    np.testing.assert_array_equal(train, np.sort(train))
    assert not np.isin(held_out, normal[was_trained_on]).any()
    assert len(held_out) == min(n_held_out, np.count_nonzero(~was_trained_on))


def test_of_new_rows_as_many_as_scikit_learn_holds_out():
    normal = np.arange(50)
    train, held_out = train_and_held_out(
        normal, 0.1, np.random.RandomState(0), np.zeros(50, dtype=bool)
    )
    expected = train_test_split(normal, test_size=0.1, random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(train, np.sort(expected[0]))
    np.testing.assert_array_equal(held_out, expected[1])


def test_where_no_row_is_new_any_may_be_held_out():
    train, held_out = train_and_held_out(
        np.arange(50), 0.1, np.random.RandomState(0), np.ones(50, dtype=bool)
    )
    assert (len(train), len(held_out)) == (45, 5)
