"""A few small pictures of a video, evenly in time: for showing, not for computing.

Runs only in the decode child. A video that is cheap to decode is decoded once from end to end and
shown exactly; of a long one only key frames are decoded, which takes seconds however long it is.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter

from models.decode_frames import Orientation, Picture, PictureStream
from models.decode_media import CODEC_ERRORS, Medium, is_out_of_memory
from models.types import ByteArray

CHEAP_PIXELS = 1_000_000_000
"""Decoding so many takes a few seconds on one core: three minutes of 640x360 at 25 fps."""


class Tile(NamedTuple):
    """A small picture and the number of its frame in presentation order."""

    rank: int
    rgb: ByteArray


def tile_size(displayed: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of a picture fitted into a box; it is never enlarged."""
    scale = min(1.0, *(most / side for most, side in zip(box, displayed, strict=True)))
    width, height = (max(1, round(side * scale)) for side in displayed)
    return width, height


def draw_tiles(
    medium: Medium, size: tuple[int, int], count: int, beat: Callable[[], None]
) -> Iterator[Tile]:
    """Yield at most ``count`` tiles in order of time, none of them twice.

    Args:
        medium: the scanned file.
        size: (width, height) of a tile, as displayed.
        count: at least 1.
        beat: called often, so that the parent sees progress.
    """
    wanted = _wanted_ranks(medium, count)
    rescale = VideoReformatter()
    last = -1
    pictures = _decoded if _is_cheap(medium) else _key_pictures
    for picture in pictures(medium, wanted, beat):
        if picture.rank > last:
            last = picture.rank
            yield Tile(picture.rank, _small(picture, size, rescale))


def _wanted_ranks(medium: Medium, count: int) -> list[int]:
    """The frames on screen in the middle of ``count`` equal parts of the video, each once."""
    duration = medium.timeline.duration_seconds
    instants = (np.arange(count, dtype=np.float64) + 0.5) * (duration / count)
    return [int(rank) for rank in np.unique(medium.timeline.ranks_at(instants))]


def _is_cheap(medium: Medium) -> bool:
    container, stream = medium.open()
    with container:
        pixels = (stream.width or 0) * (stream.height or 0)
    return pixels * len(medium.timeline.ticks) <= CHEAP_PIXELS


def _decoded(medium: Medium, wanted: Sequence[int], beat: Callable[[], None]) -> Iterator[Picture]:
    """Decode everything once; yield the picture on screen at each wanted place."""
    stream = PictureStream(medium, beat)
    try:
        current, following = None, stream.next()
        for rank in wanted:
            while following is not None and following.rank <= rank:
                current, following = following, stream.next()
            if current is not None:
                yield current
    finally:
        stream.close()


def _key_pictures(
    medium: Medium, wanted: Sequence[int], beat: Callable[[], None]
) -> Iterator[Picture]:
    """Yield the key frames before the wanted places."""
    keys = _keys_before(medium, wanted)
    stream = PictureStream(medium, beat)
    try:
        while keys and stream.seek(keys[0]):
            keys.pop(0)
            picture = stream.next()
            if picture is not None:
                yield picture
    finally:
        stream.close()
    if keys:
        # A file that cannot be searched is read from the start, but still hardly decoded.
        yield from _keys_in_passing(medium, keys, beat)


def _keys_before(medium: Medium, wanted: Sequence[int]) -> list[int]:
    indices = np.frombuffer(medium.log.key_index, dtype=np.int64)
    ranks = medium.timeline.rank[indices]
    keys: list[int] = []
    for rank in wanted:
        usable = np.flatnonzero((ranks >= 0) & (ranks <= rank))
        if len(usable) and int(usable[-1]) not in keys:
            keys.append(int(usable[-1]))
    return keys


def _keys_in_passing(
    medium: Medium, keys: Sequence[int], beat: Callable[[], None]
) -> Iterator[Picture]:
    """Read all packets, and give the decoder only the wanted key frames, each by itself."""
    places = {int(medium.log.key_index[key]) for key in keys}
    container, stream = medium.open()
    with container:
        index = -1
        for packet in container.demux(stream):
            beat()
            if packet.size == 0:
                continue
            index += 1
            if index not in places:
                continue
            try:
                frames = [*stream.codec_context.decode(packet), *stream.codec_context.decode(None)]
                stream.codec_context.flush_buffers()
            except CODEC_ERRORS as error:
                if is_out_of_memory(error):
                    raise
                continue
            if frames:
                yield Picture(int(medium.timeline.rank[index]), frames[0], frames[0].is_corrupt)


def _small(picture: Picture, size: tuple[int, int], rescale: VideoReformatter) -> ByteArray:
    orientation = Orientation.of(picture.frame)
    width, height = size[::-1] if orientation.transpose else size
    scaled = rescale.reformat(
        picture.frame, width, height, "rgb24", interpolation="AREA", threads=1
    )
    image: ByteArray = scaled.to_ndarray()  # type: ignore[assignment]
    return orientation.apply(image)
