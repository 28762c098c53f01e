"""What the networks are given of X, against the formula in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.preprocessing import StandardScaler

import skrnd._inputs
from skrnd._distributed import Ranks
from skrnd._images import find_layout
from skrnd._inputs import FARTHEST, Inputs, doubt_scale, learn_scale
from skrnd._storage import Storage

stacks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=6))


def as_images(X, channel_axis):
    """(n, C, H, W), or plain rows."""
    if X.ndim == 3:
        return X[:, None]
    return np.moveaxis(X, channel_axis, 1) if X.ndim == 4 else X


@given(stacks, st.sampled_from([1, -1]), st.integers(1, 100), st.data())
def test_rows_are_standardised_block_by_block(X, channel_axis, block_values, data):
    layout = find_layout(X.shape[1:], None, channel_axis)
    some = st.lists(st.integers(0, len(X) - 1), min_size=1, unique=True)
    trained, asked = (np.sort(data.draw(some)) for _ in range(2))
    images = as_images(X, channel_axis).astype(np.float64)
    axes = (0, *range(2, images.ndim))
    mean = images[trained].mean(axis=axes, keepdims=True)
    std = images[trained].std(axis=axes, keepdims=True)
    expected = ((images - mean) / np.where(std == 0, 1, std))[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skrnd._inputs, "_BLOCK_VALUES", block_values)
        inputs = Inputs(layout, *learn_scale(X, trained, layout, Ranks()))
        blocks = list(inputs.blocks(X, asked))
        stored = inputs.stored(X, asked, Storage(2**20))

    assert all(block.dtype == torch.float32 for block in blocks)
    np.testing.assert_allclose(torch.cat(blocks), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stored, torch.cat(blocks))


@pytest.mark.parametrize("block_values", [1, 12, 25, 2**22])
def test_a_block_has_so_many_values_and_a_row_at_least(block_values, monkeypatch, rng):
    monkeypatch.setattr(skrnd._inputs, "_BLOCK_VALUES", block_values)
    X = rng.normal(size=(7, 3, 2, 2))
    inputs = Inputs(find_layout(X.shape[1:], None, 1), np.zeros(3), np.ones(3))
    n_rows = max(1, block_values // 12)
    expected = [len(X[i : i + n_rows]) for i in range(0, len(X), n_rows)]
    assert [len(block) for block in inputs.blocks(X, np.arange(7))] == expected


def test_what_is_far_from_all_that_was_trained_on_is_equally_far():
    X = np.array([[2 * FARTHEST, -np.finfo(float).max, FARTHEST / 2]])
    (block,) = Inputs(None, np.zeros(3), np.ones(3)).blocks(X, np.arange(1))
    np.testing.assert_array_equal(block, [[FARTHEST, -FARTHEST, FARTHEST / 2]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_another_thread_makes_of_checked_rows_is_refused(bad, rng):
    X = rng.normal(size=(5, 3, 8, 8))
    X[2, 1, 3, 4] = bad
    layout = find_layout(X.shape[1:], None, 1)
    with pytest.raises(ValueError, match="Input X contains"):
        learn_scale(X, np.arange(5), layout, Ranks())
    with pytest.raises(ValueError, match="Input X contains"):
        list(Inputs(layout, np.zeros(3), np.ones(3)).blocks(X, np.arange(5)))


@pytest.mark.parametrize("rows", [[1e200, -1e200], [1e308, 1e308], [1e160, 0, 0], [0, 0, 1e308]])
def test_values_without_a_variance_are_refused(rows):
    """Of one feature scikit-learn takes an infinite variance for that of a constant."""
    X = np.array(rows)[:, None]
    with pytest.raises(ValueError, match="so large that their mean or variance is infinite"):
        learn_scale(X, np.arange(len(X)), None, Ranks())


def test_processes_learn_one_scale_together(rng):
    """That of all rows; what is constant in all of them keeps its own."""
    X = rng.normal(size=(40, 4)) * [1, 1e-3, 0, 0] + [0, 1e3, 0.1, 0]
    X[:20, 3] = 5
    halves = [np.arange(0, 40, 2), np.arange(1, 40, 2)]
    of_others = [StandardScaler().fit(X[half]) for half in halves]

    class TwoRanks(Ranks):
        def __init__(self):
            self.size, self.own = 2, 0

        def gather(self, value):
            return [(one.mean_, one.var_) for one in of_others]

    mean, scale = learn_scale(X, halves[0], None, TwoRanks())
    np.testing.assert_allclose(mean, X.mean(axis=0))
    np.testing.assert_allclose(scale, np.where([True, True, False, True], X.std(axis=0), 1))


def doubt(inputs):
    doubt_scale(torch.as_tensor(inputs).float(), least=0.5, most=2, what="what it says")


@pytest.mark.parametrize("shape", [(50, 3), (50, 3, 4, 4)])
@pytest.mark.parametrize("factor", [0.4, 2.1])
def test_inputs_that_spread_otherwise_are_doubted(factor, shape, rng):
    inputs = rng.normal(size=shape)
    inputs /= inputs.std(axis=tuple({0, 2, 3} & set(range(inputs.ndim))), keepdims=True)
    with pytest.warns(UserWarning, match=r"spread (0\.4|2\.1) times .* what it says of no use"):
        doubt(factor * inputs)
    doubt(0.51 * inputs)
    doubt(1.99 * inputs)


def test_most_channels_tell_how_far_inputs_spread(rng):
    inputs = rng.normal(size=(200, 3, 4, 4))
    doubt(inputs * np.array([1, 1, 1000])[:, None, None])
    with pytest.warns(UserWarning, match=r"spread 1(\.\d)?e\+06 times"):
        doubt(inputs * np.array([1, 1.1e6, 1e9])[:, None, None])


@pytest.mark.parametrize("value", [0.0, 0.1, 1e5 / 3])
def test_inputs_of_one_value_are_not_doubted(value):
    doubt(torch.full((49, 3, 5, 7), value))
    doubt(torch.full((49, 1), value))
