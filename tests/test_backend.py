"""Device, precision and seeds."""

import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from skrnd import _backend
from skrnd._backend import (
    _limits_of_groups,
    convolution_format,
    global_generator_seeded,
    in_parts,
    is_out_of_memory,
    own_torch_state,
    resolve_device,
    resolve_precision,
    side_by_side,
    total_memory,
    whole_float32,
    widest_float,
)

CPU = torch.device("cpu")


def test_auto_is_the_cpu_without_an_accelerator(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert resolve_device("auto") == torch.device("cpu")


def test_auto_is_the_accelerator_that_torch_finds(monkeypatch):
    """By the number it has for this thread, and others may have another."""
    found, there = torch.device("cuda"), torch.device("cuda", 1)

    def empty(size, *, device):
        assert device == found
        return SimpleNamespace(device=there)

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    monkeypatch.setattr(torch, "empty", empty)
    assert resolve_device("auto") == there
    assert resolve_device(found) == there


def test_auto_takes_no_mps_for_plain_rows(monkeypatch):
    found = torch.device("mps")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    assert resolve_device("auto", plain=True) == CPU
    with pytest.raises(ValueError, match="device='mps' cannot be used here"):
        resolve_device("mps", plain=True)


def test_an_accelerator_that_cannot_be_used_is_refused(monkeypatch):
    """As CUDA in a process forked from one that uses it, of which it says that it is there."""
    found = torch.device("cuda")

    def empty(size, *, device):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess.")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(ValueError, match=r"device='auto' cannot be used here.* Cannot re-init"):
        resolve_device("auto")


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_device_by_name_or_as_such(device):
    assert resolve_device(device) == torch.device("cpu")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ValueError, match=f"device='{device}'.*use 'auto', 'cpu'"):
        resolve_device(device)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_by_name(precision):
    assert resolve_precision(precision, torch.device("cpu")) == getattr(torch, precision)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_precision_follows_the_processor(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)]
)
def test_auto_precision_follows_the_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device("cuda")) == expected


def test_auto_precision_elsewhere_is_float32():
    assert resolve_precision("auto", torch.device("mps")) == torch.float32


def test_total_memory(monkeypatch):
    assert total_memory(torch.device("cpu")) > 10**8
    assert total_memory(torch.device("meta")) is None
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 60)
    assert total_memory(torch.device("mps")) == 60
    for kind, n_bytes in ((torch.cuda, 80), (torch.xpu, 70)):
        properties = SimpleNamespace(total_memory=n_bytes)
        monkeypatch.setattr(kind, "get_device_properties", lambda device, told=properties: told)
    assert total_memory(torch.device("cuda")) == 80
    assert total_memory(torch.device("xpu")) == 70


@pytest.mark.parametrize(
    ("line", "file", "base"),
    [
        ("0::/box/inner", "memory.max", ""),
        ("4:memory:/box/inner", "memory.limit_in_bytes", "memory"),
    ],
)
def test_the_limits_of_control_groups_are_known(line, file, base, tmp_path):
    """That of a group holds for those in it too, and what is above the root is none."""
    membership, root = tmp_path / "cgroup", tmp_path / "root"
    # A name of a group need not be text.
    membership.write_bytes(f"8:cpu:/other\n{line}\n1:misc:/".encode() + b"\xff\n")
    assert list(_limits_of_groups(membership, root)) == []
    (root / base / "box" / "inner").mkdir(parents=True)
    (root / base / "box" / file).write_text("5000\n")
    (root / base / "box" / "inner" / file).write_text("max\n")
    (tmp_path / file).write_text("1")
    assert list(_limits_of_groups(membership, root)) == [5000]
    (root / base / "box" / "inner" / file).write_text("4000")
    assert list(_limits_of_groups(membership, root)) == [4000, 5000]
    assert list(_limits_of_groups(tmp_path / "missing", root)) == []


def test_widest_float():
    assert widest_float(torch.device("cpu")) == torch.float64
    assert widest_float(torch.device("mps")) == torch.float32


@pytest.mark.parametrize("has_fp64", [False, True])
def test_some_gpus_of_intel_have_no_doubles(monkeypatch, has_fp64):
    properties = SimpleNamespace(has_fp64=has_fp64)
    monkeypatch.setattr(torch.xpu, "get_device_properties", lambda device: properties)
    expected = torch.float64 if has_fp64 else torch.float32
    assert widest_float(torch.device("xpu")) == expected


