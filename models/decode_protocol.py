"""What the decoding parent and its child say to each other: framed JSON and sealed memory.

Messages are a 4-byte length and a JSON object over a socket pair; pictures lie in one shared,
size-sealed memory file. Never pickle: what the child says is checked like any stranger's input.
Standard library only, since both sides import it before anything heavy.
"""

import json
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 1 << 20
# A read answers at most this many bytes of pictures at once (but always one whole picture).
BATCH_BYTES = 8 << 20
BYTES_PER_PIXEL = 3  # RGB24
OUT_OF_MEMORY_EXIT = 77
BYTES_PER_TICK = 8  # int64, in the memory that else holds pictures


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one stranger's file may cost.

    Attributes:
        max_pixels: width times height of a picture, as stored and as resized; above 8K UHD.
        max_duration_seconds: declared or counted.
        max_frames: declared or counted packets of the video stream; a day at 60 per second.
        max_streams: of all kinds.
        open_timeout_seconds: until the container's header has been understood.
        stall_timeout_seconds: longest silence of the child while it reads or decodes.
        memory_bytes: address space of the child.
        cpu_seconds_base, cpu_seconds_per_video_second: processor time of the child.
        max_open_files: file descriptors of the child.

    Source: reliability notes B1 and B4; 8K UHD is 7680x4320.
    """

    max_pixels: int = 36_000_000
    max_duration_seconds: float = 86_400.0 + 600.0
    max_frames: int = 5_200_000
    max_streams: int = 32
    open_timeout_seconds: float = 60.0
    stall_timeout_seconds: float = 60.0
    memory_bytes: int = 4 << 30
    cpu_seconds_base: float = 300.0
    cpu_seconds_per_video_second: float = 30.0
    max_open_files: int = 32


class ChannelClosed(Exception):
    """The other side is gone."""


def send_message(channel: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one JSON object.

    Raises:
        ChannelClosed: the other side is gone.
    """
    body = json.dumps(message, allow_nan=False).encode()
    try:
        channel.sendall(LENGTH.pack(len(body)) + body)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed from error


def receive_message(channel: socket.socket) -> dict[str, Any]:
    """Receive one JSON object.

    Raises:
        ChannelClosed: the other side is gone, or did not speak this protocol.
        TimeoutError: the channel has a timeout and nothing came in time.
    """
    (length,) = LENGTH.unpack(_receive_exactly(channel, LENGTH.size))
    if length > MAX_MESSAGE_BYTES:
        message = f"a message of {length} bytes"
        raise ChannelClosed(message)
    try:
        document = json.loads(_receive_exactly(channel, length))
    except ValueError as error:
        raise ChannelClosed from error
    if not isinstance(document, dict):
        message = "a message that is no object"
        raise ChannelClosed(message)
    return document


def _receive_exactly(channel: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        try:
            part = channel.recv(count - len(parts))
        except ConnectionResetError as error:
            raise ChannelClosed from error
        if not part:
            raise ChannelClosed
        parts += part
    return bytes(parts)


def batch_frames(height_px: int, width_px: int) -> int:
    """Return how many pictures of this size one answer carries, at least 1."""
    return max(1, BATCH_BYTES // (height_px * width_px * BYTES_PER_PIXEL))


class DescriptorFile:
    """A seekable read-only file over a descriptor that others read too (no shared position).

    It deliberately has no telling ``name``: FFmpeg takes format hints and sub-resources from it.
    """

    name = "input"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        """Read up to ``count`` bytes from the position."""
        if count < 0:
            count = max(0, self._size - self._position)
        block = os.pread(self._descriptor, count, self._position)
        self._position += len(block)
        return block

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            message = "cannot seek before the start of the file"
            raise OSError(message)
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position
