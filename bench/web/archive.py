"""A data folder with finished jobs that nobody had to compute: drawn videos, planted evidence.

Segments come from the planted activations by the product's own post-processing, and jobs go
through the real queue; only the networks are left out.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from models.config import ProposalSettings
from models.decode import VideoSource
from models.evidence import Evidence, LocalizationResult, labels_seen, make_segments
from models.evidence_file import write_evidence
from models.exports import to_native
from models.presentation import PresentationTimes
from models.synthetic import (
    ACTIONS,
    Instance,
    VideoSpec,
    draw_frames,
    encode_video,
    plan_video,
)
from models.thumbnails import draw_thumbnails
from models.timegrid import TimeGrid
from models.types import Activations, ByteArray, FloatArray, VideoFacts
from service.jobs.commands import JobCore, NewJob, create_job, open_core
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import VideoRecord
from service.jobs.states import TaskKind
from service.jobs.store import new_id, transaction
from service.jobs.videos import NewContent, NewVideo
from service.settings import load_settings
from service.storage import store_activations, video_key
from workers.engine import facts_to_json
from workers.probing import store_thumbnails

MODEL = "kinetag-demo@1"
OWNER = "archive"
LEASE_SECONDS = 600.0
GRID_FPS, WINDOW_FRAMES = 25.0, 16
NOISE_LEVEL = 0.12
EDGE_SECONDS = 0.5
LONG_FPS = 1.0
LONG_WIDTH_PX, LONG_HEIGHT_PX = 320, 180
TICKS_PER_FRAME = 1000
KINDS = (TaskKind.PLAN, TaskKind.JOIN)
SETTINGS: dict[str, Any] = {
    "thresholds": (0.4, 0.5, 0.6),
    "class_threshold": 0.5,
    "min_raw_score": 0.35,
}
"""Above the planted noise, so that what is found is what was planted."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A video as it is put into the archive.

    Attributes:
        path: of the file.
        instances: where actions are planted.
        name: for display; hostile ones are welcome.
        labels: classes of the model, in its order; an instance's label is one of them.
        camera, recorded_at, tag: of the job.
        options: of the job.
        seed: of the noise.
    """

    path: Path
    instances: Sequence[Instance]
    name: str
    labels: tuple[str, ...] = ACTIONS
    camera: str | None = None
    recorded_at: datetime | None = None
    tag: str | None = None
    options: dict[str, Any] | None = None
    seed: int = 0


def draw_short(folder: Path, seed: int, duration_seconds: float = 30.0, **looks: Any) -> Recording:  # noqa: ANN401 - fields of VideoSpec
    """Draw a video of figures in action, once per folder and seed.

    Args:
        folder: of the file.
        seed: decides all.
        duration_seconds: at least 10 per label.
        looks: fields of `VideoSpec`, such as ``labels`` and ``width_px``.
    """
    spec = VideoSpec(seed=seed, duration_seconds=duration_seconds, **looks)
    plan = plan_video(spec)
    path = folder / f"drawn-{seed}-{duration_seconds:g}-{spec.width_px}.mp4"
    if not path.exists():
        encode_video(draw_frames(plan), path, fps=spec.fps, gop=12)
    return Recording(path, plan.instances, path.name, seed=seed)


def draw_long(folder: Path, hours: float = 10.0, num_instances: int = 1000) -> Recording:
    """Draw a plain video of many hours, one frame per second, with actions strewn over it.

    Args:
        folder: of the file; made once per folder and length.
        hours: its length.
        num_instances: of actions, evenly strewn, 2 to 20 seconds each.
    """
    path = folder / f"long-{hours:g}h.mp4"
    num_frames = round(hours * 3600 * LONG_FPS)
    if not path.exists():
        encode_video(
            _moving_bars(num_frames),
            path,
            fps=LONG_FPS,
            gop=30,
            options={"preset": "ultrafast"},
        )
    dice = np.random.default_rng(3)
    room = hours * 3600 / num_instances
    lengths = dice.uniform(min(2.0, room / 3), min(20.0, room / 2), num_instances)
    starts = np.arange(num_instances) * room + dice.uniform(0, 1, num_instances) * (room - lengths)
    chosen = dice.choice(ACTIONS, num_instances)
    instances = [
        Instance(str(label), float(start), float(start + length))
        for label, start, length in zip(chosen, starts, lengths, strict=True)
    ]
    return Recording(path, instances, path.name, seed=7)


def _moving_bars(num_frames: int) -> Iterator[ByteArray]:
    """Yield pictures that tell apart where in the video one is: a bar that moves once per hour."""
    rows = np.linspace(30, 90, LONG_HEIGHT_PX, dtype=np.uint8)
    ground = np.repeat(np.repeat(rows[:, None, None], LONG_WIDTH_PX, axis=1), 3, axis=2)
    for index in range(num_frames):
        picture = ground.copy()
        at = int(index % 3600 / 3600 * (LONG_WIDTH_PX - 16))
        hue = index // 3600 * 40 % 200
        picture[20:-20, at : at + 16] = (220, 60 + hue % 160, 220 - hue)
        yield picture


class Archive:
    """A data folder that is filled with finished jobs.

    Args:
        folder: of `kinetag up` or `kinetag api`; nobody need use it yet.
        tenant_id: whose jobs they are.
    """

    def __init__(self, folder: Path, tenant_id: str = "default") -> None:
        self.settings = load_settings(data_dir=folder)
        self.core: JobCore = open_core(self.settings).for_tenant(tenant_id)
        # Workers see all tenants.
        self._queue = TaskQueue(open_core(self.settings).engine)

    def close(self) -> None:
        """Let the database go."""
        self.core.engine.dispose()

    def add(self, recording: Recording, *, thumbnails: bool = True) -> str:
        """Put a video with a finished job into the archive; return the job's id."""
        job_id, facts = self._submit(recording, thumbnails=thumbnails)
        plan = self._claim(job_id)
        self._queue.complete_plan(
            plan.id, plan.token, Plan(1, facts_to_json(facts), {0}, recipe="0" * 16)
        )
        evidence = plant_evidence(recording, facts)
        key = store_activations(self.core.blobs, job_id, write_evidence(evidence))
        join = self._claim(job_id)
        result = to_native(_result(evidence, facts))
        self._queue.complete_join(join.id, join.token, result=result, activations_key=key)
        return job_id

    def add_queued(self, recording: Recording) -> str:
        """Put a video with a job that waits for a worker into the archive; return the job's id."""
        return self._submit(recording, thumbnails=False)[0]

    def add_failed(self, recording: Recording, code: str, message: str) -> str:
        """Put a video whose job failed into the archive; return the job's id."""
        job_id, _ = self._submit(recording, thumbnails=False)
        task = self._claim(job_id)
        self._queue.fail(task.id, task.token, code=code, message=message, retryable=False)
        return job_id

    def _claim(self, job_id: str) -> Any:  # noqa: ANN401 - a ClaimedTask
        while True:
            task = self._queue.claim(owner=OWNER, lease_seconds=LEASE_SECONDS, kinds=KINDS)
            if task is None:
                message = "Somebody else works on this archive."
                raise RuntimeError(message)
            if task.job_id == job_id:
                return task
            # One that is to stay queued.
            self._queue.release(task.id, task.token)

    def _submit(self, recording: Recording, *, thumbnails: bool) -> tuple[str, VideoFacts]:
        content = recording.path.read_bytes()
        video_id = new_id("vid")
        self.core.blobs.put_bytes(video_key(video_id), content)
        sha256 = hashlib.sha256(content).hexdigest()
        new = NewVideo(
            recording.name,
            NewContent(sha256, len(content), video_key(video_id)),
            camera=recording.camera,
            recorded_at=recording.recorded_at,
            video_id=video_id,
        )
        view, _ = create_job(
            self.core,
            NewJob(new, MODEL, options=recording.options or {}, tag=recording.tag),
        )
        with VideoSource(
            recording.path, fps=GRID_FPS, short_side_px=None, name=recording.name, sha256=sha256
        ) as source:
            facts = source.facts
            strip = draw_thumbnails(source) if thumbnails else None
        if strip is not None:
            key = store_thumbnails(self.core.blobs, video_id, strip.jpeg)
            with transaction(self.core.engine) as session:
                video = session.get_one(VideoRecord, video_id)
                video.thumbnails_key = key
                video.facts = {"thumbnails": strip.to_json()}
        return view.job.id, facts


