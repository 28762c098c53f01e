"""Train a predictor to mimic random targets; score rows by how badly it does."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import joblib
import numpy as np
import torch
from joblib import Memory
from torch import nn

from ._backend import global_generator_seeded, is_out_of_memory, whole_float32, widest_float
from ._distributed import Ranks
from ._logging import logger
from ._networks import (
    NetworkFactory,
    Targets,
    build_networks,
    count_weights,
    fold_norms,
    is_reentrant,
    moved,
    outline_networks,
)
from ._storage import Storage
from ._threads import one_thread_at_a_time, side_by_side
from ._warnings import warn

_T = TypeVar("_T")

# Rows of a pass through a network that keeps no gradient, and the most values of them.
# What a layer makes of so many stays in the cache of a CPU, and is no block that the
# system takes back after each layer.
_MAX_ROWS, _MAX_VALUES, _MAX_VALUES_CPU = 256, 2**20, 2**18
# Places (pixels or features) that rows have together, and rows times weights, up to which
# a second thread helps little: those of 32 images of 16 x 16, or of 32 rows of 200 features.
_FEW_PLACES, _FEW_PRODUCTS = 2**13, 2**23
# What `_traits` found, as long as the modules live.
_TRAITS: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()
# Values of the inputs, or of their answers, that are kept together for other fits.
_KEPT_VALUES = 2**24


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

    def learn(self, copy: int, raw: torch.Tensor, ranks: Ranks) -> None:
        """Learn mean and scale of one target from its raw outputs.

        Block by block, since there may be more of them than memory.
        """
        blocks = raw.split(_MAX_ROWS)
        wide = widest_float(raw.device)
        mean = sum(block.to(wide).sum(0) for block in blocks) / len(raw)
        variance = sum((block.to(wide) - mean).square().sum(0) for block in blocks) / len(raw)
        mean, variance = ranks.pooled(mean, variance)
        scale = variance.sqrt()
        # An output that never moves says nothing and must not divide by zero.
        scale = torch.where(scale <= 1e-6 * mean.abs(), 1.0, scale)
        self.mean[copy], self.scale[copy] = mean, scale

    def standardise_(self, copy: int, raw: torch.Tensor) -> None:
        """Standardise raw outputs of one target in place."""
        mean, scale = self.mean[copy].to(raw.device), self.scale[copy].to(raw.device)
        for block in raw.split(_MAX_ROWS):
            block.sub_(mean).div_(scale)

    def forward(self, x: torch.Tensor, n_targets: int) -> torch.Tensor:
        """What the first few targets say: (n, n_targets, n_outputs)."""
        raw = self.networks(x, range(n_targets))
        return (raw - self.mean[:n_targets]) / self.scale[:n_targets]


class DistilledPair(nn.Module):
    """A predictor and its targets; says how novel a row is, in one way or two.

    Parameters
    ----------
    predictor : module
    targets : StandardisedTargets
    n_judges : int
        How many of the targets, from the first on, have a say.
    """

    def __init__(self, predictor: nn.Module, targets: StandardisedTargets, n_judges: int) -> None:
        super().__init__()
        self.predictor = predictor
        self.targets = targets
        self.n_judges = n_judges

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Error of the mimicry and, with several targets, its contrast: (n, 1) or (n, 2)."""
        judged = self.by_target(x)
        if self.n_judges == 1:
            return judged
        return torch.stack([judged[:, 0], judged[:, 1:].amax(1)], dim=1)

    def by_target(self, x: torch.Tensor) -> torch.Tensor:
        """Error of the mimicry, and its contrast to each further target: (n, n_judges).

        Summed in double precision: the order in which torch adds up a row
        depends on how many rows there are.
        """
        said = self.targets(x, self.n_judges)
        wide = widest_float(said.device)
        own, others = said[:, :1].to(wide), said[:, 1:].to(wide)
        off = self.predictor(x).unsqueeze(1).to(wide) - own
        # How far the prediction has gone over to another target: 1 is half of the way.
        way = others - own
        length = way.square().sum(2).clamp_min(torch.finfo(wide).tiny)
        contrast = 2 * ((off * way).sum(2) / length).clamp_min(0)
        return torch.cat([off.square().mean(2), contrast], dim=1)


@dataclass
class Curves:
    """What the epochs of a fit came to.

    Attributes
    ----------
    loss : list of float
        Mean loss of each epoch.
    held_out : list of float
        Mean error on rows held out after each epoch; empty if nobody looks at that, NaN for
        the epochs of an earlier fit in which nobody did.
    """

    loss: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    def n_since_best(self) -> int:
        """Epochs since the one with the lowest error on rows held out, the first of these."""
        errors = np.nan_to_num(self.held_out, nan=np.inf)
        return len(self.held_out) - 1 - int(np.argmin(errors))


