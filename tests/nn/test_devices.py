"""Devices by name."""

import pytest
import torch

from limner.errors import UsageError
from limner.nn.devices import bf16_where_fast, computes_bf16, find_device


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_without_a_gpu_auto_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(
        UsageError, match="device is 'cuda', and the number of GPUs that torch finds is 0"
    ):
        find_device("cuda")


def test_with_gpus_auto_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 2)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda", 0)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(
        UsageError, match="device is 'cuda:2', and the number of GPUs that torch finds is 2"
    ):
        find_device("cuda:2")


@pytest.mark.parametrize(
    "name",
    ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:٣", "cpu:0", "auto:1", "cuda:1:1"],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        find_device(name)


def test_a_mistyped_name_is_told_the_right_one() -> None:
    for name in ("cude", "gpu"):
        with pytest.raises(UsageError, match="did you mean 'cuda'"):
            find_device(name)


def test_bf16_is_where_the_processor_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, cpu = torch.nn.Linear(2, 2), torch.ones(1, 2), torch.device("cpu")
    for found in ({"avx512_bf16": True}, {"avx512_bf16": False, "bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", found.copy)
        assert computes_bf16("cpu") and computes_bf16("cuda")
        with bf16_where_fast(cpu):
            assert model(x).dtype == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert not computes_bf16("cpu") and computes_bf16("cuda")
    with bf16_where_fast(cpu):
        assert model(x).dtype == torch.float32
