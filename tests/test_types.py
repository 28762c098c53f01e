"""What type hints tell those who use the package: pytest runs this file, and mypy checks it."""

from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray

from skrnd import SVDRNDDetector
from skrnd.base import BaseImageTransformer
from skrnd.blur import SVDBlur
from skrnd.metrics import auroc_score, auroc_scorer, detection_report
from skrnd.model_selection import ProbeScorer

X = np.random.default_rng(0).normal(size=(40, 8, 8))


class Doubled(BaseImageTransformer):
    """A transformer of a user."""

    def _transform_images(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * images

    def halved(self) -> str:
        return "no"


class Named(SVDRNDDetector):
    """A detector of a user."""

    name = "mine"


class Flat(torch.nn.Module):
    """A network of a user, for images."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        n_channels, height, width = shape
        self.layer = torch.nn.Linear(n_channels * height * width, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x.flatten(1))


def test_a_detector_is_of_its_own_class() -> None:
    detector = Named(k=4, max_epochs=1, network=Flat, random_state=0)
    assert_type(detector.fit(X), Named)
    assert_type(detector.calibrate(1.01 * X, false_alarm_rate=0.2), Named)
    assert_type(detector.partial_fit(X), Named)
    assert detector.fit(X).name == "mine"


def test_verdicts_and_attributes() -> None:
    detector = SVDRNDDetector(k=4, max_epochs=1, random_state=0).fit(X)
    scores: NDArray[np.float64] = detector.score_samples(X)
    assert_type(detector.offset_, float)
    assert_type(detector.n_features_in_, int)
    assert_type(detector.sample_shape_, tuple[int, ...])
    assert (type(detector.offset_), type(detector.n_features_in_)) == (float, int)
    assert (len(scores), detector.sample_shape_) == (len(X), (8, 8))
    assert_type(ProbeScorer()(detector, X), float)


def test_a_transformer_is_of_its_own_class() -> None:
    assert_type(SVDBlur(k=4).fit(X), SVDBlur)
    assert_type(Doubled().fit(X), Doubled)
    assert Doubled().fit(X).halved() == "no"


def test_metrics_are_numbers() -> None:
    y, scores = np.array([1, 1, -1]), np.array([2.0, 1.0, 0.0])
    assert_type(auroc_score(y, scores), float)
    assert_type(detection_report(y, scores), dict[str, float])
    assert type(auroc_score(y, scores)) is float
    detector = SVDRNDDetector(blur=None, max_epochs=1, random_state=0).fit(X)
    labels = np.where(np.arange(len(X)) < 20, 1, -1)
    assert_type(auroc_scorer(detector, X, labels), float)
