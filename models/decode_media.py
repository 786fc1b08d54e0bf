"""Opening a stranger's file with FFmpeg inside the decode child, and scanning its packets.

Runs only in the child. Every list and limit that FFmpeg knows is set here, in one place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

import av
import av.error
import av.logging
import numpy as np

from models.decode_formats import (
    CODECS,
    CODECS_FOR_PEOPLE,
    DISCONTINUOUS_FORMATS,
    FORMATS,
    FORMATS_FOR_PEOPLE,
    ORDERLESS_AVI_CODECS,
    SNIFF_BYTES,
    never_shown,
    sniff,
)
from models.decode_protocol import DecodeLimits, DescriptorFile
from models.decode_timeline import PacketLog, Timeline, build_timeline

if TYPE_CHECKING:
    from av.container.input import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

PROBE_PIXELS_FACTOR = 8
IO_BUFFER_BYTES = 1 << 16
# Read errors in a row, without a packet between them, before the rest counts as lost.
MAX_READ_ERRORS = 32
AVI_CHUNK_HEADER_BYTES = 8
MICROSECOND = Fraction(1, 1_000_000)
# Streams of a whole file end together; a declared end this far behind them was cut off.
TRUNCATION_SECONDS = 0.2
TRUNCATION_SHARE = 0.02
CODEC_ERRORS = (av.error.FFmpegError, ValueError, OSError)


class Refusal(Exception):
    """The file cannot be used; carries the code and the sentence for the user."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether FFmpeg or Python ran out of memory."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == 12  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Medium:
    """A file that has been opened once, scanned, and can be opened again at will.

    Attributes:
        timeline: of the chosen stream.
        log: its packets; only the key frame columns are used after the scan.
        notes: (code, sentence, seconds or None) to warn of.
    """

    descriptor: int
    limits: DecodeLimits
    stream_index: int
    container_name: str
    codec: str
    timeline: Timeline
    log: PacketLog
    notes: tuple[tuple[str, str, float | None], ...]

    def open(self) -> tuple["InputContainer", "VideoStream"]:
        """Open the file afresh, positioned at its first packet."""
        container = open_container(self.descriptor, self.limits)
        stream = container.streams[self.stream_index]
        prepare_codec(stream, self.limits)  # type: ignore[arg-type]
        return container, stream  # type: ignore[return-value]


def _refuse_sub_resource(*_: object) -> NoReturn:
    message = "a video may not refer to other files"
    raise PermissionError(message)


def open_container(descriptor: int, limits: DecodeLimits) -> "InputContainer":
    """Open with the allow-lists set for the container and, through it, for probing.

    Source: reliability notes §0.6 and §0.7 (which option binds where).
    """
    av.logging.set_level(None)
    return av.open(
        DescriptorFile(descriptor),
        "r",
        options={
            "format_whitelist": ",".join(FORMATS),
            "codec_whitelist": ",".join(CODECS),
            "protocol_whitelist": "none",
            # Generous while probing, so that a picture too large can be refused by its size.
            "max_pixels": str(PROBE_PIXELS_FACTOR * limits.max_pixels),
            "max_streams": str(limits.max_streams),
        },
        metadata_errors="replace",
        buffer_size=IO_BUFFER_BYTES,
        io_open=_refuse_sub_resource,
    )


def prepare_codec(stream: "VideoStream", limits: DecodeLimits) -> None:
    """Set the limits on the codec context itself, where they bind decoding.

    One thread: what a damaged stream looks like must not depend on the number of cores.
    """
    context = stream.codec_context
    context.options = {"codec_whitelist": ",".join(CODECS), "max_pixels": str(limits.max_pixels)}
    context.thread_count = 1


def open_first(descriptor: int, limits: DecodeLimits) -> "InputContainer":
    """Open a file never seen before, or say why not.

    Raises:
        Refusal: empty, no video, or a container that is not on the list.
    """
    file = DescriptorFile(descriptor)
    head = file.read(SNIFF_BYTES)
    if not head:
        raise Refusal("empty_video", "The file is empty (0 bytes); upload it again.")
    looks = sniff(head)
    if looks.refusal == "no_video_stream":
        raise Refusal(looks.refusal, f"The file is {looks.label} and holds no video.")
    if looks.refusal == "container_unsupported":
        raise Refusal(
            looks.refusal,
            f"The file is {looks.label}; containers that can be used are {FORMATS_FOR_PEOPLE}.",
        )
    if looks.refusal is not None:
        raise Refusal(looks.refusal, f"The file is {looks.label}, not a video.")
    try:
        return open_container(descriptor, limits)
    except av.error.InvalidDataError as error:
        raise Refusal("unreadable_video", _unreadable_sentence(looks.label)) from error
    except CODEC_ERRORS as error:
        if is_out_of_memory(error):
            raise
        if looks.label == "unknown bytes":
            raise Refusal(
                "container_unsupported",
                "The file's container is not supported; containers that can be used are "
                f"{FORMATS_FOR_PEOPLE}.",
            ) from error
        raise Refusal("unreadable_video", _unreadable_sentence(looks.label)) from error


