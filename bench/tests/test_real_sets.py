"""Rules by which real video is cut and joined: lengths, borders, sides of the split, truth."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.real.features import RememberedFlow, squared
from bench.real.finetune import BACKGROUND_FACTOR, CLIP_FRAMES, NUM_WINDOWS, choose_windows
from bench.real.joins import (
    CLIP_FRAMES as JOIN_FRAMES,
)
from bench.real.joins import (
    FIGHT,
    Part,
    clip_units,
    fitted,
    join_instances,
    plan_join,
    scene_groups,
    split_clips,
)
from bench.real.sets import (
    BACKGROUND,
    GRID_FPS,
    MAX_PIECE_SECONDS,
    MIN_PIECE_SECONDS,
    BenchVideo,
    Instance,
    RealSet,
    Shot,
    TrimmedClip,
    build_fir,
    cut_points,
    gaps,
    instances_in,
)
from bench.real.table import READING_MARK, spread, write_page
from models.flow.tvl1 import build_flow_engine, quantize_flow
from models.recipe import FlowRecipe


def _inside(cut, spans):
    return any(start + 0.25 < cut / GRID_FPS < end - 0.25 for start, end in spans)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0.5, 30)), min_size=0, max_size=12),
    st.integers(15 * GRID_FPS, 200 * GRID_FPS),
)
def test_pieces_cover_the_recording_and_keep_to_their_lengths(steps, num_frames):
    spans, at = [], 0.0
    for gap, length in steps:
        spans.append((at + gap, at + gap + length))
        at += gap + length
    cuts = cut_points(num_frames, spans)
    assert cuts[0] == 0
    assert cuts[-1] == num_frames
    lengths = np.diff(cuts) / GRID_FPS
    assert (lengths >= MIN_PIECE_SECONDS).all()
    assert (lengths <= MAX_PIECE_SECONDS).all()


def test_cuts_lie_on_borders_and_go_inside_only_what_is_too_long():
    spans = [(0.0, 14.0), (14.0, 33.0), (33.0, 50.0), (52.0, 66.0)]
    cuts = cut_points(70 * GRID_FPS, spans)
    assert not any(_inside(cut, spans) for cut in cuts[1:-1])
    assert len(cuts) - 1 == 3
    endless = [(0.0, 90.0)]
    cuts = cut_points(90 * GRID_FPS, endless)
    assert len(cuts) - 1 == 3
    assert sum(_inside(cut, endless) for cut in cuts) == 2


def test_a_short_recording_stays_whole():
    assert cut_points(10 * GRID_FPS, [(1.0, 3.0)]) == [0, 250]
    assert cut_points(29 * GRID_FPS, []) == [0, 725]


def test_instances_are_counted_from_the_piece_and_slivers_are_dropped():
    instances = [
        Instance("walk", 3.0, 20.25), Instance("sit", 20.25, 24.0), Instance("fall", 9.0, 9.25),
    ]  # fmt: skip
    assert instances_in(instances, 5.0, 20.0) == (
        Instance("walk", 0.0, 15.0),
        Instance("fall", 4.0, 4.25),
    )
    assert instances_in(instances, 20.0, 40.0) == (Instance("sit", 0.25, 4.0),)


def test_gaps_are_what_no_instance_covers():
    instances = [Instance("a", 2.0, 5.0), Instance("b", 4.0, 4.5), Instance("c", 7.0, 8.0)]
    assert gaps(instances, 10.0) == [(0.0, 2.0), (5.0, 7.0), (8.0, 10.0)]
    assert gaps([], 3.0) == [(0.0, 3.0)]


@pytest.mark.parametrize("label", [FIGHT, BACKGROUND])
def test_a_clip_is_shown_once_and_a_fight_stays_in_one_place(label):
    shapes = set()
    for seed in range(60):
        units = clip_units("clip", label, 60, np.random.default_rng(seed))
        frames = [at for unit in units for part in unit for at in range(part.first, part.last)]
        assert sorted(frames) == list(range(JOIN_FRAMES))
        assert all(len(range(part.first, part.last)) >= 15 for unit in units for part in unit)
        shapes.add(tuple(len(unit) for unit in units))
    assert shapes == ({(1,), (2,)} if label == FIGHT else {(1,), (2,), (1, 1)})


def test_joins_hold_what_was_asked_for_and_shots_are_alike_inside_and_outside():
    fights = [(f"f{index}", 50) for index in range(20)]
    calm = [(f"b{index}", 50) for index in range(20)]
    rng = np.random.default_rng(0)
    lengths = {FIGHT: [], BACKGROUND: []}
    for _ in range(200):
        parts = plan_join(fights, calm, rng, quiet=False)
        assert 1 <= len({part.clip for part in parts if part.label == FIGHT}) <= 4
        assert 5 <= len({part.clip for part in parts if part.label == BACKGROUND}) <= 15
        for part in parts:
            lengths[part.label].append(part.last - part.first)
    assert np.mean(lengths[FIGHT]) == pytest.approx(np.mean(lengths[BACKGROUND]), rel=0.05)
    assert all(part.label == BACKGROUND for part in plan_join(fights, calm, rng, quiet=True))


def test_truth_of_a_join_counts_frames_and_melts_fights_that_touch():
    parts = [
        Part("b", BACKGROUND, 0, 25), Part("f", FIGHT, 0, 50), Part("g", FIGHT, 30, 55),
        Part("b", BACKGROUND, 25, 50), Part("h", FIGHT, 0, 50),
    ]  # fmt: skip
    assert join_instances(parts) == (Instance(FIGHT, 1.0, 4.0), Instance(FIGHT, 5.0, 7.0))


def test_a_scene_is_on_one_side_and_labels_get_their_share():
    rng = np.random.default_rng(1)
    labels = {f"c{index:02d}": FIGHT if index % 2 else BACKGROUND for index in range(60)}
    groups = {clip: int(rng.integers(0, 25)) for clip in labels}
    split = split_clips(labels, groups, rng)
    for group in set(groups.values()):
        assert len({split[clip] for clip in labels if groups[clip] == group}) == 1
    for label in (FIGHT, BACKGROUND):
        count = sum(split[clip] == "test" for clip in labels if labels[clip] == label)
        assert 6 <= count <= 10


def test_scenes_are_linked_pictures():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 300))
    pictures = np.stack([one, other, 0.5 * one + 0.1, one + 0.1 * rng.random(300)])
    groups = scene_groups(pictures)
    assert groups[0] == groups[2] == groups[3] != groups[1]


def test_frames_cover_the_joins_size_without_squashing():
    frames = np.zeros((2, 100, 300, 3), np.uint8)
    frames[:, :, 140:160] = 255
    out = fitted(frames, 120)
    assert out.shape == (2, 120, 160, 3)
    assert (out[0, 60, :, 0] > 128).sum() == pytest.approx(24, abs=1)


def test_windows_share_classes_evenly_and_stay_inside():
    clips = [
        TrimmedClip(Path("a"), "walk", 0.0, 60.0), TrimmedClip(Path("a"), "sit", 60.0, 62.0),
        TrimmedClip(Path("b"), "sit", 0.0, 0.5), TrimmedClip(Path("b"), BACKGROUND, 5.0, 90.0),
    ]  # fmt: skip
    windows = choose_windows(clips, ("sit", "walk"))
    counts = np.bincount([label for _, _, label in windows])
    share = NUM_WINDOWS // (2 + BACKGROUND_FACTOR)
    assert counts.tolist() == [8, share, 2 * share]  # two seconds hold eight windows
    assert all(
        any(
            clip.path == path
            and clip.start_seconds * GRID_FPS <= first
            and first + CLIP_FRAMES <= clip.end_seconds * GRID_FPS
            for clip in clips
        )
        for path, first, _ in windows
    )


def test_remembered_flow_is_the_engines_own_after_quantisation(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (4, 24, 32), dtype=np.uint8)
    engine, recipe = build_flow_engine("auto", num_threads=1), FlowRecipe()
    expected = quantize_flow(engine.compute(grey, recipe), recipe.clip_px)

    class Counting:
        name, version, num_threads, calls = engine.name, engine.version, 1, 0

        def compute(self, grey, recipe, region=None):
            self.calls += len(grey) - 1
            return engine.compute(grey, recipe, region)

    for calls in (3, 0):
        counting = Counting()
        flow = RememberedFlow(counting)
        flow.open(tmp_path / "one.npz")
        levels = quantize_flow(flow.compute(grey, recipe), recipe.clip_px)
        np.testing.assert_array_equal(levels, expected)
        flow.save()
        assert counting.calls == calls


def test_letterboxed_pictures_stand_whole_in_the_middle():
    frames = np.full((2, 96, 128, 3), 7, np.uint8)
    out = squared(frames, 128)
    assert out.shape == (2, 128, 128, 3)
    assert (out[:, 16:112] == 7).all()
    assert not out[:, :16].any()
    assert not out[:, 112:].any()


def test_a_set_survives_its_file():
    shots = (Shot(Path("a.mp4"), 3, 40), Shot(Path("b.mp4"), 0, 50))
    video = BenchVideo("v", "train", shots, (Instance("x", 0.5, 1.0),))
    clips = (TrimmedClip(Path("a.mp4"), "x", 0.0, 1.0),)
    real = RealSet("s", ("x",), (0.1, 0.5), (video,), clips, ("a fact",))
    assert RealSet.from_json(real.to_json()) == real
    assert video.duration_seconds == pytest.approx(87 / GRID_FPS)


def test_the_page_keeps_what_a_person_wrote(tmp_path):
    path = tmp_path / "results.md"
    write_page(path, "tables one")
    path.write_text(path.read_text() + "my words\n")
    write_page(path, "tables two")
    assert path.read_text() == f"tables two\n\n{READING_MARK}\nmy words\n"


def test_spread_is_in_percent():
    assert spread([0.5]) == "50.0"
    assert spread([0.1, 0.2, 0.3]) == "20.0 ± 10.0"


@pytest.mark.slow
def test_days_of_recordings_are_not_mixed(real_clips):
    real = build_fir(real_clips, letterbox=False)
    days = {
        split: {video.shots[0].path.name[:8] for video in real.split(split)}
        for split in ("train", "test")
    }
    assert days == {"train": {"20200626", "20200627"}, "test": {"20200628", "20200629"}}
    for label in real.classes:
        count = sum(label in video.labels for video in real.split("train"))
        assert 0 < count < len(real.split("train"))
    assert {clip.path.name[:8] for clip in real.clips} == days["train"]
