"""Targets and predictors."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import skrnd._networks
from skrnd._networks import (
    ConvNorm,
    Ensemble,
    ParallelMLP,
    Quarters,
    ResidualBlock,
    _n_activations,
    build_networks,
    check_network,
    check_room,
    fold_norms,
    is_reentrant,
    outline_networks,
)


def build(network, input_shape, *, n_targets=2, n_members=1, seed=0):
    """Build with a fresh generator."""
    generator = torch.Generator().manual_seed(seed)
    return build_networks(
        network, input_shape, n_targets=n_targets, n_members=n_members, generator=generator
    )


def linear(input_shape):
    """A network of a user."""
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), 10))


class Pair(nn.Module):
    """Returns two outputs."""

    def forward(self, x):
        return x.flatten(1), x.flatten(1)


class Buffered(nn.Module):
    """Uses random values that are not saved."""

    def __init__(self):
        super().__init__()
        self.register_buffer("w", torch.randn(192, 5), persistent=False)

    def forward(self, x):
        return x.flatten(1) @ self.w


class Noted(nn.Module):
    """Saves more than tensors."""

    def get_extra_state(self):
        return {"seen": 1}

    def set_extra_state(self, state):
        pass

    def forward(self, x):
        return x.flatten(1)


def n_weights(module):
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("network", "input_shape", "n_outputs"),
    [
        ("auto", (1, 4, 4), 4 * 16),
        ("auto", (1, 8, 8), 4 * 32),
        ("auto", (2, 16, 16), 4 * 64),
        ("auto", (1, 28, 28), 4 * 128),
        ("auto", (3, 32, 32), 4 * 128),
        ("auto", (4, 64, 64), 4 * 128),
        ("auto", (3, 33, 100), 4 * 128),
        ("auto", (1, 256, 256), 4 * 128),
        ("resnet34", (3, 32, 32), 512),
        ("auto", (7,), 64),
    ],
)
def test_networks_adapt_to_their_input(network, input_shape, n_outputs):
    predictor, targets = build(network, input_shape)
    x = torch.randn(3, *input_shape)
    assert predictor(x).shape == (3, n_outputs)
    assert targets(x, [0, 1]).shape == (3, 2, n_outputs)


def test_large_images_are_halved_before_the_first_stage():
    """The cost of a stage stays what it is at 32 x 32."""
    sides = []

    def hook(module, args):
        sides.append(args[0].shape[-1])

    for side in (32, 64, 128, 256):
        predictor, _ = build("auto", (3, side, side))
        block = next(m for m in predictor.modules() if isinstance(m, ResidualBlock))
        block.register_forward_pre_hook(hook)
        predictor(torch.randn(1, 3, side, side))
    assert sides == [32, 32, 32, 32]


@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 64, 64)])
def test_half_of_the_first_filters_see_differences_alone(input_shape):
    """Of every member of the predictor; those of the targets are drawn as they are."""
    predictor, targets = build("auto", input_shape, n_members=2)
    trunks = [trunk[0][0] for trunk in targets.trunks]
    assert min(conv.weight.sum((2, 3)).abs().min() for conv in trunks) > 1e-4
    flat = torch.full((1, *input_shape), 3.0)
    for member in predictor.members:
        conv = member[0][0]
        inside = conv(flat)[..., 1:-1, 1:-1]
        torch.testing.assert_close(inside[:, ::2], torch.zeros_like(inside[:, ::2]))
        assert inside[:, 1::2].abs().min() > 1e-3


def test_resnet34_is_the_released_architecture():
    """Counted by hand: 3x3 convolutions, 1x1 shortcuts, two values a channel of norm."""

    def conv(n_in, n_out, size=3):
        return n_in * n_out * size**2 + 2 * n_out

    def block(n_in, n_out):
        shortcut = conv(n_in, n_out, 1) if n_in != n_out else 0
        return conv(n_in, n_out) + conv(n_out, n_out) + shortcut

    expected, width = conv(3, 64), 64
    for n_out, n_blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for _ in range(n_blocks):
            expected += block(width, n_out)
            width = n_out
    predictor, targets = build("resnet34", (3, 32, 32))
    target, _ = targets.heads[0]
    assert n_weights(target) == expected
    assert n_weights(predictor) == expected + block(512, 1024) + block(1024, 512)
    assert round(n_weights(predictor) / 1e6, 2) == 43.57
    (network,) = target.members
    strides = [m.stride[0] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert np.prod([s for s in strides if s > 1]) == 2**3 * 2**3  # three stages, two paths


def test_resnet34_has_relus_between_stages_and_none_after_the_last():
    _, targets = build("resnet34", (3, 32, 32))
    target, _ = targets.heads[0]
    kinds = [type(m) for m in target.members[0]]
    stages = [nn.ReLU, *[ResidualBlock] * 3, nn.ReLU, *[ResidualBlock] * 4]
    stages += [nn.ReLU, *[ResidualBlock] * 6, nn.ReLU, *[ResidualBlock] * 3]
    assert kinds == [ConvNorm, *stages, nn.AdaptiveAvgPool2d, nn.Flatten]


def test_a_residual_block_is_the_formula():
    block = ResidualBlock(4, 6, stride=2).eval()
    x = torch.randn(2, 4, 8, 8)
    conv = nn.functional.conv2d
    hidden = torch.relu(conv(x, block.conv1[0].weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5)
    expected = conv(hidden, block.conv2[0].weight, padding=1) + conv(
        x, block.shortcut[0].weight, stride=2
    )
    torch.testing.assert_close(block(x), expected / (1 + 1e-5) ** 0.5, atol=1e-5, rtol=1e-5)


@given(st.integers(2, 13), st.integers(2, 13))
def test_quarters_are_those_of_adaptive_pooling(height, width):
    x = torch.randn(3, 5, height, width, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Quarters()(x), nn.AdaptiveAvgPool2d(2)(x))


@pytest.mark.parametrize("network", ["auto", "resnet34"])
def test_folding_leaves_the_outputs_and_no_normalisation(network):
    predictor, _ = build(network, (3, 16, 16))
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        predictor.train()(3 * x + 1)  # moves the running statistics
        said = predictor.eval()(x)
        fold_norms(predictor)
        torch.testing.assert_close(predictor(x), said, rtol=1e-4, atol=1e-4 * float(said.std()))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in predictor.modules())
    # So that a training can go on.
    assert all(weight.requires_grad for weight in predictor.parameters())
    # An outline, which has no values, becomes the same.
    outlined, _ = outline_networks(network, (3, 16, 16), n_targets=1, n_members=1)
    fold_norms(outlined.eval())
    now, expected = dict(outlined.named_parameters()), dict(predictor.named_parameters())
    assert list(now) == list(expected)
    for name in now:
        assert now[name].shape == expected[name].shape
        assert now[name].requires_grad


@pytest.mark.parametrize(
    ("network", "variance"), [("auto", 2.0), ("resnet34", 1 / 3)], ids=["he", "torch"]
)
def test_distribution_of_the_weights(network, variance):
    """Variance times fan-in: 2 for He-normal, 1/3 for PyTorch's default."""
    predictor, _ = build(network, (3, 32, 32))
    for module in predictor.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            fan_in = module.weight[0].numel()
            assert module.weight.var().item() * fan_in == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(
    ("network", "input_shape"),
    [("auto", (3, 8, 8)), ("auto", (6,)), ("resnet34", (3, 8, 8)), (linear, (3, 8, 8))],
)
def test_seeds(network, input_shape):
    before = torch.random.get_rng_state()
    first, again, other = (build(network, input_shape, seed=s) for s in (0, 0, 1))
    x = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0))
    said = [[m[0](x), *m[1](x, [0, 1]).unbind(1)] for m in (first, again, other)]
    for a, b, c in zip(*said, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert not torch.equal(said[0][1], said[0][2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_members_are_independent_and_side_by_side():
    predictor, _ = build("auto", (3, 8, 8), n_members=3)
    x = torch.randn(4, 3, 8, 8)
    predictor.eval()
    expected = [member(x) for member in predictor.members]
    assert torch.equal(predictor(x), torch.cat(expected, dim=1))
    assert not torch.equal(expected[0], expected[1])


@pytest.mark.parametrize("network", ["auto", linear])
def test_targets_of_several_members_and_copies(network):
    """Members side by side, copies one behind the other, in the order asked for."""
    _, targets = build(network, (3, 8, 8), n_targets=3, n_members=2)
    x = torch.randn(4, 3, 8, 8)
    targets.eval()
    said = targets(x, range(3))
    if network == "auto":
        expected = torch.cat(
            [
                heads[2](trunk(x))
                for trunk, heads in zip(targets.trunks, targets.heads, strict=True)
            ],
            dim=1,
        )
        torch.testing.assert_close(said[:, 2], expected)
    torch.testing.assert_close(targets(x, [2, 0]), said[:, [2, 0]])


def test_targets_share_all_but_their_last_stage():
    _, one = build("auto", (3, 32, 32), n_targets=1)
    _, three = build("auto", (3, 32, 32), n_targets=3)
    assert n_weights(three.trunks) == n_weights(one.trunks)
    assert n_weights(three.heads) == 3 * n_weights(one.heads)
    widths = [m.out_channels for m in three.trunks.modules() if isinstance(m, nn.Conv2d)]
    assert max(widths) == 64


def test_parallel_perceptrons_are_perceptrons():
    predictor, _ = build("auto", (6,), n_members=3)
    assert isinstance(predictor, ParallelMLP)
    x = torch.randn(4, 6)
    outputs = predictor(x).reshape(4, 3, 64)
    for member in range(3):
        y = x
        for i, layer in enumerate(predictor.layers):
            y = y @ layer.weight[member].T + layer.bias[member]
            if i < 2:
                y = torch.relu(y)
        torch.testing.assert_close(outputs[:, member], y)


def test_a_network_of_a_users_own():
    predictor, _ = build(linear, (3, 8, 8), n_members=2)
    assert isinstance(predictor, Ensemble)
    assert predictor(torch.randn(4, 3, 8, 8)).shape == (4, 20)
    assert {p.dtype for p in predictor.parameters()} == {torch.float32}


def test_the_generator_of_the_device_is_seeded_for_a_network_of_a_users_own(monkeypatch):
    """Which may draw its weights there."""
    devices = []
    seeded = skrnd._networks.global_generator_seeded
    there = torch.device("cuda", 1)

    def noted(seed, device):
        devices.append(device)
        return seeded(seed, torch.device("cpu"))

    monkeypatch.setattr(skrnd._networks, "global_generator_seeded", noted)
    options = {"n_targets": 1, "n_members": 1, "generator": torch.Generator(), "device": there}
    build_networks(linear, (3, 8, 8), **options)
    assert devices.count(there) == 2


def test_default_dtype_does_not_matter():
    torch.set_default_dtype(torch.float64)
    try:
        for network in ("auto", linear):
            predictor, _ = build(network, (3, 8, 8))
            assert {p.dtype for p in predictor.parameters()} == {torch.float32}
    finally:
        torch.set_default_dtype(torch.float32)


class AlwaysDrops(nn.Module):
    """As is done to have a spread of answers, and no verdict twice."""

    def forward(self, x):
        return nn.functional.dropout(x.flatten(1), 0.5, training=True)


class Nothing(nn.Flatten):
    """Has no outputs."""

    def forward(self, x):
        return super().forward(x)[:, :0]


class Roots(nn.Module):
    """Takes no negative values."""

    def forward(self, x):
        return x.sqrt()


def test_a_network_need_not_take_the_values_that_it_is_tried_with():
    predictor, _ = build(lambda shape: nn.Sequential(Roots(), linear(shape)), (3, 8, 8))
    assert predictor(torch.ones(2, 3, 8, 8)).isfinite().all()


SHARED = linear((3, 8, 8))


@pytest.mark.parametrize(
    ("network", "error", "match"),
    [
        (lambda shape: SHARED, ValueError, "same weights twice"),
        (lambda shape: copy.deepcopy(SHARED), ValueError, "same weights twice"),
        (lambda shape: None, TypeError, "must return a torch.nn.Module, got NoneType"),
        (lambda shape: nn.Linear(5, 5), ValueError, r"does not take inputs of shape \(n, 3, 8, 8"),
        (lambda shape: nn.Conv2d(3, 5, 1), ValueError, r"must map \(n, ...\) to \(n, n_outputs\)"),
        (lambda shape: Pair(), ValueError, r"must map .* it made tuple of \(2, 3, 8, 8\)"),
        (lambda shape: Buffered(), ValueError, r"buffers that are not saved, members\.0\.w;"),
        (lambda shape: Noted(), ValueError, r"no tensor: members\.0\._extra_state"),
        (lambda shape: nn.LazyLinear(5), ValueError, "has lazy layers"),
        (lambda shape: AlwaysDrops(), ValueError, "draws at random in evaluation mode"),
        (lambda shape: nn.Flatten(), ValueError, "no weights that can be trained"),
        (lambda shape: linear(shape).requires_grad_(False), ValueError, "no weights that can be"),
        (lambda shape: Nothing(), ValueError, r"it made \(2, 0\) of"),
        (
            lambda shape: nn.Sequential(
                nn.Flatten(), nn.Linear(192, int(torch.randint(5, 500, ())))
            ),
            ValueError,
            "unequal outputs",
        ),
    ],
)
def test_networks_that_cannot_be_distilled(network, error, match):
    with pytest.raises(error, match=match):
        build(network, (3, 8, 8))


@pytest.mark.parametrize(
    ("network", "input_shape", "match"),
    [
        ("auto", (1, 3, 8), r"3 x 8 pixels are too small.*at least 4 x 4"),
        ("resnet34", (1, 8, 3), r"8 x 3 pixels are too small.*at least 4 x 4"),
        (linear, (1, 1, 1), r"1 x 1 pixels are too small.*at least 2 x 2"),
        ("resnet34", (12,), r"resnet34.*image_shape"),
    ],
)
def test_inputs_that_a_network_is_not_made_for(network, input_shape, match):
    with pytest.raises(ValueError, match=match):
        check_network(network, input_shape)


@pytest.mark.parametrize(
    ("network", "input_shape"), [("auto", (1,)), ("auto", (1, 4, 4)), (linear, (1, 2, 2))]
)
def test_the_smallest_inputs(network, input_shape):
    check_network(network, input_shape)


@pytest.mark.parametrize(
    ("network", "input_shape", "options", "match"),
    [
        ("auto", (3, 32, 32), {"n_members": 10**6}, "n_estimators=1000000 networks of each kind"),
        ("auto", (5,), {"n_members": 10**7}, "n_estimators=10000000 networks of"),
        ("auto", (10**9,), {}, "n_estimators=1 networks of each kind take about 2,560"),
        ("auto", (3, 10_000, 10_000), {}, r"batch_size=32 rows of 3 x 10000 x 10000 values"),
        ("resnet34", (3, 32, 32), {"n_members": 100}, "n_estimators=100"),
        ("resnet34", (3, 32, 32), {"n_targets": [3, 10**6]}, "or make fewer copies"),
        ("auto", (3, 32, 32), {"batch_size": 10**12}, "batch_size=1000000000000"),
    ],
)
def test_what_has_no_room_is_refused_before_it_is_made(network, input_shape, options, match):
    defaults = {"n_targets": [1], "n_members": 1, "batch_size": 32, "available": 24 * 10**9}
    with pytest.raises(ValueError, match=match):
        check_room(network, input_shape, **defaults | options)
    check_room(network, input_shape, **defaults | options | {"available": None})
    check_room(lambda input_shape: None, input_shape, **defaults | options)


def test_supplied_networks_that_have_no_room_are_refused_after_the_first():
    """A layer of 9 x 10 weights, four times as predictor and once as each of two targets."""
    calls = []

    def factory(input_shape):
        calls.append(input_shape)
        return linear(input_shape)

    def built(n_members, available):
        return build_networks(
            factory,
            (1, 2, 4),
            n_targets=2,
            n_members=n_members,
            generator=torch.Generator(),
            available=available,
        )

    with pytest.raises(
        ValueError, match="n_estimators=1000000 networks of each kind take about 2 GB"
    ):
        built(10**6, 10**9)
    n_bytes = 4 * 3 * 6 * 90
    with pytest.raises(ValueError, match="n_estimators=3"):
        built(3, n_bytes - 1)
    assert len(calls) == 2
    built(3, n_bytes)
    assert len(calls) == 2 + 9


@pytest.mark.parametrize("input_shape", [(5,), (1, 8, 8), (3, 32, 32), (3, 256, 256), (100_000,)])
def test_what_is_usual_has_room(input_shape):
    options = {"n_targets": [2, 3], "n_members": 2, "batch_size": 32}
    check_room("auto", input_shape, available=24 * 10**9, **options)


def test_the_memory_of_weights_and_layers_is_counted_right():
    """Two perceptrons of 2 x 128 on 10 features, and targets of 1 x 128, with 64 outputs each."""
    n_trained = 11 * 128 + 129 * 128 + 129 * 64
    n_frozen = 11 * 128 + 129 * 64
    options = {"n_targets": [2, 3], "n_members": 3, "batch_size": 1}
    n_bytes = 4 * 3 * (4 * 2 * n_trained + 5 * n_frozen)
    check_room("auto", (10,), available=n_bytes, **options)
    with pytest.raises(ValueError, match="n_estimators=3"):
        check_room("auto", (10,), available=n_bytes - 1, **options)
    predictor, _ = outline_networks("auto", (10,), n_targets=1, n_members=1)
    assert _n_activations(predictor, (10,)) == 128 + 128 + 64


def test_what_is_reentrant():
    ours, _ = build_networks(
        "auto", (1, 8, 8), n_targets=1, n_members=1, generator=torch.Generator()
    )
    assert is_reentrant(ours)
    assert is_reentrant(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    for register in (nn.Module.register_forward_hook, nn.Module.register_forward_pre_hook):
        hooked = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        register(hooked[1], lambda module, *given: None)
        assert not is_reentrant(hooked)

    class Remembers(nn.Module):
        pass

    assert not is_reentrant(nn.Sequential(Remembers()))


def test_networks_that_cannot_be_copied_are_refused():
    def factory(input_shape):
        return nn.Sequential(nn.Flatten(), nn.utils.spectral_norm(nn.Linear(4, 3)))

    with pytest.raises(ValueError, match="cannot be copied after training"):
        build_networks(factory, (1, 2, 2), n_targets=1, n_members=1, generator=torch.Generator())
