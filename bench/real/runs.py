"""One run of one detector on one set: trained from tags alone, then asked about the test videos.

Each run is kept on disk under a key of everything that decides it, so that a stopped benchmark
goes on where it was. No setting is chosen here, and the test videos' truth is not looked at.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.real.features import FeatureWork, load_features
from bench.real.sets import DIGEST_LENGTH, BenchVideo, RealSet
from models.atomic import write_text_atomic
from models.bundled.baseline import motion_activations
from models.config import AnySettings, Preset, ProposalSettings, settings_to_json
from models.evaluation.detections import detections_of
from models.evaluation.records import Detection
from models.heads.aicl import AiclSettings
from models.heads.registry import HEADS, PRESETS
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.training.calibrate import calibrate
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead, train_head
from models.types import Activations, DoubleArray, FeatureSet

METHODS = ("dcc", "tssa", "aicl", "cleannet", "issf")
PLAIN = "plain MIL"
MOTION_TAGS = "motion energy, true tags"
MOTION_MIL = "motion energy, plain MIL's tags"
WHOLE_TAGS = "whole video, true tags"
RANDOM = "random curves"
SHUFFLED = ", shuffled tags"


@dataclass(frozen=True, slots=True)
class Run:
    """What one detector said.

    Attributes:
        detector: its name in the tables.
        seed: of its training or draws.
        detections: on the test videos, nothing left out for its score.
        cpu_seconds: of training, one thread; 0 where nothing is trained.
        video_scores: test video -> a score per class.
        kept: detections on the test videos that pass the thresholds fitted to training tags.
        quiet_segments: on the quiet videos that pass these thresholds, and of all.
    """

    detector: str
    seed: int
    detections: tuple[Detection, ...]
    cpu_seconds: float = 0.0
    video_scores: tuple[tuple[str, tuple[float, ...]], ...] = ()
    kept: tuple[Detection, ...] = ()
    quiet_segments: tuple[int, int] = (0, 0)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Run":
        """Restore a run from the JSON of its fields."""
        detections, kept = (
            tuple(Detection(*one) for one in document[name]) for name in ("detections", "kept")
        )
        scores = tuple((name, tuple(values)) for name, values in document["video_scores"])
        return cls(
            document["detector"],
            document["seed"],
            detections,
            document["cpu_seconds"],
            scores,
            kept,
            tuple(document["quiet_segments"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        document = asdict(self)
        for name in ("detections", "kept"):
            document[name] = [list(one.values()) for one in document[name]]
        return document


def available_methods() -> tuple[str, ...]:
    """Return the heads of the benchmark that this release has."""
    return tuple(method for method in METHODS if method in HEADS)


def plain_preset() -> Preset:
    """Return plain multiple-instance learning: top-k pooled class activations, nothing else.

    It is the trunk of `aicl` with every term but the video loss off, and the class activations
    alone as localization sequence; so a head differs from it in what the head adds.
    """
    small = PRESETS["aicl"]["small"]
    if not isinstance(small.head, AiclSettings):
        raise TypeError("the aicl preset holds other settings")
    head = replace(
        small.head,
        class_share=1.0,
        actionness_weight=0.0,
        contrast_weight=0.0,
        modality_weight=0.0,
        action_weight=0.0,
    )
    return replace(small, name="plain", head=head)


def preset_of(detector: str) -> tuple[str, Preset]:
    """Return the method and the preset of a trained detector."""
    base = detector.removesuffix(SHUFFLED)
    if base == PLAIN:
        return "aicl", plain_preset()
    return base, PRESETS[base]["small"]


def dataset_of(real: RealSet, work: FeatureWork) -> TaggedDataset:
    """Return the training videos' features and tags; times stay behind."""
    videos = real.split("train")
    return TaggedDataset(
        ids=tuple(video.name for video in videos),
        features=[one.values for one in load_features(videos, work)],
        labels=np.array([[c in video.labels for c in real.classes] for video in videos], np.bool_),
        classes=real.classes,
        recipe=work.recipe,
    )


def trained_run(real: RealSet, work: FeatureWork, detector: str, seed: int) -> Run:
    """Train a detector and ask it, or read back what it said."""
    method, preset = preset_of(detector)
    path = work.folder / "runs" / f"{_run_key(real, work, (detector, method, preset), seed)}.json"
    if path.exists():
        return Run.from_json(json.loads(path.read_text(encoding="utf-8")))
    dataset = dataset_of(real, work)
    if detector.endswith(SHUFFLED):
        order = np.random.default_rng(seed).permutation(len(dataset.ids))
        dataset = replace(dataset, labels=dataset.labels[order])
    started = time.process_time()
    trained = train_head(dataset, method, preset, seed)
    seconds = time.process_time() - started
    run = _ask(real, work, (trained, dataset), Run(detector, seed, (), seconds))
    write_text_atomic(path, json.dumps(run.to_json()) + "\n")
    print(f"{real.name} {work.recipe.name} {detector} {seed}: {seconds:.0f} s", flush=True)
    return run


