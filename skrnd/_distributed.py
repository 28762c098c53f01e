"""Fitting in several processes at once: those of torch's default process group."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

_T = TypeVar("_T")


class Ranks:
    """The processes that fit together: one alone where no process group is set up.

    Attributes
    ----------
    size : int
        How many there are.
    own : int
        The number of this one.
    """

    def __init__(self) -> None:
        joined = dist.is_available() and dist.is_initialized()
        self.size = dist.get_world_size() if joined else 1
        self.own = dist.get_rank() if joined else 0

    def gather(self, value: _T) -> list[_T]:
        """The values of all processes, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def agree(self, said: dict[str, str]) -> None:
        """Refuse, in all processes, a fit that is not the same in all of them.

        They would wait for each other for ever, or learn from half of the rows.

        Parameters
        ----------
        said : dict of str to str
            What this process is to fit, and how.

        Raises
        ------
        ValueError
            If another one says something else.
        """
        first, *others = self.gather(said)
        differing = sorted({name for one in others for name in one if one[name] != first[name]})
        if differing:
            raise ValueError(
                f"The {self.size} processes that fit together differ in {', '.join(differing)}. "
                "Give each the same parameters, y and the whole of X, of which it takes a share."
            )

    def share(self, rows: np.ndarray) -> np.ndarray:
        """The rows of this process: as many as any other has, and none of theirs."""
        n_own = len(rows) // self.size
        return rows[self.own :: self.size][:n_own]

    def pooled(self, mean: _T, variance: _T) -> tuple[_T, _T]:
        """Mean and variance over the rows of all processes, which have equally many."""
        means, variances = zip(*self.gather((mean, variance)), strict=True)
        whole = sum(means) / self.size
        between = sum((own - whole) ** 2 for own in means) / self.size
        return whole, sum(variances) / self.size + between

    def synchronised(self, module: nn.Module) -> nn.Module:
        """The module, with gradients that are averaged over the processes."""
        return module if self.size == 1 else nn.parallel.DistributedDataParallel(module)

    @torch.no_grad()
    def align(self, module: nn.Module) -> None:
        """Give all processes the weights and running statistics of the first."""
        if self.size > 1:
            for value in module.state_dict().values():
                dist.broadcast(value, src=0)
