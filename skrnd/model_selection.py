"""A splitter for detectors, and a scorer that needs no novel image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.ndimage
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import KFold
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_consistent_length, column_or_1d

from ._containers import as_numpy, is_unread, refuse_masked, rows_of
from ._copies import as_list, check_transformers
from ._documentation import DocumentationLinkMixin
from ._validation import LAYOUT_CONSTRAINTS, inlier_rows, layout_of, outlier_labels
from ._warnings import warn
from .blur import SVDSharpen, _SeparableBlur
from .metrics import tnr_at_tpr_score

__all__ = ["NoveltyKFold", "ProbeScorer"]


class NoveltyKFold(KFold):
    """K folds of the normal rows, with every outlier in every test fold.

    Outliers, labelled -1, are never trained on, so every fold can test on all of
    them. This makes the most of the few there are.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether to shuffle the normal rows before they are split.
    random_state : int, RandomState instance or None, default=None
        Determines the order of the rows if `shuffle` is True.

    See Also
    --------
    sklearn.model_selection.StratifiedKFold : Spreads the outliers over all
        folds. In `fit`, a detector leaves out those of its training folds.

    Notes
    -----
    No training fold holds an outlier. With ``return_train_score=True``, training scores
    that need both kinds of rows are therefore NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd.model_selection import NoveltyKFold
    >>> y = np.array([1, 1, 1, 1, -1, -1])
    >>> for train, test in NoveltyKFold(n_splits=2).split(np.zeros((6, 1)), y):
    ...     print(train, test)
    [2 3] [0 1 4 5]
    [0 1] [2 3 4 5]
    """

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate indices that split the rows into training and test rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows to split.
        y : array-like of shape (n,)
            -1 marks an outlier, any other label a normal row. It is required.
        groups : None
            Ignored, with a warning if it is not None.

        Yields
        ------
        train : ndarray of shape (n_train,), int
            Indices of the training rows: the normal rows of all other folds.
        test : ndarray of shape (n_test,), int
            Indices of the test rows: the normal rows of this fold, then all outliers.

        Raises
        ------
        ValueError
            If `y` is None, if X and `y` differ in length, or if there are fewer normal
            rows than folds.
        """
        if y is None:
            raise ValueError("NoveltyKFold needs y, with -1 for outliers.")
        if groups is not None:
            warn("NoveltyKFold ignores the groups.")
        refuse_masked(y, "y")
        check_consistent_length(X, y)
        is_outlier = outlier_labels(column_or_1d(as_numpy(y)))
        normal, outliers = np.flatnonzero(~is_outlier), np.flatnonzero(is_outlier)
        for train, test in super().split(normal):
            yield normal[train], np.concatenate([normal[test], outliers])


