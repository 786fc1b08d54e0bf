"""A feature recipe is a contract: everything that decides the values of features.

Its digest is stored beside features and inside each trained head. Numeric precision and kernel
versions are not part of it; they are recorded as ``computed_with``.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from models.errors import RecipeMismatch
from models.timegrid import TimeGrid

STREAM_NAMES = ("rgb", "flow")
DIGEST_LENGTH = 16
CHUNK_FRAMES = 1600  # 64 s at 25 fps, 100 windows of 16: unit of progress, lease and retry


@dataclass(frozen=True, slots=True)
class FlowRecipe:
    """How optical flow is computed and stored.

    Source: kinetics-i3d README (TV-L1, truncation to 20 px); OpenCV contrib DualTVL1OpticalFlow
    defaults for the solver; denseflow for the 8-bit mapping.
    """

    algorithm: str = "tvl1"
    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    num_scales: int = 5
    scale_step: float = 0.8
    num_warps: int = 5
    epsilon: float = 0.01
    inner_iterations: int = 30
    outer_iterations: int = 10
    median_filtering: int = 5
    clip_px: float = 20.0
    quantize: bool = True


@dataclass(frozen=True, slots=True)
class FeatureRecipe:
    """Everything that decides the values of features.

    Attributes:
        name: for people; not part of the digest.
        fps: of the uniform grid.
        window_frames, stride_frames: of a snippet's window, in grid frames.
        short_side_px: frames are resized (bilinear, aspect kept) so that the shorter side is this.
        crop_px: centre crop fed to the backbone.
        streams: ("rgb",) or ("rgb", "flow"); features stand side by side in this order.
        backbone: name in `models.backbones`, for instance ``inception_i3d``.
        width: channel multiplier of the backbone; 1.0 is the published network.
        stream_width: feature width D of one stream.
        flow: how the flow stream's input is made; None without a flow stream.
        weights: stream name -> sha256 of the safetensors file.
    """

    name: str
    fps: float = 25.0
    window_frames: int = 16
    stride_frames: int = 16
    short_side_px: int = 256
    crop_px: int = 224
    streams: tuple[str, ...] = STREAM_NAMES
    backbone: str = "inception_i3d"
    width: float = 1.0
    stream_width: int = 1024
    flow: FlowRecipe | None = FlowRecipe()
    weights: tuple[tuple[str, str], ...] = ()

    @property
    def feature_width(self) -> int:
        """D: the width of all streams side by side."""
        return self.stream_width * len(self.streams)

    @property
    def chunk_snippets(self) -> int:
        """Snippets per chunk; chunk c owns snippets [c * this, (c + 1) * this)."""
        return CHUNK_FRAMES // self.stride_frames

    def grid(self, duration_seconds: float) -> TimeGrid:
        """Return the time grid of a video of this duration."""
        return TimeGrid(self.fps, self.window_frames, self.stride_frames, duration_seconds)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` restores an equal recipe."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "FeatureRecipe":
        """Restore a recipe written by `to_json`."""
        values = dict(document)
        flow = values.get("flow")
        values["flow"] = FlowRecipe(**flow) if flow is not None else None
        values["streams"] = tuple(values["streams"])
        values["weights"] = tuple((name, digest) for name, digest in values["weights"])
        return cls(**values)

    @property
    def digest(self) -> str:
        """Hex digest over every field but the name."""
        values = self.to_json()
        del values["name"]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def require_same_recipe(expected: FeatureRecipe, got: FeatureRecipe) -> None:
    """Raise RecipeMismatch naming the fields in which two recipes differ."""
    left, right = expected.to_json(), got.to_json()
    differing = [key for key in left if key != "name" and left[key] != right[key]]
    if differing:
        parts = ", ".join(f"{key} (expected {left[key]}, got {right[key]})" for key in differing)
        message = f"These features were made by another recipe; it differs in {parts}."
        raise RecipeMismatch(message)
