"""Training and scoring."""

import io
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from joblib import Memory
from torch import nn

import skrnd._distillation
import skrnd._networks
import skrnd._threads
from skrnd._distillation import (
    Curves,
    DistilledPair,
    StandardisedTargets,
    Training,
    _advance,
    _n_passes,
    answer,
    load_pair,
    run_epoch,
)
from skrnd._distributed import Ranks
from skrnd._networks import build_networks, independent
from skrnd._storage import Storage

CPU = torch.device("cpu")


def generator(seed=0):
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


def prepare(predictor, targets, copies, **options):
    """A training with small defaults."""
    defaults = {
        "storage": Storage(2**20),
        "device": CPU,
        "precision": torch.float32,
        "max_epochs": 3,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "generator": generator(),
        "ranks": Ranks(),
        "memory": Memory(None),
    }
    return Training(predictor, targets, copies, **defaults | options)


def train(predictor, targets, copies, *, all_judge=False, max_epochs=3, **options):
    """Train with small defaults."""
    training = prepare(predictor, targets, copies, max_epochs=max_epochs, **options)
    loss_curve = [run_epoch([training]) for _ in range(max_epochs)]
    return training.pair(all_judge=all_judge), loss_curve


@pytest.fixture
def pieces():
    """A predictor, two targets and two copies of 50 rows."""
    predictor, targets = build_networks(
        "auto", (6,), n_targets=2, n_members=1, generator=generator()
    )
    rows = torch.randn(50, 6, generator=generator(1))
    return predictor, targets, [rows, -rows]


def test_targets_are_standardised():
    raw = 5 + torch.randn(1000, 3, generator=generator()) * torch.tensor([1.0, 10.0, 0.0])
    targets = StandardisedTargets(independent([nn.Identity(), nn.Identity()]), 2, 3)
    standardised = raw.clone()
    targets.learn(1, raw, Ranks())
    targets.standardise_(1, standardised)
    torch.testing.assert_close(targets(raw, 2)[:, 1], standardised)
    torch.testing.assert_close(targets(raw, 1), raw[:, None])
    np.testing.assert_allclose(standardised.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(0, correction=0), [1, 1, 0], atol=1e-5)
    assert targets.scale[1, 2] == 1


@pytest.mark.parametrize("value", [0.0, 0.1, -1e5 / 3])
def test_an_output_that_never_moves_is_not_blown_up_by_its_rounding(value):
    """The last bit of it differs between rows."""
    targets = StandardisedTargets(independent([nn.Identity()]), 1, 1)
    raw = torch.full((1000, 1), value)
    raw[::2] = torch.nextafter(raw[::2], 2 * raw[::2])
    targets.learn(0, raw, Ranks())
    assert targets.scale.item() == 1


def test_every_copy_has_its_own_target(pieces):
    """A linear predictor's loss is that of least squares on the mixed copies."""
    _, targets, copies = pieces
    predictor = nn.Linear(6, 64)
    nn.init.zeros_(predictor.weight)
    wanted = []
    for i, copy in enumerate(copies):
        raw = targets(copy, [i])[:, 0].detach().double()
        wanted.append((raw - raw.mean(0)) / raw.std(0, correction=0))
    design = torch.cat([torch.cat(copies), torch.ones(100, 1)], dim=1).double()
    expected = torch.linalg.lstsq(design, torch.cat(wanted)).solution
    least = (design @ expected - torch.cat(wanted)).square().mean().item()

    _, loss_curve = train(
        predictor, targets, copies, max_epochs=300, batch_size=100, learning_rate=0.05
    )
    assert loss_curve[0] > 1.05 * least
    assert loss_curve[-1] == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("all_judge", [False, True])
