"""What the sets of all kinds have in common."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.utils import Bunch

PATH = [str, os.PathLike]
SUBSETS = ("train", "test", "all")
DIGITS = [str(digit) for digit in range(10)]


def parts_of(subset: str) -> list[str]:
    """The parts that a subset is made of."""
    return ["train", "test"] if subset == "all" else [subset]


def bunch(
    data: np.ndarray, target: Any, target_names: list[str], return_X_y: bool, **more: Any
) -> Any:
    """What loaders and fetchers return."""
    if return_X_y:
        return data, target
    return Bunch(data=data, target=target, target_names=target_names, **more)
