"""Shared fixtures."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn import config_context

# Workers that run side by side have a core each.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

# How long an example takes says nothing on a machine that does other work too.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Real images beside the checkout, for tests that a synthetic one cannot replace.
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def load_images():
    """Load images of a real data set as uint8 (n, C, H, W), or skip."""

    def load(name, n_images):
        path = DATA / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"needs {path.name}, which is not part of the package")
        with np.load(path) as file:
            return file["X"][:n_images]

    return load


@pytest.fixture
def rng():
    """A generator that starts the same in every test."""
    return np.random.default_rng(0)


def _threads(number):
    @pytest.fixture
    def with_threads():
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        yield
        torch.set_num_threads(before)

    return with_threads


one_thread, two_threads = _threads(1), _threads(2)


class Attack:
    """Makes a call when it is unpickled."""

    call = sys.exit, (42,)

    def __reduce__(self):
        return self.call


@pytest.fixture
def attack():
    """Something that runs when it is unpickled."""
    return Attack()


@pytest.fixture
def may_dispatch(monkeypatch):
    """Lets scikit-learn dispatch by the array API, if it can."""
    # It asks whether scipy dispatches as well, which nothing here needs.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    try:
        with config_context(array_api_dispatch=True):
            pass
    except ImportError:
        pytest.skip("this scikit-learn needs array_api_compat for it")
