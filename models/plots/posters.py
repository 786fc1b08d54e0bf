"""A few moments of a video in one small JPEG, cut from its thumbnail strip. Needs Pillow."""

import io

import numpy as np
from PIL import Image

from models.plots.primitives import Strip

NUM_MOMENTS = 8
MAX_MOMENT_PX = (120, 68)
JPEG_QUALITY = 68


def moments_of(strip: Strip, count: int = NUM_MOMENTS) -> Strip:
    """Return up to ``count`` tiles of a strip, spread evenly, in one row and smaller.

    About 15 kB, so that a page of hundreds stays one that is sent by mail.

    Raises:
        OSError: the strip is no picture.
    """
    kept = np.unique(np.linspace(0, len(strip.seconds) - 1, count).round().astype(int)).tolist()
    width, height = strip.tile_width_px, strip.tile_height_px
    factor = min(1.0, MAX_MOMENT_PX[0] / width, MAX_MOMENT_PX[1] / height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    row = Image.new("RGB", (len(kept) * size[0], size[1]))
    with Image.open(io.BytesIO(strip.jpeg), formats=("JPEG",)) as whole:
        for place, index in enumerate(kept):
            left, top = strip.corner(index)
            box = (left, top, left + width, top + height)
            row.paste(whole.resize(size, Image.Resampling.BILINEAR, box), (place * size[0], 0))
    buffer = io.BytesIO()
    row.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    seconds = tuple(strip.seconds[index] for index in kept)
    return Strip(buffer.getvalue(), *size, len(kept), seconds)
