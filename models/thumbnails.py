"""A video as one JPEG of small pictures in a grid, for showing; OpenCV encodes it."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from models.decode import VideoSource
from models.errors import UnreadableVideo

MAX_TILES = 60
MAX_TILE_PX = (160, 90)
"""Width and height that each tile fits into."""
COLUMNS = 10
SECONDS_PER_TILE = 0.5
"""A short video has fewer tiles."""
JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class ThumbnailStrip:
    """Tiles row by row, all of one size; the last row may be filled up with black.

    Attributes:
        jpeg: the encoded picture.
        columns: tiles per row.
        seconds: at which each tile is on screen, rising.
    """

    jpeg: bytes
    tile_width_px: int
    tile_height_px: int
    columns: int
    seconds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what a page needs to cut the picture."""
        return {
            "tile_width": self.tile_width_px,
            "tile_height": self.tile_height_px,
            "columns": self.columns,
            "count": len(self.seconds),
            "seconds": [round(second, 3) for second in self.seconds],
        }


def draw_thumbnails(source: VideoSource, max_tiles: int = MAX_TILES) -> ThumbnailStrip:
    """Draw the strip of an open video, of at most so many tiles.

    Raises:
        UnreadableVideo: not one picture could be decoded.
        ResourceError: the decoder crashed or ran out of memory.
    """
    count = math.ceil(source.facts.duration_seconds / SECONDS_PER_TILE)
    seconds, tiles = source.tiles(max(1, min(max_tiles, count)), MAX_TILE_PX)
    if not len(seconds):
        message = "No picture of the video could be decoded for its thumbnails."
        raise UnreadableVideo(message)
    _, height, width, _ = tiles.shape
    columns = min(COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    strip = np.zeros((rows * height, columns * width, 3), np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        strip[row * height :, column * width :][:height, :width] = tile[..., ::-1]  # RGB to BGR
    _, encoded = cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return ThumbnailStrip(encoded.tobytes(), width, height, columns, tuple(seconds.tolist()))