def test_channels_come_last_but_on_mps():
    assert convolution_format(CPU) == torch.channels_last
    assert convolution_format(torch.device("cuda")) == torch.channels_last
    assert convolution_format(torch.device("mps")) == torch.contiguous_format


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (RuntimeError("Invalid buffer size: 24.00 GiB"), True),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_what_a_device_says_without_room(error, expected):
    assert is_out_of_memory(error) is expected


def threads_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 50])
def test_parts_are_the_rows_in_their_order(n_rows, monkeypatch, two_threads):
    monkeypatch.setattr(_backend, "_CACHED_VALUES", 6)
    seen = []

    def squared(part, own):
        seen.append((len(part), torch.get_num_threads()))
        return part**2, part.sum(1) + own

    rows = torch.arange(3.0 * n_rows).reshape(n_rows, 3)
    squares, sums = in_parts(squared, rows, rows[:, 0])
    assert torch.equal(squares, rows**2)
    assert torch.equal(sums, rows.sum(1) + rows[:, 0])
    assert sum(n for n, _ in seen) == n_rows
    assert max(n for n, _ in seen) <= 2
    # A few rows are for all cores, too.
    assert len(seen) >= min(n_rows, 2)
    assert {n for _, n in seen} == {1}
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_parts_that_fail_leave_the_threads_as_they_were(monkeypatch, two_threads):
    monkeypatch.setattr(_backend, "_CACHED_VALUES", 3)
    with pytest.raises(RuntimeError, match="eigh"):
        in_parts(torch.linalg.eigh, torch.ones(5, 3))
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_new_threads_begin_with_all_threads_while_others_share_them(two_threads):
    def seen():
        return torch.get_num_threads(), threads_of_a_new_thread()

    assert side_by_side([seen] * 2, torch.device("cpu")) == [(1, 2)] * 2


def test_threads_are_made_once(monkeypatch, two_threads):
    """A thread of the program that begins meanwhile would have too few of torch's for good."""
    seen = {threading.get_ident()}
    side_by_side([threading.get_ident] * 2, CPU)
    changes = []
    monkeypatch.setattr(torch, "set_num_threads", changes.append)
    for _ in range(20):
        seen |= set(side_by_side([threading.get_ident] * 2, CPU))
    assert len(seen) <= 3
    assert changes == []


@pytest.fixture
def no_threads_yet(monkeypatch):
    monkeypatch.setattr(_backend._shared, "idle_pools", {})


def test_without_further_threads_one_follows_upon_the_other(
    monkeypatch, no_threads_yet, two_threads
):
    start, n_started = threading.Thread.start, iter((0, 1))

    def start_one(self):
        if next(n_started) == 1:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    assert side_by_side([torch.get_num_threads] * 3, torch.device("cpu")) == [2] * 3
    monkeypatch.undo()
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_side_by_side_when_the_interpreter_ends():
    code = """
    import atexit, torch
    from skrnd._backend import side_by_side
    torch.set_num_threads(2)
    atexit.register(lambda: print(side_by_side([lambda: 1, lambda: 2], torch.device("cpu"))))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[1, 2]\n"


def test_many_side_by_side_leave_the_number_of_threads(two_threads):
    def seen(_):
        torch.set_num_threads(2)
        return side_by_side([torch.get_num_threads] * 2, torch.device("cpu"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(seen, range(100))) == [[1, 1]] * 100
    assert torch.get_num_threads() == threads_of_a_new_thread() == 2


def test_ctrl_c_before_they_have_begun_is_not_logged(
    monkeypatch, no_threads_yet, two_threads, caplog
):
    class Interrupted(threading.Barrier):
        def wait(self, timeout=None):
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(threading, "Barrier", Interrupted)
    called = []
    with pytest.raises(KeyboardInterrupt):
        side_by_side([lambda: called.append(1)] * 3, torch.device("cpu"))
    assert called == []
    assert caplog.messages == []


@pytest.mark.parametrize("fails_first", [True, False])
def test_what_fails_stops_the_others(two_threads, fails_first):
    stop, stopped = threading.Event(), []

    def fail():
        raise KeyboardInterrupt

    calls = [fail, lambda: stopped.append(stop.wait(60))]
    with pytest.raises(KeyboardInterrupt):
        side_by_side(calls if fails_first else calls[::-1], CPU, stop=stop)
    # What had not begun by then never does.
    assert stopped == [True] or (fails_first and stopped == [])
    # Nor does it keep the threads from what comes next.
    assert side_by_side([lambda: 1, lambda: 2], CPU) == [1, 2]


def test_seeded_block_is_repeatable_and_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with global_generator_seeded(3, CPU):
            draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_generator_of_an_accelerator_is_seeded_too_and_left_alone(monkeypatch):
    """Dropout on a GPU draws from the GPU's."""
    there = torch.device("cuda", 1)
    states = {0: 7, 1: 8}
    current = [0]

    @contextmanager
    def device_index(index):
        current.append(index)
        yield
        current.pop()

    module = SimpleNamespace(
        manual_seed=lambda seed: states.update({current[-1]: seed}),
        get_rng_state=lambda device: states[device.index],
        set_rng_state=lambda state, device: states.update({device.index: state}),
    )
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    monkeypatch.setattr(torch.accelerator, "device_index", device_index)
    with global_generator_seeded(3, there):
        assert states == {0: 7, 1: 3}
    assert states == {0: 7, 1: 8}


