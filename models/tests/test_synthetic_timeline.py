"""Ground truth of drawn videos: invariants over many seeds, stratification, refusals."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ContractViolation
from models.synthetic import (
    ACTIONS,
    BACKGROUND_KINDS,
    VideoPlan,
    VideoSpec,
    ground_truth_json,
    plan_clip,
    plan_video,
    stratified_specs,
)
from models.synthetic.ranges import LOOKS, MOTION, SCENE, TIMELINE

SEEDS = st.integers(min_value=0, max_value=2**40)
FROZEN_RANGES = "c7a77ba3488d9661"
FROZEN = [
    ("run", 1.561, 6.701),
    ("bend", 9.818, 15.034),
    ("run", 18.626, 20.714),
    ("wave", 25.085, 29.536),
]
LENGTHS = dict(TIMELINE.instance_seconds)


def _action_seconds(plan: VideoPlan) -> float:
    return sum(one.end_seconds - one.start_seconds for one in plan.instances)


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    seconds=st.floats(min_value=10, max_value=120),
    looks=st.sampled_from(("train", "test")),
)
def test_ground_truth_keeps_its_promises(seed: int, seconds: float, looks: str) -> None:
    plan = plan_video(VideoSpec(seed, duration_seconds=seconds, looks=looks))
    labels = [one.label for one in plan.instances]
    assert 1 <= len(set(labels)) <= 3
    assert set(labels) <= set(ACTIONS)
    assert _action_seconds(plan) <= 0.5 * seconds
    for one in plan.instances:
        shortest, longest = LENGTHS[one.label]
        assert shortest - 1e-6 <= one.end_seconds - one.start_seconds <= longest + 1e-6
        assert 0 < one.start_seconds < one.end_seconds < seconds
    for before, after in zip(plan.instances[:-1], plan.instances[1:], strict=True):
        assert after.start_seconds - before.end_seconds >= TIMELINE.close_gap_seconds[0] - 1e-3


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, seconds=st.floats(min_value=30, max_value=90))
def test_stretches_cover_the_video_and_are_the_ground_truth(seed: int, seconds: float) -> None:
    plan = plan_video(VideoSpec(seed, duration_seconds=seconds))
    now = 0.0
    for stretch in plan.stretches:
        assert stretch.start_seconds == pytest.approx(now, abs=1e-9)
        assert stretch.cue.duration_seconds > 0.3
        assert stretch.cue.kind in (*ACTIONS, *BACKGROUND_KINDS)
        now = stretch.end_seconds
    assert now == pytest.approx(seconds, abs=1e-6)
    performed = [one for one in plan.stretches if one.cue.kind in ACTIONS]
    assert [one.cue.kind for one in performed] == [one.label for one in plan.instances]
    for stretch, one in zip(performed, plan.instances, strict=True):
        assert stretch.start_seconds == pytest.approx(one.start_seconds, abs=1e-6)
        assert stretch.end_seconds == pytest.approx(one.end_seconds, abs=1e-6)


def test_most_videos_hold_several_instances_and_gaps_of_two_seconds() -> None:
    plans = [plan_video(VideoSpec(seed)) for seed in range(60)]
    gaps = [
        after.start_seconds - before.end_seconds
        for plan in plans
        for before, after in zip(plan.instances[:-1], plan.instances[1:], strict=True)
    ]
    assert min(len(plan.instances) for plan in plans) >= 2
    assert sum(len(plan.instances) for plan in plans) / len(plans) >= 4
    assert sum(gap >= 2 for gap in gaps) / len(gaps) > 0.8
    share = sum(_action_seconds(plan) for plan in plans) / (60.0 * len(plans))
    assert 0.3 < share < 0.48


def test_every_background_kind_has_its_share() -> None:
    seconds = dict.fromkeys(BACKGROUND_KINDS, 0.0)
    for seed in range(80):
        for stretch in plan_video(VideoSpec(seed)).stretches:
            if stretch.cue.kind in seconds:
                seconds[stretch.cue.kind] += stretch.cue.duration_seconds
    total = sum(seconds.values())
    assert {kind: part for kind, part in seconds.items() if part / total < 0.02} == {}


def test_getting_up_also_occurs_without_the_action_that_leads_down() -> None:
    specs = [VideoSpec(seed, labels=("walk",), duration_seconds=40.0) for seed in range(30)]
    kinds = {one.cue.kind for spec in specs for one in plan_video(spec).stretches}
    assert {"get_up_floor", "get_up_chair"} <= kinds


def test_the_frozen_timeline_of_a_seed() -> None:
    """A change here makes the bundled model's training data another data set."""
    plan = plan_video(VideoSpec(20_000, duration_seconds=40.0))
    again = plan_video(VideoSpec(20_000, duration_seconds=40.0))
    assert plan == again
    assert plan != plan_video(VideoSpec(20_001, duration_seconds=40.0))
    found = [(one.label, one.start_seconds, one.end_seconds) for one in plan.instances]
    assert found == FROZEN


