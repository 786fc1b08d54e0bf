"""TV-L1 for the GPU in torch operations on the processor: beside the kernel and the reference."""

import shutil

import numpy as np
import pytest
import torch

from models.errors import ContractViolation
from models.flow import tvl1_gpu
from models.flow.frames import Region
from models.flow.tvl1 import build_flow_engine, quantize_flow
from models.flow.tvl1_gpu import GpuFlowEngine, TritonMissing
from models.flow.tvl1_gpu_frames import grey_from_rgb, quantize_tensor
from models.flow.tvl1_gpu_levels import level_sizes
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe

cv2 = pytest.importorskip("cv2", reason="frames are drawn by OpenCV")

RECIPE = FlowRecipe()
# Few iterations of one warp: no stopping decision and no chaos, only rounding may differ.
SHORT_RECIPE = FlowRecipe(num_scales=3, num_warps=1, inner_iterations=5, outer_iterations=1)
# What one pair of frames may differ from the native kernel, on the mean.
TOLERANCE_PX = 0.02
REAL_CLIPS = (
    "clips/c3d/v_BaseballPitch_g01_c01.avi",
    "clips/mmaction2/demo.mp4",
    "clips/imageio-binaries/cockatoo.mp4",
)


def draw_frames(height, width, matrix, num_frames=2, seed=0):
    """A texture under repeated application of a 2x3 matrix about the texture's middle."""
    rng = np.random.default_rng(seed)
    size = (3 * width, 3 * height)
    layers = [
        cv2.resize(rng.uniform(0, 255, (size[1] // c + 2, size[0] // c + 2)), size)
        for c in (3, 7, 15)
    ]
    texture = np.mean(layers, axis=0).astype(np.float32)
    window = np.array([[1, 0, -width], [0, 1, -height], [0, 0, 1]], float)
    step = np.vstack([matrix, [0, 0, 1]])
    frames = []
    for index in range(num_frames):
        whole = np.linalg.matrix_power(step, index) @ window
        drawn = cv2.warpAffine(texture, whole[:2], (width, height), flags=cv2.INTER_CUBIC)
        frames.append(np.clip(drawn, 0, 255).astype(np.uint8))
    return np.stack(frames)


def draw_shift(height, width, dx, dy, num_frames=2, seed=0):
    return draw_frames(height, width, [[1, 0, dx], [0, 1, dy]], num_frames, seed)


def end_point_errors(a, b):
    return np.hypot(*np.moveaxis(a - b, -1, 0))


@pytest.fixture(scope="module")
def engine():
    return GpuFlowEngine("cpu")


class TestEngine:
    def test_says_what_it_is(self, engine):
        assert (engine.name, engine.backend, engine.num_threads) == ("gpu", "torch", 1)
        assert engine.version == f"1-torch-{torch.__version__}"

    def test_names_the_cut_of_its_kernels(self):
        pytest.importorskip("triton")
        version = GpuFlowEngine("cuda", "triton").version
        assert version.startswith("1-triton-k4x64-")

    def test_is_built_by_name(self):
        assert "-torch-" in build_flow_engine("gpu", device="cpu").version

    def test_takes_triton_only_where_it_can_run(self, monkeypatch):
        pytest.importorskip("triton")
        capability = (9, 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
        monkeypatch.setattr(tvl1_gpu, "_has_python_headers", lambda: True)
        assert GpuFlowEngine("cuda").backend == "triton"
        capability = (7, 5)
        with pytest.warns(TritonMissing, match=r"capability 7\.5"):
            assert GpuFlowEngine("cuda").backend == "torch"
        capability = (9, 0)
        monkeypatch.setattr(tvl1_gpu, "_has_python_headers", lambda: False)
        with pytest.warns(TritonMissing, match=r"Python\.h"):
            assert GpuFlowEngine("cuda").backend == "torch"
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.warns(TritonMissing, match="install gcc"):
            assert GpuFlowEngine("cuda").backend == "torch"

    def test_refuses_unknown_backends(self):
        with pytest.raises(ContractViolation, match="back-end"):
            GpuFlowEngine("cpu", "opencl")

    def test_finds_a_known_shift(self, engine):
        flow = engine.compute(draw_shift(60, 80, dx=2.0, dy=-1.0), RECIPE)
        assert flow.shape == (1, 60, 80, 2)
        assert flow.dtype == np.float32
        assert np.abs(flow[0, 10:-10, 10:-10] - [2.0, -1.0]).mean() < 0.1

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
        recipe = FlowRecipe(outer_iterations=2)
        flow = engine.compute(draw_shift(size[0], size[1], 0.5, 0.5), recipe)
        assert flow.shape == (1, *size, 2)
        assert np.isfinite(flow).all()

    def test_reads_any_strides_and_leaves_its_input_alone(self, engine):
        frames = draw_shift(40, 48, 1.0, 0.5)
        wide = np.zeros((2, 80, 96), np.uint8)
        wide[:, ::2, ::2] = frames
        before = wide.copy()
        again = engine.compute(wide[:, ::2, ::2], SHORT_RECIPE)
        np.testing.assert_array_equal(again, engine.compute(frames, SHORT_RECIPE))
        np.testing.assert_array_equal(wide, before)

    def test_a_pair_does_not_depend_on_its_batch(self, engine):
        frames = draw_shift(32, 40, 1.5, -0.5, num_frames=6)
        frames[3] = frames[2]  # one pair stops at once
        whole = engine.compute(frames, RECIPE)
        split = [engine.compute(frames[a : b + 1], RECIPE) for a, b in ((0, 2), (2, 3), (3, 5))]
        np.testing.assert_array_equal(whole, np.concatenate(split))

    def test_little_memory_changes_no_bit(self, engine):
        frames = draw_shift(32, 40, 1.5, -0.5, num_frames=4)
        little = GpuFlowEngine("cpu", work_bytes=1)
        np.testing.assert_array_equal(
            engine.compute(frames, SHORT_RECIPE), little.compute(frames, SHORT_RECIPE)
        )

    def test_a_region_is_cut_out(self, engine):
        frames = draw_shift(40, 52, 1.0, 0.5)
        region = Region(5, 7, 30, 41)
        part = engine.compute(frames, SHORT_RECIPE, region)
        assert part.shape == (1, 30, 41, 2)
        np.testing.assert_array_equal(part, region.cut(engine.compute(frames, SHORT_RECIPE)))
        with pytest.raises(ContractViolation, match="region"):
            engine.compute(frames, SHORT_RECIPE, Region(20, 0, 30, 30))

    def test_tensors_and_arrays_agree(self, engine):
        frames = draw_shift(33, 40, 1.0, 0.5, num_frames=3)
        region = Region(2, 3, 20, 30)
        flow = engine.compute_tensor(torch.from_numpy(frames), SHORT_RECIPE, region)
        np.testing.assert_array_equal(flow.numpy(), engine.compute(frames, SHORT_RECIPE, region))

    def test_counts_its_work(self, engine):
        frames = draw_shift(20, 30, 1.0, 0.5, num_frames=3)
        frames[2] = frames[1]
        recipe = FlowRecipe(num_scales=1, num_warps=2, epsilon=1e-9, inner_iterations=4)
        work = engine.solve(torch.from_numpy(frames), recipe).pixel_iterations
        # The first pair never stops early; the still one stops after one iteration per warp.
        assert work.tolist() == [2 * 4 * 10 * 600, 2 * 600]

    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((2, 20, 20), np.float32),
            np.zeros((20, 20), np.uint8),
            np.zeros((0, 20, 20), np.uint8),
            np.zeros((2, 200, 2), np.uint8),
        ],
    )
    def test_refuses_what_are_no_grey_frames(self, engine, frames):
        with pytest.raises(ContractViolation, match="Optical flow"):
            engine.compute(frames, RECIPE)
        with pytest.raises(ContractViolation, match="Optical flow"):
            engine.compute_tensor(torch.from_numpy(frames), RECIPE)

    def test_refuses_a_recipe_it_cannot_follow(self, engine):
        with pytest.raises(ContractViolation):
            engine.compute(np.zeros((2, 20, 20), np.uint8), FlowRecipe(median_filtering=3))

    def test_refuses_frames_of_another_device(self):
        frames = torch.zeros((2, 9, 9), dtype=torch.uint8)
        with pytest.raises(ContractViolation, match="frames are on cpu"):
            GpuFlowEngine("cuda", "torch").compute_tensor(frames, RECIPE)


@pytest.fixture(scope="module")
def native():
    pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")
    return build_flow_engine("native", 1)


class TestAgainstOthers:
    @pytest.mark.parametrize("size", [(64, 80), (37, 112), (50, 17), (16, 16)])
    def test_few_iterations_equal_the_kernel(self, engine, native, size):
        frames = draw_shift(size[0], size[1], 1.3, -0.7)
        ours, theirs = engine.compute(frames, SHORT_RECIPE), native.compute(frames, SHORT_RECIPE)
        assert np.abs(theirs).max() > 0.5
        assert end_point_errors(ours, theirs).max() < 0.005

    def test_full_recipe_is_close_to_kernel_and_reference(self, engine, native):
        frames = draw_frames(96, 120, [[1.02, 0.01, -1], [-0.01, 1.02, 0.5]])
        ours = engine.compute(frames, RECIPE)
        assert end_point_errors(ours, native.compute(frames, RECIPE)).mean() < TOLERANCE_PX
        if hasattr(cv2, "optflow"):
            reference = build_flow_engine("opencv", 1).compute(frames, RECIPE)
            assert end_point_errors(ours, reference).mean() < TOLERANCE_PX

    def test_without_the_median(self, engine, native):
        recipe = FlowRecipe(median_filtering=1, num_warps=2)
        frames = draw_shift(48, 64, dx=1.0, dy=0.5)
        ours = engine.compute(frames, recipe)
        assert end_point_errors(ours, native.compute(frames, recipe)).mean() < 0.01

    def test_real_clips(self, engine, native, real_clips):
        av = pytest.importorskip("av")
        errors, motions = [], []
        for path in (real_clips / name for name in REAL_CLIPS):
            if not path.is_file():
                pytest.skip(f"the data folder lacks {path.name}")
            with av.open(str(path)) as container:
                frames = [
                    frame.reformat(170, 128, "gray").to_ndarray()
                    for frame, _ in zip(container.decode(video=0), range(32), strict=False)
                ]
            pair = np.stack(frames[-2:])
            theirs = native.compute(pair, RECIPE)
            errors.append(end_point_errors(engine.compute(pair, RECIPE), theirs).mean())
            motions.append(np.hypot(*np.moveaxis(theirs, -1, 0)).mean())
        assert np.mean(errors) <= TOLERANCE_PX
        assert max(motions) > 0.5  # still frames would prove nothing


class TestFrames:
    def test_grey_is_opencvs_for_every_colour(self):
        levels = np.arange(256, dtype=np.uint8)
        colours = np.empty((256, 256, 3), np.uint8)
        colours[..., 1], colours[..., 2] = levels[:, None], levels
        for red in range(256):
            colours[..., 0] = red
            grey = grey_from_rgb(torch.from_numpy(colours[None])).numpy()[0]
            np.testing.assert_array_equal(grey, cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))

    def test_grey_of_odd_sizes_and_strides(self):
        rgb = np.random.default_rng(3).integers(0, 256, (3, 14, 22, 3), dtype=np.uint8)
        cut = rgb[:, ::2, 1::3]
        expected = [cv2.cvtColor(np.ascontiguousarray(one), cv2.COLOR_RGB2GRAY) for one in cut]
        np.testing.assert_array_equal(grey_from_rgb(torch.from_numpy(cut)).numpy(), expected)
        with pytest.raises(ContractViolation, match="uint8"):
            grey_from_rgb(torch.zeros((2, 4, 4), dtype=torch.uint8))

    @pytest.mark.parametrize("clip_px", [20.0, 15.0, 3.3])
    def test_levels_are_the_hosts(self, clip_px):
        rng = np.random.default_rng(5)
        # All borders between two levels, what lies next to them, and far outside.
        borders = ((np.arange(257) - 0.5) * 2 * clip_px / 255 - clip_px).astype(np.float32)
        near = [np.nextafter(borders, np.float32(side * 99)) for side in (-1, 1)]
        flow = np.concatenate([borders, *near, rng.normal(0, 30, 9999), [0, np.inf, -np.inf]])
        flow = flow.astype(np.float32)
        levels = quantize_tensor(torch.from_numpy(flow), clip_px).numpy()
        np.testing.assert_array_equal(levels, quantize_flow(flow, clip_px))
        assert levels[-3] == 128

    def test_levels_refuse_what_the_host_refuses(self):
        with pytest.raises(ContractViolation, match="clip_px"):
            quantize_tensor(torch.zeros(3), 0.0)
        with pytest.raises(ContractViolation, match="no number"):
            quantize_tensor(torch.tensor([0.0, float("nan")]), 20.0)


class TestCut:
    @pytest.mark.parametrize("cut", [Cut(), Cut(6, 128), Cut(2, 16)])
    @pytest.mark.parametrize("width", [3, 62, 63, 64, 140, 174, 218, 273, 341, 1920])
    def test_strips_own_every_column_once(self, width, cut):
        halo, lanes = cut.pass_iterations, cut.strip_lanes
        owners = np.zeros(width + 2 * lanes, int)
        strips = cut.num_strips(width)
        lane = np.arange(lanes)
        for strip in range(strips):
            x = strip * (lanes - 2 * halo) - 1 + lane
            own = (x >= 0) & (x < width) & ((lane >= halo) | (strip == 0))
            own &= (lane < lanes - halo) | (strip == strips - 1)
            owners[x[own]] += 1
        np.testing.assert_array_equal(owners[:width], 1)
        # One strip fewer would leave columns out.
        assert strips == 1 or (strips - 1) * (lanes - 2 * halo) + 2 * halo < width + 1

    @pytest.mark.parametrize("programs", [1, 6, 600, 100_000])
    @pytest.mark.parametrize("height", [3, 16, 105, 256, 1080])
    def test_segments_are_whole_sums(self, height, programs):
        rows = Cut().segment_rows(height, programs)
        assert rows % Cut().sum_rows == 0
        assert rows >= Cut().sum_rows

    def test_levels_are_opencvs(self):
        sizes = level_sizes(256, 341, RECIPE)
        assert sizes == [(256, 341), (205, 273), (164, 218), (131, 174), (105, 139)]
        assert level_sizes(20, 20, RECIPE) == [(20, 20), (16, 16)]
        assert level_sizes(9, 400, RECIPE) == [(9, 400)]
