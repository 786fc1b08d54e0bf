"""Drawn frames and files: determinism, sizes, what is visible, codecs."""

import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from models.errors import ContractViolation
from models.synthetic import (
    ACTIONS,
    BACKGROUND_KINDS,
    EncodeSettings,
    VideoPlan,
    VideoSpec,
    draw_clip,
    draw_frames,
    encode_video,
    plan_video,
    stratified_specs,
)
from models.synthetic.backdrop import TEXTURES
from models.synthetic.dice import Dice
from models.synthetic.draw import SceneDrawer
from models.synthetic.figure import Joint, build_body, place_joints
from models.synthetic.plan import looks_of
from models.synthetic.ranges import LOOKS, LooksRanges, Range
from models.synthetic.staging import draw_body, set_stage
from models.types import ByteArray

ALL_KINDS = (*ACTIONS, *BACKGROUND_KINDS)


def _first_frames(spec: VideoSpec, count: int) -> ByteArray:
    return np.stack(list(itertools.islice(draw_frames(plan_video(spec)), count)))


@pytest.mark.parametrize("looks", ["train", "test"])
def test_same_seed_same_pixels_other_seed_other_pixels(looks: str) -> None:
    spec = VideoSpec(4, duration_seconds=30.0, looks=looks)
    once, again = _first_frames(spec, 12), _first_frames(spec, 12)
    assert np.array_equal(once, again)
    other = _first_frames(VideoSpec(5, duration_seconds=30.0, looks=looks), 12)
    assert np.abs(once.astype(int) - other).mean() > 5


def test_drawing_leaves_the_global_generator_alone() -> None:
    np.random.seed(3)  # noqa: NPY002 - the global state is what is checked
    before = str(np.random.get_state())  # noqa: NPY002
    draw_clip(1, "jump", num_frames=2)
    assert str(np.random.get_state()) == before  # noqa: NPY002


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_can_be_drawn_and_moves(kind: str) -> None:
    clip = draw_clip(8, kind, num_frames=16, looks="test")
    assert clip.shape == (16, 128, 170, 3)
    assert clip.dtype == np.uint8
    assert clip.std() > 10
    assert np.array_equal(clip, draw_clip(8, kind, num_frames=16, looks="test"))
    assert np.abs(clip[0].astype(int) - clip[-1]).mean() > 0.5


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ContractViolation, match="Unknown kind 'swim'"):
        draw_clip(1, "swim", num_frames=4)


@pytest.mark.parametrize(
    ("width", "height", "fps"), [(170, 128, 25.0), (340, 256, 29.97), (96, 160, 10.0), (65, 49, 60)]
)
def test_any_size_and_rate(width: int, height: int, fps: float) -> None:
    spec = VideoSpec(2, duration_seconds=20.0, fps=fps, width_px=width, height_px=height)
    plan = plan_video(spec)
    assert plan.num_frames == round(20 * fps)
    frames = _first_frames(spec, 3)
    assert frames.shape == (3, height, width, 3)


