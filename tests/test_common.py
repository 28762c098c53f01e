"""scikit-learn's own checks, for every public estimator in many settings."""

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_global_output_transform_pandas,
    check_global_set_output_transform_polars,
    check_inplace_ensure_writeable,
    check_methods_subset_invariance,
    check_param_validation,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_set_output_transform_polars,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
    parametrize_with_checks,
)

import skrnd._networks
import skrnd._validation
from skrnd import SVDRNDDetector
from skrnd._images import ImageLayout
from skrnd.blur import DCTBlur, GaussianBlur, SVDBlur, SVDSharpen, SVDSoften
from skrnd.geometry import Contrast, Flip, Invert, Rotate, Shear, Translate

# Their y has two classes, and knows nothing of outliers.
pytestmark = pytest.mark.filterwarnings("ignore:y has the labels:UserWarning")

TRANSFORMERS = [
    SVDBlur(),
    SVDBlur(0.5, channel_axis=1),
    SVDSharpen(),
    SVDSoften(),
    DCTBlur(),
    GaussianBlur(),
    GaussianBlur(sigma=3.0),
    Flip(),
    Rotate(),
    Translate(),
    Shear(),
    Contrast(),
    Invert(),
]
# scikit-learn's checks ask for no good verdicts, and fit hundreds of times.
SHORT = {"n_estimators": 1, "max_epochs": 3}
DETECTORS = [
    SVDRNDDetector(),
    SVDRNDDetector(**SHORT),
    SVDRNDDetector(k=[24, 28], **SHORT),
    SVDRNDDetector(blur=None, **SHORT),
    SVDRNDDetector(blur="dct", **SHORT),
    SVDRNDDetector(blur=[GaussianBlur(), "svd"], **SHORT),
    SVDRNDDetector(contamination=0.1, **SHORT),
    SVDRNDDetector(early_stopping=True, **SHORT),
    SVDRNDDetector(precision="float32", batch_size=8, **SHORT),
    SVDRNDDetector(precision="bfloat16", **SHORT),
]


@parametrize_with_checks(TRANSFORMERS + DETECTORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_scikit_learn_looks_at_the_contamination():
    """It asks nothing of one that has a parameter called novelty, as LocalOutlierFactor has."""
    assert not hasattr(SVDRNDDetector(), "novelty")


# What check_estimator leaves to scikit-learn's own test suite.
@pytest.mark.parametrize("estimator", TRANSFORMERS + DETECTORS, ids=repr)
@pytest.mark.parametrize(
    "check", [check_param_validation, check_dataframe_column_names_consistency]
)
def test_checks_of_scikit_learns_own_estimators(estimator, check):
    check(type(estimator).__name__, clone(estimator))


@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names:UserWarning")
@pytest.mark.parametrize("estimator", TRANSFORMERS, ids=repr)
@pytest.mark.parametrize(
    "check",
    [
        check_global_output_transform_pandas,
        check_global_set_output_transform_polars,
        check_inplace_ensure_writeable,
        check_set_output_transform,
        check_set_output_transform_pandas,
        check_set_output_transform_polars,
        check_transformer_get_feature_names_out,
        check_transformer_get_feature_names_out_pandas,
    ],
)
def test_checks_of_scikit_learns_own_transformers(estimator, check):
    check(type(estimator).__name__, clone(estimator))


@pytest.fixture
def rows_are_images(monkeypatch):
    """Read flat rows as images one pixel high, so that scikit-learn's data are images.

    Its checks make rows of any length, which no fixed image_shape fits.
    """

    def find_layout(sample_shape, image_shape, channel_axis):
        if len(sample_shape) != 1:
            return original(sample_shape, image_shape, channel_axis)
        return ImageLayout(tuple(sample_shape), (1, *sample_shape), channels_last=False)

    original = skrnd._validation.find_layout
    monkeypatch.setattr(skrnd._validation, "find_layout", find_layout)
    monkeypatch.setattr(skrnd._networks, "MIN_SIDE", 1)


# An image one pixel high has one singular value, which SVDBlur leaves.
@pytest.mark.filterwarnings("ignore:SVDBlur.* leaves the images as they are:UserWarning")
@pytest.mark.usefixtures("rows_are_images")
@parametrize_with_checks(
    [
        SVDRNDDetector(blur=GaussianBlur(), max_epochs=3),
        SVDRNDDetector(blur=[SVDBlur(), DCTBlur()], max_epochs=3, precision="float32"),
    ]
)
def test_scikit_learn_checks_on_images(estimator, check):
    if check.func is check_methods_subset_invariance:
        pytest.skip("asks for 1e-7; convolutions repeat to 1e-6, which test_detector asks for")
    check(estimator)
