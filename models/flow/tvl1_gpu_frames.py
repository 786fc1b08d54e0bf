"""What stands before and behind TV-L1 on the device: grey frames in, 8-bit flow levels out.

Both give the very integers that the host's functions give.
"""

import torch
from torch import Tensor

from models.errors import ContractViolation
from models.flow.tvl1 import LARGEST_LEVEL

# Weights of R, G and B in units of 2^-15. Source: OpenCV imgproc, color.simd_helpers.hpp.
GREY_WEIGHTS = (9798, 19235, 3735)
GREY_SHIFT = 15


def grey_from_rgb(rgb: Tensor) -> Tensor:
    """Return uint8[F, H, W], the integers of OpenCV's RGB2GRAY, of uint8[F, H, W, 3].

    Raises:
        ContractViolation: the tensor is no RGB bytes.
    """
    if rgb.dtype != torch.uint8 or rgb.ndim == 0 or rgb.shape[-1] != len(GREY_WEIGHTS):
        message = f"Grey is made of uint8[F, H, W, 3], got {rgb.dtype} {tuple(rgb.shape)}."
        raise ContractViolation(message)
    total = torch.full(rgb.shape[:-1], 1 << (GREY_SHIFT - 1), dtype=torch.int32, device=rgb.device)
    for channel, weight in enumerate(GREY_WEIGHTS):
        total.add_(rgb[..., channel].to(torch.int32), alpha=weight)
    return total.bitwise_right_shift_(GREY_SHIFT).to(torch.uint8)


def quantize_tensor(flow: Tensor, clip_px: float) -> Tensor:
    """Map flow to levels on its device; see `models.flow.tvl1.quantize_flow`.

    Raises:
        ContractViolation: `clip_px` is not positive, or the flow holds a value that is no number.
    """
    if not clip_px > 0:
        raise ContractViolation(f"clip_px must be positive, got {clip_px}.")
    clipped = flow.to(torch.float32).clamp(-clip_px, clip_px)
    if bool(clipped.isnan().any()):
        raise ContractViolation("The flow holds a value that is no number.")
    scaled = clipped.mul_(LARGEST_LEVEL / (2 * clip_px)).add_(LARGEST_LEVEL / 2 + 0.5)
    return scaled.floor_().to(torch.uint8)