def test_ctrl_c_stops_what_runs_side_by_side(two_threads):
    stop, begun, stopped = threading.Event(), threading.Event(), []
    # Python's own handler, which a process that runs in the background does not have.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work():
        begun.set()
        stopped.append(stop.wait(30))

    def press():
        begun.wait()
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=press).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            side_by_side([work, work], CPU, stop=stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped == [True, True]


def test_a_second_ctrl_c_waits_for_what_is_at_work(two_threads):
    """Nobody else is to have what that still uses."""
    begun, finished = threading.Event(), []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def work():
        begun.set()
        time.sleep(1)
        finished.append(1)

    def press():
        begun.wait()
        for _ in range(3):
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            side_by_side([work, work], CPU)
        assert finished == [1, 1]
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)


def test_no_wait_for_others_is_without_a_limit(two_threads, monkeypatch):
    """On Windows, Ctrl-C ends none before it is over."""

    def spy(*args):
        limits.append(args[1])
        return wait(*args)

    limits, wait = [], _backend.wait
    monkeypatch.setattr(_backend, "wait", spy)
    assert side_by_side([partial(time.sleep, 0.5), int], CPU) == [None, 0]
    assert len(limits) > 1
    assert all(0 < limit < 1 for limit in limits)


def test_seeded_blocks_of_two_threads_do_not_mix():
    def draw():
        for _ in range(200):
            with global_generator_seeded(3, CPU):
                draws.append([torch.rand(()).item() for _ in range(5)])

    draws = []
    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(draws) == 800
    assert all(drawn == draws[0] for drawn in draws)


@pytest.mark.parametrize("setting", ["default", "high", "newer names"])
def test_cuda_uses_all_digits_and_the_caller_finds_what_was_set(setting):
    """Whether by torch's older names or by its newer ones."""
    conv, matmul = torch.backends.cudnn.conv, torch.backends.cuda.matmul

    def precisions():
        return conv.fp32_precision, matmul.fp32_precision

    at_first = precisions()
    if setting == "high":
        torch.set_float32_matmul_precision("high")
    if setting == "newer names":
        matmul.fp32_precision = "tf32"
    before = precisions()
    try:
        with whole_float32(torch.device("cuda")):
            assert precisions() == ("ieee", "ieee")
        assert precisions() == before
        with pytest.raises(KeyError), whole_float32(torch.device("cuda")):
            raise KeyError
        assert precisions() == before
        if setting != "newer names":
            assert torch.backends.cudnn.allow_tf32
            assert torch.get_float32_matmul_precision() == {"default": "highest"}.get(
                setting, setting
            )
        with whole_float32(CPU):
            assert precisions() == before
    finally:
        torch.set_float32_matmul_precision("highest")
        conv.fp32_precision, matmul.fp32_precision = at_first


def test_own_state_holds_inside_and_the_callers_comes_back():
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        with own_torch_state():
            weight = torch.ones(2, 2, requires_grad=True)
            product = weight @ weight
            assert product.dtype == torch.float32
            product.sum().backward()
            assert weight.grad.device.type == "cpu"
        assert torch.empty(0).device.type == "meta"
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc")
def test_freed_memory_is_taken_again():
    """Of the pages that a layer touches, next to none is new to the process."""
    script = """
        import resource
        import torch
        from skrnd._backend import own_torch_state

        def layers():
            return [torch.empty(2**20).fill_(1) for _ in range(8)]

        def n_new_pages():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(10):
                layers()
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        with own_torch_state():
            layers()
            print(n_new_pages() * resource.getpagesize())
    """
    # Whoever sets glibc's thresholds by such variables keeps them.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    n_touched = 10 * 8 * 4 * 2**20
    assert int(done.stdout) < n_touched / 10