def test_scores_are_the_formulas(all_judge):
    """The error with the first target alone, the contrast as well with all."""
    predictor, targets = build_networks(
        "auto", (6,), n_targets=3, n_members=1, generator=generator()
    )
    rows = torch.randn(50, 6, generator=generator(1))
    copies = [rows, -rows, rows**2]
    pair, _ = train(predictor, targets, copies, all_judge=all_judge)
    x = torch.randn(10, 6, generator=generator(2))
    f = pair.predictor(x).detach().double().numpy()
    g = []
    for i, copy in enumerate(copies):
        raw = targets(copy, [i])[:, 0].detach().double().numpy()
        g.append((targets(x, [i])[:, 0].detach().numpy() - raw.mean(0)) / raw.std(0))
    expected = [((f - g[0]) ** 2).mean(1)]
    if all_judge:

        def distance(a, b):
            return ((a - b) ** 2).sum(1)

        nearer = [
            (distance(f, g[0]) - distance(f, other)) / distance(other, g[0]) for other in g[1:]
        ]
        expected.append(np.maximum(0, 1 + np.max(nearer, axis=0)))
    scores = pair(x).detach()
    np.testing.assert_allclose(scores, np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_equal_targets_pull_nowhere():
    """Two targets that say the same give no direction, and no NaN."""
    targets = StandardisedTargets(independent([nn.Identity(), nn.Identity()]), 2, 3)
    pair = DistilledPair(nn.Linear(3, 3), targets, 2).requires_grad_(False)
    x = torch.randn(5, 3, generator=generator())
    error, contrast = pair(x).T
    torch.testing.assert_close(error, (pair.predictor(x) - x).double().square().mean(1))
    assert not contrast.any()


def test_targets_stay_frozen(pieces):
    predictor, targets, copies = pieces
    before = [p.clone() for p in targets.parameters()]
    start = [p.clone() for p in predictor.parameters()]
    train(predictor, targets, copies)
    assert all(map(torch.equal, before, targets.parameters()))
    assert not any(map(torch.equal, start, predictor.parameters()))


def test_targets_are_evaluated_once(pieces):
    predictor, targets, copies = pieces
    calls = []
    for target in targets.heads[0]:
        target.register_forward_hook(lambda module, args, output: calls.append(len(output)))
    train(predictor, targets, copies, max_epochs=4)
    # Once before them, to see how many outputs there are. Batches of rows are filled up.
    assert calls == [256] * 3


def test_batches_are_mixed_even_and_decayed(pieces, monkeypatch):
    predictor, targets, copies = pieces
    sizes, mixes, rates = [], [], []
    originals = {tuple(row.tolist()) for row in copies[0]}
    step = torch.optim.Adam.step

    def recorded_step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    def record(module, args):
        if module.training:
            sizes.append(len(args[0]))
            mixes.append(sum(tuple(row.tolist()) in originals for row in args[0]))

    monkeypatch.setattr(torch.optim.Adam, "step", recorded_step)
    predictor.register_forward_pre_hook(record)
    train(predictor, targets, copies, max_epochs=2, batch_size=33, learning_rate=0.01)
    assert sizes == [25] * 8
    assert sum(mixes) == 100
    assert all(0 < mix < 25 for mix in mixes)
    assert max(rates) == pytest.approx(0.01, rel=0.1)
    assert rates[-1] < 1e-3
    assert np.argmax(rates) < 4


@pytest.mark.parametrize("n_steps", range(1, 21))
def test_any_number_of_steps_is_a_schedule(n_steps, pieces):
    """The peak is never passed, and the end is near 0."""
    training = prepare(*pieces, max_epochs=n_steps, batch_size=100, learning_rate=0.1)
    rates = []
    for _ in range(n_steps):
        rates.append(training._optimiser.param_groups[0]["lr"])
        run_epoch([training])
    assert max(rates) <= 0.1
    assert n_steps < 5 or max(rates) > 0.08
    assert training._optimiser.param_groups[0]["lr"] < 1e-4


def test_the_loss_is_the_mean_over_rows_however_they_are_batched(pieces):
    """Of a predictor that hardly moves; the batches are of 4, 3 and 3 rows."""
    predictor, targets, copies = pieces
    some = [copy[:5] for copy in copies]
    training = prepare(predictor, targets, some, batch_size=4, learning_rate=1e-9)
    loss = run_epoch([training])
    pair = training.pair(all_judge=False)
    with torch.no_grad():
        said = torch.cat([pair.targets(copy, 2)[:, i] for i, copy in enumerate(some)])
        expected = (pair.predictor(torch.cat(some)) - said).square().mean()
    assert loss == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_falls(pieces):
    _, loss_curve = train(*pieces)
    assert all(math.isfinite(loss) for loss in loss_curve)
    assert loss_curve[-1] < loss_curve[0]


@pytest.mark.parametrize("input_shape", [(6,), (1, 8, 8)])
def test_a_training_goes_on_from_its_state(input_shape):
    """Bitwise, also through a file."""

    def start():
        predictor, targets = build_networks(
            "auto", input_shape, n_targets=2, n_members=1, generator=generator()
        )
        rows = torch.randn(50, *input_shape, generator=generator(1))
        return prepare(predictor, targets, [rows, -rows], max_epochs=4)

    whole, broken, other = start(), start(), start()
    expected = [run_epoch([whole]) for _ in range(4)]
    losses = [run_epoch([broken]) for _ in range(2)]
    file = io.BytesIO()
    torch.save(broken.state_dict(), file)
    run_epoch([broken])
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert losses + [run_epoch([other]) for _ in range(2)] == expected
    weights = [training.pair(all_judge=True).state_dict().values() for training in (whole, other)]
    assert all(map(torch.equal, *weights))


def test_a_training_that_goes_on_keeps_its_targets(pieces):
    """Other rows are asked of the same targets, as they were standardised before."""
    predictor, targets, copies = pieces
    first = prepare(predictor, targets, copies)
    run_epoch([first])
    pair = first.pair(all_judge=False)
    before = {name: value.clone() for name, value in pair.targets.state_dict().items()}
    others = [3 * copy[:20] for copy in copies]
    second = prepare(pair.predictor, pair.targets, others, batch_size=40)
    with torch.no_grad():
        said = torch.cat([pair.targets(other, 2)[:, i] for i, other in enumerate(others)])
        expected = (pair.predictor(torch.cat(others)) - said).square().mean()
    assert run_epoch([second]) == pytest.approx(float(expected), rel=1e-5)
    after = second.pair(all_judge=False).targets.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_trainings_side_by_side_are_those_alone(n_threads):
    """Bitwise, for each runs on as many threads as alone."""

    def pieces(seed):
        predictor, targets = build_networks(
            "auto", (1, 8, 8), n_targets=1, n_members=1, generator=generator(seed)
        )
        rows = torch.randn(100, 1, 8, 8, generator=generator(seed))
        return prepare(predictor, targets, [rows], generator=generator(seed))

    def weights(training):
        return list(training.pair(all_judge=False).state_dict().values())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone, curves = [], []
        for seed in (0, 1):
            training = pieces(seed)
            curves.append([run_epoch([training]) for _ in range(3)])
            alone += weights(training)
        torch.set_num_threads(n_threads)
        trainings = [pieces(seed) for seed in (0, 1)]
        curve = [run_epoch(trainings) for _ in range(3)]
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    together = [value for training in trainings for value in weights(training)]
    assert all(map(torch.equal, alone, together))
    np.testing.assert_allclose(curve, np.mean(curves, axis=0))


def test_a_longer_training_goes_on_when_the_other_is_through(pieces):
    """Each goes through all of its own rows, whichever comes first."""
    predictor, targets, copies = pieces
    others = build_networks("auto", (6,), n_targets=3, n_members=1, generator=generator(5))

    def both():
        long = prepare(deepcopy(others[0]), deepcopy(others[1]), [*copies, 2 * copies[0]])
        return [prepare(deepcopy(predictor), deepcopy(targets), copies), long]

    alone = [[run_epoch([training]) for _ in range(2)] for training in both()]
    for order in (slice(None), slice(None, None, -1)):
        trainings = both()[order]
        curve = [run_epoch(trainings) for _ in range(2)]
        np.testing.assert_allclose(curve, np.mean(alone, axis=0), rtol=1e-5)


class OutOfMemory(nn.Linear):
    """A layer that has no room for more than so many rows."""

    def __init__(self, most, n_outputs=64):
        super().__init__(6, n_outputs)
        self.most = most
        self.seen = []

    def forward(self, x):
        if len(x) > self.most:
            # What MPS says; that CUDA's is one too, other tests tell.
            raise RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)")
        self.seen.append(len(x))
        return super().forward(x)


