"""Targets and predictors as torch modules.

A network maps a batch of inputs to a batch of output vectors. The predictor is
a little deeper than the targets it has to mimic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from ._backend import convolution_format, global_generator_seeded

_Network = TypeVar("_Network", bound=nn.Module)
# Any, for a function that counts on three sides is one too.
NetworkFactory = Callable[[tuple[Any, ...]], nn.Module]

# A random target is worth mimicking from about this many pixels a side on.
MIN_SIDE = 4
# Features of the first stage of the compact networks, and blocks of each stage.
_WIDTH, _N_BLOCKS = 16, 1
_CPU = torch.device("cpu")


class ConvNorm(nn.Sequential):
    """A convolution and its batch normalisation, which can become one for scoring."""

    def __init__(self, n_in: int, n_out: int, size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False),
            nn.BatchNorm2d(n_out),
        )

    def fold(self) -> None:
        """Make one of both, if they are two still."""
        if isinstance(self[1], nn.Identity):
            return
        conv, norm = cast(nn.Conv2d, self[0]), cast(nn.BatchNorm2d, self[1])
        if conv.weight.is_meta:
            # An outline has no values to fold, which torch takes long to find out.
            conv.bias = nn.Parameter(torch.empty_like(norm.bias))
        else:
            conv = fuse_conv_bn_eval(conv, norm)
        # torch takes a bias that was not there before for one that is not to be trained.
        cast(nn.Parameter, conv.bias).requires_grad_(norm.bias.requires_grad)
        self[0], self[1] = conv, nn.Identity()
        self.lay_out()

    def lay_out(self) -> None:
        """Let the weights lie in memory as is best where they are."""
        weight = cast(nn.Conv2d, self[0]).weight
        # torch's annotations of Module.to leave memory_format out.
        self.to(memory_format=convolution_format(weight.device))  # type: ignore[call-overload]


def fold_norms(network: nn.Module) -> None:
    """Fold the batch normalisations of our own networks, in evaluation mode, away."""
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()


def moved(network: _Network, device: torch.device) -> _Network:
    """The network, on a device."""
    network.to(device)
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.lay_out()
    return network


def count_weights(network: nn.Module) -> int:
    """How many weights a network has."""
    return sum(weight.numel() for weight in network.parameters())


def is_reentrant(network: nn.Module) -> bool:
    """Whether several threads can go through a network at once.

    Those of others may keep what they have seen in the one call for the next.
    """
    return all(
        type(module).__module__.partition(".")[0] in ("torch", "skrnd")
        and not module._forward_hooks
        and not module._forward_pre_hooks
        for module in network.modules()
    )


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, with no activation after the sum."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvNorm(n_in, n_out, 3, stride)
        self.conv2 = ConvNorm(n_out, n_out, 3)
        if stride == 1 and n_in == n_out:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = ConvNorm(n_in, n_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(torch.relu(self.conv1(x))) + self.shortcut(x)


class Ensemble(nn.Module):
    """Members side by side on the same input, their outputs one after the other.

    The mean squared error over all outputs is then the mean of the members'
    errors, and no gradient passes from one member to another.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([member(x) for member in self.members], dim=1)