def _unreadable_sentence(label: str) -> str:
    if label == "unknown bytes":
        return "The file is no video that can be read; check that it plays elsewhere."
    return (
        f"The file looks like {label} but its structure cannot be read; it is damaged or was "
        "cut off before its index was written."
    )


def choose_streams(container: "InputContainer", limits: DecodeLimits) -> "list[VideoStream]":
    """Return the video streams worth trying, best first: usable codec, default, largest.

    Raises:
        Refusal: none can be used.
    """
    if len(container.streams) > limits.max_streams:
        raise Refusal(
            "too_large",
            f"The file has {len(container.streams)} streams; at most {limits.max_streams} are "
            "allowed.",
        )
    disposition = av.stream.Disposition
    pictures = disposition.attached_pic | disposition.timed_thumbnails | disposition.still_image
    streams = [s for s in container.streams.video if not s.disposition & pictures]
    if not streams:
        raise Refusal("no_video_stream", "The file has no video stream.")
    usable = [s for s in streams if codec_name(s) in CODECS]
    if not usable:
        raise Refusal(
            "codec_unsupported",
            f"The video's codec is {codec_name(streams[0])}, which is not supported; codecs that "
            f"can be used are {CODECS_FOR_PEOPLE}.",
        )
    return sorted(
        usable,
        key=lambda s: (
            not s.disposition & disposition.default,
            -(s.width or 0) * (s.height or 0),
            s.index,
        ),
    )


def codec_name(stream: "VideoStream") -> str:
    """FFmpeg's name of the stream's decoder; its tag, or ``unknown``, if it has none."""
    context: object = stream.codec_context  # None where FFmpeg knows no decoder
    return "unknown" if context is None else str(stream.codec_context.name)


def packets_of(container: "InputContainer", stop: Callable[[], bool]) -> "Iterator[Packet[Any]]":
    """Yield packets of all streams until the file ends, stepping over read errors.

    Calls ``stop`` when the remaining packets had to be given up.
    """
    errors = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux():
                if packet.size > 0:
                    errors = 0
                    yield packet
        except CODEC_ERRORS as error:
            if is_out_of_memory(error):
                raise
            errors += 1
        else:
            return
    stop()


def scan(descriptor: int, limits: DecodeLimits, beat: Callable[[], None]) -> Medium:
    """Read every packet once, without decoding: the exact timeline, within the limits.

    Raises:
        Refusal: the file cannot be used.
    """
    container = open_first(descriptor, limits)
    name = container.format.name
    with container:
        candidates = choose_streams(container, limits)
        several = len(candidates) > 1
        indices = [stream.index for stream in candidates]
    for index in indices:
        medium = _scan_stream(descriptor, limits, (index, name), beat)
        if medium is not None:
            return _with_note_on_streams(medium) if several else medium
    raise Refusal("empty_video", "The video stream holds no frame.")


def _with_note_on_streams(medium: Medium) -> Medium:
    note = (
        "several_video_streams",
        f"The file has several video streams; stream {medium.stream_index} was used.",
        None,
    )
    return Medium(
        medium.descriptor,
        medium.limits,
        medium.stream_index,
        medium.container_name,
        medium.codec,
        medium.timeline,
        medium.log,
        (*medium.notes, note),
    )


class _Ends:
    """Where the file's streams end, against what the container declares."""

    def __init__(self, container: "InputContainer", stream: "VideoStream") -> None:
        self.gave_up = False
        self._first: float | None = None
        self._last = 0.0
        self._declared = 0.0
        if stream.duration is not None and stream.time_base is not None:
            self._declared = float(stream.duration * stream.time_base)
            self._only = stream.index
        elif container.duration is not None:
            self._declared = float(container.duration * MICROSECOND)
            self._only = -1

    def give_up(self) -> bool:
        self.gave_up = True
        return True

    def add(self, packet: "Packet[Any]") -> None:
        if self._declared <= 0 or self._only not in (-1, packet.stream_index):
            return
        if packet.pts is None or packet.time_base is None:
            return
        start = float(packet.pts * packet.time_base)
        if self._first is None:
            self._first = start
        self._last = max(self._last, start + float((packet.duration or 0) * packet.time_base))

    def missing_seconds(self, shown_seconds: float) -> float:
        """How much of the declared duration is not there; 0 if nothing to speak of."""
        if self._first is None:
            return 0.0
        found = max(shown_seconds, self._last - min(self._first, 0.0))
        missing = self._declared - found
        threshold = max(TRUNCATION_SECONDS, TRUNCATION_SHARE * self._declared)
        return missing if missing > threshold else 0.0


