"""What torch runs on: device, precision, seeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ._threads import shared


def resolve_device(device: str | torch.device, *, plain: bool = False) -> torch.device:
    """Turn the parameter `device` into a torch device that is there.

    Parameters
    ----------
    device : "auto", str or torch.device
        "auto" takes the accelerator that torch finds (CUDA, MPS, XPU), or else
        the CPU.
    plain : bool, default=False
        Whether the rows are no images. "auto" does not take MPS for these.

    Raises
    ------
    ValueError
        If torch does not know the device or cannot use it here.
    """
    wanted = device
    if isinstance(device, str) and device == "auto":
        wanted = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        # On some chips it gets batched products of 32,767 features and more wrong, without a
        # word, and networks as small as those of plain rows gain nothing from it.
        if plain and wanted.type == "mps":
            wanted = torch.device("cpu")
    try:
        # Told by its number: which one "cuda" is depends on the thread that asks.
        resolved = torch.empty(0, device=wanted).device
    # torch raises AssertionError for a backend it was not compiled with, and looks for the
    # modules of some others.
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here; "
            f"use 'auto', 'cpu' or a device torch finds. torch says: {error}"
        ) from error
    if resolved.type == "meta":
        raise ValueError("device='meta' holds no values; use 'auto', 'cpu' or an accelerator.")
    return resolved


def resolve_precision(precision: str, device: torch.device, *, plain: bool = False) -> torch.dtype:
    """Turn the parameter `precision` into the dtype that training computes in.

    "auto" takes bfloat16 where the hardware multiplies it natively (CPUs with
    AVX512-BF16 or AMX, CUDA from compute capability 8.0), or else float32, and
    float32 for plain rows.
    """
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if plain:
        # Its matrix products are too small to gain from bfloat16.
        return torch.float32
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        native = bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    else:
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if native else torch.float32


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on what has no wider type: MPS and some of Intel's GPUs."""
    if device.type == "xpu":
        has_double = torch.xpu.get_device_properties(device).has_fp64
    else:
        has_double = device.type != "mps"
    return torch.float64 if has_double else torch.float32


def convolution_format(device: torch.device) -> torch.memory_format:
    """How the weights of convolutions lie in memory where they are fast, and right."""
    # What channels that come last become in batch normalisation on MPS, torch cannot
    # differentiate, or does wrongly.
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device has no room for what was asked of it, which MPS says in words only."""
    said_by_mps = ("MPS backend out of memory", "Invalid buffer size")
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in said_by_mps
    )


def total_memory(device: torch.device) -> int | None:
    """Bytes of all the memory of a device, used or not; None where that is not told."""
    if device.type in ("cuda", "xpu"):
        return torch.get_device_module(device).get_device_properties(device).total_memory
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    if device.type == "cpu" and hasattr(os, "sysconf"):
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min([n_bytes, *_limits_of_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])
    return None


def _limits_of_groups(membership: Path, root: Path) -> Iterator[int]:
    """Bytes that Linux's control groups, as those of containers, leave to this process.

    Parameters
    ----------
    membership : Path
        Names the group of the process, in a line such as "0::/docker/one".
    root : Path
        Where the groups are found, each in the folder of the one that it belongs to.
    """
    try:
        # The names of groups are bytes, as all names of files are.
        lines = os.fsdecode(membership.read_bytes()).splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Version 2 has one hierarchy, version 1 one for memory.
        if controllers not in ("", "memory"):
            continue
        base = root / controllers
        group = base / path.lstrip("/")
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        for folder in (group, *group.parents):
            if not folder.is_relative_to(base):
                break
            try:
                yield int((folder / file).read_bytes())
            # There is no such file, or no limit in it.
            except (OSError, ValueError):
                continue


@contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """Let CUDA use all digits of float32 for the block.

    By default its convolutions leave out half of them (TF32), and then what a row is scored
    depends on how many rows there are.
    """
    if device.type != "cuda":
        yield
        return
    # torch's annotations know nothing of what these are.
    backends: Any = torch.backends
    with shared.precision:
        # What is set once does not follow torch's common setting any more.
        kinds = [
            kind
            for kind in (backends.cudnn.conv, backends.cuda.matmul)
            if kind.fp32_precision != "ieee"
        ]
        before = [kind.fp32_precision for kind in kinds]
        try:
            for kind in kinds:
                kind.fp32_precision = "ieee"
            yield
        finally:
            for kind, precision in zip(kinds, before, strict=True):
                kind.fp32_precision = precision


@contextmanager
def global_generators_kept(device: torch.device) -> Iterator[None]:
    """Let torch's global generators, that of the CPU and that of a device, stay as they are."""
    others = [] if device.type == "cpu" else [device]
    forked = torch.random.fork_rng(devices=others, device_type=device.type)
    with shared.global_generator, forked:
        yield


@contextmanager
def global_generator_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, that of the CPU and that of a device, for the block.

    They are restored afterwards.
    """
    with global_generators_kept(device):
        # Not torch.manual_seed, which would reseed all accelerators.
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            with torch.accelerator.device_index(device.index):
                torch.get_device_module(device).manual_seed(seed)
        yield
