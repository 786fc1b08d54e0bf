"""Every range the drawn world is drawn from, frozen before the first training.

Two looks exist. ``train`` is what the demonstration model learns from; ``test`` has other
colours, wall textures, body shapes and camera habits, so that its numbers are measured outside
the training ranges. The kinematic and timeline ranges are shared: an action is the same action.

Lengths are in body heights (the standing figure is about 1), angles in degrees, times in
seconds, image sizes as shares of the frame height.
"""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LooksRanges:
    """What things look like and how the camera behaves.

    Attributes:
        cloth_hues, wall_hues: bands of hue in degrees.
        wall_textures, floor_textures: names of texture families in `models.synthetic.backdrop`.
        leg_share, arm_share: length of a leg, an arm.
        limb_girth: factor on every limb radius.
        head_radius: of the head.
        figure_share: standing height of the figure in the frame.
        yaw_degrees: how far the figure is turned out of the side view, either way.
        shake_share: amplitude of camera shake.
        zoom_depth: amplitude of the slow zoom, as a factor around 1.
        follow_seconds: time constant of the camera that follows.
        noise_levels, blur_px: sensor noise (standard deviation) and blur (sigma at 128 rows).
        light_drift: amplitude of the slow brightness change.
    """

    cloth_hues: tuple[Range, ...]
    wall_hues: tuple[Range, ...]
    wall_textures: tuple[str, ...]
    floor_textures: tuple[str, ...]
    leg_share: Range
    arm_share: Range
    limb_girth: Range
    head_radius: Range
    figure_share: Range
    yaw_degrees: Range
    shake_share: Range
    zoom_depth: Range
    follow_seconds: Range
    noise_levels: Range
    blur_px: Range
    light_drift: Range


LOOKS: dict[str, LooksRanges] = {
    "train": LooksRanges(
        cloth_hues=((0, 25), (60, 85), (120, 145), (180, 205), (240, 265), (300, 325)),
        wall_hues=((20, 70), (140, 190), (260, 310)),
        wall_textures=("bands", "blotches", "bricks", "panels"),
        floor_textures=("plain", "boards"),
        leg_share=(0.445, 0.485),
        arm_share=(0.355, 0.390),
        limb_girth=(0.90, 1.15),
        head_radius=(0.066, 0.078),
        figure_share=(0.50, 0.66),
        yaw_degrees=(0.0, 30.0),
        shake_share=(0.0, 0.008),
        zoom_depth=(0.0, 0.06),
        follow_seconds=(0.20, 0.50),
        noise_levels=(1.0, 6.0),
        blur_px=(0.0, 0.7),
        light_drift=(0.0, 0.14),
    ),
    "test": LooksRanges(
        cloth_hues=((30, 55), (90, 115), (150, 175), (210, 235), (270, 295), (330, 355)),
        wall_hues=((80, 130), (200, 250), (320, 360)),
        wall_textures=("checks", "dots", "hatching", "skyline"),
        floor_textures=("speckle", "tiles"),
        leg_share=(0.490, 0.515),
        arm_share=(0.395, 0.420),
        limb_girth=(0.76, 0.88),
        head_radius=(0.058, 0.064),
        figure_share=(0.47, 0.70),
        yaw_degrees=(12.0, 38.0),
        shake_share=(0.008, 0.013),
        zoom_depth=(0.06, 0.09),
        follow_seconds=(0.30, 0.70),
        noise_levels=(2.0, 7.5),
        blur_px=(0.2, 0.9),
        light_drift=(0.08, 0.20),
    ),
}


