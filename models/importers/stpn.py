"""Checkpoints of STPN's public re-implementation: one TensorFlow checkpoint per stream."""

from models.config import InferenceSettings, NmsSettings, ProposalSettings
from models.heads.published_stpn import StpnSettings
from models.importers.keymap import KeyRule, affine
from models.importers.plan import (
    NO_BACKBONE_NOTE,
    STREAMS,
    ImportPlan,
    Shapes,
    Widths,
    on_width,
)
from models.recipe import FeatureRecipe

# Source: bellos1203/STPN code/stpn_main.py, code/test.py, code/utils.py; frames at 10 per second.
STPN_RECIPE = FeatureRecipe(name="external-i3d-10fps", fps=10.0)
_STPN_PROPOSALS = ProposalSettings(
    source="head",
    class_threshold=0.1,
    align="start",
    min_raw_score=-1000.0,  # raw scores are logits and may lie anywhere
    nms=NmsSettings(kind="hard", threshold=0.5),
)


def plan_stpn(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of an RGB and a flow checkpoint, in this order."""
    del shapes
    stream, hidden = widths["stream"], widths["hidden"]
    names = ("kernel", "bias")
    files: list[list[KeyRule]] = []
    for name in STREAMS:
        base = f"streams.{name}"
        attention = f"{base}.attention"
        rules = [
            *affine(
                "Attention/dense/",
                f"{attention}.first.conv",
                (stream, hidden),
                "transpose_to_conv",
                names,
            ),
            *affine(
                "Attention/dense_1/",
                f"{attention}.second.conv",
                (hidden, 1),
                "transpose_to_conv",
                names,
            ),
            *affine(
                "Classification/class_weight/",
                f"{base}.classifier",
                (stream, num_classes),
                "transpose",
                names,
            ),
        ]
        slots = [
            KeyRule(f"{rule.source}/{slot}", rule.shape, reason="a slot of the Adam optimiser")
            for rule in rules
            for slot in ("Adam", "Adam_1")
        ]
        powers = [
            KeyRule(f"{beta}_power", (), reason="a counter of the Adam optimiser")
            for beta in ("beta1", "beta2")
        ]
        files.append([*rules, *slots, *powers])
    return ImportPlan(
        "published_stpn",
        StpnSettings(attention_width=hidden),
        tuple(files),
        on_width(STPN_RECIPE, widths),
        InferenceSettings(sampling="uniform", num_snippets=400),
        _STPN_PROPOSALS,
        (NO_BACKBONE_NOTE, "Raw scores are gated logits; clipped to 0..1 they say little."),
    )