def _scan_stream(
    descriptor: int, limits: DecodeLimits, chosen: tuple[int, str], beat: Callable[[], None]
) -> Medium | None:
    """Scan the packets of one stream; None if it shows nothing."""
    index, name = chosen
    with open_container(descriptor, limits) as container:
        stream: VideoStream = container.streams[index]  # type: ignore[assignment]
        _check_declared(stream, limits)
        discontinuous = bool(DISCONTINUOUS_FORMATS & set(name.split(",")))
        log = PacketLog(stream.time_base or MICROSECOND, repair_clock=discontinuous)
        ends = _Ends(container, stream)
        codec = codec_name(stream)
        for packet in packets_of(container, ends.give_up):
            beat()
            ends.add(packet)
            if packet.stream_index != index:
                continue
            log.add(
                (packet.pts, packet.dts, packet.duration or 0),
                packet.pos,
                key=packet.is_keyframe,
                hidden=packet.is_discard or _never_shown(codec, packet),
            )
            if len(log) > limits.max_frames:
                raise Refusal(
                    "too_long", f"The video has more than {limits.max_frames} frames, the limit."
                )
        if name == "avi" and len(log):
            if codec in ORDERLESS_AVI_CODECS:
                log.distrust_presentation_times()
            _follow_avi_index(log, stream)
        timeline = build_timeline(log, float(stream.average_rate or 0)) if len(log) else None
    if timeline is None:
        return None
    _check_duration(timeline.duration_seconds, limits)
    log.forget_packets()
    notes = _notes(timeline, ends)
    return Medium(descriptor, limits, index, name, codec, timeline, log, notes)


def _never_shown(codec: str, packet: "Packet[Any]") -> bool:
    content = memoryview(packet)
    return never_shown(codec, content[0], content[-1])


def _follow_avi_index(log: PacketLog, stream: "VideoStream") -> None:
    entries = [(entry.pos, entry.timestamp) for entry in stream.index_entries if entry.size > 0]
    if entries:
        pos, times = np.array(entries, dtype=np.int64).T
        # Index entries point at a chunk's header, packets at its content.
        log.follow_index(pos + AVI_CHUNK_HEADER_BYTES, times)


def _notes(timeline: Timeline, ends: _Ends) -> tuple[tuple[str, str, float | None], ...]:
    notes: list[tuple[str, str, float | None]] = []
    duration = timeline.duration_seconds
    missing = ends.missing_seconds(duration)
    if missing > 0:
        sentence = (
            f"The file declares {missing:.1f} s more than it holds; it was cut off, and the "
            f"result ends at {duration:.2f} s."
        )
        notes.append(("truncated", sentence, duration))
    elif ends.gave_up:
        sentence = f"The file cannot be read on after {duration:.2f} s."
        notes.append(("truncated", sentence, duration))
    notes.extend(
        ("timestamps_repaired", "The recording's clock jumps here; the parts were joined.", second)
        for second in timeline.repaired_seconds
    )
    return tuple(notes)


def _check_declared(stream: "VideoStream", limits: DecodeLimits) -> None:
    check_size(stream.width or 0, stream.height or 0, limits)
    if stream.frames > limits.max_frames:
        raise Refusal(
            "too_long",
            f"The video declares {stream.frames} frames; at most {limits.max_frames} are allowed.",
        )
    if stream.duration is not None and stream.time_base is not None:
        _check_duration(float(stream.duration * stream.time_base), limits)


def check_size(width: int, height: int, limits: DecodeLimits) -> None:
    """Refuse pictures above the limit.

    Raises:
        Refusal: too large.
    """
    if width * height > limits.max_pixels:
        raise Refusal(
            "too_large",
            f"The video's pictures are {width}x{height}; at most {limits.max_pixels} pixels are "
            "allowed. Scale it down first.",
        )


def _check_duration(seconds: float, limits: DecodeLimits) -> None:
    if seconds > limits.max_duration_seconds:
        raise Refusal(
            "too_long",
            f"The video lasts {seconds:.0f} s; at most {limits.max_duration_seconds:.0f} s are "
            "allowed. Split it first.",
        )
