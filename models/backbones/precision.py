"""Which number format the backbones compute in: decided once, by what the hardware has.

bfloat16 halves memory traffic and doubles the matrix rate where the processor multiplies it
natively; where it would be emulated it is slower than fp32 and therefore not chosen. Narrow
networks stay with fp32 too: their features average over fewer channels, so rounding shows.
"""

import torch

from models.errors import ContractViolation

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WISHES = ("auto", *DTYPES)
BF16_UNITS = ("amx_bf16", "avx512_bf16")
EMULATED = "emulated"
# bf16 changes a snippet's features by at most 1 % (relative L2) at the published width, and by up
# to 1.2 % at a quarter of it (docs/performance.md).
SMALLEST_BF16_WIDTH = 1.0


def choose_precision(wanted: str, device: str, width: float = 1.0) -> str:
    """Return ``fp32`` or ``bf16`` for a wish of ``auto``, ``fp32`` or ``bf16``.

    Args:
        wanted: ``auto`` takes bf16 where `has_native_bf16` and the network is wide enough, fp32
            otherwise; the other two are obeyed, also where they are slow.
        device: as torch names it, for instance ``cpu`` or ``cuda:0``.
        width: channel multiplier of the backbone.

    Raises:
        ContractViolation: another wish.
    """
    if wanted not in WISHES:
        message = f"precision must be one of {list(WISHES)}, got {wanted!r}"
        raise ContractViolation(message)
    if wanted != "auto":
        return wanted
    wide = width >= SMALLEST_BF16_WIDTH
    return "bf16" if wide and has_native_bf16(device) else "fp32"


def has_native_bf16(device: str) -> bool:
    """Return whether a device multiplies bfloat16 in hardware.

    On a processor: AVX-512 BF16 or AMX as torch finds them. oneDNN would accept bf16 on any
    AVX-512 machine, but emulates it there.
    """
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bf16_unit() != EMULATED


def bf16_unit() -> str:
    """Return what multiplies bfloat16 on this processor; units add up in orders of their own.

    So two processors with one instruction set may differ in the last digits of their features.
    """
    known = cpu_capabilities()
    # oneDNN takes the first that is there.
    return next((name for name in BF16_UNITS if known.get(name)), EMULATED)


def cpu_capabilities() -> dict[str, object]:
    """Return what torch knows of this processor; empty where this torch does not tell."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    return dict(ask()) if ask is not None else {}
