"""Which arithmetic is chosen and which can be done, and the engine that keeps to it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import models.backbones.precision
import models.pipeline
from models.errors import Cancelled
from models.feature_store import ChunkFeatures, LocalFeatureStore
from models.recipe import FeatureRecipe
from models.types import VideoFacts
from service.jobs.claims import ClaimedTask
from workers.arithmetic import Adjustment, adjustment, choose_arithmetic
from workers.engine import EngineSettings, LocalizerEngine
from workers.work import FinishedChunk, TaskInput, Unable

OWN = {"arithmetic": "1", "torch": "2", "device": "cpu", "cpu": "AVX512", "precision": "bf16",
       "batch_size": "4"}  # fmt: skip
PLAIN = {**OWN, "precision": "fp32"}
OLDER = {**PLAIN, "cpu": "AVX2"}
SHA256 = "a" * 64


def arithmetic_of(settings):
    precision = "bf16" if settings.precision == "auto" else settings.precision
    return {**OWN, "precision": precision, "batch_size": str(settings.batch_size or 4)}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (PLAIN, Adjustment("fp32", 4)),
        ({**OWN, "batch_size": "8"}, Adjustment("bf16", 8)),
        (OLDER, None),
        ({**PLAIN, "device": "NVIDIA H200"}, None),
        ({**PLAIN, "torch": "3"}, None),
        ({**PLAIN, "batch_size": "0"}, None),
        ({**PLAIN, "batch_size": "many"}, None),
        ({**OWN, "precision": "fp8"}, None),
        ({}, None),
    ],
)
def test_what_settings_may_bring_about(wanted, expected):
    assert adjustment(wanted, OWN, {"fp32", "bf16"}) == expected


def test_precision_without_hardware_is_not_emulated():
    assert adjustment(OWN, PLAIN, {"fp32"}) is None
    assert adjustment(OWN, PLAIN, {"fp32", "bf16"}) == Adjustment("bf16", 4)


kinds = st.sampled_from([OWN, PLAIN, OLDER])


@given(
    stored=st.dictionaries(st.integers(0, 7), kinds),
    num_chunks=st.integers(1, 6),
    can=st.lists(kinds, max_size=3),
)
def test_most_of_what_is_stored_stays_and_nothing_is_mixed(stored, num_chunks, can):
    chosen, done = choose_arithmetic(stored, num_chunks, OWN, lambda one: one in can)
    mine = {index for index, one in stored.items() if one == chosen and index < num_chunks}
    assert done == mine, "exactly what is stored in the chosen arithmetic counts"
    complete = len(done) == num_chunks
    assert complete or chosen == OWN or chosen in can, "it can be gone on with"
    for other in (OWN, PLAIN, OLDER):
        count = sum(one == other and index < num_chunks for index, one in stored.items())
        if count == num_chunks or other == OWN or other in can:
            assert count <= len(done), "more could have stayed"


@dataclass
class FakeSource:
    """An open video that counts how often it was opened and is open."""

    world: "World"
    path: Path
    open: bool = False
    warnings: tuple = ()

    @property
    def facts(self):
        return VideoFacts(
            name="a.mp4", sha256=SHA256, duration_seconds=200.0, nominal_fps=25.0,
            variable_frame_rate=False, width_px=64, height_px=48, num_source_frames=5000,
            codec="h264",
        )  # fmt: skip

    def __enter__(self):
        self.open = True
        self.world.opened.append(self)
        return self

    def close(self):
        self.open = False


@dataclass
class FakeLocalizer:
    world: "World"
    computed_with: dict
    recipe: FeatureRecipe = field(default_factory=lambda: FeatureRecipe("test"))
    busy_seconds: dict = field(default_factory=dict)

    def num_chunk_frames(self, facts, chunk):
        return 0

    def open(self, path, *, name=None, sha256=None):
        self.world.hashes.append(sha256)
        return FakeSource(self.world, path)

    def with_overrides(self, overrides):
        return self

    def num_chunks(self, facts):
        return 4

    def extract_chunk(self, source, chunk, store, on_progress, should_stop):
        assert source.open
        if self.world.failing:
            raise self.world.failing
        features = ChunkFeatures(np.zeros((1, 2), np.float32), self.computed_with)
        store.store_chunk(source.facts.sha256, self.recipe.digest, chunk, features)
        return True


class World:
    def __init__(self, folder, monkeypatch):
        self.opened, self.hashes, self.loaded, self.failing = [], [], [], None
        monkeypatch.setattr(models.pipeline, "load_localizer", self._load)
        monkeypatch.setattr(models.backbones.precision, "has_native_bf16", lambda device: True)
        self.store = LocalFeatureStore(folder)
        self.engine = LocalizerEngine(EngineSettings((), folder, "cpu"))

    def _load(self, model, folders, settings):
        self.loaded.append((model, settings.precision, settings.batch_size))
        return FakeLocalizer(self, arithmetic_of(settings))

    def run(self, kind, index=0, computed_with=None, video="videos/1", model="m@1"):
        task = ClaimedTask(
            id="task_1", job_id="job_1", kind=kind, index=index, token=1, attempt=1,
            lease_until=datetime(2030, 1, 1, tzinfo=UTC), model=model, options={},
            payload={"facts": {"sha256": SHA256} if kind != "plan" else None},
            computed_with=computed_with, tenant_id="default", video_id=video, video_key=video,
            video_ref=None, video_name="a.mp4", video_sha256=SHA256,
        )  # fmt: skip
        return self.engine.run(TaskInput(task, Path(video)), lambda _: None, lambda: False)

    def store_chunks(self, **kinds):
        digest = FeatureRecipe("test").digest
        for index, kind in kinds.items():
            features = ChunkFeatures(np.zeros((1, 2), np.float32), kind)
            self.store.store_chunk(SHA256, digest, int(index[1:]), features)

    @property
    def num_open(self):
        return sum(source.open for source in self.opened)


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def test_consecutive_chunks_of_a_video_open_it_once(world):
    plan = world.run("plan")
    for index in range(4):
        assert world.run("chunk", index, plan.computed_with) == FinishedChunk(True, OWN)
    assert (len(world.opened), world.num_open) == (1, 1)
    assert world.hashes == [None], "only the plan hashes the file"
    world.engine.rest()
    assert world.num_open == 0
    world.run("chunk", 3, OWN)
    assert (len(world.opened), world.num_open) == (2, 1)
    assert world.hashes == [None, SHA256]


def test_at_most_one_video_is_open(world):
    for number in range(5):
        world.run("chunk", 0, OWN, video=f"videos/{number}")
        assert world.num_open == 1
    assert len(world.opened) == 5


@pytest.mark.parametrize("error", [Cancelled("stop"), OSError(28, "full"), KeyboardInterrupt()])
def test_video_is_closed_after_any_error(world, error):
    world.failing = error
    with pytest.raises(type(error)):
        world.run("chunk", 0, OWN)
    assert world.num_open == 0


def test_engine_computes_as_asked_where_it_can(world):
    assert world.run("chunk", 0, PLAIN) == FinishedChunk(True, PLAIN)
    assert world.run("chunk", 1, PLAIN) == FinishedChunk(True, PLAIN)
    assert world.loaded == [("m@1", "auto", 0), ("m@1", "fp32", 4)]
    assert world.run("chunk", 2, OWN) == FinishedChunk(True, OWN)
    assert world.loaded[2:] == [("m@1", "auto", 0)]


def test_engine_says_so_where_it_cannot(world):
    assert world.run("chunk", 0, OLDER) == Unable(OWN)
    other_flow = {**PLAIN, "flow": "native 9"}
    assert world.run("chunk", 0, other_flow) == Unable(OWN)
    loads = len(world.loaded)
    assert world.run("chunk", 1, other_flow) == Unable(OWN)
    assert len(world.loaded) == loads, "what was tried in vain is not loaded again"
    assert world.opened == [], "nothing is read for a chunk that is declined"


def test_plan_without_anything_stored_states_what_this_machine_does(world):
    plan = world.run("plan")
    assert (plan.num_chunks, plan.done_chunks, plan.computed_with) == (4, frozenset(), OWN)


@pytest.mark.parametrize(
    ("stored", "done", "arithmetic"),
    [
        ({f"c{i}": OLDER for i in range(4)}, {0, 1, 2, 3}, OLDER),
        ({"c0": OLDER, "c1": OLDER, "c2": OWN}, {2}, OWN),
        ({"c0": PLAIN, "c1": PLAIN, "c2": OWN}, {0, 1}, PLAIN),
        ({"c0": PLAIN, "c2": OWN}, {2}, OWN),
        ({"c0": OLDER, "c9": OWN}, set(), OWN),
    ],
)
def test_plan_goes_on_with_what_is_stored(world, stored, done, arithmetic):
    world.store_chunks(**stored)
    plan = world.run("plan")
    assert (plan.done_chunks, plan.computed_with) == (done, arithmetic)