def test_the_ranges_are_frozen() -> None:
    """The bundled model's numbers hold for these ranges; changing one means training again."""
    content = repr((LOOKS, MOTION, TIMELINE, SCENE)).encode()
    assert hashlib.sha256(content).hexdigest()[:16] == FROZEN_RANGES


def test_given_labels_all_occur_and_none_makes_a_video_without_actions() -> None:
    for seed in range(40):
        plan = plan_video(VideoSpec(seed, labels=("fall", "sit_down", "bend"), duration_seconds=30))
        assert {one.label for one in plan.instances} == {"fall", "sit_down", "bend"}
        free = plan_video(VideoSpec(seed, labels=(), duration_seconds=20.0))
        assert free.instances == ()
        assert {one.cue.kind for one in free.stretches} <= set(BACKGROUND_KINDS)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (VideoSpec(1, labels=("dance",)), "Unknown actions dance"),
        (VideoSpec(1, labels=("walk", "walk")), "once"),
        (VideoSpec(1, looks="other"), "train, test"),
        (VideoSpec(1, labels=("fall", "sit_down", "run"), duration_seconds=8.0), "10 seconds"),
    ],
)
def test_impossible_specs_are_refused(spec: VideoSpec, words: str) -> None:
    with pytest.raises(ContractViolation, match=words):
        plan_video(spec)


@pytest.mark.parametrize(("count", "minimum"), [(40, 10), (120, 20), (8, 3), (16, 6)])
def test_stratified_specs_hold_every_class_often_enough(count: int, minimum: int) -> None:
    specs = stratified_specs(count, base_seed=5, looks="test", min_videos_per_class=minimum)
    assert len({spec.seed for spec in specs}) == count
    plans = [plan_video(spec) for spec in specs]
    for action in ACTIONS:
        assert sum(action in {one.label for one in plan.instances} for plan in plans) >= minimum
    for spec in specs:
        assert spec.labels is not None
        assert 1 <= len(spec.labels) <= 3
        assert 30 <= spec.duration_seconds <= 50
        assert spec.looks == "test"


def test_stratified_specs_can_be_without_actions_and_refuse_the_impossible() -> None:
    free = stratified_specs(
        5, base_seed=1, looks="train", min_videos_per_class=0, action_free=True, fps=12.5
    )
    assert [spec.labels for spec in free] == [()] * 5
    assert {spec.fps for spec in free} == {12.5}
    with pytest.raises(ContractViolation, match="ask for fewer"):
        stratified_specs(8, base_seed=1, looks="train", min_videos_per_class=4)


def test_ground_truth_json_is_activitynet_shaped() -> None:
    plan = plan_video(VideoSpec(3))
    entry = json.loads(json.dumps(ground_truth_json(plan)))
    assert entry["duration"] == 60.0
    assert len(entry["annotations"]) == len(plan.instances)
    first = entry["annotations"][0]
    assert first["label"] == plan.instances[0].label
    assert first["segment"] == [plan.instances[0].start_seconds, plan.instances[0].end_seconds]


@settings(max_examples=120, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from((*ACTIONS, *BACKGROUND_KINDS)),
    frames=st.integers(min_value=1, max_value=40),
    fps=st.sampled_from((12.5, 25.0, 30.0)),
)
def test_a_clip_lies_inside_its_kind(seed: int, kind: str, frames: int, fps: float) -> None:
    plan, start = plan_clip(VideoSpec(seed, fps=fps), kind, frames)
    at = [start / fps, (start + frames - 1) / fps]
    shown = [
        next(one for one in plan.stretches if one.start_seconds <= t + 1e-9 < one.end_seconds)
        for t in at
    ]
    assert shown[0] == shown[1]
    assert shown[0].cue.kind == kind
    assert start + frames <= plan.num_frames
