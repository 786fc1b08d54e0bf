"""The kernel beside OpenCV on frames of real clips; skipped without the data folder."""

import numpy as np
import pytest

from models.flow.tvl1 import build_flow_engine, quantize_flow
from models.recipe import FlowRecipe

CLIPS = (
    "clips/c3d/v_BaseballPitch_g01_c01.avi",
    "clips/mmaction2/demo.mp4",
    "clips/imageio-binaries/cockatoo.mp4",
)
FIRST_FRAME = 30
SIZE_PX = (170, 128)


def decode_pair(path):
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frames = []
        for index, frame in enumerate(container.decode(video=0)):
            if index >= FIRST_FRAME:
                frames.append(frame.reformat(*SIZE_PX, "gray").to_ndarray())
            if len(frames) == 2:
                return np.stack(frames)
    pytest.skip(f"{path.name} is too short")


@pytest.fixture(scope="module")
def flows(real_clips):
    pytest.importorskip("cv2")
    pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")
    paths = [real_clips / name for name in CLIPS]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        pytest.skip(f"the data folder lacks {missing}")
    native, opencv = build_flow_engine("native", 2), build_flow_engine("opencv", 2)
    recipe = FlowRecipe()
    pairs = [decode_pair(path) for path in paths]
    return [(native.compute(pair, recipe), opencv.compute(pair, recipe)) for pair in pairs]


def test_mean_end_point_error(flows):
    errors = [np.hypot(*np.moveaxis(a - b, -1, 0)).mean() for a, b in flows]
    assert np.mean(errors) <= 0.03
    moving = [np.hypot(*np.moveaxis(b, -1, 0)).mean() for _, b in flows]
    assert max(moving) > 0.5  # still frames would prove nothing


def test_levels_hardly_differ(flows):
    apart = [
        (np.abs(quantize_flow(a, 20.0).astype(int) - quantize_flow(b, 20.0)) > 1).mean()
        for a, b in flows
    ]
    assert np.mean(apart) < 0.01
