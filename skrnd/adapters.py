"""The detector in the conventions of other packages.

The other package has to be installed: this module is not imported by ``import skrnd``,
and importing it without PyOD raises an ImportError. ``pip install "skrnd[pyod]"`` brings
PyOD.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ._containers import as_numpy
from ._detector import SVDRNDDetector
from ._validation import unchanged_on_error

try:
    from pyod.models.base import BaseDetector
except ImportError as error:
    raise ImportError('skrnd.adapters needs PyOD: pip install "skrnd[pyod]"') from error

__all__ = ["PyODDetector"]


class PyODDetector(BaseDetector):
    """Wrap the detector for PyOD's tools, with PyOD's labels and sign.

    The label of a normal row is 0, that of a novel row 1, and the larger the score, the more
    novel the row [1]_. In scikit-learn and :class:`~skrnd.SVDRNDDetector` the labels are 1 and
    -1, and larger scores are more normal.

    Parameters
    ----------
    detector : SVDRNDDetector, default=None
        The detector of which `fit` fits a copy; it stays as it is. None stands for
        ``SVDRNDDetector()``.
    contamination : float in (0, 0.5] or thresholder, default=0.1
        Share of outliers in the training data. It replaces the `contamination` of the
        detector, so that all rows are trained on. They are learned better than new rows, of
        which far more are called novel; see the notes. A thresholder, one of
        :mod:`pyod.models.thresholds`, which need pythresh, sets the threshold by the scores of
        the training data; the detector then keeps its own `contamination`.

    Attributes
    ----------
    detector_ : SVDRNDDetector
        The fitted detector.
    decision_scores_ : ndarray of shape (n,), float64
        Scores of the training data, ``-detector_.score_samples(X)``.
    threshold_ : float
        Score above which a row is novel: ``-detector_.offset_`` if `contamination` is a
        number.
    labels_ : ndarray of shape (n,), int
        Labels of the training data, 0 for normal and 1 for novel.

    See Also
    --------
    skrnd.SVDRNDDetector : The detector in the conventions of scikit-learn.

    Notes
    -----
    A threshold that is set by a share of the training data is for these data only. To judge
    new rows, take the detector itself, whose ``contamination="auto"`` holds rows out for the
    threshold, or call ``detector_.calibrate`` and then ``detector_.predict``: `threshold_`, by
    which the methods of this class judge, stays that of `fit`.

    The other methods (`predict`, `predict_proba`, `predict_confidence`,
    `predict_with_rejection`) are PyOD's own. Images are accepted in all shapes that the
    detector accepts. For tools of PyOD that accept tables only, pass flat rows and set the
    `image_shape` of the detector.

    References
    ----------
    .. [1] Zhao, Nasrullah and Li, "PyOD: A Python Toolbox for Scalable Outlier Detection",
       JMLR 20(96), 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnd import SVDRNDDetector
    >>> from skrnd.adapters import PyODDetector
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> outlier = np.full((1, 3), 9.0)
    >>> detector = PyODDetector(SVDRNDDetector(random_state=0)).fit(X)
    >>> int(detector.labels_.sum())
    20
    >>> detector.predict(outlier)
    array([1])
    >>> bool(detector.decision_function(outlier) > detector.threshold_)
    True
    """

    def __init__(self, detector: SVDRNDDetector | None = None, contamination: Any = 0.1) -> None:
        super().__init__(contamination=contamination)
        self.detector = detector

    def fit(self, X: Any, y: Any = None) -> PyODDetector:
        """Learn what is normal, and judge the training data.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows, as :meth:`skrnd.SVDRNDDetector.fit` takes them.
        y : None
            Ignored, as by PyOD's unsupervised detectors.

        Returns
        -------
        self : object
            The fitted detector.

        Raises
        ------
        TypeError
            If `detector` is not an SVDRNDDetector, or `contamination` neither a number nor a
            thresholder.
        ValueError, TypeError, OSError
            As :meth:`skrnd.SVDRNDDetector.fit` does.
        """
        if not isinstance(self.detector, SVDRNDDetector | None):
            raise TypeError(
                f"detector must be an SVDRNDDetector or None, got {type(self.detector).__name__}."
            )
        # PyOD asks the same, and takes no other numbers of numpy than float64.
        is_number = isinstance(self.contamination, float | int)
        if not (is_number or hasattr(self.contamination, "fit")):
            raise TypeError(
                "contamination must be a number of Python or a thresholder of pythresh, got "
                f"{self.contamination!r}."
            )
        with unchanged_on_error(self):
            self._set_n_classes(None)
            detector = SVDRNDDetector() if self.detector is None else clone(self.detector)
            if is_number:
                detector.set_params(contamination=self.contamination)
            self.detector_ = detector.fit(X)
            self.decision_scores_ = self.decision_function(X)
            self._process_decision_scores()
            if is_number:
                # PyOD's own is the same up to rounding, which both ways of labelling must share.
                self.threshold_ = -detector.offset_
                self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Score how novel each row is.

        Parameters
        ----------
        X : array-like or tensor
            Images or rows of the shape seen in `fit`.

        Returns
        -------
        scores : ndarray of shape (n,), float64
            The larger, the more novel: ``-detector_.score_samples(X)``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the rows have another shape than in `fit`, or are not real and finite.
        TypeError
            If X is sparse or holds objects that are not numbers.
        """
        check_is_fitted(self, "detector_")
        return -as_numpy(self.detector_.score_samples(X))
