"""Measures what decides how far spreading scales: a claim, opening a video, joining it.

Used by `bench.spread`; each is small enough to be measured alone, without a service.
"""

import math
import statistics
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from models.decode import VideoSource
from models.feature_store import ChunkFeatures, LocalFeatureStore
from models.localize.segments import localize_activations
from models.modelcard import find_model
from models.pipeline import model_folders
from models.prediction import predict
from models.synthetic import encode_video
from models.types import ByteArray, FeatureSet
from service.jobs.commands import JobCore, NewJob, create_job
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.store import clock_for, create_engine_for, migrate, new_id
from service.jobs.videos import NewContent, NewVideo
from service.storage import LocalBlobStore

CLAIMS = 200
LEASE_SECONDS = 60.0
FPS = 25.0
WIDTH_PX, HEIGHT_PX = 64, 48
OPENED_MINUTES = (5, 60)
OPENINGS = 5
JOINED_HOURS = (1, 4)
MODEL = "kinetag-demo"
SEED = 1
SECONDS_PER_HOUR = 3600


def claim_seconds(folder: Path) -> dict[str, float]:
    """Return medians of the transactions that a chunk costs, on SQLite, with real syncs."""
    engine = create_engine_for(f"sqlite:///{folder / 'claims.db'}")
    migrate(engine)
    clock = clock_for(engine)
    core = JobCore(engine, clock, LocalBlobStore(folder / "blobs"), folder / "features")
    content = NewContent("0" * 64, 1, f"videos/{new_id('vid')}")
    create_job(core, NewJob(video=NewVideo(name="a.mp4", content=content), model="none@1"))
    queue = TaskQueue(engine, clock)
    plan = queue.claim(owner="bench", lease_seconds=LEASE_SECONDS)
    if plan is None:
        message = "a fresh job has no plan to claim"
        raise AssertionError(message)
    queue.complete_plan(plan.id, plan.token, Plan(CLAIMS, {}))
    spent: dict[str, list[float]] = {"claim": [], "heartbeat": [], "complete": []}
    while (task := _timed_claim(queue, spent["claim"])) is not None and task[2] == "chunk":
        task_id, token, _ = task
        started = time.perf_counter()
        queue.heartbeat(task_id, token, lease_seconds=LEASE_SECONDS, stage="features", fraction=0.5)
        spent["heartbeat"].append(time.perf_counter() - started)
        started = time.perf_counter()
        queue.complete_chunk(task_id, token, computed=True, computed_with={})
        spent["complete"].append(time.perf_counter() - started)
    engine.dispose()
    return {f"{name}_seconds": statistics.median(values) for name, values in spent.items()}


def _timed_claim(queue: TaskQueue, spent: list[float]) -> tuple[str, int, str] | None:
    started = time.perf_counter()
    task = queue.claim(owner="bench", lease_seconds=LEASE_SECONDS)
    spent.append(time.perf_counter() - started)
    return None if task is None else (task.id, task.token, task.kind)


def opening_seconds(folder: Path) -> dict[str, float]:
    """Return what opening a video costs: once, and per hour of it (its index is read whole)."""
    least = []
    for minutes in OPENED_MINUTES:
        path = folder / f"long-{minutes}.mp4"
        encode_video(_moving_square(round(minutes * 60 * FPS)), path, fps=FPS, codec="h264")
        spent = []
        for _ in range(OPENINGS):
            started = time.perf_counter()
            with VideoSource(path, fps=FPS, short_side_px=None, sha256="0" * 64):
                spent.append(time.perf_counter() - started)
        least.append(min(spent))
    hours = [minutes * 60 / SECONDS_PER_HOUR for minutes in OPENED_MINUTES]
    per_hour = max(0.0, (least[1] - least[0]) / (hours[1] - hours[0]))
    return {
        "opening_seconds": max(0.0, least[0] - per_hour * hours[0]),
        "opening_seconds_per_video_hour": per_hour,
    }


def joining_seconds(folder: Path) -> dict[str, float]:
    """Return what joining costs per hour of video: reading stored chunks, head, segments.

    The features are noise of the right shape; opening the video is not part of it.
    """
    torch.set_num_threads(1)  # as each worker of the bench
    model = find_model(MODEL, model_folders(folder))
    recipe, store = model.recipe, LocalFeatureStore(folder / "joined")
    rng = np.random.default_rng(SEED)
    spent = []
    for hours in JOINED_HOURS:
        grid = recipe.grid(hours * SECONDS_PER_HOUR)
        num_chunks = math.ceil(grid.num_snippets / recipe.chunk_snippets)
        sha256 = f"{hours:064x}"
        for chunk in range(num_chunks):
            rows = min(recipe.chunk_snippets, grid.num_snippets - chunk * recipe.chunk_snippets)
            noise = rng.normal(size=(rows, recipe.feature_width)).astype(np.float32)
            values = noise * model.standardize_std + model.standardize_mean
            store.store_chunk(sha256, recipe.digest, chunk, ChunkFeatures(values))
        started = time.perf_counter()
        stored = [store.load_chunk(sha256, recipe.digest, at) for at in range(num_chunks)]
        values = np.concatenate([one.values for one in stored if one is not None])
        features = FeatureSet(values, grid.snippet_seconds(), recipe.digest, grid.duration_seconds)
        localize_activations(predict(model, features), grid, model.card.proposals)
        spent.append(time.perf_counter() - started)
    per_hour = (spent[-1] - spent[0]) / (JOINED_HOURS[-1] - JOINED_HOURS[0])
    return {"joining_seconds_per_video_hour": max(0.0, per_hour)}


def _moving_square(num_frames: int) -> Iterator[ByteArray]:
    period = WIDTH_PX - 16
    pictures = []
    for left in range(period):
        picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 40, np.uint8)
        picture[10:26, left : left + 16] = (200, 120, 90)
        pictures.append(picture)
    return islice(cycle(pictures), num_frames)
