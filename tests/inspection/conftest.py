"""What the tests of displays and maps share."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from skrnd import SVDRNDDetector


@pytest.fixture(autouse=True)
def own_matplotlib_state():
    """Close what a test has drawn; the settings are as before."""
    mpl.use("agg")
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="session")
def forest():
    X = np.random.default_rng(1).normal(size=(60, 2))
    return IsolationForest(n_estimators=10, random_state=0).fit(X)


@pytest.fixture(scope="session")
def detector():
    """Knows grey noise of 16 x 16 pixels."""
    X = np.random.default_rng(1).normal(size=(200, 16, 16))
    return SVDRNDDetector(blur="svd", max_epochs=3, random_state=0).fit(X)
