"""Blurs against numpy's SVD and scipy's transforms in float64."""

from functools import partial

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.optimize
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import skrnd.blur
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften


def svd_reference(channel, k):
    """Zero the k smallest non-zero singular values of one channel."""
    u, s, vh = np.linalg.svd(channel.astype(np.float64), full_matrices=False)
    n_kept = max(0, np.linalg.matrix_rank(channel) - k)
    return u[:, :n_kept] @ np.diag(s[:n_kept]) @ vh[:n_kept]


def gain_reference(channel, k, gain):
    """Multiply the k smallest non-zero singular values of one channel."""
    blurred = svd_reference(channel, k)
    return blurred + gain * (channel - blurred)


def entropy(s):
    p = s[s > 0] / s.sum()
    return -(p * np.log(p)).sum()


def soften_reference(channel, k):
    """Find the power of one channel by Brent's method."""
    u, s, vh = np.linalg.svd(channel.astype(np.float64), full_matrices=False)
    n_kept = max(0, np.linalg.matrix_rank(channel) - k)

    def excess(power):
        return entropy((s / s[0]) ** power) - (entropy(s[:n_kept]) if n_kept else 0)

    power = scipy.optimize.brentq(excess, 1, 8) if excess(8) < 0 else 8
    return u @ np.diag(s[0] * (s / s[0]) ** power) @ vh


def dct_reference(channel, k):
    """Keep the lowest (H - k) x (W - k) frequencies of one channel."""
    spectrum = scipy.fft.dctn(channel.astype(np.float64), type=2, norm="ortho")
    spectrum[channel.shape[0] - k :] = 0
    spectrum[:, channel.shape[1] - k :] = 0
    return scipy.fft.idctn(spectrum, type=2, norm="ortho")


def gaussian_reference(channel, sigma):
    """Filter one channel."""
    return scipy.ndimage.gaussian_filter(channel.astype(np.float64), sigma)


def by_channel(reference, X, strength):
    """Apply the reference of a channel to a stack (n, C, H, W)."""
    return np.array([[reference(channel, strength) for channel in image] for image in X])


