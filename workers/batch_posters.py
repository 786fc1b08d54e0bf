"""A few moments of each video, drawn while it is open anyway, for the contact sheet.

They are extras: whatever goes wrong with them costs a row of pictures and nothing else.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from models.atomic import write_bytes_atomic
from models.decode import VideoSource
from models.errors import PipelineError
from models.plots.posters import NUM_MOMENTS, moments_of
from models.plots.primitives import Strip
from models.thumbnails import draw_thumbnails

NAME = re.compile(r"(?P<sha256>[0-9a-f]{64})\.(?P<count>\d+)x(?P<width>\d+)x(?P<height>\d+)\.jpg")


def draw_posters(source: VideoSource, folder: Path) -> None:
    """Keep moments of an open video in a folder, under its hash."""
    try:
        drawn = draw_thumbnails(source, NUM_MOMENTS)
        shape = (drawn.tile_width_px, drawn.tile_height_px, drawn.columns, drawn.seconds)
        strip = moments_of(Strip(drawn.jpeg, *shape))
        size = f"{len(strip.seconds)}x{strip.tile_width_px}x{strip.tile_height_px}"
        write_bytes_atomic(folder / f"{source.facts.sha256}.{size}.jpg", strip.jpeg)
    except (PipelineError, OSError):
        return


def find_posters(folder: Path) -> Mapping[str, Path]:
    """Return hash of a video -> the file of its moments, of all there are."""
    if not folder.is_dir():
        return {}
    found = ((NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return {match["sha256"]: path for match, path in found if match is not None}


def read_posters(path: Path) -> Strip | None:
    """Return a row of moments; None if it cannot be read."""
    match = NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        jpeg = path.read_bytes()
    except OSError:
        return None
    count = int(match["count"])
    # At which second each was on screen is not kept: a sheet does not say it.
    seconds = tuple(float(at) for at in range(count))
    return Strip(jpeg, int(match["width"]), int(match["height"]), count, seconds)
