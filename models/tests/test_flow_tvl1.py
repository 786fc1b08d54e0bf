"""One suite for both flow implementations, and the kernel against the reference."""

import sys
import threading
import warnings

import numpy as np
import pytest

from models.errors import ContractViolation
from models.flow.tvl1 import NativeFlowMissing, build_flow_engine
from models.recipe import FlowRecipe

cv2 = pytest.importorskip("cv2", reason="the reference implementation is OpenCV's")
pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")

from models.flow import _tvl1  # noqa: E402
from models.flow.native import NativeFlowEngine  # noqa: E402

RECIPE = FlowRecipe()
# Few iterations of one warp: no stopping decision and no chaos, only rounding may differ.
SHORT_RECIPE = FlowRecipe(num_scales=3, num_warps=1, inner_iterations=5, outer_iterations=1)


def draw_texture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.uniform(0, 255, (height // c + 2, width // c + 2)), (width, height))
        for c in (3, 7, 15)
    ]
    return np.mean(layers, axis=0).astype(np.float32)


def draw_motion(height, width, matrix, num_frames=2, seed=0):
    """Frames of a texture under repeated application of a 2x3 matrix about the texture's centre."""
    texture = draw_texture(3 * height, 3 * width, seed)
    window = np.array([[1, 0, -width], [0, 1, -height], [0, 0, 1]], float)
    step = np.vstack([matrix, [0, 0, 1]])
    frames = []
    for index in range(num_frames):
        whole = np.linalg.matrix_power(step, index) @ window
        drawn = cv2.warpAffine(texture, whole[:2], (width, height), flags=cv2.INTER_CUBIC)
        frames.append(np.clip(drawn, 0, 255).astype(np.uint8))
    return np.stack(frames)


def draw_shift(height, width, dx, dy, num_frames=2, seed=0):
    return draw_motion(height, width, [[1, 0, dx], [0, 1, dy]], num_frames, seed)


def end_point_errors(a, b):
    return np.hypot(*np.moveaxis(a - b, -1, 0))


@pytest.fixture(params=["native", "opencv"])
def engine(request):
    return build_flow_engine(request.param, num_threads=2)


class TestEveryEngine:
    def test_says_what_it_is(self, engine):
        assert engine.name in {"native", "opencv"}
        assert engine.version
        assert engine.num_threads == 2

    def test_finds_a_known_shift(self, engine):
        frames = draw_shift(60, 80, dx=2.0, dy=-1.0)
        flow = engine.compute(frames, RECIPE)
        assert flow.shape == (1, 60, 80, 2)
        assert flow.dtype == np.float32
        inside = flow[0, 10:-10, 10:-10]
        assert np.abs(inside - [2.0, -1.0]).mean() < 0.1

    def test_finds_a_known_zoom(self, engine):
        zoom = 1.03
        frames = draw_motion(60, 80, [[zoom, 0, 0], [0, zoom, 0]])
        flow = engine.compute(frames, RECIPE)[0]
        y, x = np.mgrid[:60, :80]
        truth = np.stack([(zoom - 1) * x, (zoom - 1) * y], axis=-1)
        assert end_point_errors(flow, truth)[8:-8, 8:-8].mean() < 0.15

    def test_no_motion_is_exactly_zero(self, engine):
        frames = np.repeat(draw_shift(33, 47, 0, 0)[:1], 3, axis=0)
        assert not engine.compute(frames, RECIPE).any()

    def test_flat_frames_are_exactly_zero(self, engine):
        frames = np.zeros((2, 40, 40), np.uint8)
        frames[1] = 255
        assert not engine.compute(frames, RECIPE).any()

    def test_one_frame_has_no_flow(self, engine):
        assert engine.compute(np.zeros((1, 20, 30), np.uint8), RECIPE).shape == (0, 20, 30, 2)

    @pytest.mark.parametrize("size", [(3, 3), (3, 60), (16, 16), (17, 33), (20, 15), (61, 3)])
    def test_small_and_odd_sizes_are_finite(self, engine, size):
        flow = engine.compute(draw_shift(size[0], size[1], dx=0.5, dy=0.5), RECIPE)
        assert flow.shape == (1, *size, 2)
        assert np.isfinite(flow).all()

    def test_reads_any_strides(self, engine):
        frames = draw_shift(40, 48, 1.0, 0.5)
        wide = np.zeros((2, 80, 96), np.uint8)
        wide[:, ::2, ::2] = frames
        again = engine.compute(wide[:, ::2, ::2], RECIPE)
        np.testing.assert_array_equal(again, engine.compute(frames, RECIPE))

    def test_leaves_its_input_alone(self, engine):
        frames = draw_shift(40, 48, 1.0, 0.5)
        before = frames.copy()
        engine.compute(frames, RECIPE)
        np.testing.assert_array_equal(frames, before)

    def test_a_pair_does_not_depend_on_its_batch(self, engine):
        frames = draw_shift(32, 40, 1.5, -0.5, num_frames=6)
        whole = engine.compute(frames, RECIPE)
        split = [engine.compute(frames[a : b + 1], RECIPE) for a, b in ((0, 2), (2, 3), (3, 5))]
        np.testing.assert_array_equal(whole, np.concatenate(split))

    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((2, 20, 20), np.float32),
            np.zeros((20, 20), np.uint8),
            np.zeros((2, 20, 20, 3), np.uint8),
            np.zeros((0, 20, 20), np.uint8),
            np.zeros((2, 1, 200), np.uint8),
            np.zeros((2, 200, 2), np.uint8),
        ],
    )
    def test_refuses_what_are_no_grey_frames(self, engine, frames):
        with pytest.raises(ContractViolation, match="Optical flow"):
            engine.compute(frames, RECIPE)

    @pytest.mark.parametrize(
        "recipe",
        [
            FlowRecipe(algorithm="raft"),
            FlowRecipe(median_filtering=3),
            FlowRecipe(num_warps=0),
            FlowRecipe(theta=0.0),
            FlowRecipe(scale_step=1.0),
        ],
    )
    def test_refuses_a_recipe_it_cannot_follow(self, engine, recipe):
        with pytest.raises(ContractViolation):
            engine.compute(np.zeros((2, 20, 20), np.uint8), recipe)


