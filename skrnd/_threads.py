"""Threads: tasks side by side, and what torch keeps for each thread or for all of them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache, partial
from typing import Any, TypeVar

import torch

_T = TypeVar("_T")
# How long Ctrl-C may go unheard.
_SECONDS_DEAF = 0.2
# Values of a part of the rows, of which the cache of a core holds a few copies.
_CACHED_VALUES = 2**18


class _Shared:
    """What the threads of a process share; a forked process, which has not those, its own."""

    def __init__(self, *, is_forked: bool = False) -> None:
        self.is_forked = is_forked
        # Only what users supply draws from torch's global generator; one at a time,
        # or two fits in two threads would take each other's numbers.
        self.global_generator = threading.Lock()
        # Held while torch's number of threads is lowered, which is what new threads begin with.
        self.number_of_threads = threading.Lock()
        # Held while torch's settings of a GPU are changed, which all threads share.
        self.precision = threading.Lock()
        # Held by the one thread that goes through networks which may keep what they have seen.
        self.networks = threading.Lock()
        # Threads that have nothing to do, by their number and the threads of torch each has.
        self.idle_pools: dict[tuple[int, int], list[ThreadPoolExecutor]] = {}


shared = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(_Shared.__init__, shared, is_forked=True))


def side_by_side(
    calls: Sequence[Callable[[], _T]],
    device: torch.device,
    *,
    small: bool = False,
    stop: threading.Event | None = None,
) -> list[_T]:
    """Call functions at the same time on a CPU, each with its share of torch's threads.

    A second thread helps a small operation little, and a second task a lot. On an
    accelerator, which has one queue, they are called one after the other.

    Parameters
    ----------
    calls : sequence of callables
    device : torch.device
        What they compute on.
    small : bool, default=False
        Whether the operations are so small that one thread is enough for each call.
    stop : Event, default=None
        Set when one of the calls fails, or Ctrl-C is pressed, for the others to look at.
    """
    n_threads = torch.get_num_threads()
    n_workers = max(1, min(n_threads, len(calls)))
    n_each = 1 if small else n_threads // n_workers
    if device.type != "cpu" or n_each == n_threads:
        return [call() for call in calls]

    def shielded(call: Callable[[], _T]) -> _T:
        try:
            with own_torch_state():
                return call()
        except BaseException:
            if stop is not None:
                stop.set()
            raise

    with _pool(n_workers, n_each) as pool:
        futures = [_submitted(pool, partial(shielded, call)) for call in calls]
        try:
            unfinished = set(futures)
            while unfinished:
                # Up to Python 3.13, Ctrl-C does not end a wait without a limit on Windows.
                finished, unfinished = wait(unfinished, _SECONDS_DEAF, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
            return [future.result() for future in futures]
        except BaseException:
            if stop is not None:
                stop.set()
            for future in futures:
                future.cancel()
            # A second signal comes too early for what is at work still.
            while not all(future.done() for future in futures):
                with suppress(BaseException):
                    wait(futures)
            raise


@contextmanager
def _pool(n_workers: int, n_each: int) -> Iterator[ThreadPoolExecutor | None]:
    """Threads that nobody else uses meanwhile, each with so many of torch's; None without any.

    They are kept for the next call, as many pools as were ever used at once: to make one
    lowers, for a moment, the number of threads that all new ones of the program begin with.
    """
    with shared.number_of_threads:
        idle = shared.idle_pools.setdefault((n_workers, n_each), [])
        pool = idle.pop() if idle else _new_pool(n_workers, n_each)
    try:
        yield pool
    finally:
        if pool is not None:
            idle.append(pool)


def _new_pool(n_workers: int, n_each: int) -> ThreadPoolExecutor | None:
    n_threads = torch.get_num_threads()
    begun = threading.Barrier(n_workers + 1)

    def begin() -> None:
        # Asked once, torch does not set what is right for a new thread any more.
        torch.get_num_threads()
        torch.set_num_threads(n_each)
        # The pool logs what is raised here, as critical.
        with suppress(threading.BrokenBarrierError):
            begun.wait()

    pool = ThreadPoolExecutor(n_workers, "skrnd", initializer=begin)
    try:
        for _ in range(n_workers):
            pool.submit(int)
        begun.wait()
    except BaseException as error:
        begun.abort()
        pool.shutdown()
        # There may be no further threads, as when the interpreter comes to its end.
        if isinstance(error, RuntimeError):
            return None
        raise
    finally:
        # It is a property of each thread; what is set last is what new ones begin with.
        torch.set_num_threads(n_threads)
    return pool


def _submitted(pool: ThreadPoolExecutor | None, call: Callable[[], _T]) -> Future[_T]:
    """What a pool will make of a call, or this thread, now, if there is no pool any more."""
    if pool is not None:
        # The interpreter comes to its end, which takes the pools first.
        with suppress(RuntimeError):
            return pool.submit(call)
    future: Future[_T] = Future()
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)
    return future


def in_parts(
    function: Callable[..., tuple[torch.Tensor, ...]], *stacks: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Apply a function of single rows part by part, and on a CPU by all its cores.

    For what torch computes row by row on one core, as LAPACK on small matrices. A
    part of the first stack fits into the cache of a core.
    """
    first = stacks[0]
    if first.device.type != "cpu":
        return function(*stacks)
    n_rows = max(1, _CACHED_VALUES // max(1, first[:1].numel()))
    # A few rows are for all cores too, each on one: LAPACK takes longer on several.
    n_rows = min(n_rows, max(1, math.ceil(len(first) / torch.get_num_threads())))
    parts = zip(*(stack.split(n_rows) for stack in stacks), strict=True)
    made = side_by_side([partial(function, *part) for part in parts], first.device, small=True)
    return tuple(map(torch.cat, zip(*made, strict=True)))


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Shield a block from what a caller may have set for the current thread.

    Whoever fits or scores in inference mode, without gradients, inside autocast
    or with another default device gets the same result.
    """
    # A new thread asks but once how many of torch's it has: not while they are lowered.
    with shared.number_of_threads:
        torch.get_num_threads()
    _keep_freed_memory()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        _cpu_by_default(),
        torch.autocast("cpu", enabled=False),
        _one_thread_if_forked(),
    ):
        yield


def _cpu_by_default() -> AbstractContextManager[Any]:
    """Let new tensors be on the CPU.

    A default device, even this one, costs a little in every call of torch: that of one
    picture takes a fifth longer.
    """
    return nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep the memory of one layer for the next, some tens of megabytes.

    glibc gives larger blocks back to the system, which hands them out again zeroed and
    page by page: that can take longer than the layer. Which blocks are large it learns from
    those that are freed, up to 32 MB.
    """
    torch.empty(2**25 - 2**13, dtype=torch.uint8, device="cpu")


@contextmanager
def _one_thread_if_forked() -> Iterator[None]:
    """Keep to one thread in a forked process.

    The threads of OpenMP are not forked with the process that started them, and GNU's
    waits for them for ever.
    """
    if not shared.is_forked:
        yield
        return
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def one_thread_at_a_time() -> Iterator[None]:
    """Let the other threads of this process wait for the block."""
    with shared.networks:
        yield
