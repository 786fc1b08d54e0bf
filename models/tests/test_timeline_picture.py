"""The timeline picture is drawn for full, sparse and empty results."""

import cv2
import numpy as np
import pytest

from models.errors import ContractViolation
from models.timeline import TimelinePicture, draw_timeline, thumbnail_seconds

pytest.importorskip("matplotlib", reason="pictures need the plots extra")


def read_picture(path):
    return cv2.imread(str(path))


def test_a_segment_shows_where_it_is_in_time(tmp_path):
    full, empty = tmp_path / "full.png", tmp_path / "empty.png"
    segment = {"label": "fall", "start": 50.0, "end": 90.0, "score": 0.5}
    draw_timeline(TimelinePicture("t", 100.0, [segment]), full)
    draw_timeline(TimelinePicture("t", 100.0, []), empty)
    picture = read_picture(full)
    changed = np.any(picture != read_picture(empty), axis=(0, 2))
    columns = np.flatnonzero(changed)
    # The time axis starts right of its labels and spans most of the width.
    assert columns.min() > 0.45 * picture.shape[1]
    assert columns.max() < 0.95 * picture.shape[1]


def test_all_parts_together(tmp_path):
    path = tmp_path / "all.png"
    seconds = np.linspace(0, 10, 16)
    draw_timeline(
        TimelinePicture(
            title="everything",
            duration_seconds=10.0,
            segments=[{"label": "a_b", "start": 1.0, "end": 2.0, "score": 0.9}],
            ground_truth=[{"label": "$x$", "start": 1.0, "end": 2.0}],
            thumbnails=np.zeros((12, 12, 16, 3), np.uint8),
            curve_seconds=seconds,
            curves={f"class {i}": np.full(16, i / 20, np.float32) for i in range(20)},
        ),
        path,
    )
    assert read_picture(path).shape[1] > 1000


def test_a_video_without_length_is_refused(tmp_path):
    with pytest.raises(ContractViolation, match="duration_seconds"):
        draw_timeline(TimelinePicture("t", 0.0, []), tmp_path / "x.png")


def test_thumbnails_stand_in_the_middle_of_equal_parts():
    assert thumbnail_seconds(12.0, 4).tolist() == [1.5, 4.5, 7.5, 10.5]
