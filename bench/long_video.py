"""Long videos cheaply: a short drawn clip, encoded once, whose packets are repeated.

A file of ten hours is then a matter of seconds, and to a decoder it is as real as any other.
"""

import itertools
from pathlib import Path

import av

from models.decode import probe
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video

FPS = 25.0
CLIP_FRAMES = 250
SEED = 1
PLANNED_SECONDS = 30.0  # room for several kinds of actions; the clip is its beginning


def write_long_video(path: Path, seconds: float, width_px: int, height_px: int) -> None:
    """Write an H.264 video of this length, a key frame every CLIP_FRAMES at the latest.

    Args:
        path: of the file to write, ``.mp4``.
        seconds: rounded up to whole frames.
        width_px: of its pictures; even.
        height_px: of its pictures; even.
    """
    clip = path.with_name(f"clip-{path.name}")
    spec = VideoSpec(
        seed=SEED, duration_seconds=PLANNED_SECONDS, fps=FPS, width_px=width_px, height_px=height_px
    )
    frames = itertools.islice(draw_frames(plan_video(spec)), CLIP_FRAMES)
    # Without B-frames every packet's time is its place, so that copies need only be moved.
    encode_video(frames, clip, fps=FPS, codec="h264", b_frames=0, gop=CLIP_FRAMES)
    try:
        _repeat(clip, path, round(seconds * FPS))
    finally:
        clip.unlink()


def _repeat(clip: Path, path: Path, num_frames: int) -> None:
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        origin = source.streams.video[0]
        stream = target.add_stream_from_template(origin)
        packets = [
            (bytes(packet), packet.is_keyframe)
            for packet in source.demux(origin)
            if packet.size > 0
        ]
        time_base = origin.time_base
        assert time_base is not None  # noqa: S101 - an opened stream has one
        ticks = round(1 / (FPS * float(time_base)))
        for index in range(num_frames):
            content, is_key = packets[index % len(packets)]
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, time_base
            packet.pts = packet.dts = index * ticks
            packet.duration, packet.is_keyframe = ticks, is_key
            target.mux(packet)


def require_length(path: Path, seconds: float) -> None:
    """Check that the decoder sees a file as long as was asked for.

    Raises:
        SystemExit: it does not.
    """
    facts = probe(path)
    if abs(facts.duration_seconds - seconds) > 1 / FPS:
        message = f"{path.name} is {facts.duration_seconds} s long, not {seconds} s"
        raise SystemExit(message)
