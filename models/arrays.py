"""Pixel and array arithmetic shared by extraction and training: crops, levels, greyscale.

Frames and flow are stored as 8-bit levels 0..255; networks see float32 in [-1, 1].
"""

import numpy as np

from models.errors import ContractViolation
from models.types import ByteArray, FloatArray

LEVEL_MAX = 255
# Source: ITU-R BT.601 luma of R, G, B, as cv2.cvtColor uses it.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def center_crop(frames: ByteArray, crop_px: int) -> ByteArray:
    """Return the middle [..., crop_px, crop_px, C] of [..., H, W, C], as a view.

    An odd margin leaves the extra row or column behind.

    Raises:
        ContractViolation: a side is shorter than the crop.
    """
    height, width = frames.shape[-3:-1]
    if min(height, width) < crop_px:
        message = f"frames of {width}x{height} px are smaller than the crop of {crop_px} px"
        raise ContractViolation(message)
    top, left = (height - crop_px) // 2, (width - crop_px) // 2
    return frames[..., top : top + crop_px, left : left + crop_px, :]


def scale_levels(levels: ByteArray) -> FloatArray:
    """Map uint8 levels 0..255 to float32 [-1, 1] by 2q / 255 - 1.

    Source: kinetics-i3d README for RGB (x / 127.5 - 1) and for 8-bit flow.
    """
    scaled: FloatArray = levels.astype(np.float32)
    scaled *= np.float32(2 / LEVEL_MAX)
    scaled -= np.float32(1)
    return scaled
