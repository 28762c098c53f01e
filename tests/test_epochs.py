"""The epochs of a fit: callbacks, stopping early, Ctrl-C, and a training that diverges."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skrnd._epochs
from skrnd import SVDRNDDetector


@pytest.fixture
def images(rng):
    """Noise, (60, 3, 8, 8)."""
    return rng.normal(size=(60, 3, 8, 8)).astype(np.float32)


needs_callbacks = pytest.mark.skipif(
    not hasattr(SVDRNDDetector, "set_callbacks"), reason="scikit-learn has them from 1.9 on"
)


class Recorder:
    """A callback that remembers what it is told, and stops after so many epochs."""

    max_propagation_depth = None

    def __init__(self, n_epochs=None):
        self.n_epochs = n_epochs
        self.told = []
        self.detectors = []

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.told.append(("end", context.task_name))
        if context.task_name == "epoch":
            fitted_estimator.decision_function(X)
            self.detectors.append(fitted_estimator)
            return len(self.detectors) == self.n_epochs
        return None


@needs_callbacks
def test_callbacks_follow_the_epochs(images):
    """Each is given the detector that a fit which ends there would be."""
    recorder = Recorder()
    detector = SVDRNDDetector(max_epochs=3, random_state=0).set_callbacks(recorder)
    scores = detector.fit(images).score_samples(images)
    epoch = [("begin", "epoch", 0), ("end", "epoch")]
    assert recorder.told == ["setup", ("begin", "fit", 3), *epoch * 3, ("end", "fit"), "teardown"]
    np.testing.assert_array_equal(recorder.detectors[-1].score_samples(images), scores)
    assert not np.array_equal(recorder.detectors[0].score_samples(images), scores)
    assert [len(one.loss_curve_) for one in recorder.detectors] == [1, 2, 3]
    # Watching changes nothing.
    plain = SVDRNDDetector(max_epochs=3, random_state=0).fit(images)
    np.testing.assert_array_equal(plain.score_samples(images), scores)


class Sets(Recorder):
    """A callback that counts on the estimator, and sets a parameter."""

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        estimator.n_tasks_ = getattr(estimator, "n_tasks_", 0) + 1
        estimator.set_params(max_epochs=7)


@needs_callbacks
def test_what_a_callback_sets_stays(images):
    detector = SVDRNDDetector(max_epochs=3, random_state=0).set_callbacks(Sets())
    frame = pd.DataFrame(images.reshape(60, -1)).add_prefix("pixel_")
    detector.set_params(image_shape=(3, 8, 8)).fit(frame)
    assert detector.n_tasks_ == 4
    assert detector.max_epochs == 7
    assert len(detector.loss_curve_) == 3
    # What the fit before had and this one has not, is gone.
    assert hasattr(detector, "feature_names_in_")
    assert not hasattr(detector.fit(frame.to_numpy()), "feature_names_in_")


@needs_callbacks
def test_a_callback_stops_the_training(images):
    recorder = Recorder(n_epochs=2)
    detector = SVDRNDDetector(max_epochs=5, random_state=0).set_callbacks(recorder).fit(images)
    assert len(detector.loss_curve_) == 2
    assert recorder.told[-1] == "teardown"
    expected = recorder.detectors[-1].score_samples(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected)


@needs_callbacks
def test_callbacks_are_taken_down_after_an_error(images):
    recorder = Recorder()
    detector = SVDRNDDetector(k=100, max_epochs=3).set_callbacks(recorder)
    with pytest.raises(ValueError, match="k=100"):
        detector.fit(images)
    assert recorder.told == ["setup", "teardown"]
    assert not hasattr(detector, "n_features_in_")


@needs_callbacks
def test_callbacks_reach_the_detector_in_pipelines_and_searches(images, capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="roc_auc")
    y = np.r_[np.ones(50), -np.ones(10)]
    detector = SVDRNDDetector(max_epochs=2, image_shape=(3, 8, 8), random_state=0)
    detector.set_callbacks(monitor)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), detector),
        {"svdrnddetector__k": [2, 5]},
        scoring="roc_auc",
        cv=StratifiedKFold(2),
        refit=False,
    )
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(images.reshape(60, -1), y)
    assert "SVDRNDDetector - fit #1" in capsys.readouterr().out
    logs = monitor.get_logs(select="all")
    # Each of two candidates and two folds has two epochs.
    n_epochs = [sum(row["task_name"] == "epoch" for row in log.data) for log in logs]
    assert sum(n_epochs) == 8
    assert all(0 <= row["roc_auc"] <= 1 for log in logs for row in log.data)


@needs_callbacks
@pytest.mark.parametrize("kind", ["rows", "images"])
def test_early_stopping_keeps_the_best_epoch(kind, rng):
    """And sees that the rest is not worth it: the error is that of the rows held out."""

    recorder = Recorder()
    X = rng.normal(size=(300, 3) if kind == "rows" else (60, 8, 8))
    # At this rate it does not get better and better.
    detector = SVDRNDDetector(
        blur=None,
        max_epochs=30,
        learning_rate=0.1,
        validation_fraction=0.3,
        early_stopping=True,
        n_iter_no_change=2,
        random_state=0,
    )
    detector.set_callbacks(recorder).fit(X)
    curve = detector.validation_loss_curve_
    best = int(np.argmin(curve))
    assert len(detector.loss_curve_) == len(curve) == best + 1 + 2 < 30
    assert -detector.calibration_scores_.mean() == pytest.approx(min(curve), rel=1e-6)
    # At any time, the detector is that of the best epoch so far.
    for told in recorder.detectors[best:]:
        np.testing.assert_array_equal(told.score_samples(X), detector.score_samples(X))


def test_early_stopping_keeps_the_best_epoch_of_both_predictors(images, monkeypatch):
    """By the mean of their errors on the rows held out."""

    def conclude(self, curves, *, judged, **options):
        seen.append(judged[0].clone())
        return original(self, curves, judged=judged, **options)

    seen, original = [], SVDRNDDetector._conclude
    monkeypatch.setattr(SVDRNDDetector, "_conclude", conclude)
    params = {"max_epochs": 30, "early_stopping": True, "n_iter_no_change": 2, "random_state": 0}
    detector = SVDRNDDetector(learning_rate=0.1, **params).fit(images)
    curve = detector.validation_loss_curve_
    assert np.argmin(curve) < len(curve) - 1
    with torch.no_grad():
        errors = [pair(seen[-1])[:, 0].mean().item() for pair in detector._pairs]
    assert len(errors) == 2
    assert np.mean(errors) == pytest.approx(min(curve), rel=1e-5)


def test_early_stopping_changes_nothing_but_the_choice(images):
    """Where the last epoch is the best, the detector is the one without it."""
    plain = SVDRNDDetector(max_epochs=3, random_state=0).fit(images)
    assert plain.validation_loss_curve_ is None
    early = clone(plain).set_params(early_stopping=True).fit(images)
    assert early.loss_curve_ == plain.loss_curve_
    assert np.argmin(early.validation_loss_curve_) == 2
    np.testing.assert_array_equal(early.score_samples(images), plain.score_samples(images))
    before = early.validation_loss_curve_
    early.partial_fit(images)
    assert early.validation_loss_curve_[:3] == before
    assert len(early.validation_loss_curve_) == 4


def interrupt_look(number, monkeypatch):
    """Press Ctrl-C in a look at the rows held out; returns what those before it saw."""

    def held_out_loss(trainings, held):
        if len(looks) == number - 1:
            raise KeyboardInterrupt
        looks.append(original(trainings, held))
        return looks[-1]

    looks, original = [], skrnd._epochs.held_out_loss
    monkeypatch.setattr(skrnd._epochs, "held_out_loss", held_out_loss)
    return looks


def test_an_interrupted_fit_leaves_curves_that_go_on_side_by_side(images, monkeypatch):
    """Ctrl-C while the rows held out are looked at leaves an epoch without their error."""
    detector = SVDRNDDetector(max_epochs=3, random_state=0, early_stopping=True, warm_start=True)
    with monkeypatch.context() as patch:
        interrupt_look(2, patch)
        with pytest.warns(ConvergenceWarning):
            detector.fit(images)
    assert len(detector.loss_curve_) == 2
    assert len(detector.fit(images).loss_curve_) == 5
    assert np.isnan(detector.validation_loss_curve_).tolist() == [False, True, *[False] * 3]


def test_early_stopping_beside_a_share_of_outliers(images):
    """Rows are held out to stop by, and the share is one of all rows of the training data."""
    params = {"early_stopping": True, "validation_fraction": 0.3, "random_state": 0}
    detector = SVDRNDDetector(contamination=0.1, max_epochs=3, **params).fit(images)
    assert (detector.predict(images) == -1).sum() == round(0.1 * len(images))
    assert detector.calibration_scores_ is None
    assert len(detector._trained) == round(0.7 * len(images))
    # What is learned is the same as where the rows held out set the threshold.
    promised = SVDRNDDetector(max_epochs=3, **params).fit(images)
    assert detector.loss_curve_ == promised.loss_curve_
    assert detector.validation_loss_curve_ == promised.validation_loss_curve_


def test_ctrl_c_keeps_what_was_learned(images, monkeypatch):
    def run_epoch(trainings):
        if len(losses) == 2:
            raise KeyboardInterrupt
        losses.append(original(trainings))
        return losses[-1]

    losses, original = [], skrnd._epochs.run_epoch
    monkeypatch.setattr(skrnd._epochs, "run_epoch", run_epoch)
    with pytest.warns(ConvergenceWarning, match="Interrupted in epoch 3 of 5") as caught:
        detector = SVDRNDDetector(max_epochs=5, random_state=0).fit(images)
    assert caught[0].filename == __file__
    assert detector.loss_curve_ == losses
    assert np.isfinite(detector.decision_function(images)).all()
    # In the first epoch there is nothing to keep.
    monkeypatch.setattr(skrnd._epochs, "run_epoch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(images)
    assert detector.loss_curve_ == losses


def test_ctrl_c_between_epochs_keeps_what_was_learned(images, monkeypatch):
    """While the rows held out are looked at, or a callback is called."""
    looks = interrupt_look(3, monkeypatch)
    detector = SVDRNDDetector(max_epochs=5, early_stopping=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Interrupted in epoch 3 of 5"):
        detector.fit(images)
    assert len(detector.loss_curve_) == 3
    assert detector.validation_loss_curve_ == looks
    assert np.isfinite(detector.decision_function(images)).all()


def test_ctrl_c_after_the_epochs_loses_nothing(images, tmp_path, monkeypatch):
    """While the rows held out are scored, or the checkpoint is removed."""

    def novelties(detector, blocks, **options):
        scored.append(detector)
        if len(scored) == 1:
            raise KeyboardInterrupt
        return original(detector, blocks, **options)

    def unlink(path, **options):
        raise KeyboardInterrupt

    path, original = tmp_path / "checkpoint", SVDRNDDetector._novelties
    detector = SVDRNDDetector(max_epochs=3, random_state=0)
    expected = clone(detector).fit(images).score_samples(images)
    with monkeypatch.context() as patch:
        patch.setattr(SVDRNDDetector, "_novelties", novelties)
        scored = []
        with pytest.warns(ConvergenceWarning, match="after the training, which is complete"):
            detector.fit(images)
        scored = []
        # The next fit goes on from there.
        kept = clone(detector).set_params(checkpoint=path)
        with pytest.raises(KeyboardInterrupt):
            kept.fit(images)
    np.testing.assert_array_equal(detector.score_samples(images), expected)
    assert path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(type(path), "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            kept.fit(images)
    assert path.exists()
    np.testing.assert_array_equal(kept.score_samples(images), expected)


def test_a_second_ctrl_c_ends_the_fit(images, monkeypatch):
    interrupt_look(2, monkeypatch)
    monkeypatch.setattr(SVDRNDDetector, "_conclude", lambda *args, **options: interrupt(args))
    detector = SVDRNDDetector(max_epochs=3, early_stopping=True, random_state=0)
    with (
        pytest.warns(ConvergenceWarning, match="Interrupted in epoch 2 of 3"),
        pytest.raises(KeyboardInterrupt),
    ):
        detector.fit(images)
    assert not hasattr(detector, "offset_")


def interrupt(trainings):
    """An impatient user."""
    raise KeyboardInterrupt


def test_a_training_that_diverges_is_an_error(images):
    """At once, for there is no way back."""
    detector = SVDRNDDetector(blur=None, max_epochs=40, learning_rate=1e30)
    for early_stopping in (False, True):
        detector.set_params(early_stopping=early_stopping)
        with pytest.raises(ValueError, match=r"diverged: .* epoch [1-3] .*learning_rate=1e\+30"):
            detector.fit(images)
    assert not hasattr(detector, "offset_")


@pytest.mark.parametrize("n_good", [0, 2])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_loss_without_end_ends_the_training(n_good, early_stopping, images, monkeypatch):
    """Also where the errors happen to be finite; what was kept before is kept."""
    run_epoch, losses = skrnd._epochs.run_epoch, []

    def diverges(trainings):
        losses.append(run_epoch(trainings) if len(losses) < n_good else np.inf)
        return losses[-1]

    monkeypatch.setattr(skrnd._epochs, "run_epoch", diverges)
    detector = SVDRNDDetector(max_epochs=9, early_stopping=early_stopping, random_state=0)
    if early_stopping and n_good:
        detector.fit(images)
        assert detector.loss_curve_ == losses
        assert len(detector.validation_loss_curve_) == n_good
    else:
        with pytest.raises(ValueError, match=f"diverged: the loss of epoch {n_good + 1} was inf"):
            detector.fit(images)
    assert len(losses) == n_good + 1
