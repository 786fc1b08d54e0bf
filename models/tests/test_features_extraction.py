"""Features: windows, flow and padding as the recipe says, in any cut, order and place."""

import dataclasses
import threading

import cv2
import numpy as np
import pytest
import torch

from models.arrays import center_crop, scale_levels
from models.backbones.registry import load_backbone, random_weights
from models.decode import VideoSource
from models.errors import (
    Cancelled,
    ContractViolation,
    OutOfMemory,
    UnreadableVideo,
    WeightsInvalid,
    WeightsMissing,
)
from models.feature_store import ChunkFeatures, LocalFeatureStore
from models.features import ExtractorSettings, FeatureExtractor, cpu_layout
from models.flow.tvl1 import build_flow_engine, quantize_flow
from models.flow.tvl1_gpu import GpuFlowEngine
from models.frame_windows import BLOCK_FRAMES
from models.prefetch import prefetched
from models.recipe import FeatureRecipe, FlowRecipe
from models.synthetic import encode_video
from models.types import ByteArray, MediaWarning, VideoFacts

SHA256 = "ab" * 32
FLOW = FlowRecipe(num_scales=2, num_warps=1, outer_iterations=1, inner_iterations=4)
RECIPE = FeatureRecipe(
    name="small", width=0.0625, stream_width=64, short_side_px=36, crop_px=32, flow=FLOW
)
SETTINGS = ExtractorSettings(num_threads=1, precision="fp32")