def test_a_batch_that_does_not_fit_is_learned_in_parts(pieces):
    """A layer without batch normalisation learns the same by it."""
    _, targets, copies = pieces
    roomy, narrow = OutOfMemory(100), OutOfMemory(5)
    narrow.load_state_dict(roomy.state_dict())
    _, expected = train(roomy, targets, copies)
    with pytest.warns(RuntimeWarning, match=r"memory of cpu .* batch of 15 rows.* in [24] parts"):
        _, curve = train(narrow, targets, copies)
    assert max(narrow.seen) <= 5
    np.testing.assert_allclose(curve, expected, rtol=1e-4)
    torch.testing.assert_close(narrow.weight, roomy.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The memory of cpu:RuntimeWarning")
def test_a_row_that_does_not_fit_is_an_error(pieces):
    _, targets, copies = pieces
    with pytest.raises(RuntimeError, match="out of memory"):
        train(OutOfMemory(1), targets, copies)


def test_copies_make_room_for_a_batch_before_it_is_learned_in_parts(pieces, monkeypatch):
    """From the CPU, as on an accelerator, where copies that fit may leave nothing else."""
    predictor, targets, copies = pieces
    training = prepare(predictor, targets, copies)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "to", lambda tensor, device: tensor.clone())
        training._move_there()
    there, wanted = training._inputs, training._wanted
    assert there[0] is not copies[0]
    learn, n_refused = training._learn_in_parts, []

    def narrow(rows):
        if training._inputs is there:
            n_refused.append(len(rows))
            raise torch.OutOfMemoryError("no room")
        return learn(rows)

    monkeypatch.setattr(training, "_learn_in_parts", narrow)
    run_epoch([training])
    assert len(n_refused) == 1
    assert all(map(torch.equal, training._wanted, wanted))
    assert training._inputs[0] is copies[0]


