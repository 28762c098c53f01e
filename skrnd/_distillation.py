"""Train a predictor to mimic random targets; score rows by how badly it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ._backend import widest_float
from ._networks import NetworkFactory, Targets, build_networks, fold_norms

# Rows that go through a network at once where no gradient is kept.
INFERENCE_ROWS = 256


class StandardisedTargets(nn.Module):
    """Frozen random networks whose outputs have mean 0 and variance 1.

    Nearly all the energy of a raw random target is a fixed offset, the same for
    every image. What sets images apart is in the rest, so each output is
    centred and scaled over the rows that the target is given in training.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, networks: Targets, n_targets: int, n_outputs: int) -> None:
        super().__init__()
        self.networks = networks.requires_grad_(False).eval()
        shape = (n_targets, n_outputs)
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float32))
        self.register_buffer("scale", torch.ones(shape, dtype=torch.float32))

    def standardise(self, copy: int, raw: torch.Tensor) -> torch.Tensor:
        """Learn mean and scale of one target from raw outputs, and return these standardised."""
        wide = raw.to(widest_float(raw.device))
        mean, scale = wide.mean(0), wide.std(0, correction=0)
        # An output that never moves says nothing and must not divide by zero.
        still = scale <= 1e-6 * wide.abs().amax(0)
        self.mean[copy] = mean
        self.scale[copy] = torch.where(still, 1.0, scale)
        return (raw - self.mean[copy]) / self.scale[copy]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What all targets say: (n, n_targets, n_outputs)."""
        return (self.networks(x, range(len(self.mean))) - self.mean) / self.scale

    def first(self, n_targets: int) -> StandardisedTargets:
        """The first few of the targets, as a module of their own."""
        kept = StandardisedTargets(self.networks.first(n_targets), n_targets, self.mean.shape[1])
        kept = kept.to(self.mean.device)
        kept.mean.copy_(self.mean[:n_targets])
        kept.scale.copy_(self.scale[:n_targets])
        return kept


class DistilledPair(nn.Module):
    """A predictor and the targets that judge it; says how novel a row is, in one way or two."""

    def __init__(self, predictor: nn.Module, targets: StandardisedTargets) -> None:
        super().__init__()
        self.predictor = predictor
        self.targets = targets

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Error of the mimicry and, with several targets, its contrast: (n, 1) or (n, 2).

        Summed in double precision: the order in which torch adds up a row
        depends on how many rows there are.
        """
        said = self.targets(x)
        wide = widest_float(said.device)
        own, others = said[:, :1].to(wide), said[:, 1:].to(wide)
        off = self.predictor(x).unsqueeze(1).to(wide) - own
        error = off.square().mean((1, 2))
        if others.shape[1] == 0:
            return error.unsqueeze(1)
        # How far the prediction has gone over to another target: 1 is half of the way.
        way = others - own
        length = way.square().sum(2).clamp_min(torch.finfo(wide).tiny)
        contrast = 2 * ((off * way).sum(2) / length).amax(1).clamp_min(0)
        return torch.stack([error, contrast], dim=1)