class ParallelLinear(nn.Module):
    """The linear layers of several members in one batched product."""

    def __init__(self, n_members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, n_out, n_in))
        self.bias = nn.Parameter(torch.empty(n_members, 1, n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.bias, x, self.weight.transpose(1, 2))


class ParallelMLP(nn.Module):
    """An `Ensemble` of perceptrons with 64 outputs each, all at once.

    They are so small that a loop over members would be mostly overhead.
    """

    def __init__(self, n_features: int, hidden: list[int], n_members: int) -> None:
        super().__init__()
        self.n_members = n_members
        widths = [n_features, *hidden, 64]
        self.layers = nn.ModuleList(
            ParallelLinear(n_members, *pair) for pair in itertools.pairwise(widths)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.expand(self.n_members, *x.shape)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x).transpose(0, 1).flatten(1)


class Targets(nn.Module):
    """The random networks that the predictor mimics, one for each copy of the rows.

    Parameters
    ----------
    trunks : list of modules
        What the targets of one member of an ensemble have in common.
    heads : list of lists of modules
        For each member, what each of its targets makes of the common part.
    """

    def __init__(self, trunks: Sequence[nn.Module], heads: Sequence[Sequence[nn.Module]]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        # Any, because a ModuleList does not say what it holds, which are ModuleLists here.
        self.heads: Any = nn.ModuleList(nn.ModuleList(own) for own in heads)

    def forward(self, x: torch.Tensor, copies: Sequence[int]) -> torch.Tensor:
        """What the targets of `copies` say: (n, n_copies, n_outputs)."""
        of_members = []
        for trunk, heads in zip(self.trunks, self.heads, strict=True):
            common = trunk(x)
            of_members.append(torch.stack([heads[i](common) for i in copies], dim=1))
        return torch.cat(of_members, dim=2)

    def weights_of(self, copy: int) -> dict[str, torch.Tensor]:
        """All weights that the target of a copy consists of."""
        own = Targets(list(self.trunks), [[heads[copy]] for heads in self.heads])
        return own.state_dict()


def independent(targets: Sequence[nn.Module]) -> Targets:
    """Targets that have nothing in common."""
    return Targets([nn.Identity()], [targets])


def _stem(n_channels: int, width: int, n_halvings: int = 0) -> list[nn.Module]:
    """Convolutions in front of the first stage, `n_halvings` of them with stride 2."""
    layers: list[nn.Module] = []
    for stride in (2,) * n_halvings + (1,):
        layers.append(ConvNorm(n_channels, width, 3, stride))
        n_channels = width
        if stride == 2:
            layers.append(nn.ReLU())
    return layers


def _residual_stages(width: int, stages: list[tuple[int, int, int]]) -> list[nn.Module]:
    """Stages of (width, n_blocks, stride of the first block).

    An activation stands in front of every stage and none after the last.
    """
    layers: list[nn.Module] = []
    for stage_width, n_blocks, stride in stages:
        layers.append(nn.ReLU())
        for block in range(n_blocks):
            layers.append(ResidualBlock(width, stage_width, stride if block == 0 else 1))
            width = stage_width
    return layers


class Quarters(nn.Module):
    """Features averaged over the quarters of an image, which share an odd row or column.

    From 2 x 2 on that is `AdaptiveAvgPool2d(2)`, which MPS refuses for odd sides, and of
    which CUDA has no deterministic gradient.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        size = (height + 1) // 2, (width + 1) // 2
        return nn.functional.avg_pool2d(x, size, (max(1, height // 2), max(1, width // 2)))


def compact_networks(
    input_shape: tuple[int, ...], n_targets: int, n_members: int
) -> tuple[nn.Module, Targets]:
    """Residual networks of width 16 for images of any size.

    Stages of 16, 32, 64 and 128 features, one block each, as many as there are
    halvings down to about 4 pixels a side; larger images are halved before the
    first. The features are averaged over quarters of the image, which tells more
    of it than one average does. The predictor has two blocks more, as the
    paper's has, but no wider ones. The targets differ in their last stage.
    """
    n_channels, *sides = input_shape
    n_halvings = round(math.log2(min(sides) / MIN_SIDE))
    n_before = max(0, n_halvings - 3)
    stages = [(2**i * _WIDTH, _N_BLOCKS, min(i + 1, 2)) for i in range(min(n_halvings, 3) + 1)]
    deeper = [*stages, (stages[-1][0], 2, 1)]

    def predictor() -> nn.Module:
        stem = _stem(n_channels, _WIDTH, n_before)
        return nn.Sequential(*stem, *_residual_stages(_WIDTH, deeper), Quarters(), nn.Flatten())

    def trunk() -> nn.Module:
        stem = _stem(n_channels, _WIDTH, n_before)
        return nn.Sequential(*stem, *_residual_stages(_WIDTH, stages[:-1]))

    def head() -> nn.Module:
        width = stages[-2][0] if len(stages) > 1 else _WIDTH
        return nn.Sequential(*_residual_stages(width, stages[-1:]), Quarters(), nn.Flatten())

    return (
        Ensemble([predictor() for _ in range(n_members)]),
        Targets(
            [trunk() for _ in range(n_members)],
            [[head() for _ in range(n_targets)] for _ in range(n_members)],
        ),
    )


def resnet34(
    input_shape: tuple[int, ...], n_targets: int, n_members: int
) -> tuple[nn.Module, Targets]:
    """The networks of the paper: ResNet-34 for small images, 512 outputs.

    The predictor goes on with a block to 1024 features and one back to 512.
    """
    stages = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]

    def ensemble(stages: list[tuple[int, int, int]]) -> nn.Module:
        return Ensemble(
            [
                nn.Sequential(
                    *_stem(input_shape[0], 64),
                    *_residual_stages(64, stages),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                )
                for _ in range(n_members)
            ]
        )

    predictor = ensemble([*stages, (1024, 1, 1), (512, 1, 1)])
    return predictor, independent([ensemble(stages) for _ in range(n_targets)])


def mlps(input_shape: tuple[int, ...], n_targets: int, n_members: int) -> tuple[nn.Module, Targets]:
    """Perceptrons for rows without image structure."""
    (n_features,) = input_shape
    return (
        ParallelMLP(n_features, [128, 128], n_members),
        independent([ParallelMLP(n_features, [128], n_members) for _ in range(n_targets)]),
    )


def check_network(network: str | NetworkFactory, input_shape: tuple[int, ...]) -> None:
    """Refuse what is no network, and inputs that the network is not made for.

    Raises
    ------
    ValueError
        If images are too small, or if plain rows meet a network for images.
    TypeError
        If `network` is a module instead of a function that makes modules.
    """
    if isinstance(network, nn.Module):
        raise TypeError(
            "network must be a function that returns a new torch module at each call; got a module."
        )
    if network == "resnet34" and len(input_shape) != 3:
        raise ValueError("network='resnet34' needs images; flat rows are images with image_shape.")
    # A single row of pixels has nothing to blur, whatever the network.
    min_side = 2 if callable(network) else MIN_SIDE
    if len(input_shape) == 3 and min(input_shape[1:]) < min_side:
        n_channels, height, width = input_shape
        raise ValueError(
            f"Images of {height} x {width} pixels are too small: network={network!r} needs at "
            f"least {min_side} x {min_side}. X was read as images of {n_channels} channel(s); "
            "set channel_axis if these are not the channels, or image_shape if rows are flat; pass "
            "X[None] for a single image."
        )


def check_room(
    network: str | NetworkFactory,
    input_shape: tuple[int, ...],
    *,
    n_targets: Sequence[int],
    n_members: int,
    batch_size: int,
    available: int | None,
) -> None:
    """Refuse networks, or batches, that a device has no room for, before any is taken.

    Parameters
    ----------
    n_targets : sequence of int
        Of each predictor.
    available : int or None
        Bytes of all the memory there is, None if that is not known. Of networks that a
        callable returns nothing is known before `build_networks` has called it.

    Raises
    ------
    ValueError
        If the weights or one batch take more.
    """
    if callable(network) or available is None:
        return
    predictor, targets = outline_networks(network, input_shape, n_targets=1, n_members=1)
    n_trained = len(n_targets) * count_weights(predictor)
    n_further = sum(n_targets) - len(n_targets)
    n_frozen = len(n_targets) * count_weights(targets) + n_further * count_weights(targets.heads)
    _check_weights(n_trained, n_frozen, n_members, available)
    n_bytes = 4 * n_members * batch_size * _n_activations(predictor, input_shape)
    if n_bytes > available:
        size = " x ".join(map(str, input_shape))
        raise ValueError(
            f"batch_size={batch_size} rows of {size} values take about {n_bytes / 1e9:,.0f} GB to "
            f"train on, and there are {available / 1e9:,.0f} GB in all; make batch_size or the "
            "images smaller."
        )


def _check_weights(n_trained: int, n_frozen: int, n_members: int, available: int) -> None:
    # Adam keeps a gradient and two moments of each weight.
    n_bytes = 4 * n_members * (4 * n_trained + n_frozen)
    if n_bytes > available:
        raise ValueError(
            f"n_estimators={n_members} networks of each kind take about {n_bytes / 1e9:,.0f} GB to "
            f"train, and there are {available / 1e9:,.0f} GB in all; average fewer, or make fewer "
            "copies."
        )


def _n_activations(outlined: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Values that the layers of a network without values would make of one input."""
    counts = []
    for module in outlined.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, args, out: counts.append(out.numel()))
    with torch.no_grad():
        outlined.eval()(torch.empty(1, *input_shape, device="meta"))
    return sum(counts)


def build_networks(
    network: str | NetworkFactory,
    input_shape: tuple[int, ...],
    *,
    n_targets: int,
    n_members: int,
    generator: torch.Generator,
    available: int | None = None,
    device: torch.device = _CPU,
) -> tuple[nn.Module, Targets]:
    """Build a predictor and its targets, with random weights from `generator` alone.

    Parameters
    ----------
    network : {"auto", "resnet34"} or callable
        A callable is given `input_shape` and returns a new module.
    input_shape : tuple of int
        (C, H, W) of images or (n_features,) of plain rows.
    n_targets : int
        Number of targets.
    n_members : int
        Members of the ensemble that the predictor and each target are.
    generator : torch.Generator
        On the CPU, so that every device starts from the same weights.
    available : int or None, default=None
        Bytes that what a callable returns may take, as in `check_room`.
    device : torch.device, default=cpu
        Where else a callable may draw weights. The networks are on the CPU in any case.

    Returns
    -------
    predictor : module
    targets : Targets

    Raises
    ------
    ValueError
        If the modules that a callable returns share weights, do not take the
        input, disagree on their outputs or take more than is available.
    TypeError
        If a callable does not return a module.
    """
    if not callable(network):
        return _build_known(network, input_shape, n_targets, n_members, generator)
    first = _call_factory(network, input_shape, generator, device)
    if available is not None:
        n_weights = count_weights(first)
        _check_weights(n_weights, n_targets * n_weights, n_members, available)
    n_others = (1 + n_targets) * n_members - 1
    others = [_call_factory(network, input_shape, generator, device) for _ in range(n_others)]
    members = [first, *others]
    predictor, *targets = (
        Ensemble(members[i : i + n_members]) for i in range(0, len(members), n_members)
    )
    _check_supplied(predictor, targets, input_shape)
    return predictor, independent(targets)


def outline_networks(
    network: str, input_shape: tuple[int, ...], n_targets: int, n_members: int
) -> tuple[nn.Module, Targets]:
    """Networks that have a name, without values: on torch's device "meta"."""
    with torch.device("meta"):
        return _named(network, input_shape)(input_shape, n_targets, n_members)


def count_values(network: str, input_shape: tuple[int, ...], n_targets: int, n_members: int) -> int:
    """How many weights a predictor and its targets have together, once they are folded.

    Of so many networks, one of each kind is outlined.
    """
    predictor, targets = outline_networks(network, input_shape, n_targets=1, n_members=1)
    for part in (predictor, targets):
        fold_norms(part.eval())
    n_each = count_weights(predictor) + count_weights(targets)
    return n_members * (n_each + (n_targets - 1) * count_weights(targets.heads))


def _named(
    network: str, input_shape: tuple[int, ...]
) -> Callable[[tuple[int, ...], int, int], tuple[nn.Module, Targets]]:
    """The function that a name means for inputs of a shape."""
    if network == "resnet34":
        return resnet34
    return compact_networks if len(input_shape) == 3 else mlps


def _build_known(
    network: str,
    input_shape: tuple[int, ...],
    n_targets: int,
    n_members: int,
    generator: torch.Generator,
) -> tuple[nn.Module, Targets]:
    kind = _named(network, input_shape)
    initialise = _torch_default if kind is resnet34 else _he_normal
    # Outlined first, because the constructors of torch's layers would draw the values
    # from the global generator.
    predictor, targets = outline_networks(network, input_shape, n_targets, n_members)
    for part in (predictor, targets):
        part.to(torch.float32).to_empty(device="cpu")
        for module in part.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d):
                initialise(module.weight, generator)
            elif isinstance(module, ParallelLinear):
                for weight in module.weight:
                    initialise(weight, generator)
                nn.init.zeros_(module.bias)
        moved(part, _CPU)
    if kind is compact_networks:
        _see_differences(predictor)
    return predictor, targets


