"""The choice of a strength."""

import numpy as np
import pytest

from skrnd._strength import choose_strength, log_effective_rank
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur


def test_effective_rank_by_hand():
    """Equal singular values: the rank; one alone: log 1; none: 0."""
    images = np.zeros((1, 3, 8, 8))
    images[0, 0] = np.eye(8)
    images[0, 1, :2, :2] = np.eye(2)
    assert log_effective_rank(images) == pytest.approx((np.log(8) + np.log(2) + 0) / 3)


def test_effective_rank_is_the_entropy_of_the_spectrum():
    spectrum = np.array([4.0, 3.0, 2.0, 1.0])
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    p = spectrum / 10
    assert log_effective_rank((q * spectrum)[None, None]) == pytest.approx(-(p @ np.log(p)))


@pytest.mark.parametrize(
    ("make_blur", "candidates"),
    [
        (SVDBlur, list(range(1, 16))),
        (DCTBlur, list(range(1, 16))),
        (GaussianBlur, np.geomspace(0.3, 4, 16).tolist()),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_choice_comes_nearest_to_the_share(make_blur, candidates, share, rng):
    images = rng.normal(size=(20, 1, 16, 16)).cumsum(axis=2)
    whole = log_effective_rank(images)
    ratios = [log_effective_rank(make_blur(c).fit_transform(images)) / whole for c in candidates]
    expected = candidates[np.argmin(np.abs(np.array(ratios) - share))]
    assert choose_strength(make_blur, candidates, images, share) == expected


def test_cifar10_gets_the_k_that_works_best_there(load_images):
    images = load_images("cifar10_train", 256).astype(np.float32)
    images -= images.mean(axis=(0, 2, 3), keepdims=True)
    assert choose_strength(SVDBlur, list(range(1, 32)), images, 0.5) in (27, 28)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant_images_have_no_rank(value):
    assert choose_strength(SVDBlur, [1, 2, 3], np.full((5, 1, 8, 8), value), 0.5) == 1