def test_the_frame_rate_changes_only_the_sampling() -> None:
    """Frame k at 10 fps and frame 3k at 30 fps show the same instant."""
    slow = SceneDrawer(plan_video(VideoSpec(6, labels=("run",), duration_seconds=20, fps=10)))
    fast = SceneDrawer(plan_video(VideoSpec(6, labels=("run",), duration_seconds=20, fps=30)))
    assert np.allclose(slow.stage.joints, fast.stage.joints[::3], atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_figure_stays_in_the_middle_of_the_frame(seed: int) -> None:
    plan = plan_video(VideoSpec(seed, duration_seconds=40.0))
    drawer = SceneDrawer(plan)
    column = drawer.camera.middle + (drawer.stage.root - drawer.camera.centre) * drawer.camera.scale
    acting = np.zeros(plan.num_frames, bool)
    for one in plan.instances:
        acting |= (drawer.seconds >= one.start_seconds) & (drawer.seconds < one.end_seconds)
    assert (np.abs(column[acting] - 85) < 40).all()


@pytest.mark.parametrize(
    "labels", [("fall", "sit_down", "walk"), ("jump", "kick"), ("bend", "run")]
)
def test_joints_never_leap(labels: tuple[str, ...]) -> None:
    """At 500 samples a second even a kicking toe moves 0.03; a leap of pose would stay a leap."""
    plan = plan_video(VideoSpec(9, labels=labels, duration_seconds=60.0))
    stage = set_stage(plan, looks_of(plan.spec), np.arange(30_000) / 500)
    steps = np.linalg.norm(np.diff(stage.joints, axis=0), axis=2)
    assert steps.max() < 0.04
    assert stage.joints[:, Joint.ANKLE_L, 1].min() > -0.12


def test_the_standing_body_is_one_high() -> None:
    body = build_body(0.48, 0.38, 1.0, 0.07)
    joints = place_joints(np.zeros((1, 16)), np.zeros(1), body)
    assert joints[0, Joint.HEAD, 1] + body.head_radius == pytest.approx(1.0, abs=0.02)
    assert joints[0, Joint.ANKLE_L, 1] == pytest.approx(0.03)


def test_distractors_move_more_than_the_actions_do() -> None:
    """Share of pixels that change between frames, with camera, light and noise held still."""
    actions: dict[str, list[float]] = {}
    things: list[float] = []
    for spec in stratified_specs(8, base_seed=400, looks="train", min_videos_per_class=2):
        plan = plan_video(spec)
        drawer = _still_drawer(plan)
        everything, people = drawer._distractors, drawer._painters
        drawer._distractors = []
        for one in plan.instances:
            first = 2 * int(one.start_seconds * 12.5) + 2
            for index in range(first, int(one.end_seconds * 25) - 2, 16):
                actions.setdefault(one.label, []).append(_changed(drawer, index))
        drawer._distractors, drawer._painters = everything, people[:0]
        things += [_changed(drawer, index) for index in range(0, plan.num_frames - 1, 24)]
    seen = [change for change in things if change > 0.001]
    means = [float(np.mean(changes)) for changes in actions.values()]
    assert len(means) == len(ACTIONS)
    assert len(seen) > 0.35 * len(things)
    assert np.mean(seen) > np.mean(means)
    assert sum(np.mean(seen) > mean for mean in means) >= 6
    assert np.percentile(seen, 95) > max(means)


def _still_drawer(plan: VideoPlan) -> SceneDrawer:
    """Return a drawer whose frames 2k and 2k + 1 differ by what moves in the scene alone."""
    drawer = SceneDrawer(plan)
    drawer._gains[:] = 1.0
    drawer._grain.bank[:] = 0
    camera = drawer.camera
    for values in (camera.centre, camera.scale, camera.middle, camera.ground):
        values[1::2] = values[: 2 * (len(values) // 2) : 2]
    return drawer


def _changed(drawer: SceneDrawer, index: int) -> float:
    difference = np.abs(drawer.frame(index).astype(int) - drawer.frame(index + 1))
    return float((difference.mean(axis=2) > 12).mean())


def _apart(first: Range, second: Range) -> bool:
    return first[1] <= second[0] or second[1] <= first[0]


def test_train_and_test_looks_have_nothing_in_common() -> None:
    train, test = LOOKS["train"], LOOKS["test"]
    for name in ("cloth_hues", "wall_hues"):
        bands = itertools.product(getattr(train, name), getattr(test, name))
        assert all(_apart(one, other) for one, other in bands), name
    for name in ("leg_share", "arm_share", "limb_girth", "head_radius", "shake_share"):
        assert _apart(getattr(train, name), getattr(test, name)), name
    assert _apart(train.zoom_depth, test.zoom_depth)
    for name in ("wall_textures", "floor_textures"):
        assert not set(getattr(train, name)) & set(getattr(test, name))
    used = {*train.wall_textures, *train.floor_textures, *test.wall_textures, *test.floor_textures}
    assert used == set(TEXTURES)


def _within(value: float, limits: Range) -> bool:
    return limits[0] - 1e-9 <= value <= limits[1] + 1e-9


@pytest.mark.parametrize("name", ["train", "test"])
def test_bodies_come_from_their_looks(name: str) -> None:
    looks: LooksRanges = looks_of(VideoSpec(0, looks=name))
    for seed in range(50):
        body = draw_body(looks, Dice(seed, 42))
        assert _within(body.girth, looks.limb_girth)
        assert _within(body.thigh + body.shank, looks.leg_share)
        assert _within(body.head_radius, looks.head_radius)


def _decode(path: Path) -> tuple[list[float], ByteArray]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    images = np.stack([frame.to_ndarray(format="rgb24") for frame in frames]).astype(np.uint8)
    return [float(frame.time or 0.0) for frame in frames], images


@pytest.mark.parametrize(
    ("suffix", "chosen"),
    [
        (".mp4", EncodeSettings(codec="h264", crf=20, b_frames=2, gop=12)),
        (".mp4", EncodeSettings(codec="mpeg4", bitrate=900_000)),
        (".mp4", EncodeSettings(codec="hevc", pix_fmt="yuv420p10le")),
        (".webm", EncodeSettings(codec="vp9", crf=30)),
        (".avi", EncodeSettings(codec="mjpeg", pix_fmt="yuvj420p")),
        (".mkv", EncodeSettings(codec="ffv1", pix_fmt="yuv444p")),
    ],
)
def test_encoded_videos_read_back(tmp_path: Path, suffix: str, chosen: EncodeSettings) -> None:
    frames = _first_frames(VideoSpec(3, duration_seconds=20.0), 24)
    path = tmp_path / f"drawn{suffix}"
    encode_video(frames, path, fps=25.0, settings=chosen)
    times, images = _decode(path)
    assert times == pytest.approx([index / 25 for index in range(24)], abs=0.002)
    assert np.abs(images.astype(int) - frames).mean() < 12
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_choices_reach_the_encoder(tmp_path: Path) -> None:
    frames = _first_frames(VideoSpec(3, duration_seconds=20.0), 20)
    for name, crf in (("fine", 10), ("coarse", 45)):
        encode_video(frames, tmp_path / f"{name}.mp4", fps=25.0, codec="h264", crf=crf, gop=5)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["fine"] > 3 * sizes["coarse"]
    with av.open(str(tmp_path / "fine.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert [index for index, key in enumerate(keys) if key] == [0, 5, 10, 15]


def test_timestamps_make_a_variable_frame_rate(tmp_path: Path) -> None:
    frames = _first_frames(VideoSpec(3, duration_seconds=20.0), 10)
    wanted = [0.0, 0.04, 0.06, 0.2, 0.21, 0.3, 0.5, 0.55, 0.6, 0.9]
    settings = EncodeSettings(crf=18, b_frames=0)
    path = tmp_path / "uneven.mp4"
    encode_video(frames, path, fps=25.0, timestamps_seconds=wanted, settings=settings)
    assert _decode(path)[0] == pytest.approx(wanted, abs=1e-3)


def test_encoding_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    with pytest.raises(ContractViolation, match="at least one frame"):
        encode_video([], path, fps=25.0)
    frames = _first_frames(VideoSpec(3, duration_seconds=20.0), 3)
    with pytest.raises(ContractViolation, match="every frame"):
        encode_video(frames, path, fps=25.0, timestamps_seconds=[0.0, 0.04])
    assert list(tmp_path.iterdir()) == []
