"""Which precision is chosen: by wish, device and width."""

import pytest
import torch

from models.backbones import precision
from models.backbones.precision import bf16_unit, choose_precision, has_native_bf16
from models.errors import ContractViolation


@pytest.mark.parametrize("wish", ["fp32", "bf16"])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_an_explicit_wish_is_obeyed(wish, width):
    assert choose_precision(wish, "cpu", width) == wish


@pytest.mark.parametrize(
    ("capabilities", "width", "expected"),
    [
        ({"avx512_bf16": True}, 1.0, "bf16"),
        ({"amx_bf16": True, "avx512_bf16": False}, 1.0, "bf16"),
        ({"avx512_f": True, "avx512_bf16": False}, 1.0, "fp32"),
        ({}, 1.0, "fp32"),
        ({"avx512_bf16": True}, 0.25, "fp32"),
    ],
)
def test_auto_takes_bf16_where_it_is_native_and_the_network_wide(
    monkeypatch, capabilities, width, expected
):
    monkeypatch.setattr(precision, "cpu_capabilities", lambda: capabilities)
    assert choose_precision("auto", "cpu", width) == expected


def test_an_older_torch_that_does_not_tell_means_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_native_bf16("cpu")


def test_another_wish_is_refused():
    with pytest.raises(ContractViolation, match="precision"):
        choose_precision("fp8", "cpu")


@pytest.mark.parametrize(
    ("known", "unit"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "amx_bf16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "avx512_bf16"),
        ({"avx512_f": True}, "emulated"),
        ({}, "emulated"),
    ],
)
def test_unit_that_multiplies_bf16_has_a_name(monkeypatch, known, unit):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert bf16_unit() == unit
    assert has_native_bf16("cpu") == (unit != "emulated")