@torch.no_grad()
def _see_differences(predictor: nn.Module) -> None:
    """Let half of the first filters of every member answer to differences of pixels alone.

    Neighbouring pixels are so alike that a filter drawn at random answers to the mean of
    them and to little else. What tells an image from its blurred copy is in the rest, and
    some predictors would take epochs to find it.
    """
    for member in cast(Ensemble, predictor).members:
        filters = next(member.parameters())[::2]
        filters -= filters.mean((2, 3), keepdim=True)


def _he_normal(weight: torch.Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def _torch_default(weight: torch.Tensor, generator: torch.Generator) -> None:
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)


def _call_factory(
    factory: NetworkFactory,
    input_shape: tuple[int, ...],
    generator: torch.Generator,
    device: torch.device,
) -> nn.Module:
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    with global_generator_seeded(seed, device):
        module = factory(input_shape)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"network must return a torch.nn.Module, got {type(module).__name__} from {factory!r}."
        )
    if any(isinstance(weight, nn.UninitializedParameter) for weight in module.parameters()):
        raise ValueError(
            "The module that network returned has lazy layers, whose weights are not there yet; "
            "make layers for input_shape, with which network is called."
        )
    return module.to(_CPU, torch.float32)


def _check_supplied(
    predictor: Ensemble, targets: Sequence[Ensemble], input_shape: tuple[int, ...]
) -> None:
    """Refuse modules of a user's factory that cannot be distilled."""
    weights = [list(module.parameters()) for module in (predictor, *targets)]
    for i, own in enumerate(weights):
        for other in weights[:i]:
            same = len(own) == len(other) and all(map(torch.equal, own, other))
            if own and same:
                raise ValueError(
                    "network returned the same weights twice. It must build a new module at "
                    "each call and not seed torch itself: a predictor that starts as its own "
                    "target finds nothing novel."
                )
    widths = set()
    inputs = torch.linspace(-1, 1, 2 * math.prod(input_shape), dtype=torch.float32)
    inputs = inputs.reshape(2, *input_shape)
    for module in (predictor, *targets):
        _check_state(module)
        module.eval()
        try:
            with global_generator_seeded(0, inputs.device):
                outputs, again = ([member(inputs) for member in module.members] for _ in range(2))
        except RuntimeError as error:
            raise ValueError(
                f"The module that network returned does not take inputs of shape "
                f"(n, {', '.join(map(str, input_shape))}): {error}"
            ) from error
        try:
            deepcopy(module)
        except RuntimeError as error:
            raise ValueError(
                "The module that network returned keeps what it has computed, as "
                "torch.nn.utils.weight_norm does (torch.nn.utils.parametrizations.weight_norm "
                f"does not), and cannot be copied after training: {error}"
            ) from error
        for output in outputs:
            is_tensor = isinstance(output, torch.Tensor)
            made = tuple(output.shape) if is_tensor else type(output).__name__
            if not is_tensor or output.ndim != 2 or len(output) != 2 or output.shape[1] == 0:
                raise ValueError(
                    "The module that network returns must map (n, ...) to (n, n_outputs); it made "
                    f"{made} of {(2, *input_shape)}."
                )
        if not all(map(partial(torch.allclose, equal_nan=True), outputs, again)):
            raise ValueError(
                "The module that network returned draws at random in evaluation mode as well: two "
                "passes over the same inputs differ. Dropout goes by self.training."
            )
        widths.add(sum(output.shape[1] for output in outputs))
    if len(widths) > 1:
        raise ValueError(f"network returned modules with unequal outputs: {sorted(widths)}.")
    if not any(weight.requires_grad for weight in predictor.parameters()):
        raise ValueError("The module that network returned has no weights that can be trained.")


def _check_state(module: nn.Module) -> None:
    """Refuse what would not come along with the weights to a file or another process."""
    state = module.state_dict()
    lost = [name for name, _ in module.named_buffers() if name not in state]
    if lost:
        raise ValueError(
            "The module that network returned has buffers that are not saved, "
            f"{', '.join(lost)}; register them with persistent=True."
        )
    odd = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ValueError(
            f"The module that network returned keeps in its state what is no tensor: "
            f"{', '.join(odd)}."
        )
