"""Splitters for detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_consistent_length, column_or_1d

__all__ = ["NoveltyKFold"]


class NoveltyKFold(KFold):
    """K folds of the normal rows, with every outlier in every test fold.

    Outliers, labelled -1, are never trained on, so each can be tested on in
    every fold. That uses the few there are as well as possible.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether to shuffle the normal rows before they are split.
    random_state : int, RandomState instance or None, default=None
        Orders the rows when `shuffle` is True.

    See Also
    --------
    sklearn.model_selection.StratifiedKFold : Spreads the outliers over the
        test folds. A detector leaves those in its training folds out.

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
        """Make the indices of training and test rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows to split.
        y : array-like of shape (n,)
            -1 marks an outlier; any other label a normal row.
        groups : None
            Ignored.

        Yields
        ------
        train, test : ndarray of int
            The training rows are normal; the test rows are a fold of the normal
            ones and then all outliers.

        Raises
        ------
        ValueError
            Without `y`, if its length is not that of X, or if there are fewer
            normal rows than folds.
        """
        if y is None:
            raise ValueError("NoveltyKFold needs y, with -1 for outliers.")
        check_consistent_length(X, y)
        is_outlier = column_or_1d(y) == -1
        normal, outliers = np.flatnonzero(~is_outlier), np.flatnonzero(is_outlier)
        for train, test in super().split(normal):
            yield normal[train], np.concatenate([normal[test], outliers])