class _BoxBlur(_SeparableBlur):
    """Average squares of pixels, of `size` a side, those at the edge going on beyond it."""

    def __init__(
        self,
        size: int,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        super().__init__(image_shape=image_shape, channel_axis=channel_axis)
        self.size = size

    def _operator(self, size: int, image: tuple[int, int]) -> np.ndarray:
        # A window of even size reaches one further ahead than back.
        origin = self.size % 2 - 1
        return scipy.ndimage.uniform_filter1d(
            np.eye(size), self.size, axis=0, mode="nearest", origin=origin
        )


class ProbeScorer(DocumentationLinkMixin, BaseEstimator):
    """Score a detector without any novel image, by the changes it notices.

    Held-out normal images are changed a little, in several ways: by the probes. The
    score is the share of changed images that the detector scores lower than 95 % of
    the unchanged ones (TNR at 95 % TPR), averaged over the probes; about 0.05 is
    chance. A detector that finds such mild changes well mostly finds real novel images of that
    kind well, smoother or sharper.

    Pass it as `scoring` to :class:`~sklearn.model_selection.GridSearchCV` and the like.

    Parameters
    ----------
    probes : transformer or list of transformers, default=None
        What changes the images; each keeps their shape. None makes three: averages over
        2 x 2 and over 3 x 3 pixels, a blur that no detector trains on by default, and
        ``SVDSharpen(0.5, gain=2.0)``, milder than the sharpened copy of ``blur="two-sided"``.
    image_shape : tuple of int, default=None
        Shape of one image, where each row of X is a flattened image. None takes it from the
        detector, also from one that ends a Pipeline if all steps before it return one feature
        for each that they are given, as scalers and blurs do. It is for the default probes;
        those that are passed have their own.
    channel_axis : {"auto", 1, -1, 3, -3}, default="auto"
        Axis that holds the channels, as in :class:`~skrnd.SVDRNDDetector`. "auto" takes it from
        the detector as well. It is for the default probes too.

    See Also
    --------
    skrnd.metrics.tnr_at_tpr_score : The figure that is averaged.

    Notes
    -----
    All candidates of a search must be judged by the same probes. The blur of a detector
    would not do: it is what this one has been trained to find, and no other.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.model_selection import ProbeScorer
    >>> X = np.random.default_rng(0).normal(size=(60, 8, 8)).cumsum(axis=1)
    >>> search = GridSearchCV(
    ...     SVDRNDDetector(max_epochs=1, random_state=0),
    ...     {"k": [4, 6]},
    ...     scoring=ProbeScorer(),
    ...     cv=2,
    ... ).fit(X)
    >>> bool(0 <= search.best_score_ <= 1)
    True
    """

    _parameter_constraints: dict[str, Any] = {
        "probes": "no_validation",  # by `check_transformers`, as blurs are
        **LAYOUT_CONSTRAINTS,
    }

    def __init__(
        self,
        probes: Any = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        channel_axis: str | int = "auto",
    ) -> None:
        self.probes = probes
        self.image_shape = image_shape
        self.channel_axis = channel_axis

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """Score a fitted detector.

        Parameters
        ----------
        estimator : estimator
            Fitted; has `score_samples`: a detector, or a Pipeline that ends in one.
        X : array-like or tensor
            Images, as the estimator takes them, that it was not trained on.
        y : array-like of shape (n,), default=None
            Rows labelled -1 are left out. Any other label means normal.

        Returns
        -------
        score : float
            In [0, 1]; larger is better.

        Raises
        ------
        ValueError
            If a parameter is not what it may be, if a probe does not take the images, if there
            is no probe, if `y` labels all rows -1, or if no `image_shape` is known for flat rows.
        TypeError
            If a probe is not a transformer.
        """
        self._validate_params()
        rows = rows_of(X)
        if rows is not X or is_unread(X):
            # The probes need all values.
            X = np.asarray(as_numpy(rows))
        # In the container that it came in, whose names the estimator knows.
        X = _safe_indexing(X, np.flatnonzero(inlier_rows(y, _num_samples(X))))
        known = estimator.score_samples(X)
        probes = self._make_probes(estimator, X)
        found = [self._found(estimator, probe, X, known) for probe in probes]
        return float(np.mean(found))

    def _make_probes(self, estimator: Any, X: Any) -> list[Any]:
        if self.probes is None:
            image_shape, channel_axis = layout_of(estimator, X, self.image_shape, self.channel_axis)
            if image_shape is None and np.ndim(X) == 2:
                raise ValueError(
                    "X has flat rows, in which the probes can change nothing; if they are images, "
                    "say so with image_shape, and otherwise pass probes of your own."
                )
            layout: dict[str, Any] = {"image_shape": image_shape, "channel_axis": channel_axis}
            return [
                _BoxBlur(2, **layout),
                _BoxBlur(3, **layout),
                SVDSharpen(0.5, gain=2.0, **layout),
            ]
        probes = as_list(self.probes)
        if not probes:
            raise ValueError("probes is empty; pass at least one transformer, or None.")
        check_transformers(probes, "probes")
        return [clone(probe) for probe in probes]

    @staticmethod
    def _found(estimator: Any, probe: Any, X: Any, known: Any) -> float:
        library = type(X).__module__.partition(".")[0]
        if library in ("pandas", "polars") and hasattr(probe, "set_output"):
            probe.set_output(transform=library)
        with config_context(transform_output="default"):
            images = probe.fit_transform(X)
        if hasattr(images, "columns"):
            # Older versions of scikit-learn do not read them from polars.
            images.columns = X.columns
        changed = estimator.score_samples(images)
        y = np.r_[np.ones(len(known)), -np.ones(len(changed))]
        return tnr_at_tpr_score(y, np.concatenate([as_numpy(known), as_numpy(changed)]))