def plant_evidence(recording: Recording, facts: VideoFacts) -> Evidence:
    """Return activations that rise where actions were planted, with noise elsewhere."""
    grid = TimeGrid(GRID_FPS, WINDOW_FRAMES, WINDOW_FRAMES, facts.duration_seconds)
    dice = np.random.default_rng(recording.seed)
    shape = (grid.num_snippets, len(recording.labels))
    curves = (dice.beta(2, 8, shape) * NOISE_LEVEL / 0.2).astype(np.float32)
    middles = grid.snippet_centers_seconds()
    for one in recording.instances:
        height = dice.uniform(0.6, 0.97)
        inside = np.minimum(middles - one.start_seconds, one.end_seconds - middles)
        bump = height * np.clip(inside / EDGE_SECONDS + 0.5, 0, 1)
        column = recording.labels.index(one.label)
        curves[:, column] = np.maximum(curves[:, column], bump.astype(np.float32))
    curves = np.clip(curves, 0, 1)
    ticks = np.arange(max(1, facts.num_source_frames), dtype=np.int64) * TICKS_PER_FRAME
    step = Fraction(facts.nominal_fps or GRID_FPS).limit_denominator(1001) * TICKS_PER_FRAME
    return Evidence(
        activations=_activations(curves, recording.labels, dice),
        grid=grid,
        proposals=replace(ProposalSettings(), **SETTINGS),
        calibration=None,
        times=PresentationTimes(1 / step, ticks),
    )


def _activations(
    curves: FloatArray, labels: tuple[str, ...], dice: np.random.Generator
) -> Activations:
    attention = curves.max(axis=1)
    flow_share = np.clip(0.5 + 0.3 * np.cumsum(dice.normal(0, 0.2, len(attention))), 0.15, 0.85)
    return Activations(
        localization=curves,
        scoring=curves,
        video_scores=curves.max(axis=0),
        attention=attention,
        classes=labels,
        stream_attention={
            "rgb": np.clip(attention * 2 * (1 - flow_share), 0, 1).astype(np.float32),
            "flow": np.clip(attention * 2 * flow_share, 0, 1).astype(np.float32),
        },
    )


def _result(evidence: Evidence, facts: VideoFacts) -> LocalizationResult:
    return LocalizationResult(
        video=facts,
        model=MODEL,
        recipe_digest="0" * 16,
        computed_with={"precision": "fp32"},
        segments=make_segments(evidence),
        labels_seen=labels_seen(evidence),
        warnings=(),
        evidence=evidence,
    )