@pytest.mark.parametrize("processor", _tvl1.targets())
class TestEveryProcessor:
    @pytest.mark.parametrize("size", [(64, 80), (65, 81), (37, 112), (50, 17), (16, 16)])
    def test_few_iterations_equal_the_reference(self, processor, size):
        frames = draw_shift(size[0], size[1], dx=1.3, dy=-0.7)
        native = NativeFlowEngine(1, processor).compute(frames, SHORT_RECIPE)
        reference = build_flow_engine("opencv", 1).compute(frames, SHORT_RECIPE)
        assert np.abs(reference).max() > 0.5
        assert end_point_errors(native, reference).max() < 0.005

    def test_full_recipe_is_close_to_the_reference(self, processor):
        zoom = [[1.02, 0.01, -1], [-0.01, 1.02, 0.5]]
        frames = draw_motion(96, 120, zoom, num_frames=3)
        native = NativeFlowEngine(1, processor).compute(frames, RECIPE)
        reference = build_flow_engine("opencv", 1).compute(frames, RECIPE)
        # Where the motion leaves the frame the solution is not unique; there rounding decides.
        assert end_point_errors(native, reference).mean() < 0.03
        assert np.median(end_point_errors(native, reference)) < 0.003

    def test_without_the_median(self, processor):
        recipe = FlowRecipe(median_filtering=1, num_warps=2)
        frames = draw_shift(48, 64, dx=1.0, dy=0.5)
        native = NativeFlowEngine(1, processor).compute(frames, recipe)
        reference = build_flow_engine("opencv", 1).compute(frames, recipe)
        assert end_point_errors(native, reference).mean() < 0.01

    @pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 11), (20, 33), (31, 64)])
    def test_median_is_the_median(self, processor, size):
        rng = np.random.default_rng(7)
        # Few distinct values give many ties, many give none.
        for image in (rng.normal(size=size), rng.integers(0, 3, size)):
            source = np.ascontiguousarray(image, np.float32)
            target = np.empty_like(source)
            _tvl1.median(source, target, processor)
            padded = np.pad(source, 2, mode="edge")
            windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
            np.testing.assert_array_equal(target, np.median(windows, axis=(2, 3)))

    def test_median_network_by_the_zero_one_principle(self, processor):
        # Every way in which five sorted columns can hold zeros and ones, as 5x5 images.
        ones = np.stack(np.meshgrid(*[np.arange(6)] * 5, indexing="ij"), -1).reshape(-1, 5)
        windows = (np.arange(5)[:, None] >= 5 - ones[:, None, :]).astype(np.float32)
        strip = np.ascontiguousarray(windows.transpose(1, 0, 2).reshape(5, -1))
        target = np.empty_like(strip)
        _tvl1.median(strip, target, processor)
        np.testing.assert_array_equal(target[2, 2::5], ones.sum(axis=1) >= 13)


