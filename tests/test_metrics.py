"""Figures of merit against hand-computed cases and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from skrnd import metrics
from skrnd.metrics import (
    aupr_score,
    auroc_score,
    detection_accuracy_score,
    detection_report,
    detection_scorer,
    tnr_at_tpr_score,
)

INF = math.inf
SCORES = [tnr_at_tpr_score, auroc_score, detection_accuracy_score, aupr_score]


def rows(normal, novel):
    """Labels and scores of two groups."""
    return [1] * len(normal) + [-1] * len(novel), [*normal, *novel]


@pytest.mark.parametrize(
    ("normal", "novel", "tpr", "expected"),
    [
        ([5, 6, 7, 8], [1, 2, 3, 4], 0.95, 1.0),
        ([1, 2, 3, 4], [5, 6, 7, 8], 0.95, 0.0),
        # The strictest threshold with three of four normal rows is 6.
        ([5, 6, 7, 8], [1, 5.5, 6, 9], 0.75, 0.5),
        # A little more than three of four takes all four: the threshold is 5.
        ([5, 6, 7, 8], [1, 5.5, 6, 9], 0.76, 0.25),
        # Ties with the threshold are accepted.
        ([1, 1, 1, 1], [1, 1], 0.5, 0.0),
        ([1, 1, 2, 2], [1, 1, 0, 0], 0.5, 1.0),
        ([1, 1, 2, 2], [1, 1, 0, 0], 0.95, 0.5),
        # Infinities are the ends of the order.
        ([0, INF, INF, 1], [-INF, -INF, 5], 0.95, 2 / 3),
        ([-INF, 1], [-INF, 0], 1.0, 0.0),
        # 19 of 20 are 95 %, whatever the rounding.
        (list(range(20)), [0.5], 0.95, 1.0),
    ],
)
def test_tnr_by_hand(normal, novel, tpr, expected):
    assert tnr_at_tpr_score(*rows(normal, novel), tpr=tpr) == pytest.approx(expected)


def test_positive_class_is_an_argument():
    """To accept 2 of 3 novel rows as novel costs 1 of 4 normal rows."""
    y_true, y_score = rows([4, 5, 6, 1.5], [1, 2, 5.5])
    assert tnr_at_tpr_score(y_true, y_score, tpr=0.6, pos_label=-1) == pytest.approx(0.75)
    assert tnr_at_tpr_score(y_true, y_score, tpr=0.6, pos_label=1) == pytest.approx(2 / 3)


def test_detection_accuracy_by_hand():
    """Best cut between 0.1 and 0.4: all normal kept, one of two novel found."""
    assert detection_accuracy_score(*rows([0.9, 0.4, 0.4, 0.4], [0.5, 0.1])) == 0.75
    assert detection_accuracy_score(*rows([1, 2], [3, 4])) == 0.5


finite = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@given(normal=finite, novel=finite)
def test_agrees_with_scikit_learn(normal, novel):
    y_true, y_score = map(np.array, rows(normal, novel))
    assert auroc_score(y_true, y_score) == pytest.approx(roc_auc_score(y_true == 1, y_score))
    assert aupr_score(y_true, y_score) == pytest.approx(
        average_precision_score(y_true == 1, y_score)
    )
    assert aupr_score(y_true, y_score, pos_label=-1) == pytest.approx(
        average_precision_score(y_true == -1, -y_score)
    )


@given(normal=finite, novel=finite, tpr=st.sampled_from([0.1, 0.5, 0.9, 0.95, 1.0]))
def test_agrees_with_the_definition(normal, novel, tpr):
    """Try every threshold there is."""
    y_true, y_score = rows(normal, novel)
    normal, novel = np.array(normal), np.array(novel)
    thresholds = [t for t in y_score if (normal >= t).mean() >= tpr - 1e-12]
    assert tnr_at_tpr_score(y_true, y_score, tpr=tpr) == pytest.approx(
        (novel < max(thresholds)).mean()
    )
    accuracies = [((normal >= t).mean() + (novel < t).mean()) / 2 for t in [*y_score, INF]]
    assert detection_accuracy_score(y_true, y_score) == pytest.approx(max(accuracies))


@given(normal=finite, novel=finite)
def test_only_the_order_of_scores_counts(normal, novel):
    y_true, y_score = rows(normal, novel)
    stretched = [math.exp(3 * score) for score in y_score]
    assert detection_report(y_true, y_score) == detection_report(y_true, stretched)


def test_whole_numbers_are_told_apart():
    """Which as float64 they are not."""
    assert auroc_score([1, -1], np.array([2**53 + 1, 2**53])) == 1.0


def test_report_is_the_five_figures():
    y_true, y_score = rows([3, 4, 1, 6], [1, 2, 5])
    assert detection_report(y_true, y_score, tpr=0.5, pos_label=-1) == {
        "tnr_at_tpr": tnr_at_tpr_score(y_true, y_score, tpr=0.5, pos_label=-1),
        "auroc": auroc_score(y_true, y_score),
        "detection_accuracy": detection_accuracy_score(y_true, y_score, pos_label=-1),
        "aupr_in": aupr_score(y_true, y_score, pos_label=1),
        "aupr_out": aupr_score(y_true, y_score, pos_label=-1),
    }
    at_others = [detection_report(y_true, y_score, tpr=tpr)["tnr_at_tpr"] for tpr in (0.5, 0.95)]
    assert len(set(at_others)) == 2


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("y_true", [[1, 1], [-1, -1]])
def test_one_empty_class_is_undefined(score, y_true):
    with pytest.warns(UndefinedMetricWarning, match="undefined without both"):
        assert math.isnan(score(y_true, [0.1, 0.2]))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("y_true", "y_score", "match"),
    [
        ([1, 0], [0.1, 0.2], r"y_true must hold 1 .* and -1 .*\[1, 0\]"),
        ([1, None], [0.1, 0.2], r"y_true must hold 1 .* and -1 .*\[1, None\]"),
        ([1, -1], np.array([1, 2], "m8[s]"), r"y_score must hold numbers; got timedelta64\[s\]"),
        ([1, -1], [0.1, math.nan], "y_score contains NaN"),
        ([1, -1, 1], [0.1, 0.2], "inconsistent numbers of samples"),
        ([[1, -1], [1, 1]], [0.1, 0.2], "1d array"),
    ],
)
def test_bad_input(score, y_true, y_score, match):
    with pytest.raises(ValueError, match=match):
        score(y_true, y_score)


def test_bad_parameters():
    with pytest.raises(ValueError, match="'tpr' parameter of tnr_at_tpr_score"):
        tnr_at_tpr_score([1, -1], [1, 0], tpr=0)
    with pytest.raises(ValueError, match="'pos_label' parameter of auroc_score"):
        auroc_score([1, -1], [1, 0], pos_label=0)


@pytest.fixture
def blobs(rng):
    """Normal rows around 0 and novel ones around 4, mixed."""
    y = np.where(np.arange(90) % 3, 1, -1)
    return rng.normal(size=(90, 2)) + 4 * (y[:, None] == -1), y


@pytest.mark.parametrize("name", [n for n in metrics.__all__ if n.endswith("_scorer")])
def test_scorers_in_a_grid_search(name, blobs):
    X, y = blobs
    search = GridSearchCV(
        IsolationForest(random_state=0),
        {"n_estimators": [5, 20]},
        scoring=getattr(metrics, name),
        refit="auroc" if name == "detection_scorer" else True,
        cv=2,
    ).fit(X, y)
    key = "auroc" if name == "detection_scorer" else "score"
    assert np.isfinite(search.cv_results_[f"mean_test_{key}"]).all()


def test_scorers_are_the_figures(blobs):
    X, y = blobs
    forest = IsolationForest(random_state=0).fit(X)
    report = detection_report(y, forest.decision_function(X))
    assert detection_scorer(forest, X, y) == report
    for name in ("tnr_at_tpr", "auroc", "detection_accuracy"):
        assert getattr(metrics, f"{name}_scorer")(forest, X, y) == report[name]
    assert metrics.aupr_scorer(forest, X, y) == report["aupr_in"]
    np.testing.assert_allclose(
        cross_val_score(forest, X, y, scoring=metrics.auroc_scorer, cv=3),
        cross_val_score(forest, X, y, scoring="roc_auc", cv=3),
    )


@pytest.mark.parametrize("tpr", [1e-13, 1e-300])
def test_any_share_of_the_normal_rows_is_one_at_least(tpr):
    assert tnr_at_tpr_score([1, 1, -1, -1], [0, 0, 1, 0], tpr=tpr) == 0


def test_masks_are_refused():
    masked = np.ma.array([1.0, 2.0], mask=[0, 1])
    with pytest.raises(ValueError, match="y_score is a masked array"):
        auroc_score([1, -1], masked)
    with pytest.raises(ValueError, match="y_true is a masked array"):
        auroc_score(np.ma.array([1, -1], mask=[0, 1]), [1.0, 2.0])