@dataclass(frozen=True, slots=True)
class MotionRanges:
    """How actions and background behaviour move; names end in their unit."""

    walk_strides_hz: Range = (0.80, 1.15)
    walk_thigh_degrees: Range = (25.0, 34.0)
    walk_arm_degrees: Range = (18.0, 32.0)
    run_strides_hz: Range = (1.40, 1.85)
    run_thigh_degrees: Range = (42.0, 54.0)
    run_knee_degrees: Range = (80.0, 110.0)
    run_lean_degrees: Range = (12.0, 22.0)
    run_lift: Range = (0.05, 0.09)
    jump_period_seconds: Range = (0.85, 1.25)
    jump_lift: Range = (0.14, 0.24)
    jump_crouch_degrees: Range = (48.0, 70.0)
    wave_hz: Range = (1.5, 3.0)
    wave_swing_degrees: Range = (32.0, 50.0)
    wave_both_arms_chance: float = 0.25
    fall_stumble_seconds: Range = (0.35, 0.65)
    fall_drop_seconds: Range = (0.6, 1.0)
    fall_backward_chance: float = 0.4
    writhe_hz: Range = (0.9, 1.5)
    sit_lowering_share: Range = (0.58, 0.70)
    sit_lean_degrees: Range = (32.0, 48.0)
    kick_period_seconds: Range = (0.80, 1.30)
    kick_height_degrees: Range = (75.0, 108.0)
    kick_alternate_chance: float = 0.4
    bend_period_seconds: Range = (1.5, 2.7)
    bend_depth_degrees: Range = (92.0, 112.0)
    sway_hz: Range = (0.2, 0.5)
    sway_degrees: Range = (0.8, 2.5)
    fidget_hz: Range = (0.4, 0.9)
    reach_move_seconds: Range = (0.9, 1.8)
    transition_seconds: Range = (0.2, 0.4)


@dataclass(frozen=True, slots=True)
class TimelineRanges:
    """How a video is laid out in time.

    Attributes:
        action_share: share of the video that is action; at most half.
        instance_seconds: per action.
        gap_seconds: shortest gap, usual and, by ``close_gap_chance``, close.
        low_gap_seconds: shortest gap after an action that ends on the floor or a chair.
        edge_seconds: shortest stretch before the first and after the last instance.
        piece_seconds: length of one piece of background behaviour.
    """

    action_share: Range = (0.38, 0.48)
    instance_seconds: tuple[tuple[str, Range], ...] = (
        ("walk", (1.8, 7.0)),
        ("run", (1.6, 6.5)),
        ("jump", (1.7, 6.5)),
        ("wave", (1.7, 7.0)),
        ("fall", (1.9, 4.0)),
        ("sit_down", (1.9, 3.8)),
        ("kick", (1.6, 6.5)),
        ("bend", (1.8, 7.0)),
    )
    gap_seconds: Range = (2.0, 3.2)
    close_gap_seconds: Range = (1.2, 2.0)
    close_gap_chance: float = 0.12
    low_gap_seconds: Range = (3.6, 5.0)
    edge_seconds: Range = (0.6, 2.0)
    piece_seconds: Range = (1.2, 3.5)
    get_up_seconds: Range = (1.3, 2.4)
    start_low_chance: float = 0.45


@dataclass(frozen=True, slots=True)
class SceneRanges:
    """Things beside the figure; shared by both looks.

    Attributes:
        distractors_per_minute: events in which something large moves.
        distractor_seconds: length of one event.
        distractor_size: factor on every distractor.
        crossing_speed: body heights per second.
        bystander_chance: share of videos in which idle people may stand about.
        light_steps_per_minute: sudden changes of light, and by which factor.
    """

    distractors_per_minute: Range = (9.0, 24.0)
    distractor_seconds: Range = (1.5, 5.0)
    distractor_size: Range = (0.95, 1.45)
    crossing_speed: Range = (1.1, 3.0)
    light_steps_per_minute: Range = (0.0, 4.0)
    light_step_factor: Range = (0.70, 1.35)
    pan_share: Range = (0.0, 0.06)
    off_centre_share: Range = (0.16, 0.30)
    ground_parallax: Range = (0.45, 0.85)
    bystander_chance: float = 0.45
    spare_chair_chance: float = 0.35


MOTION = MotionRanges()
TIMELINE = TimelineRanges()
SCENE = SceneRanges()