def assert_close(actual, expected):
    """Agree to 1e-5 of the largest value, the precision promised."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


REFERENCES = [
    (SVDBlur, "k", svd_reference, 5),
    (SVDSoften, "k", soften_reference, 5),
    (SVDSoften, "k", soften_reference, 7),
    (SVDSharpen, "k", partial(gain_reference, gain=4.0), 3),
    (DCTBlur, "k", dct_reference, 5),
    (GaussianBlur, "sigma", gaussian_reference, 1.3),
    (GaussianBlur, "sigma", gaussian_reference, 6.0),
]


@pytest.mark.parametrize(("blur", "name", "reference", "strength"), REFERENCES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64, ">f4"])
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 12, 20), (3, 4, 33, 9)])
def test_agrees_with_the_reference(blur, name, reference, strength, dtype, shape, rng):
    X = (100 * rng.random(shape)).astype(dtype)
    blurred = blur(**{name: strength}).fit_transform(X)
    assert_close(blurred, by_channel(reference, X, strength))


@pytest.mark.parametrize(("blur", "name", "reference", "strength"), REFERENCES)
def test_agrees_with_the_reference_on_photographs(blur, name, reference, strength, load_images):
    X = load_images("cifar10_test", 50)
    blurred = blur(**{name: strength}).fit_transform(X)
    assert blurred.dtype == np.float32
    assert_close(blurred, by_channel(reference, X, strength))


@given(
    X=hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=9).filter(
            lambda shape: min(shape[2:]) > 1
        ),
        elements=st.integers(0, 50),
    ),
    k=st.integers(1, 8),
)
def test_svd_agrees_with_the_reference_whatever_the_rank(X, k):
    k = min(k, min(X.shape[2:]) - 1)
    blurred = SVDBlur(k, channel_axis=1).fit_transform(X)
    # Where the singular values on either side of the cut are equal, which of
    # the two goes is a matter of taste; what stays is not.
    for actual, channel in zip(
        blurred.reshape(-1, *X.shape[2:]), X.reshape(-1, *X.shape[2:]), strict=True
    ):
        s = np.linalg.svd(channel.astype(np.float64), compute_uv=False)
        n_kept = max(0, np.linalg.matrix_rank(channel) - k)
        kept = np.where(np.arange(len(s)) < n_kept, s, 0)
        scale = max(1.0, s[0])
        np.testing.assert_allclose(
            np.linalg.svd(actual.astype(np.float64), compute_uv=False), kept, atol=1e-5 * scale
        )
        residual = np.linalg.norm(channel - actual.astype(np.float64))
        assert residual == pytest.approx(np.linalg.norm(s - kept), abs=1e-5 * scale)


def test_svd_counts_from_the_numerical_rank(rng):
    """A channel of rank 5 loses the smallest of its five, not of its eight."""
    low_rank = rng.normal(size=(8, 5)) @ rng.normal(size=(5, 8))
    blurred = SVDBlur(k=2).fit_transform(low_rank[None])[0]
    assert np.linalg.matrix_rank(blurred, tol=1e-8) == 3
    assert_close(blurred, svd_reference(low_rank, 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_svd_takes_the_rank_in_the_precision_of_the_dtype(dtype):
    """Rounding to float32 raises the rank only when looked at in float64."""
    channel = np.outer(np.arange(1, 9), np.full(8, 1.1)).astype(dtype)
    assert np.linalg.matrix_rank(channel) == 1
    assert (SVDBlur(k=1).fit_transform(channel[None]) == 0).all()


@pytest.mark.parametrize("blur", [SVDBlur(3), SVDSoften(3), SVDSharpen(3)])
@pytest.mark.parametrize("factor", [1e-170, 1e-100, 1e160, 1e290])
def test_svd_of_very_small_and_very_large_values(blur, factor, rng):
    """Whose squares have no room in a double; of images side by side as well."""
    X = rng.normal(size=(2, 8, 8))
    scales = np.array([factor, 1.0])[:, None, None]
    expected = blur.fit_transform(X)
    np.testing.assert_allclose(blur.transform(X * scales) / scales, expected, atol=1e-10)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_svd_of_rank_k_or_less_is_zero(rank, rng):
    channel = rng.normal(size=(8, rank)) @ rng.normal(size=(rank, 8))
    assert (SVDBlur(k=3).fit_transform(channel[None]) == 0).all()


@given(
    X=hnp.arrays(st.sampled_from([np.uint8, np.float64]), (2, 5, 6), elements=st.integers(0, 50)),
    k=st.integers(1, 4),
)
def test_sharpening_is_the_opposite_of_the_blur(X, k):
    detail = X - SVDBlur(k).fit_transform(X)
    sharp = SVDSharpen(k, gain=4.0).fit_transform(X)
    np.testing.assert_allclose(sharp, X + 3.0 * detail, atol=1e-3)


@given(X=hnp.arrays(np.float64, (2, 5, 6), elements=st.integers(0, 50)), k=st.integers(1, 4))
def test_softening_falls_off_by_the_power_that_truncation_asks_for(X, k):
    assume(X.any(axis=(1, 2)).all())
    assert_close(SVDSoften(k).fit_transform(X), by_channel(soften_reference, X[:, None], k)[:, 0])


def test_black_images_stay_black():
    assert (SVDSoften(k=3).fit_transform(np.zeros((2, 8, 8))) == 0).all()


@pytest.mark.parametrize(
    ("k", "side", "n_dropped"), [(0.875, 32, 28), (0.5, 9, 4), (0.99, 8, 7), (0.01, 8, 1)]
)
def test_a_share_is_of_the_shorter_side(k, side, n_dropped, rng):
    X = rng.normal(size=(1, side, side + 5))
    expected = by_channel(svd_reference, X[:, None], n_dropped)[:, 0]
    assert_close(SVDBlur(k).fit_transform(X), expected)


def test_a_share_of_frequencies_is_of_each_axis(rng):
    spectrum = scipy.fft.dctn(DCTBlur(0.75).fit_transform(rng.normal(size=(1, 8, 16)))[0])
    assert np.argwhere(abs(spectrum) > 1e-9).max(axis=0).tolist() == [1, 3]


def test_the_smallest_share_of_frequencies_is_one(rng):
    spectrum = scipy.fft.dctn(DCTBlur(0.01).fit_transform(rng.normal(size=(1, 8, 16)))[0])
    assert np.argwhere(abs(spectrum) > 1e-9).max(axis=0).tolist() == [6, 14]


@pytest.mark.parametrize(
    ("blur", "match"),
    [
        (SVDBlur(k=0), "'k' parameter of SVDBlur must be"),
        (SVDBlur(k=1.5), "'k' parameter of SVDBlur must be"),
        (SVDSoften(k=8), "k=8 is out of range for images of 8 x 9 pixels.*from 1 to 7"),
        (SVDSharpen(gain=1.0), "'gain' parameter of SVDSharpen must be"),
        (SVDSharpen(k=8), "k=8 is out of range for images of 8 x 9 pixels.*from 1 to 7"),
        (DCTBlur(k=-1), "'k' parameter of DCTBlur must be"),
        (GaussianBlur(sigma=0), "'sigma' parameter of GaussianBlur must be"),
        (GaussianBlur(sigma=1e308), "'sigma' parameter of GaussianBlur must be"),
        (GaussianBlur(channel_axis=2), "'channel_axis' parameter of GaussianBlur must be"),
        (SVDBlur(k=8), "k=8 is out of range for images of 8 x 9 pixels.*from 1 to 7"),
        (DCTBlur(k=8), "k=8 is out of range for images of 8 x 9 pixels.*from 1 to 7"),
    ],
)
def test_parameters_out_of_range(blur, match, rng):
    X = rng.normal(size=(4, 8, 9))
    for method in (blur.fit, blur.transform):
        with pytest.raises(ValueError, match=match):
            method(X)


def test_integer_k_on_flat_rows_asks_for_image_shape(rng):
    with pytest.raises(ValueError, match=r"k=2 is out of range for images of 1 x 64.*image_shape"):
        SVDBlur(k=2).fit(rng.normal(size=(4, 64)))


def test_a_gaussian_narrower_than_any_pixel_changes_nothing(rng):
    X = rng.normal(size=(2, 8, 8))
    np.testing.assert_array_equal(GaussianBlur(1e-200).fit_transform(X), X)


def test_what_has_no_doubles_lets_the_cpu_decompose(monkeypatch, rng):
    """As MPS, where torch has no eigenvectors."""
    X = torch.from_numpy(rng.normal(size=(3, 2, 8, 8)))
    expected = SVDBlur(4).fit_transform(X)
    there = []
    monkeypatch.setattr(skrnd.blur, "widest_float", lambda device: torch.float32)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: there.append(tensor) or tensor.clone())
    blur = SVDBlur(4, channel_axis=1).fit(X)
    there.clear()
    torch.testing.assert_close(blur.transform(X), expected, rtol=1e-4, atol=1e-4)
    assert [tensor.shape for tensor in there] == [X.shape]
