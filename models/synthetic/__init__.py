"""Draws labelled untrimmed videos of articulated figures, deterministic from a seed."""

from models.synthetic.actions import ACTIONS
from models.synthetic.clips import draw_clip, plan_clip
from models.synthetic.draw import draw_frames
from models.synthetic.idling import BACKGROUND_KINDS
from models.synthetic.plan import (
    Instance,
    VideoPlan,
    VideoSpec,
    ground_truth_json,
    plan_video,
    stratified_specs,
)
from models.synthetic.video import EncodeSettings, encode_video

__all__ = [
    "ACTIONS",
    "BACKGROUND_KINDS",
    "EncodeSettings",
    "Instance",
    "VideoPlan",
    "VideoSpec",
    "draw_clip",
    "draw_frames",
    "encode_video",
    "ground_truth_json",
    "plan_clip",
    "plan_video",
    "stratified_specs",
]
