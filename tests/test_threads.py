"""Tasks side by side, and what torch keeps for each thread."""

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

import pytest
import torch

from skrnd import _threads
from skrnd._threads import in_parts, own_torch_state, side_by_side

CPU = torch.device("cpu")


def threads_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 50])
def test_parts_are_the_rows_in_their_order(n_rows, monkeypatch, two_threads):
    monkeypatch.setattr(_threads, "_CACHED_VALUES", 6)
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
    monkeypatch.setattr(_threads, "_CACHED_VALUES", 3)
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


def test_threads_outlast_what_fails(monkeypatch, two_threads):
    def fail():
        raise ZeroDivisionError

    side_by_side([int] * 2, CPU)
    changes = []
    monkeypatch.setattr(torch, "set_num_threads", changes.append)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            side_by_side([fail] * 2, CPU)
    assert changes == []


def test_threads_are_those_that_have_the_share_of_the_call(two_threads):
    """Of as many threads, small operations ask for one of torch's, and others for more."""
    torch.set_num_threads(4)
    for _ in range(2):
        assert side_by_side([torch.get_num_threads] * 2, CPU) == [2, 2]
        assert side_by_side([torch.get_num_threads] * 2, CPU, small=True) == [1, 1]


@pytest.fixture
def no_threads_yet(monkeypatch):
    monkeypatch.setattr(_threads.shared, "idle_pools", {})


def test_a_thread_that_begins_while_others_are_made_has_all_of_torchs(
    monkeypatch, no_threads_yet, two_threads
):
    set_num_threads, lowered, found = torch.set_num_threads, threading.Event(), []

    def set_slowly(number):
        set_num_threads(number)
        lowered.set()
        time.sleep(0.2)

    def begin():
        lowered.wait()
        with own_torch_state():
            found.append(torch.get_num_threads())

    other = threading.Thread(target=begin)
    other.start()
    monkeypatch.setattr(torch, "set_num_threads", set_slowly)
    side_by_side([int] * 2, CPU)
    other.join()
    assert found == [2]


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
    from skrnd._threads import side_by_side
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


def test_what_has_not_begun_when_one_fails_never_does(two_threads):
    begun = []

    def fail():
        raise KeyboardInterrupt

    def work():
        begun.append(1)
        time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt):
        side_by_side([fail, *[work] * 50], CPU)
    assert len(begun) < 25


@contextmanager
def ctrl_c_after(begun, *, n_times=1):
    """Press Ctrl-C a tenth of a second after an event, and again after each further one."""

    def press():
        begun.wait()
        for _ in range(n_times):
            time.sleep(0.1)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    # Python's own handler, which a process that runs in the background does not have.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressing = threading.Thread(target=press)
    pressing.start()
    try:
        yield
    finally:
        pressing.join()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_what_runs_side_by_side(two_threads):
    stop, begun, stopped = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        stopped.append(stop.wait(30))

    with ctrl_c_after(begun), pytest.raises(KeyboardInterrupt):
        side_by_side([work, work], CPU, stop=stop)
    assert stopped == [True, True]


def test_a_second_ctrl_c_waits_for_what_is_at_work(two_threads):
    """Nobody else is to have what that still uses."""
    begun, finished = threading.Event(), []

    def work():
        begun.set()
        time.sleep(1)
        finished.append(1)

    with ctrl_c_after(begun, n_times=3):
        with pytest.raises(KeyboardInterrupt):
            side_by_side([work, work], CPU)
        assert finished == [1, 1]


def test_no_wait_for_others_is_without_a_limit(two_threads, monkeypatch):
    """On Windows, Ctrl-C ends none before it is over."""

    def spy(*args):
        limits.append(args[1])
        return wait(*args)

    limits, wait = [], _threads.wait
    monkeypatch.setattr(_threads, "wait", spy)
    assert side_by_side([partial(time.sleep, 0.5), int], CPU) == [None, 0]
    assert len(limits) > 1
    assert all(0 < limit < 1 for limit in limits)


def test_own_state_holds_inside_and_the_callers_comes_back():
    with (
        torch.no_grad(),
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
        torch.device("meta"),
    ):
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
        from skrnd._threads import own_torch_state

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
