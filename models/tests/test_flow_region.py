"""Flow of a region: what is asked for is what comes, and nearly what whole frames give."""

import numpy as np
import pytest

from models.errors import ContractViolation
from models.flow.frames import Region
from models.flow.tvl1 import build_flow_engine
from models.recipe import FlowRecipe

cv2 = pytest.importorskip("cv2", reason="the reference implementation is OpenCV's")
pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")

from models.flow import _tvl1  # noqa: E402
from models.flow.native import NativeFlowEngine  # noqa: E402

RECIPE = FlowRecipe()
# Wide enough that a region in the middle leaves columns out at the finest levels.
HEIGHT_PX, WIDTH_PX = 96, 320
EDGE_PX = 12


def draw_waves(height, width, num_frames=2, seed=0):
    """Smooth texture that turns and shifts a little from frame to frame, with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // 6 + 2, width // 6 + 2))
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    frames = []
    for index in range(num_frames):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0.6 * index, 1.0)
        matrix[:, 2] += (1.3 * index, -0.4 * index)
        moved = cv2.warpAffine(texture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        frames.append(np.clip(moved + rng.normal(0, 1, moved.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


def end_point_errors(a, b):
    return np.hypot(*np.moveaxis(a - b, -1, 0))


def away_from_the_frame(region):
    """The part of a region where motion stays inside the frame, so that the flow is unique."""
    rows = slice(max(EDGE_PX - region.top, 0), HEIGHT_PX - EDGE_PX - region.top)
    return np.s_[:, rows, max(EDGE_PX - region.left, 0) : WIDTH_PX - EDGE_PX - region.left]


@pytest.fixture(scope="module")
def frames():
    return draw_waves(HEIGHT_PX, WIDTH_PX, num_frames=3)


@pytest.fixture(scope="module")
def whole(frames):
    return NativeFlowEngine(2).compute(frames, RECIPE)


def test_of_opencv_is_a_cut_of_the_whole(frames):
    engine = build_flow_engine("opencv", 2)
    region = Region(10, 200, 60, 90)
    cut = engine.compute(frames[:2], RECIPE, region)
    np.testing.assert_array_equal(cut, region.cut(engine.compute(frames[:2], RECIPE)))


def test_all_of_a_frame_is_the_whole_frame(frames, whole):
    everything = Region(0, 0, HEIGHT_PX, WIDTH_PX)
    flow = NativeFlowEngine(2).compute(frames, RECIPE, everything)
    np.testing.assert_array_equal(flow, whole)


@pytest.mark.parametrize("seed", range(6))
def test_of_the_kernel_is_nearly_a_cut_of_the_whole(frames, whole, seed):
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(30, HEIGHT_PX + 1)), int(rng.integers(30, 120))
    top = int(rng.integers(0, HEIGHT_PX - height + 1))
    left = int(rng.integers(0, WIDTH_PX - width + 1))
    region = Region(top, left, height, width)
    flow = NativeFlowEngine(2).compute(frames, RECIPE, region)
    assert flow.shape == (2, height, width, 2)
    errors = end_point_errors(flow, region.cut(whole))[away_from_the_frame(region)]
    assert errors.size
    assert errors.mean() < 0.02
    assert errors.max() < 0.3


def test_something_was_left_out(frames, whole):
    region = Region(0, 0, HEIGHT_PX, 40)
    flow = NativeFlowEngine(1).compute(frames, RECIPE, region)
    assert (flow != region.cut(whole)).any()


@pytest.mark.parametrize(
    "region",
    [
        Region(0, 0, 1, 1),
        Region(HEIGHT_PX - 1, WIDTH_PX - 1, 1, 1),
        Region(0, WIDTH_PX - 1, HEIGHT_PX, 1),
        Region(HEIGHT_PX - 1, 0, 1, WIDTH_PX),
        Region(0, 0, 30, 30),
        Region(HEIGHT_PX - 30, WIDTH_PX - 30, 30, 30),
    ],
)
@pytest.mark.parametrize("processor", _tvl1.targets())
def test_at_every_border_and_on_every_processor(frames, whole, processor, region):
    flow = NativeFlowEngine(1, processor).compute(frames, RECIPE, region)
    assert flow.shape == (2, region.height, region.width, 2)
    # At the frame's edge motion enters and leaves: the flow is not unique there, but never absurd.
    assert end_point_errors(flow, region.cut(whole)).mean() < 1.0


@pytest.mark.parametrize("processor", _tvl1.targets())
def test_depends_on_neither_threads_nor_batch(processor):
    frames = draw_waves(40, 220, num_frames=7, seed=3)
    region = Region(4, 150, 30, 50)
    together = NativeFlowEngine(1, processor).compute(frames, RECIPE, region)
    for num_threads in (2, 5):
        again = NativeFlowEngine(num_threads, processor).compute(frames, RECIPE, region)
        np.testing.assert_array_equal(again, together)
    alone = [
        NativeFlowEngine(1, processor).compute(frames[k : k + 2], RECIPE, region) for k in range(6)
    ]
    np.testing.assert_array_equal(np.concatenate(alone), together)


def test_processors_agree():
    frames = draw_waves(64, 90, seed=5)
    flows = [NativeFlowEngine(1, name).compute(frames, RECIPE) for name in _tvl1.targets()]
    for flow in flows[1:]:
        errors = end_point_errors(flow, flows[0])
        assert errors[:, EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX].mean() < 0.01
        assert np.median(errors) < 0.01


def test_motion_out_of_the_frame_stays_finite():
    frames = draw_waves(64, 90, seed=6)
    frames[1] = np.roll(frames[1], 45, axis=1)
    recipe = FlowRecipe(lambda_=5.0, theta=3.0, epsilon=1e-6, num_warps=4, outer_iterations=1)
    for name in _tvl1.targets():
        flow = NativeFlowEngine(1, name).compute(frames, recipe)
        assert np.isfinite(flow).all()


@pytest.mark.parametrize("implementation", ["native", "opencv"])
@pytest.mark.parametrize(
    "region", [Region(-1, 0, 5, 5), Region(0, 0, 0, 5), Region(60, 0, 5, 5), Region(0, 86, 5, 5)]
)
def test_a_region_outside_the_frame_is_refused(implementation, region):
    frames = np.zeros((2, 64, 90), np.uint8)
    with pytest.raises(ContractViolation, match="region"):
        build_flow_engine(implementation, 1).compute(frames, RECIPE, region)


def test_the_kernel_itself_checks_the_corner():
    solver = _tvl1.Solver(
        tau=0.25, lambda_=0.15, theta=0.3, epsilon=0.01, scale_step=0.8, num_scales=5,
        num_warps=5, inner_iterations=30, outer_iterations=10, median=True,
    )  # fmt: skip
    frames = np.zeros((2, 20, 20), np.uint8)
    for corner in ((-1, 0), (0, 11), (11, 0), (0, -1)):
        with pytest.raises(ValueError, match="flow array"):
            solver.solve(frames, np.empty((1, 10, 10, 2), np.float32), 1, corner)
