"""The choice of a strength."""

from functools import partial

import numpy as np
import pytest

from skrnd._strength import _nearest, choose_strength, log_effective_rank, sample_size, told_apart
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen


@pytest.mark.parametrize(
    ("image_shape", "n_images"),
    [((3, 32, 32), 256), ((1, 64, 64), 256), ((3, 64, 64), 85), ((3, 224, 224), 16)],
)
def test_of_large_images_fewer_are_looked_at(image_shape, n_images):
    """256 of them, or a million values, but 16 at least."""
    assert sample_size(image_shape) == n_images


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


def test_told_apart_counts_pairs():
    """Steps of height 1 and 2 against steps of height 0.5, 1 and 3, pair by pair."""
    step = np.zeros((1, 1, 4, 4))
    step[..., 2:] = 1.0
    images, copies = np.concatenate([step, 2 * step]), np.concatenate([step / 2, step, 3 * step])
    # The copy is less sharp in 3 of the 6 pairs and as sharp in one.
    assert told_apart(images, copies) == pytest.approx(3.5 / 6)
    # Told by being sharper is told as well.
    assert told_apart(copies, images) == pytest.approx(3.5 / 6)
    assert told_apart(images, images + 5.0) == 0.5
    assert told_apart(images, 0 * copies) == told_apart(images, 9 * copies) == 1.0


def blurs(side):
    numbers = list(range(1, side))
    sigmas = np.geomspace(0.3, 4, 16).tolist()
    return [(SVDBlur, numbers), (SVDSharpen, numbers), (DCTBlur, numbers), (GaussianBlur, sigmas)]


@pytest.fixture
def images(rng):
    """Smoothed noise, of as many contrasts as there are images."""
    contrast = np.geomspace(0.5, 2, 30).reshape(-1, 1, 1, 1)
    return contrast * rng.normal(size=(30, 1, 16, 16)).cumsum(axis=2)


def of(make_copies, images):
    """The copies of some images, by their strength."""
    return lambda strength: make_copies(strength).fit_transform(images)


def nearest(figures, aim):
    return int(np.argmin(np.abs(np.array(figures) - aim)))


@pytest.mark.parametrize(("make_copies", "candidates"), blurs(16))
@pytest.mark.parametrize("aim", [0.6, 0.75, 0.9])
def test_the_choice_comes_nearest_to_what_is_told_apart(make_copies, candidates, aim, images):
    def auroc(strength):
        one, other = (
            ((x[:, :, 1:] - x[:, :, :-1]) ** 2).mean((1, 2, 3))
            + ((x[..., 1:] - x[..., :-1]) ** 2).mean((1, 2, 3))
            for x in (images, make_copies(strength).fit_transform(images))
        )
        less = (other[:, None] < one).mean() + (other[:, None] == one).mean() / 2
        return max(less, 1 - less)

    expected = candidates[nearest([auroc(c) for c in candidates], aim)]
    assert (
        choose_strength(of(make_copies, images), candidates, images, aim_told_apart=aim) == expected
    )


@pytest.mark.parametrize(("make_copies", "candidates"), [blurs(16)[i] for i in (0, 2, 3)])
@pytest.mark.parametrize("aim", [0.5, 0.8])
def test_the_rank_asks_for_more_where_the_sharpness_is_content(
    make_copies, candidates, aim, images
):
    whole = log_effective_rank(images)
    ratios = [log_effective_rank(make_copies(c).fit_transform(images)) / whole for c in candidates]

    def chosen(**aims):
        return candidates.index(
            choose_strength(of(make_copies, images), candidates, images, **aims)
        )

    by_sharpness = chosen(aim_told_apart=0.75)
    assert chosen(aim_told_apart=0.51, aim_rank=aim) == nearest(ratios, aim)
    assert chosen(aim_told_apart=0.75, aim_rank=aim) == max(by_sharpness, nearest(ratios, aim))
    assert chosen(aim_told_apart=0.75, aim_rank=0.99) == by_sharpness


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant_images_get_the_mildest(value):
    images = np.full((5, 1, 8, 8), value)
    assert (
        choose_strength(of(SVDBlur, images), [1, 2, 3], images, aim_told_apart=0.75, aim_rank=0.5)
        == 1
    )


@pytest.mark.parametrize(("make_copies", "candidates"), blurs(16))
@pytest.mark.parametrize(
    "aims", [{"aim_told_apart": 0.75}, {"aim_told_apart": 0.6, "aim_rank": 0.6}]
)
def test_blank_images_have_no_say(make_copies, candidates, aims, images):
    """Among enough of them, no blur would be told apart."""
    expected = choose_strength(of(make_copies, images), candidates, images, **aims)
    some = np.concatenate([images, np.full_like(images, 0.1)])
    some = some[np.random.default_rng(0).permutation(len(some))]
    assert choose_strength(of(make_copies, some), candidates, some, **aims) == expected


@pytest.mark.parametrize(("aim", "expected"), [(0.75, 3), (0.6, 2), (0.65, 3), (0.4, 1), (0.9, 7)])
def test_of_equally_good_strengths_it_is_the_mildest(aim, expected):
    told_apart = [0.5, 0.55, 0.7, 0.7, 0.7, 0.7, 0.95]
    assert _nearest(told_apart.__getitem__, aim, 7) == expected - 1


def test_images_of_rank_one_are_judged_by_their_sharpness(rng):
    stripes = np.broadcast_to(rng.normal(size=(9, 1, 8, 1)), (9, 1, 8, 8)).copy()
    candidates = [0.3, 0.6, 1.2, 2.4]
    choose = partial(choose_strength, of(GaussianBlur, stripes), candidates, stripes)
    assert choose(aim_told_apart=0.9, aim_rank=0.5) == choose(aim_told_apart=0.9)
