"""Real clips of many origins: each yields frames or exactly one input error, never a traceback."""

import csv

import numpy as np
import pytest

from models.decode import VideoSource
from models.errors import InputError

# Small files, at least one per origin, container, codec and oddity; code of the error or None.
SAMPLE = {
    "clips/mmaction2/part_0.mp4": None,
    "clips/mmaction2/test.avi": None,
    "clips/decord/flipping_a_pancake.mkv": None,
    "clips/decord/unordered.mov": None,
    "clips/decord/video_90.mov": None,
    "clips/mp4parse-rust/chunk_out_of_range.mp4": "unreadable_video",
    "clips/mp4parse-rust/invalid_userdata.mp4": "empty_video",
    "clips/mp4parse-rust/sine-3s-xhe-aac-44khz-mono.mp4": "no_video_stream",
    "clips/mp4parse-rust/tiny_av1.mp4": None,
    "clips/mp4parse-rust/zero_empty_stsc.mp4": "unreadable_video",
    "clips/derived-corrupt/empty.mp4": "empty_video",
    "clips/derived-corrupt/fragmented_cut70pct.mp4": None,
    "clips/derived-corrupt/pancake_cut50pct.mkv": None,
    "clips/derived-corrupt/text_named.mp4": "unreadable_video",
    "clips/derived-corrupt/ucf_zeroed20k_middle.avi": None,
    "clips/moviepy/dash_video_1x1.mp4": None,
    "clips/torchcodec/h264_10bits.mp4": None,
    "clips/androidx-media/bbb_176x144_128kbps_15fps_h263.3gp": None,
    "clips/androidx-media/invalid-bitstream.webm": "unreadable_video",
    "clips/androidx-media/sample_android_slow_motion.mp4": None,
    "clips/androidx-media/sample_edit_list_only_preroll_sync_sample.mp4": None,
    "clips/androidx-media/sample_h265_rps_pred.ts": None,
    "clips/androidx-media/sample_vvc.mp4": "codec_unsupported",
    "labelled/intel-asl/brother.mkv": None,
}
WARNINGS = {
    "clips/derived-corrupt/fragmented_cut70pct.mp4": {"truncated", "frames_lost"},
    "clips/derived-corrupt/pancake_cut50pct.mkv": {"truncated"},
    "clips/derived-corrupt/ucf_zeroed20k_middle.avi": {"frames_lost"},
}


@pytest.fixture(scope="module")
def manifest(request):
    folder = request.getfixturevalue("real_clips")
    with (folder / "clips" / "manifest.csv").open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("path", SAMPLE)
def test_a_real_clip_yields_frames_or_one_error(real_clips, manifest, path):
    row = manifest[path]
    if SAMPLE[path] is not None:
        with pytest.raises(InputError) as error:
            read_all(real_clips / path)
        assert error.value.code == SAMPLE[path]
        return
    facts, codes = read_all(real_clips / path)
    assert codes == WARNINGS.get(path, set())
    if row["rotation"] in {"90", "-90"}:
        assert (facts.height_px, facts.width_px) == (int(row["width"]), int(row["height"]))
    else:
        assert (facts.width_px, facts.height_px) == (int(row["width"]), int(row["height"]))
    assert facts.codec == row["vcodec"]
    assert facts.sha256.startswith(row["sha256"])
    if not codes:
        assert facts.num_source_frames == int(row["frames_decoded"])
        assert facts.duration_seconds == pytest.approx(float(row["duration_s"]), abs=0.05)
        assert facts.variable_frame_rate == (row["vfr"] == "yes")


def read_all(path):
    """Read all, then the second half again from a fresh source."""
    with VideoSource(path, fps=25, short_side_px=64) as source:
        whole = source.read(0, source.num_frames)
        assert len(whole) == source.num_frames
        codes = {warning.code for warning in source.warnings}
        assert source.source_frame_at(np.array([0.0])).tolist() == [0]
    if len(whole) > 30:
        with VideoSource(path, fps=25, short_side_px=64) as source:
            half = len(whole) // 2
            assert np.array_equal(source.read(half, len(whole)), whole[half:])
    return source.facts, codes
