"""Evidence drawn at random, of every kind there is, and the results that it makes."""

from fractions import Fraction
from typing import Any

import numpy as np

from models.config import NmsSettings, ProposalSettings
from models.evidence import Evidence, LocalizationResult, labels_seen, make_segments
from models.exports import selected, to_native
from models.localize.calibration import ScoreCalibration
from models.overrides import LocalizeOverrides
from models.presentation import PresentationTimes
from models.timegrid import TimeGrid
from models.types import Activations, HeadProposals, VideoFacts

CLASSES = ("walk", "fall \u2028 -->", "\U0001f938")


def evidence_of(seed: int = 0, num_snippets: int = 40, **kinds: Any) -> Evidence:
    """Draw evidence; ``kinds``: own, windowed, same, stretched, calibrated, contrast, variable."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid(25.0, 16, 16, num_snippets * 0.64 - 0.2)
    num_steps = 55 if kinds.get("stretched") else grid.num_snippets

    def curve():
        smooth = np.convolve(rng.random(num_steps + 6), np.ones(7) / 7, "valid")
        return ((smooth - smooth.min() + 1e-3) / (np.ptp(smooth) + 2e-3)).astype(np.float32)

    def curves():
        return np.stack([curve() for _ in CLASSES], axis=1)

    localization = curves()
    ends = np.sort(rng.uniform(0, num_steps, (30, 2)), axis=1)
    own = HeadProposals(rng.integers(0, 3, 30), ends, rng.uniform(-1, 2, 30))
    activations = Activations(
        localization=localization,
        scoring=localization if kinds.get("same") else curves(),
        video_scores=rng.random(3).astype(np.float32),
        attention=curve(),
        classes=CLASSES,
        window_scores=curves() if kinds.get("windowed") else None,
        proposals=own if kinds.get("own") else None,
        stream_attention={"rgb": curve(), "flow": curve()} if kinds.get("streams") else {},
    )
    steps = rng.integers(1, 5000 if kinds.get("variable") else 2, int(grid.duration_seconds * 30))
    ticks = np.concatenate([[0], np.cumsum(steps)])
    base = Fraction(1, 30) if not kinds.get("variable") else Fraction(1, 90_000)
    return Evidence(
        activations=activations,
        grid=grid,
        proposals=ProposalSettings(
            source="head" if kinds.get("own") else "thresholds",
            score="contrast" if kinds.get("contrast") else "oic",
            class_min_scores=(0.0, 0.1, 0.2),
            nms=NmsSettings(kinds.get("nms", "hard")),
        ),
        calibration=ScoreCalibration(4.0, -1.5) if kinds.get("calibrated") else None,
        times=PresentationTimes(base, ticks),
    )


def native_of(evidence: Evidence, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the result that a worker stores for a job with these options."""
    overrides = LocalizeOverrides.from_json(options or {})
    duration = evidence.grid.duration_seconds
    facts = VideoFacts("cam.mp4", "0" * 64, duration, 30.0, False, 64, 48, 9, "h264")
    result = LocalizationResult(
        video=facts,
        model="kinetag-demo@1",
        recipe_digest="0123456789abcdef",
        computed_with={"precision": "fp32"},
        segments=make_segments(evidence, overrides),
        labels_seen=labels_seen(evidence, overrides),
        warnings=(),
    )
    return selected(to_native(result), overrides)
