"""Arrays as nobody should pass them: the documented error, or a score that is right.

Warnings of numpy and torch are errors here as everywhere in these tests.
"""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import skrnd._epochs
from skrnd import SVDRNDDetector
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften

SHAPE = (3, 8, 8)
DTYPES = ["u1", "i2", "<i8", ">i8", "f2", "<f4", ">f4", "<f8", ">f8", "?", "g"]
SPOILT = ["nothing", "nan", "infinite", "masked", "complex", "strings", "objects"]
LAYOUTS = ["whole", "every other row", "upside down", "read-only", "transposed", "broadcast"]


@st.composite
def stacks(draw, n_rows):
    """Images of SHAPE or nearly, and whether they are fit to be scored."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(n_rows)
    shape = draw(
        st.sampled_from([SHAPE, SHAPE, SHAPE, SHAPE, (3, 8, 9), (2, 8, 8), (8, 8), (192,)])
    )
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    X = rng.normal(size=(n, *shape)) * draw(st.sampled_from([1.0, 0.0, 50.0, 1e30, 1e-30, 1e-320]))
    if draw(st.booleans()) and n:
        X[:] = X[0]
    if dtype.kind == "f":
        X = X.clip(float(np.finfo(dtype).min), float(np.finfo(dtype).max))
    elif dtype.kind in "iu":
        X = X.clip(0, 100)
    X = X.astype(dtype)
    layout = draw(st.sampled_from(LAYOUTS))
    if layout == "every other row":
        X = np.repeat(X, 2, axis=0)[::2]
    elif layout == "upside down":
        X = X[::-1, ..., ::-1]
    elif layout == "read-only":
        X.flags.writeable = False
    elif layout == "transposed":
        X = np.asfortranarray(X)
    elif layout == "broadcast" and n:
        X = np.broadcast_to(X[0], X.shape)
    spoilt = draw(st.sampled_from(SPOILT)) if draw(st.booleans()) else "nothing"
    if spoilt in ("nan", "infinite", "masked") and n:
        X = np.array(X, dtype=np.float64)
        if spoilt == "masked":
            X = np.ma.masked_array(X, mask=np.arange(X.size).reshape(X.shape) == 0)
        else:
            X.flat[0] = np.nan if spoilt == "nan" else -np.inf
    elif spoilt == "complex":
        X = X.astype(np.complex64) + 1j
    elif spoilt == "strings":
        X = np.full(X.shape, "normal")
    elif spoilt == "objects":
        X = np.full(X.shape, None, dtype=object)
    return X, n > 0 and shape == SHAPE and spoilt == "nothing"


@pytest.fixture(scope="module")
def fitted():
    """A detector with two judgements of each of two predictors."""
    X = np.random.default_rng(0).normal(size=(60, *SHAPE))
    return SVDRNDDetector(max_epochs=1, random_state=0).fit(X)


@pytest.mark.filterwarnings("ignore:The values of X spread")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=stacks(st.integers(0, 4)))
def test_what_is_scored_is_scored_right(case, fitted):
    X, is_fit = case
    before = fitted.offset_
    if not is_fit:
        with pytest.raises((ValueError, TypeError)):
            fitted.score_samples(X)
    else:
        plain = np.ascontiguousarray(X.astype(np.float64))
        scores = fitted.score_samples(X)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores, fitted.score_samples(plain))
        alone = [fitted.score_samples(plain[i : i + 1])[0] for i in range(len(plain))]
        np.testing.assert_allclose(scores, alone, rtol=1e-6)
    assert fitted.offset_ == before


def one_layer(input_shape):
    """A network that fits in no time."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(input_shape)), 4))


@pytest.mark.filterwarnings("ignore:X has plain rows")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=stacks(st.integers(0, 12)))
def test_what_is_learned_gives_finite_scores(case):
    X, is_fit = case
    detector = SVDRNDDetector(k=2, network=one_layer, max_epochs=1, random_state=0)
    try:
        detector.fit(X)
    except (ValueError, TypeError):
        assert not is_fit or len(X) < 2
        assert not hasattr(detector, "offset_")
    else:
        assert np.isfinite(detector.decision_function(X)).all()
        assert np.isfinite(detector.loss_curve_).all()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    case=stacks(st.integers(1, 3)),
    blur=st.sampled_from([SVDBlur(2), SVDSoften(2), SVDSharpen(2), DCTBlur(2), GaussianBlur()]),
)
def test_what_is_blurred_stays_finite(case, blur):
    X, is_fit = case
    try:
        made = blur.fit_transform(X)
    except (ValueError, TypeError):
        assert not is_fit
    else:
        assert made.shape == X.shape
        assert np.isfinite(made).all()


def test_what_a_mask_hides_is_not_scored(fitted):
    X = np.ma.masked_array(np.zeros((2, *SHAPE)), mask=False)
    assert np.isfinite(fitted.score_samples(X)).all()
    X[0, 0, 0, 0] = np.ma.masked
    with pytest.raises(ValueError, match="masked array"):
        fitted.score_samples(X)


@pytest.mark.parametrize("value", [0.0, np.nan, 1e30])
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_images_that_change_while_they_are_learned_change_nothing(
    value, contamination, monkeypatch
):
    def run_epoch(trainings):
        X[:] = value
        return original(trainings)

    X = np.random.default_rng(0).normal(size=(60, *SHAPE))
    params = {"contamination": contamination, "max_epochs": 2, "random_state": 0}
    expected = SVDRNDDetector(**params).fit(X)
    before, original = X.copy(), skrnd._epochs.run_epoch
    monkeypatch.setattr(skrnd._epochs, "run_epoch", run_epoch)
    detector = SVDRNDDetector(**params).fit(X)
    assert not np.array_equal(X, before)
    assert detector.offset_ == expected.offset_
    np.testing.assert_array_equal(detector.score_samples(before), expected.score_samples(before))


@pytest.mark.parametrize("name", ["a b", "ä", "'", '"', "-rf", "$(id)", "%s", "{}", ";", "x" * 200])
def test_odd_file_names(name, tmp_path):
    from skrnd.persistence import load, save

    X = np.random.default_rng(0).normal(size=(60, 4))
    checkpoint = tmp_path / f"{name}.checkpoint"
    detector = SVDRNDDetector(max_epochs=1, random_state=0, checkpoint=checkpoint).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(detector, tmp_path / name)
        loaded = load(tmp_path / name)
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))
    assert [path.name for path in tmp_path.iterdir()] == [name]