def distil(
    predictor: nn.Module,
    targets: Targets,
    copies: Sequence[torch.Tensor],
    *,
    n_judges: int,
    device: torch.device,
    precision: torch.dtype,
    max_epochs: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    on_epoch: Callable[[int, float], None],
) -> tuple[DistilledPair, list[float]]:
    """Train `predictor` to mimic target i on copy i of the training rows.

    Minimises the sum over all copies and rows of ``|f(x) - g_i(x)|^2``
    (Choi and Chung 2020, section 3) with every target standardised.

    Parameters
    ----------
    predictor : module
        Changed in place.
    targets : Targets
        One for each copy, the first for the rows themselves.
    copies : sequence of tensors of shape (n, ...)
        float32, on the CPU: the rows, then their blurred copies.
    n_judges : int
        How many of the targets, from the first on, the pair keeps to score with.
    device, precision
        Where, and in which dtype, the predictor is trained.
    max_epochs, batch_size, learning_rate
        Passes over all copies, rows of a step (all copies mixed), and the peak
        of the one-cycle schedule of Adam, reached after a tenth of the steps.
    generator : torch.Generator
        On the CPU; orders the rows.
    on_epoch : callable
        Called with the number of the epoch, from 1, and its mean loss.

    Returns
    -------
    pair : DistilledPair
        Ready to score.
    loss_curve : list of float
        Mean loss per row and output of each epoch.
    """
    standardised, wanted = _targets_of_copies(targets, copies, device)
    inputs = torch.cat([copy.to(device) for copy in copies])
    # Without a cache: inside an outer autocast it would outlive the step and
    # hand out the weights of the first step for ever.
    autocast = torch.autocast(
        device.type,
        dtype=torch.bfloat16,
        enabled=precision == torch.bfloat16,
        cache_enabled=False,
    )
    predictor = predictor.to(device).train()
    n_steps = math.ceil(len(inputs) / batch_size)
    optimiser = torch.optim.Adam(predictor.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=max_epochs * n_steps + 1, pct_start=0.1
    )
    loss_curve = []
    for epoch in range(1, max_epochs + 1):
        order = torch.randperm(len(inputs), generator=generator).to(device)
        total = torch.zeros((), dtype=torch.float32, device=device)
        # Batches of nearly equal size: a last one of a single row would
        # upset batch normalisation.
        for rows in order.tensor_split(n_steps):
            with autocast:
                predicted = predictor(inputs[rows])
            loss = (predicted.float() - wanted[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach() * len(rows)
        loss_curve.append(float(total) / len(inputs))
        on_epoch(epoch, loss_curve[-1])
    predictor.requires_grad_(False).eval()
    fold_norms(predictor)
    return DistilledPair(predictor, standardised.first(n_judges)), loss_curve


def _targets_of_copies(
    targets: Targets, copies: Sequence[torch.Tensor], device: torch.device
) -> tuple[StandardisedTargets, torch.Tensor]:
    """Standardise each target over its copy; return them and what they say there.

    The targets and their inputs never change, so one pass serves all epochs.
    """
    targets = targets.to(device).eval()
    fold_norms(targets)
    raw = [
        infer(lambda x, i=i: targets(x, [i]).squeeze(1), copy, device)
        for i, copy in enumerate(copies)
    ]
    standardised = StandardisedTargets(targets, len(copies), raw[0].shape[1]).to(device)
    return standardised, torch.cat([standardised.standardise(i, r) for i, r in enumerate(raw)])


def load_pair(
    network: str | NetworkFactory,
    input_shape: tuple[int, ...],
    *,
    n_members: int,
    weights: Mapping[str, np.ndarray],
) -> DistilledPair:
    """Build a pair again from the arrays of its `state_dict`."""
    n_targets, n_outputs = weights["targets.mean"].shape
    predictor, targets = build_networks(
        network,
        input_shape,
        n_targets=n_targets,
        n_members=n_members,
        generator=torch.Generator(device="cpu"),
    )
    for part in (predictor, targets):
        fold_norms(part.eval())
    pair = DistilledPair(predictor, StandardisedTargets(targets, n_targets, n_outputs))
    # Copied, since joblib maps arrays read-only and torch has no such tensors.
    pair.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
    return pair.requires_grad_(False).eval()


def infer(
    network: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    device: torch.device,
    *,
    min_rows: int = 2,
) -> torch.Tensor:
    """Apply a network to rows in float32, in batches.

    A row must get the same answer in any company. Convolutions here do so from
    two rows on, matrix products only at one fixed number of rows; shorter
    batches are filled up to `min_rows`.
    """
    outputs = []
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        for batch in rows.split(INFERENCE_ROWS):
            n_missing = min_rows - len(batch)
            if n_missing > 0:
                batch = torch.cat([batch, batch[:1].expand(n_missing, *batch.shape[1:])])
            output = network(batch.to(device))
            outputs.append(output[: len(output) - max(0, n_missing)])
    return torch.cat(outputs)