def test_what_is_not_about_memory_is_raised(pieces, monkeypatch):
    predictor, targets, copies = pieces
    training = prepare(predictor, targets, copies)

    def broken(*args):
        raise RuntimeError("broken")

    for step, name in ((training._move_there, "to"), (partial(run_epoch, [training]), "square")):
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, name, broken)
            with pytest.raises(RuntimeError, match="broken"):
                step()
    with pytest.raises(RuntimeError, match="broken"):
        answer(broken, torch.zeros(50, 1, 2, 3), CPU, nn.Linear(6, 1))


def test_an_answer_that_does_not_fit_is_given_in_halves():
    network = nn.Sequential(nn.Flatten(), OutOfMemory(10))
    rows = torch.randn(50, 1, 2, 3)
    network[1].most = 100
    expected = answer(network, rows, CPU, network)
    network[1].most = 10
    torch.testing.assert_close(answer(network, rows, CPU, network), expected)
    network[1].most = 0
    with pytest.raises(RuntimeError, match="out of memory"):
        answer(network, rows, CPU, network)


def test_plain_rows_that_do_not_fit_are_asked_once():
    """Fewer would be filled up to as many."""
    asked = []

    def network(rows):
        asked.append(len(rows))
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        answer(network, torch.zeros(100, 6), CPU, nn.Linear(6, 1))
    assert len(asked) == 1


