"""Device, precision and seeds."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

import skrnd._backend
from skrnd._backend import (
    _limits_of_groups,
    convolution_format,
    global_generator_seeded,
    is_out_of_memory,
    resolve_device,
    resolve_precision,
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


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "hpu", "meta", ""])
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


def test_auto_precision_of_plain_rows_is_float32(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve_precision("auto", CPU) == torch.bfloat16
    assert resolve_precision("auto", CPU, plain=True) == torch.float32
    assert resolve_precision("bfloat16", CPU, plain=True) == torch.bfloat16


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


def test_total_memory_is_what_control_groups_leave(monkeypatch):
    whole = total_memory(CPU)
    for limits, expected in (([3000, 2000], 2000), ([2**62], whole), ([], whole)):
        monkeypatch.setattr(skrnd._backend, "_limits_of_groups", lambda *_, own=limits: iter(own))
        assert total_memory(CPU) == expected


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


def test_threads_take_turns_to_have_all_digits_of_cuda():
    """Or the first to end would take them from the second."""
    matmul, begun, seen = torch.backends.cuda.matmul, threading.Event(), []

    def first():
        with whole_float32(torch.device("cuda")):
            begun.set()
            time.sleep(0.1)

    def second():
        begun.wait()
        with whole_float32(torch.device("cuda")):
            time.sleep(0.2)
            seen.append(matmul.fp32_precision)

    at_first = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        threads = [threading.Thread(target=one) for one in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == ["ieee"]
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = at_first