class TestThreads:
    def test_number_of_threads_changes_no_bit(self):
        frames = draw_shift(48, 64, 1.2, 0.4, num_frames=12)
        one = NativeFlowEngine(1).compute(frames, RECIPE)
        for num_threads in (2, 3, 16):
            again = NativeFlowEngine(num_threads).compute(frames, RECIPE)
            np.testing.assert_array_equal(one, again)

    def test_python_goes_on_while_the_kernel_runs(self):
        frames = draw_shift(128, 170, 1.0, 0.5, num_frames=9)
        engine = NativeFlowEngine(1)
        done = threading.Event()
        interval = sys.getswitchinterval()

        def compute():
            engine.compute(frames, RECIPE)
            done.set()

        thread = threading.Thread(target=compute)
        turns = 0
        # With the interval this long, a thread that kept the lock would let no turn happen.
        sys.setswitchinterval(60)
        try:
            thread.start()
            while not done.wait(timeout=0.001):
                turns += 1
        finally:
            sys.setswitchinterval(interval)
            thread.join()
        assert turns >= 5

    def test_opencv_threads_are_given_back(self):
        before = cv2.getNumThreads()
        cv2.setNumThreads(3)
        try:
            build_flow_engine("opencv", 1).compute(draw_shift(20, 20, 0.5, 0.5), SHORT_RECIPE)
            assert cv2.getNumThreads() == 3
        finally:
            cv2.setNumThreads(before)

    def test_zero_takes_every_processor(self):
        assert build_flow_engine("native", 0).num_threads >= 1

    def test_refuses_a_negative_number(self):
        with pytest.raises(ContractViolation, match="negative"):
            build_flow_engine("native", -1)


class TestChoice:
    def test_auto_takes_the_kernel_without_a_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert build_flow_engine("auto").name == "native"

    def test_auto_falls_back_with_one_warning(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "models.flow.native")
        monkeypatch.setitem(sys.modules, "models.flow._tvl1", None)
        monkeypatch.delattr("models.flow._tvl1")
        with pytest.warns(NativeFlowMissing) as caught:
            engine = build_flow_engine("auto")
        assert engine.name == "opencv"
        assert len(caught) == 1
        with pytest.raises(ContractViolation, match="not built"):
            build_flow_engine("native")

    def test_refuses_unknown_names(self):
        with pytest.raises(ContractViolation, match="implementation"):
            build_flow_engine("cuda")
        with pytest.raises(ContractViolation, match="kernels"):
            NativeFlowEngine(1, "avx1024")

    def test_the_kernel_itself_checks_shapes(self):
        solver = _tvl1.Solver(
            tau=0.25, lambda_=0.15, theta=0.3, epsilon=0.01, scale_step=0.8, num_scales=5,
            num_warps=5, inner_iterations=30, outer_iterations=10, median=True,
        )  # fmt: skip
        frames = np.zeros((3, 20, 20), np.uint8)
        for shape in ((3, 20, 20, 2), (2, 20, 21, 2), (2, 20, 20, 3)):
            with pytest.raises(ValueError, match="flow array"):
                solver.solve(frames, np.empty(shape, np.float32), 1)