def test_bfloat16_trains_nearly_the_same(pieces):
    losses = []
    for precision in (torch.float32, torch.bfloat16):
        predictor, targets = build_networks(
            "auto", (1, 8, 8), n_targets=1, n_members=1, generator=generator()
        )
        rows = torch.randn(100, 1, 8, 8, generator=generator(1))
        pair, curve = train(predictor, targets, [rows], precision=precision, max_epochs=5)
        losses.append(curve[-1])
        assert {p.dtype for p in pair.parameters()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_training_inside_autocast_sees_its_own_progress(pieces):
    """Autocast keeps cast weights until its outermost block ends."""
    curves = []
    for around in (nullcontext(), torch.autocast("cpu", dtype=torch.bfloat16)):
        predictor, targets = build_networks(
            "auto", (1, 8, 8), n_targets=1, n_members=1, generator=generator()
        )
        rows = torch.randn(100, 1, 8, 8, generator=generator(1))
        with around:
            _, curve = train(predictor, targets, [rows], precision=torch.bfloat16)
        curves.append(curve)
    assert curves[0] == curves[1]


class Watched(nn.Module):
    """Says of every pass how many rows it had, and on how many threads."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append((len(x), torch.get_num_threads()))
        return x.flatten(1).mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("input_shape", "most"),
    [((5,), 256), ((10**6,), 256), ((1, 4, 4), 256), ((3, 64, 64), 21), ((3, 512, 512), 2)],
)
def test_passes_are_bounded_by_rows_and_values(input_shape, most, one_thread):
    network = Watched()
    rows = torch.zeros(1, *input_shape).expand(2 * most, *input_shape)
    assert answer(network, rows, CPU, network).shape == (2 * most, 1)
    assert [n for n, _ in network.seen] == [most, most]


@pytest.mark.parametrize(
    ("input_shape", "most"),
    [((5,), 256), ((1, 4, 4), 256), ((3, 64, 64), 85), ((3, 10**4, 10**4), 2)],
)
def test_passes_of_an_accelerator_are_larger(input_shape, most):
    there = torch.device("cuda")
    assert _n_passes((most, *input_shape), there) == 1
    assert _n_passes((4 * most, *input_shape), there) == 4


@pytest.mark.parametrize(
    ("n_rows", "passes"),
    [(1, [(2, 2)]), (3, [(3, 2)]), (4, [(2, 1)] * 2), (63, [(15, 1)] + [(16, 1)] * 3)],
)
def test_threads_take_passes_of_their_own(n_rows, passes, two_threads):
    network, weights = Watched(), nn.Linear(1, 10**7)
    rows = torch.arange(12288.0 * n_rows).reshape(n_rows, 3, 64, 64)
    said = answer(network, rows, CPU, weights)
    assert sorted(network.seen) == passes
    torch.testing.assert_close(said, rows.flatten(1).mean(1, keepdim=True))


def test_answers_have_all_digits_of_float32(monkeypatch):
    inside = []

    @contextmanager
    def whole_float32(device):
        inside.append(device)
        yield
        inside.clear()

    def network(x):
        assert inside == [x.device]
        return x

    monkeypatch.setattr(skrnd._distillation, "whole_float32", whole_float32)
    assert torch.equal(answer(network, torch.ones(3, 5), CPU, nn.Linear(1, 1)), torch.ones(3, 5))


@pytest.mark.parametrize(("n_processes", "batch_size", "own"), [(2, 10, 5), (4, 3, 2)])
def test_a_step_has_batch_size_rows_of_all_processes_together(n_processes, batch_size, own, pieces):
    """But two of each at least."""
    predictor, targets, copies = pieces
    ranks = Ranks()
    ranks.size = n_processes
    ranks.gather = lambda value: [value] * n_processes
    ranks.synchronised = lambda module: module
    n_rows = sum(map(len, copies))
    training = prepare(predictor, targets, copies, batch_size=batch_size, ranks=ranks)
    assert training.n_steps == math.ceil(n_rows / own)


def test_one_thread_at_a_time_goes_through_a_network_that_remembers(two_threads):
    network = Watched()
    answer(network, torch.zeros(63, 3, 64, 64), CPU, network)
    assert sorted(network.seen) == [(15, 2)] + [(16, 2)] * 3


class Remembers(nn.Module):
    """Takes a while between what it is given and what it makes of that."""

    def forward(self, x):
        self.x = x
        time.sleep(0.001)
        return self.x.flatten(1).mean(1, keepdim=True)


def test_threads_of_a_caller_take_turns_with_a_network_that_remembers():
    network = Remembers()

    def said(value):
        return answer(network, torch.full((2, 3, 8, 8), float(value)), CPU, network)

    with ThreadPoolExecutor(4) as pool:
        for value, answers in enumerate(pool.map(said, range(40))):
            torch.testing.assert_close(answers, torch.full((2, 1), float(value)))


@pytest.mark.parametrize(
    ("input_shape", "n_weights", "n_threads"),
    [
        ((3, 64, 64), 10**6, 1),
        # Many weights for every place, and many places for every weight.
        ((3, 64, 64), 10**7, 2),
        ((1, 128, 128), 10**3, 2),
    ],
)
def test_a_small_pass_takes_one_thread(input_shape, n_weights, n_threads, two_threads):
    network, weights = Watched(), nn.Linear(1, n_weights, bias=False)
    answer(network, torch.zeros(1, *input_shape), CPU, weights)
    assert network.seen == [(2, n_threads)]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("n_rows", "batch_size"), [(3, 2), (7, 2), (9, 4), (2, 2)])
def test_no_batch_is_of_one_row(n_rows, batch_size):
    """Which batch normalisation could not learn from."""
    sizes = []
    predictor = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    predictor.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    targets = independent([nn.Linear(5, 4)])
    run_epoch([prepare(predictor, targets, [torch.randn(n_rows, 5)], batch_size=batch_size)])
    assert sum(sizes) == n_rows
    assert min(sizes) > 1


def test_the_best_epoch_is_none_that_diverged():
    assert Curves(held_out=[3.0, 1.0, 2.0, math.nan]).n_since_best() == 2
    assert Curves(held_out=[math.nan, math.nan]).n_since_best() == 1


def test_no_epoch_begins_once_all_is_to_stop():
    """It would wait, in vain, for what the epoch that was stopped holds."""
    begun, stop = [], threading.Event()

    def epoch():
        begun.append(1)
        yield

    stop.set()
    _advance(epoch(), None, stop)
    assert begun == []


def test_an_interrupted_epoch_holds_nothing(pieces, monkeypatch):
    """Nor does what a traceback may keep of it."""
    kept = []

    def interrupted(epoch, n_steps, stop):
        kept.append(epoch)
        next(epoch)
        raise KeyboardInterrupt

    monkeypatch.setattr(skrnd._distillation, "_advance", interrupted)
    training = prepare(*pieces, supplied=True)
    with pytest.raises(KeyboardInterrupt):
        run_epoch([training])
    assert not skrnd._threads.shared.global_generator.locked()


@pytest.mark.parametrize(("batch_size", "n_threads"), [(16, 1), (512, 2)])
def test_a_training_in_small_steps_takes_one_thread(batch_size, n_threads, pieces, two_threads):
    predictor, targets, copies = pieces
    seen = set()
    predictor.register_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    run_epoch([prepare(predictor, targets, copies, batch_size=batch_size)])
    assert seen == {n_threads}
    assert torch.get_num_threads() == 2


def test_a_users_network_in_small_steps_takes_one_thread(pieces, two_threads):
    predictor, targets, copies = pieces
    seen = set()
    predictor.register_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    run_epoch([prepare(predictor, targets, copies, batch_size=16, supplied=True)] * 2)
    watched = Watched()
    answer(watched, torch.zeros(4, 1, 8, 8), CPU, watched)
    assert {n_threads for _, n_threads in watched.seen} == seen == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("n_rows", [1, 2, 255, 256])
@pytest.mark.parametrize("input_shape", [(4,), (1, 4, 4)])
def test_answer_is_the_network(n_rows, input_shape):
    network = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    rows = torch.randn(n_rows, *input_shape)
    expected = network(rows)
    torch.testing.assert_close(answer(network, rows, CPU, network), expected)
    assert not answer(network, rows, CPU, network).requires_grad


@pytest.mark.parametrize("input_shape", [(3, 32, 32), (1, 9, 20), (20,)])
def test_a_row_gets_the_same_answer_in_any_company(input_shape):
    predictor, targets = build_networks(
        "auto", input_shape, n_targets=2, n_members=2, generator=generator()
    )
    rows = torch.randn(300, *input_shape, generator=generator(1))
    n_outputs = predictor(rows[:2]).shape[1]
    pair = DistilledPair(predictor, StandardisedTargets(targets, 2, n_outputs), 2).eval()

    def answers(size):
        return torch.cat([answer(pair, part, CPU, pair) for part in rows.split(size)])

    whole = answers(256)
    for size in (1, 2, 7, 100):
        np.testing.assert_allclose(answers(size), whole, rtol=1e-6)


@pytest.mark.parametrize("all_judge", [False, True])
def test_a_pair_comes_back_from_its_arrays(pieces, all_judge):
    predictor, targets, copies = pieces
    pair, _ = train(predictor, targets, copies, all_judge=all_judge)
    weights = {name: value.numpy() for name, value in pair.state_dict().items()}
    for array in weights.values():
        array.flags.writeable = False
    loaded = load_pair("auto", (6,), n_members=1, all_judge=all_judge, weights=weights, device=CPU)
    x = torch.randn(10, 6)
    assert torch.equal(loaded(x), pair(x))
    # To go on with the training, of the predictor alone.
    assert all(weight.requires_grad for weight in loaded.predictor.parameters())
    assert not any(weight.requires_grad for weight in loaded.targets.parameters())


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_convolutions_lie_as_their_device_has_them(layout, monkeypatch):
    """While they are trained, folded, and when they come back."""
    monkeypatch.setattr(skrnd._networks, "convolution_format", lambda device: layout)
    shape = (3, 8, 8)
    predictor, targets = build_networks(
        "auto", shape, n_targets=1, n_members=1, generator=generator()
    )
    # As they would be built on a CPU before they go elsewhere.
    for part in (predictor, targets):
        part.to(memory_format=torch.channels_last)
    pair, _ = train(predictor, targets, [torch.randn(20, *shape)], max_epochs=1)
    weights = {name: value.numpy() for name, value in pair.state_dict().items()}
    loaded = load_pair("auto", shape, n_members=1, all_judge=False, weights=weights, device=CPU)
    for network in (predictor, pair, loaded):
        found = [weight for weight in network.parameters() if weight.ndim == 4]
        assert len(found) > 5
        assert all(weight.is_contiguous(memory_format=layout) for weight in found)