class Training:
    """The training of one predictor, epoch by epoch.

    Minimises the sum over all copies and rows of ``|f(x) - g_i(x)|^2``
    (Choi and Chung 2020, section 3) with every target standardised. The targets and
    their inputs never change, so what they say is computed once.

    Parameters
    ----------
    predictor : module
        Changed in place.
    targets : Targets or StandardisedTargets
        One for each copy, the first for the rows themselves. Those of an earlier
        training stay as they are standardised.
    copies : sequence of tensors of shape (n, ...)
        float32, on the CPU: the rows, then their blurred copies.
    storage : Storage
        Where what the targets say is kept.
    device, precision
        Where, and in which dtype, the predictor is trained.
    max_epochs, batch_size, learning_rate
        Passes over all copies, rows of a step (all copies mixed), and the peak
        of the one-cycle schedule of Adam, reached after a tenth of the steps.
    generator : torch.Generator
        On the CPU; orders the rows.
    ranks : Ranks
        The processes that train together, each on rows of its own.
    memory : joblib.Memory
        Keeps what the targets say for other trainings.
    supplied : bool, default=False
        Whether the networks are a user's, which may draw from torch's global generator
        while they are trained, as dropout does.
    """

    def __init__(
        self,
        predictor: nn.Module,
        targets: Targets | StandardisedTargets,
        copies: Sequence[torch.Tensor],
        *,
        storage: Storage,
        device: torch.device,
        precision: torch.dtype,
        max_epochs: int,
        batch_size: int,
        learning_rate: float,
        generator: torch.Generator,
        ranks: Ranks,
        memory: Memory,
        supplied: bool = False,
    ) -> None:
        self.device = device
        self.supplied = supplied
        self.ranks = ranks
        self._targets, wanted = _targets_of_copies(targets, copies, device, storage, ranks, memory)
        self._at_home = list(copies), wanted
        self._inputs, self._wanted = self._at_home
        if device.type != "cpu":
            self._move_there()
        self._predictor = moved(predictor, device).train()
        self._synchronised = ranks.synchronised(self._predictor)
        self._precision = precision
        self._generator = generator
        self._n_rows = sum(map(len, copies))
        own_batch_size = max(2, batch_size // ranks.size)
        # Of two rows at least: one alone has no variance for batch normalisation.
        self.n_steps = max(1, min(math.ceil(self._n_rows / own_batch_size), self._n_rows // 2))
        self.is_small = _is_small(own_batch_size, copies[0].shape[1:], count_weights(predictor))
        self._n_parts = 1
        self._kept: dict[str, torch.Tensor] | None = None
        self._optimiser = torch.optim.Adam(predictor.parameters(), lr=learning_rate, fused=True)
        n_steps = max_epochs * self.n_steps + 1
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser,
            learning_rate,
            total_steps=n_steps,
            # torch divides by the steps of the rise less one.
            pct_start=max(0.1, 1.5 / n_steps),
        )

    def epoch(self) -> Generator[None]:
        """Go through all copies once; stops after each of the `n_steps`.

        `loss` is the sum of the losses so far over the number of rows: in the end it
        is the mean loss per row and output.
        """
        order = torch.randperm(self._n_rows, generator=self._generator)
        self.loss = torch.zeros((), dtype=torch.float32, device=self.device)
        with self._own_draws():
            # Of nearly equal size.
            for rows in order.tensor_split(self.n_steps):
                self.loss += self._learn(rows) * (len(rows) / self._n_rows)
                self._optimiser.step()
                self._schedule.step()
                yield

    def _own_draws(self) -> AbstractContextManager[None]:
        """Let a user's networks draw what depends on the generator of this training alone."""
        if not self.supplied:
            return nullcontext()
        seed = int(torch.randint(2**63 - 1, (), generator=self._generator))
        return global_generator_seeded(seed, self.device)

    def _learn(self, rows: torch.Tensor) -> torch.Tensor:
        """Gradients of the mean loss of a batch, in as many parts as memory asks for."""
        while True:
            try:
                return self._learn_in_parts(rows)
            except RuntimeError as error:
                # Other processes would wait for gradients of whole batches.
                if not is_out_of_memory(error) or self.ranks.size > 1:
                    raise
                if self._inputs is not self._at_home[0]:
                    self._let_batches_travel()
                    continue
                # Each part keeps the two rows that batch normalisation needs.
                if len(rows) < 4 * self._n_parts:
                    raise
            self._n_parts *= 2
            warn(
                f"The memory of {self.device} is too small for a batch of {len(rows)} rows; "
                f"going on in {self._n_parts} parts of it. A smaller batch_size avoids that.",
                RuntimeWarning,
            )

    def _learn_in_parts(self, rows: torch.Tensor) -> torch.Tensor:
        # Without a cache: inside an outer autocast it would outlive the step and
        # hand out the weights of the first step for ever.
        autocast = torch.autocast(
            self.device.type,
            dtype=torch.bfloat16,
            enabled=self._precision == torch.bfloat16,
            cache_enabled=False,
        )
        self._optimiser.zero_grad()
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        for part in rows.tensor_split(max(1, min(self._n_parts, len(rows) // 2))):
            inputs, wanted = self._batch(part)
            with autocast:
                predicted = self._synchronised(inputs)
            loss = (predicted.float() - wanted).square().mean() * (len(part) / len(rows))
            loss.backward()
            total += loss.detach()
        return total

    def _move_there(self) -> None:
        """Keep inputs and targets on the accelerator for all epochs, if they fit."""
        try:
            self._inputs, self._wanted = (
                [array.to(self.device) for array in arrays]
                for arrays in (self._inputs, self._wanted)
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._let_batches_travel()

    def _let_batches_travel(self) -> None:
        """Keep inputs and targets in memory, and not on an accelerator."""
        logger.info("the copies do not fit on %s; batches travel there", self.device)
        self._inputs, self._wanted = self._at_home

    def _batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and what is wanted of them, by the numbers of the rows over all copies."""
        n = len(self._inputs[0])
        inputs, wanted = [], []
        for i, (copy, said) in enumerate(zip(self._inputs, self._wanted, strict=True)):
            of_copy = rows[rows // n == i].sub(i * n).to(copy.device)
            inputs.append(copy[of_copy])
            wanted.append(said[of_copy])
        return torch.cat(inputs).to(self.device), torch.cat(wanted).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """All that changes from epoch to epoch."""
        return {
            "predictor": self._predictor.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
            "kept": self._kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where another training, of the same networks and rows, was."""
        # Not until the end is it asked for.
        if state["kept"] is not None:
            self._predictor.load_state_dict(state["kept"])
        self._predictor.load_state_dict(state["predictor"])
        own, saved = self._optimiser.state_dict(), state["optimiser"]
        (group,), (saved_group,) = own["param_groups"], saved["param_groups"]
        # What the schedule sets; all else is as for any fit with these parameters.
        lr, (beta, beta_of_squares) = saved_group["lr"], saved_group["betas"]
        group |= {"lr": float(lr), "betas": (float(beta), float(beta_of_squares))}
        self._optimiser.load_state_dict({**own, "state": saved["state"]})
        for weight, moments in self._optimiser.state.items():
            # As they would be here: fused, Adam writes past the end of shorter ones.
            self._optimiser.state[weight] = {
                "step": moments["step"].reshape(()),
                "exp_avg": _like(weight, moments["exp_avg"]),
                "exp_avg_sq": _like(weight, moments["exp_avg_sq"]),
            }
        counted = {name: int(state["schedule"][name]) for name in ("last_epoch", "_step_count")}
        self._schedule.load_state_dict({**self._schedule.state_dict(), **counted})
        self._generator.set_state(state["generator"])
        self._kept = state["kept"]

    def keep(self) -> None:
        """Let the predictor be, from now on, the one it is now."""
        self._kept = deepcopy(self._predictor.state_dict())

    def errors(self, inputs: torch.Tensor) -> np.ndarray:
        """Errors of the mimicry of the first target by the predictor as it is now: (n,)."""
        pair = self._frozen(None, n_judges=1)
        return answer(pair, inputs, self.device, pair)[:, 0].numpy()

    def pair(self, *, all_judge: bool) -> DistilledPair:
        """The pair, ready to score: by all of its targets or by the first.

        With the weights that were kept last, or those of now if none were.
        """
        return self._frozen(self._kept, n_judges=len(self._wanted) if all_judge else 1)

    def _frozen(self, weights: dict[str, torch.Tensor] | None, *, n_judges: int) -> DistilledPair:
        predictor = deepcopy(self._predictor).eval()
        if weights is not None:
            predictor.load_state_dict(weights)
        self.ranks.align(predictor)
        fold_norms(predictor)
        return DistilledPair(predictor, self._targets, n_judges)


def _like(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values of the shape of a weight, in memory as it is."""
    return torch.empty_like(weight, requires_grad=False).copy_(values.reshape(weight.shape))


def run_epoch(trainings: Sequence[Training]) -> float:
    """Run one epoch of several trainings; returns their mean loss.

    On a CPU they run side by side. A longer one takes what it has left alone, on all
    threads, unless it is small. A user's networks run one after the other.
    """
    device, ranks = trainings[0].device, trainings[0].ranks
    small = all(training.is_small for training in trainings)
    supplied = any(training.supplied for training in trainings)
    # None is to the end.
    shortest = min(training.n_steps for training in trainings)
    n_together = None if small or supplied else shortest
    stop = threading.Event()
    with ExitStack() as closed_at_last:
        # What an interrupted epoch holds must not outlive it.
        epochs = [closed_at_last.enter_context(closing(one.epoch())) for one in trainings]
        parts = [partial(_advance, epoch, n_together, stop) for epoch in epochs]
        # Processes meet in one order.
        if ranks.size > 1:
            _one_by_one(parts)
        else:
            calls = [partial(_one_by_one, parts)] if supplied else parts
            side_by_side(calls, device, small=small, stop=stop)
        for epoch in epochs:
            _advance(epoch, None, stop)
    return float(np.mean(ranks.gather([training.loss.item() for training in trainings])))


def _one_by_one(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    return [call() for call in calls]


def _advance(epoch: Iterator[None], n_steps: int | None, stop: threading.Event) -> None:
    """Go on with an epoch for some steps, or to its end, unless all is to stop."""
    # One that was stopped may hold what another would wait for before its first step.
    if stop.is_set():
        return
    for _ in islice(epoch, n_steps):
        if stop.is_set():
            return


def held_out_loss(trainings: Sequence[Training], held: torch.Tensor) -> float:
    """Mean error of several trainings on rows held out, of all processes."""
    errors = np.mean([training.errors(held) for training in trainings], axis=0)
    return float(np.mean(np.concatenate(trainings[0].ranks.gather(errors))))


def _targets_of_copies(
    targets: Targets | StandardisedTargets,
    copies: Sequence[torch.Tensor],
    device: torch.device,
    storage: Storage,
    ranks: Ranks,
    memory: Memory,
) -> tuple[StandardisedTargets, list[torch.Tensor]]:
    """Standardise each target over its copy; return them and what they say there."""
    n_rows, *input_shape = copies[0].shape
    is_new = not isinstance(targets, StandardisedTargets)
    if isinstance(targets, StandardisedTargets):
        standardised = moved(targets, device)
    else:
        targets = moved(targets, device).eval()
        fold_norms(targets)
        n_outputs = answer(partial(_said, targets, 0), copies[0][:1], device, targets).shape[1]
        standardised = StandardisedTargets(targets, len(copies), n_outputs).to(device)
    networks, n_outputs = standardised.networks, standardised.mean.shape[1]
    answers = memory.cache(_answers, ignore=["targets"])
    # Of plain rows, the answers take more room than the inputs.
    n_kept = max(1, _KEPT_VALUES // max(n_outputs, math.prod(input_shape)))
    wanted = []
    for i, copy in enumerate(copies):
        said = storage.empty((n_rows, n_outputs))
        # Hashed here: joblib writes a description of what it hashes, slow for many arrays.
        weights = joblib.hash({name: w.cpu().numpy() for name, w in networks.weights_of(i).items()})
        for rows, part in zip(copy.split(n_kept), said.split(n_kept), strict=True):
            part.numpy()[:] = answers(networks, i, rows.numpy(), str(device), weights)
        if is_new:
            standardised.learn(i, said, ranks)
        standardised.standardise_(i, said)
        wanted.append(said)
    return standardised, wanted


def _answers(
    targets: Targets, copy: int, inputs: np.ndarray, device: str, weights: str
) -> np.ndarray:
    """What the target of a copy says of inputs; the hash of its weights tells it from others."""
    said, there = partial(_said, targets, copy), torch.device(device)
    return answer(said, torch.from_numpy(inputs), there, targets).numpy()


def _said(targets: Targets, copy: int, x: torch.Tensor) -> torch.Tensor:
    """What the target of one copy says: (n, n_outputs)."""
    return targets(x, [copy])[:, 0]


def load_pair(
    network: str | NetworkFactory,
    input_shape: tuple[int, ...],
    *,
    n_members: int,
    all_judge: bool,
    weights: Mapping[str, np.ndarray],
    device: torch.device,
) -> DistilledPair:
    """Build a pair again, on a device, from the arrays of its `state_dict`.

    Raises
    ------
    RuntimeError
        If they are not those of such networks.
    """
    n_targets, n_outputs = weights["targets.mean"].shape
    # Copied, since joblib maps arrays read-only and torch has no such tensors.
    state = {name: torch.from_numpy(np.array(w)) for name, w in weights.items()}
    if callable(network):
        generator = torch.Generator(device="cpu")
        predictor, targets = build_networks(
            network,
            input_shape,
            n_targets=n_targets,
            n_members=n_members,
            generator=generator,
            device=device,
        )
    else:
        predictor, targets = outline_networks(network, input_shape, n_targets, n_members)
    for part in (predictor, targets):
        fold_norms(part.eval())
    standardised = StandardisedTargets(targets, n_targets, n_outputs)
    pair = DistilledPair(predictor, standardised, n_targets if all_judge else 1)
    # No memory but that of the arrays is taken, whatever the shapes of a broken file say.
    pair.load_state_dict(state, assign=not callable(network))
    return moved(pair, device).eval()


def answer(
    network: Callable[[torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    device: torch.device,
    *modules: nn.Module,
) -> torch.Tensor:
    """What a network makes of inputs, in float32, on the CPU.

    The cores of a CPU go through it side by side, each with rows of its own, and wait for
    each other but once. Within a pass they would at every layer, which takes ten times as
    long as soon as something else keeps one of them busy.

    Parameters
    ----------
    network : callable
    inputs : tensor of shape (n, ...)
    device : torch.device
        Where the network is.
    *modules : modules
        What it consists of. If one is not reentrant, one pass follows upon the other.
    """
    passes = inputs.tensor_split(_n_passes(inputs.shape, device))
    asked = [partial(_in_one_pass, network, rows, device) for rows in passes]
    # A pass of plain rows, which are filled up to one number, is short on one thread.
    plain = inputs.ndim == 2
    traits = [_traits(module) for module in modules]
    n_weights = sum(n_own for n_own, _ in traits)
    small = plain or _is_small(len(passes[0]), inputs.shape[1:], n_weights)
    with whole_float32(device):
        if all(may_be_shared for _, may_be_shared in traits):
            return torch.cat(side_by_side(asked, device, small=small))
        with one_thread_at_a_time():
            (answers,) = side_by_side([partial(_one_by_one, asked)], device, small=small)
        return torch.cat(answers)


def _traits(module: nn.Module) -> tuple[int, bool]:
    """How many weights a module has, and whether it is reentrant.

    To count takes a twentieth of the time of a single picture, and is done once.
    """
    if module not in _TRAITS:
        _TRAITS[module] = count_weights(module), is_reentrant(module)
    return _TRAITS[module]


def _is_small(n_rows: int, input_shape: Sequence[int], n_weights: int) -> bool:
    """Whether the threads of a pass would wait for each other longer than they help."""
    n_places = math.prod(input_shape[-2:])
    return n_rows * n_places <= _FEW_PLACES and n_rows * n_weights <= _FEW_PRODUCTS


def _n_passes(shape: Sequence[int], device: torch.device) -> int:
    """In how many passes inputs go through a network.

    A row must get the same answer in any company. Convolutions here give it from two
    rows on, matrix products only at one number of rows, to which a pass is filled up.
    """
    n_rows, *input_shape = shape
    if len(input_shape) == 1:
        return math.ceil(n_rows / _MAX_ROWS)
    on_cpu = device.type == "cpu"
    most = (_MAX_VALUES_CPU if on_cpu else _MAX_VALUES) // math.prod(input_shape)
    n_passes = math.ceil(n_rows / min(_MAX_ROWS, max(2, most)))
    if on_cpu:
        # As many for each of the cores.
        n_threads = torch.get_num_threads()
        n_passes = math.ceil(n_passes / n_threads) * n_threads
    return max(1, min(n_passes, n_rows // 2))


def _in_one_pass(
    network: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, device: torch.device
) -> torch.Tensor:
    n_rows, *input_shape = rows.shape
    fewest = 2 if len(input_shape) > 1 else _MAX_ROWS
    filled = rows
    if n_rows < fewest:
        filled = torch.cat([rows, rows[:1].expand(fewest - n_rows, *input_shape)])
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return network(filled.to(device))[:n_rows].cpu()
    except RuntimeError as error:
        # Fewer would be filled up to as many.
        if n_rows <= fewest or not is_out_of_memory(error):
            raise
    return torch.cat([_in_one_pass(network, half, device) for half in rows.tensor_split(2)])