class ArraySource:
    """A video in memory; a `FrameSource`."""

    def __init__(self, num_frames, *, seed=0, height=36, width=44, fps=25.0):
        rng = np.random.default_rng(seed)
        scene = rng.integers(0, 256, (height + num_frames, width + num_frames, 3), dtype=np.uint8)
        blurred = cv2.GaussianBlur(scene, (0, 0), 2)
        self.frames: ByteArray = np.stack(
            [blurred[i // 2 : i // 2 + height, i : i + width] for i in range(num_frames)]
        )
        self.facts = VideoFacts(
            "array", SHA256, num_frames / fps, fps, False, width, height, num_frames, "h264"
        )
        self.warnings: tuple[MediaWarning, ...] = ()
        self.reads = []

    def read(self, start_frame, stop_frame):
        self.reads.append((start_frame, stop_frame))
        return self.frames[start_frame:stop_frame].copy()


class ForbiddenSource(ArraySource):
    """A video nobody may decode."""

    def read(self, start_frame, stop_frame):
        pytest.fail("was decoded although its features are stored")


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of 64 frames, so that short videos have several."""
    monkeypatch.setattr("models.recipe.CHUNK_FRAMES", 64)


@pytest.fixture(scope="module")
def weights():
    return random_weights(RECIPE)


@pytest.fixture
def extractor(weights):
    return FeatureExtractor(RECIPE, weights, SETTINGS)


def _whole_at_once(source, recipe, weights):
    """The same features without chunks, blocks and batches: all flow, then window by window."""
    frames = source.frames
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    levels = quantize_flow(build_flow_engine().compute(grey, recipe.flow), recipe.flow.clip_px)
    flow = np.concatenate([levels, np.full((1, *levels.shape[1:]), 128, np.uint8)])
    rows = []
    for snippet in range(recipe.grid(source.facts.duration_seconds).num_snippets):
        start = snippet * recipe.stride_frames
        index = np.minimum(np.arange(start, start + recipe.window_frames), len(frames) - 1)
        beyond = np.arange(start, start + recipe.window_frames) >= len(frames)
        window_flow = flow[index].copy()
        window_flow[beyond] = 128
        columns = []
        for stream, window in (("rgb", frames[index]), ("flow", window_flow)):
            network = load_backbone(recipe, stream, weights[stream])
            x = torch.from_numpy(scale_levels(center_crop(window, recipe.crop_px)))
            with torch.inference_mode():
                clip = x.permute(3, 0, 1, 2)[None]
                columns.append(network.forward_features(clip)[0])  # type: ignore[operator]
        rows.append(torch.cat(columns).numpy())
    return np.stack(rows)


@pytest.mark.parametrize(
    ("num_frames", "stride"), [(5, 16), (16, 16), (17, 16), (75, 16), (131, 16), (50, 8), (70, 5)]
)
def test_features_are_what_the_recipe_says(weights, short_chunks, num_frames, stride):
    recipe = dataclasses.replace(RECIPE, stride_frames=stride)
    source = ArraySource(num_frames)
    features = FeatureExtractor(recipe, weights, SETTINGS).extract(source)
    expected = _whole_at_once(source, recipe, weights)
    assert features.values.dtype == np.float32
    assert features.values.shape == expected.shape
    assert features.seconds.shape == (len(expected), 2)
    np.testing.assert_allclose(features.values, expected, rtol=1e-3, atol=1e-5)
    assert features.values.std() > 1e-3
    assert features.recipe_digest == recipe.digest


def test_chunks_are_bit_identical_in_any_order_and_place(weights, extractor, short_chunks):
    source = ArraySource(230)
    whole = extractor.extract(source).values
    parts = {}
    for chunk in (2, 0, 3, 1):
        elsewhere = FeatureExtractor(RECIPE, weights, SETTINGS)
        parts[chunk] = elsewhere.extract_chunk(ArraySource(230), chunk).values
    assert [len(parts[chunk]) for chunk in range(4)] == [4, 4, 4, 3]
    np.testing.assert_array_equal(np.concatenate([parts[chunk] for chunk in range(4)]), whole)


def test_a_row_does_not_depend_on_its_neighbours_in_the_batch(weights, short_chunks):
    long, short = ArraySource(64), ArraySource(64)
    short.frames = short.frames[:48]
    short.facts = dataclasses.replace(short.facts, duration_seconds=48 / 25)
    extractor = FeatureExtractor(RECIPE, weights, SETTINGS)
    full, partial = extractor.extract(long).values, extractor.extract(short).values
    assert (len(full), len(partial)) == (4, 3)
    # The third window's last flow has no next frame in the shorter video; the others are alike.
    np.testing.assert_array_equal(full[:2], partial[:2])
    np.testing.assert_array_equal(full[2, :64], partial[2, :64])
    assert not np.array_equal(full[2, 64:], partial[2, 64:])


def test_an_encoded_video_gives_the_same_chunks_by_seeking(tmp_path, weights, short_chunks):
    path = tmp_path / "clip.mp4"
    encode_video(iter(ArraySource(150, height=48, width=64).frames), path, fps=25.0)
    extractor = FeatureExtractor(RECIPE, weights, SETTINGS)

    def opened():
        return VideoSource(path, fps=25.0, short_side_px=RECIPE.short_side_px)

    with opened() as source:
        whole = extractor.extract(source).values
    parts = []
    for chunk in range(extractor.num_chunks(150 / 25)):
        with opened() as source:
            parts.append(extractor.extract_chunk(source, chunk).values)
    assert len(parts) == 3
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_decoding_goes_in_blocks_and_each_chunk_reads_one_frame_past_its_end(
    extractor, short_chunks
):
    source = ArraySource(150)
    extractor.extract_chunk(source, 1)
    assert source.reads == [(64, 97), (96, 129)]
    source.reads.clear()
    extractor.extract(source)
    assert max(stop - start for start, stop in source.reads) <= BLOCK_FRAMES + 1
    assert max(stop for _, stop in source.reads) == 150


def test_a_frozen_end_has_no_flow(weights):
    moving, still = ArraySource(20), ArraySource(32)
    still.frames[20:] = still.frames[19]
    moving.frames = still.frames[:20].copy()
    extractor = FeatureExtractor(RECIPE, weights, SETTINGS)
    np.testing.assert_array_equal(extractor.extract(moving).values, extractor.extract(still).values)


def test_progress_grows_and_names_its_stages(extractor, short_chunks):
    seen, threads = [], set()

    def listen(progress):
        seen.append(progress)
        threads.add(threading.get_ident())

    extractor.extract(ArraySource(150), on_progress=listen)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert {progress.stage for progress in seen} == {"decoding", "flow", "features"}
    assert threads == {threading.get_ident()}


def test_a_stop_is_heeded_before_the_next_block(extractor):
    source = ArraySource(400)
    answers = iter([False] * 5)
    with pytest.raises(Cancelled):
        extractor.extract(source, should_stop=lambda: next(answers, True))
    assert len(source.reads) <= 4
    assert threading.active_count() < 10


def test_an_unreadable_frame_ends_the_run_with_its_own_error(extractor):
    class Broken(ArraySource):
        def read(self, start_frame, stop_frame):
            if start_frame >= 32:
                message = "The bytes end here."
                raise UnreadableVideo(message)
            return super().read(start_frame, stop_frame)

    with pytest.raises(UnreadableVideo):
        extractor.extract(Broken(100))


@pytest.mark.parametrize("chunk", [-1, 3, 100])
def test_a_chunk_that_is_not_there_is_refused(extractor, short_chunks, chunk):
    with pytest.raises(ContractViolation):
        extractor.extract_chunk(ArraySource(150), chunk)


def test_stored_chunks_are_not_computed_again(tmp_path, extractor, short_chunks):
    store = LocalFeatureStore(tmp_path)
    source = ArraySource(150)
    first = extractor.extract(source, store=store, video_sha256=SHA256)
    assert store.chunks(SHA256, RECIPE.digest) == {0, 1, 2}
    again = extractor.extract(ForbiddenSource(150), store=store, video_sha256=SHA256)
    np.testing.assert_array_equal(again.values, first.values)
    damaged = next(tmp_path.rglob("chunk-00001.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    source.reads.clear()
    repaired = extractor.extract(source, store=store, video_sha256=SHA256)
    assert [start for start, _ in source.reads] == [64, 96]
    np.testing.assert_array_equal(repaired.values, first.values)
    with pytest.raises(ContractViolation, match="sha256"):
        extractor.extract(source, store=store)


def test_one_video_has_one_way_of_computing(tmp_path, extractor, short_chunks):
    store = LocalFeatureStore(tmp_path)
    source = ArraySource(150)
    own = extractor.extract(source, store=store, video_sha256=SHA256)
    foreign = {**extractor.computed_with, "precision": "bf16"}
    other = ChunkFeatures(np.full((4, 128), 7, np.float32), foreign)
    store.store_chunk(SHA256, RECIPE.digest, 1, other)
    mixed = extractor.extract(source, store=store, video_sha256=SHA256)
    np.testing.assert_array_equal(mixed.values, own.values)
    assert mixed.computed_with == extractor.computed_with
    # Where all were computed alike, elsewhere, they are taken as they are.
    for chunk, rows in enumerate((4, 4, 2)):
        values = np.full((rows, 128), chunk, np.float32)
        store.store_chunk(SHA256, RECIPE.digest, chunk, ChunkFeatures(values, foreign))
    taken = extractor.extract(ForbiddenSource(150), store=store, video_sha256=SHA256)
    assert taken.computed_with == foreign
    assert taken.values[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 2


def test_warnings_survive_the_store(tmp_path, extractor, short_chunks):
    class Lossy(ArraySource):
        def read(self, start_frame, stop_frame):
            if stop_frame > 70:
                self.warnings = (MediaWarning("frames_lost", "Some frames are lost.", 2.8),)
            return super().read(start_frame, stop_frame)

    store = LocalFeatureStore(tmp_path)
    first = extractor.extract(Lossy(150), store=store, video_sha256=SHA256)
    assert [one.code for one in first.warnings] == ["frames_lost"]
    again = extractor.extract(ForbiddenSource(150), store=store, video_sha256=SHA256)
    assert again.warnings == first.warnings


def test_computed_with_names_precision_and_versions(weights):
    settings = dataclasses.replace(SETTINGS, precision="bf16", flow_implementation="opencv")
    extractor = FeatureExtractor(RECIPE, weights, settings)
    assert extractor.computed_with["precision"] == "bf16"
    assert extractor.computed_with["torch"] == torch.__version__
    assert extractor.computed_with["flow"] == f"opencv {cv2.__version__}"
    with pytest.raises(ContractViolation, match="precision"):
        FeatureExtractor(RECIPE, weights, dataclasses.replace(SETTINGS, precision="fp8"))


def test_bf16_is_near_fp32(weights):
    source = ArraySource(40)
    exact = FeatureExtractor(RECIPE, weights, SETTINGS).extract(source).values
    settings = dataclasses.replace(SETTINGS, precision="bf16")
    rounded = FeatureExtractor(RECIPE, weights, settings).extract(source).values
    assert 0 < np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 0.03


def test_an_rgb_recipe_computes_no_flow(weights):
    recipe = dataclasses.replace(RECIPE, streams=("rgb",), flow=None)
    extractor = FeatureExtractor(recipe, {"rgb": weights["rgb"]}, SETTINGS)
    features = extractor.extract(ArraySource(40))
    both = FeatureExtractor(RECIPE, weights, SETTINGS).extract(ArraySource(40))
    np.testing.assert_array_equal(features.values, both.values[:, :64])
    assert "flow" not in extractor.computed_with


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_do_not_depend_on_threads(weights, precision):
    source = ArraySource(80)
    values = [
        FeatureExtractor(
            RECIPE, weights, ExtractorSettings(precision=precision, num_threads=count)
        ).extract(source)
        for count in (1, 2, 3, 6)
    ]
    for other in values[1:]:
        np.testing.assert_array_equal(other.values, values[0].values)
        assert other.computed_with == values[0].computed_with


@pytest.mark.parametrize("num_frames", [40, 48])
def test_flow_on_the_device_gives_the_same_features(weights, num_frames):
    source = ArraySource(num_frames)
    host = FeatureExtractor(RECIPE, weights, SETTINGS).extract(source)
    device = FeatureExtractor(RECIPE, weights, SETTINGS, GpuFlowEngine("cpu")).extract(source)
    assert device.computed_with["flow"].startswith("gpu")
    np.testing.assert_array_equal(device.values[:, :64], host.values[:, :64])
    difference = np.linalg.norm(device.values - host.values) / np.linalg.norm(host.values)
    assert difference < 0.01


@pytest.mark.parametrize(
    ("width", "precision", "num_threads", "expected"),
    [
        (0.25, "fp32", 6, (6, 1, 4)),
        (0.25, "bf16", 64, (16, 1, 4)),
        (1.0, "bf16", 2, (2, 1, 1)),
        (1.0, "bf16", 9, (4, 2, 1)),
        (1.0, "fp32", 6, (1, 6, 2)),
    ],
)
def test_threads_are_laid_out_by_width_and_precision(width, precision, num_threads, expected):
    recipe = dataclasses.replace(RECIPE, width=width)
    layout = cpu_layout(recipe, precision, num_threads)
    assert dataclasses.astuple(layout) == expected


def test_wide_fp32_features_name_the_threads_they_were_computed_with():
    recipe = dataclasses.replace(RECIPE, width=1.0, stream_width=1024, streams=("rgb",), flow=None)
    weights = random_weights(recipe)
    described = [
        FeatureExtractor(
            recipe, weights, ExtractorSettings(precision=precision, num_threads=count)
        ).computed_with.get("threads")
        for precision, count in (("fp32", 1), ("fp32", 2), ("bf16", 2))
    ]
    assert described == [None, "2", None]


def test_threads_of_torch_are_given_back(weights):
    before = torch.get_num_threads()
    extractor = FeatureExtractor(RECIPE, weights, ExtractorSettings(num_threads=before + 1))
    extractor.extract(ArraySource(20))
    assert torch.get_num_threads() == before


def test_convolutions_are_chosen_by_rule_while_features_are_computed(weights, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    seen = []

    class Watching(ArraySource):
        def read(self, start_frame, stop_frame):
            cudnn = torch.backends.cudnn
            seen.append((cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32))
            return super().read(start_frame, stop_frame)

    FeatureExtractor(RECIPE, weights, SETTINGS).extract(Watching(20))
    assert set(seen) == {(False, True, False)}
    assert torch.backends.cudnn.benchmark


def test_busy_seconds_tell_flow_from_backbones(extractor):
    extractor.extract(ArraySource(40))
    assert set(extractor.busy_seconds) == {"flow", "features"}
    assert min(extractor.busy_seconds.values()) > 0


def test_a_frame_shown_again_costs_no_flow(weights):
    class Counting:
        name, version, num_threads, pairs = "counting", "1", 1, 0

        def __init__(self):
            self.engine = build_flow_engine(num_threads=1)

        def compute(self, grey, recipe, region=None):
            self.pairs += len(grey) - 1
            return self.engine.compute(grey, recipe, region)

    source = ArraySource(48)
    source.frames = source.frames.repeat(2, axis=0)[:48].copy()
    plain = FeatureExtractor(RECIPE, weights, SETTINGS).extract(source)
    counting = Counting()
    features = FeatureExtractor(RECIPE, weights, SETTINGS, counting).extract(source)
    np.testing.assert_array_equal(features.values, plain.values)
    np.testing.assert_allclose(
        plain.values, _whole_at_once(source, RECIPE, weights), rtol=1e-3, atol=1e-5
    )
    assert counting.pairs == 23


def test_missing_and_unfit_weights_are_refused(weights):
    with pytest.raises(WeightsMissing, match="flow"):
        FeatureExtractor(RECIPE, {"rgb": weights["rgb"]}, SETTINGS)
    with pytest.raises(WeightsInvalid, match="Conv3d_1a_7x7"):
        FeatureExtractor(RECIPE, {"rgb": weights["flow"], "flow": weights["rgb"]}, SETTINGS)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
    ],
)
def test_memory_that_ran_out_is_one_error(extractor, monkeypatch, error):
    def fail(x):
        raise error

    monkeypatch.setattr(extractor._networks["rgb"], "forward_features", fail)
    with pytest.raises(OutOfMemory) as caught:
        extractor.extract(ArraySource(16))
    assert caught.value.retryable
    assert caught.value.__cause__ is error


def test_other_errors_of_torch_are_not_called_memory(extractor, monkeypatch):
    def fail(x):
        message = "expected all tensors to be on the same device"
        raise RuntimeError(message)

    monkeypatch.setattr(extractor._networks["rgb"], "forward_features", fail)
    with pytest.raises(RuntimeError, match="same device"):
        extractor.extract(ArraySource(16))


def test_prefetching_keeps_order_raises_in_place_and_closes():
    closed = []

    def numbers():
        try:
            yield 1
            yield 2
            message = "here"
            raise ValueError(message)
        finally:
            closed.append(True)

    items = prefetched(numbers())
    assert next(items) == 1
    assert next(items) == 2
    with pytest.raises(ValueError, match="here"):
        next(items)
    stopped = prefetched(numbers())
    assert next(stopped) == 1
    stopped.close()
    assert len(closed) == 2
    assert list(prefetched(iter(range(5)))) == list(range(5))