def _ask(
    real: RealSet, work: FeatureWork, trained: tuple[TrainedHead, TaggedDataset], run: Run
) -> Run:
    """Fill in what a trained head says about the test and quiet videos."""
    head, dataset = trained
    loose = head.settings.proposals
    strict = replace(loose, class_min_scores=calibrate(head, dataset).class_min_scores)
    videos, quiet = real.split("test"), real.split("quiet")
    answers = [predict(head, features) for features in load_features(videos, work)]
    silent = [predict(head, features) for features in load_features(quiet, work)]

    def found(settings: ProposalSettings, on: Sequence[BenchVideo]) -> tuple[Detection, ...]:
        said = answers if on is videos else silent
        return tuple(
            one
            for video, answer in zip(on, said, strict=True)
            for one in detect(answer, video, work.recipe, settings)
        )

    return replace(
        run,
        detections=found(loose, videos),
        video_scores=tuple(
            (video.name, tuple(float(value) for value in answer.video_scores))
            for video, answer in zip(videos, answers, strict=True)
        ),
        kept=found(strict, videos),
        quiet_segments=(len(found(strict, quiet)), len(found(loose, quiet))),
    )


def detect(
    activations: Activations,
    video: BenchVideo,
    recipe: FeatureRecipe,
    settings: ProposalSettings,
) -> list[Detection]:
    """Return one video's detections."""
    grid = recipe.grid(video.duration_seconds)
    return detections_of(video.name, activations, grid, settings)


def motion_run(
    real: RealSet, energies: Sequence[DoubleArray], recipe: FeatureRecipe, column: int
) -> Run:
    """Return motion energy with the true tags of the test videos: one column of its measure."""
    settings = PRESETS["aicl"]["small"].proposals
    found = [
        one
        for video, energy in zip(real.split("test"), energies, strict=True)
        for one in detect(
            motion_activations(energy[:, column], video.labels, real.classes),
            video,
            recipe,
            settings,
        )
    ]
    return Run(MOTION_TAGS, column, tuple(found))


def motion_mil_run(
    real: RealSet, energies: Sequence[DoubleArray], recipe: FeatureRecipe, plain: Run, column: int
) -> Run:
    """Return motion energy that knows no more than a head: plain MIL's video scores as tags."""
    settings = PRESETS["aicl"]["small"].proposals
    scores = dict(plain.video_scores)
    found = []
    for video, energy in zip(real.split("test"), energies, strict=True):
        everything = motion_activations(energy[:, column], real.classes, real.classes)
        own = replace(everything, video_scores=np.array(scores[video.name], np.float32))
        found += detect(own, video, recipe, settings)
    return Run(MOTION_MIL, plain.seed, tuple(found))


def whole_run(real: RealSet) -> Run:
    """Return each test video as one segment of each of its true tags."""
    return Run(
        WHOLE_TAGS,
        0,
        tuple(
            Detection(video.name, label, 0.0, video.duration_seconds, 1.0)
            for video in real.split("test")
            for label in video.labels
        ),
    )


def random_run(
    real: RealSet, features: Sequence[FeatureSet], recipe: FeatureRecipe, seed: int
) -> Run:
    """Return what noise finds: uniform curves, with each class's share of training videos.

    This is what chance gives in these videos, where long actions are hit by any guess.
    """
    settings = PRESETS["aicl"]["small"].proposals
    train = real.split("train")
    shares = [sum(label in video.labels for video in train) / len(train) for label in real.classes]
    rng = np.random.default_rng(seed)
    found = []
    for video, one in zip(real.split("test"), features, strict=True):
        curves = rng.random((len(one.values), len(real.classes))).astype(np.float32)
        noise = Activations(
            localization=curves,
            scoring=curves,
            video_scores=np.array(shares, np.float32),
            attention=curves.mean(axis=1),
            classes=real.classes,
        )
        found += detect(noise, video, recipe, replace(settings, class_threshold=0.0))
    return Run(RANDOM, seed, tuple(found))


def _run_key(real: RealSet, work: FeatureWork, detector: tuple[str, str, Preset], seed: int) -> str:
    """Return a name made of all that decides a run, the head's own source file included."""
    name, method, preset = detector
    source = find_spec(f"models.heads.{method}")
    code = Path(source.origin).read_bytes() if source is not None and source.origin else b""
    settings: list[AnySettings] = [preset.head, *preset.stages]
    settings += [preset.inference, preset.proposals]
    document = [
        real.digest,
        real.name,
        work.recipe.digest,
        [settings_to_json(one) for one in settings],
        hashlib.sha256(code).hexdigest(),
    ]
    digest = hashlib.sha256(json.dumps(document).encode()).hexdigest()[:DIGEST_LENGTH]
    title = name.replace(" ", "-").replace(",", "")
    return f"{title}-{seed}-{digest}"
