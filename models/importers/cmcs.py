"""Checkpoints of CMCS: one network on both streams, or one per stream, on two kinds of features."""

from collections.abc import Callable

from models.config import NmsSettings, OicSettings, ProposalSettings
from models.heads.published_cmcs import CmcsSettings
from models.importers.keymap import KeyRule, affine
from models.importers.plan import (
    STREAMS,
    WHOLE_VIDEO,
    ImportPlan,
    Shapes,
    Widths,
    on_width,
)
from models.recipe import FeatureRecipe

# Native rate: its THUMOS14 videos have 30 frames per second. Source: thumos14-test-meta.mat.
CMCS_FPS = 30.0
CMCS_I3D = FeatureRecipe(name="external-i3d-30fps", fps=CMCS_FPS)
CMCS_UNTRIMMED = FeatureRecipe(
    name="external-untrimmednet",
    fps=CMCS_FPS,
    window_frames=15,
    stride_frames=15,
    backbone="bn_inception",
)
CMCS_WIDENING_SNIPPETS = 1.25  # Source: configs/trained/*.json, proc_value
CMCS_NOTES = (
    "Trained on features of ten crops at the videos' own frame rate, here taken as 30 per second.",
    "A run that reaches the last snippet lasts to that snippet's end, not to its first frame.",
)
UNTRIMMED_NOTE = (
    "The file holds no backbone: it takes UntrimmedNet features, which this release cannot "
    "extract; use stored features."
)


def _cmcs_rules(prefix: str, in_width: int, num_outputs: int, widths: Widths) -> list[KeyRule]:
    width, branch, attention = widths["width"], widths["branch"], widths["attention"]
    rules = affine("base.base_conv_0", f"{prefix}.embedding.conv", (width, in_width, 1))
    for index in range(widths["branches"]):
        bottom = f"cls_bottoms.{index}.cls_b{index}_conv_0"
        rules += affine(bottom, f"{prefix}.branches.{index}.conv", (branch, width, 3))
        target = f"{prefix}.classifiers.{index}.conv"
        rules += affine(f"cls_heads.{index}", target, (num_outputs, branch), "linear_to_conv")
    embedding = f"{prefix}.attention_embedding.conv"
    rules += affine("att_bottom.att_conv_0", embedding, (attention, width, 1))
    rules += affine("att_head", f"{prefix}.attention.conv", (1, attention), "linear_to_conv")
    return rules


def plan_cmcs_on(
    recipe: FeatureRecipe, notes: tuple[str, ...]
) -> Callable[[int, list[Shapes], Widths], ImportPlan]:
    """Return the plan of CMCS networks on features of one recipe."""

    def plan(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
        outputs, stream = num_classes + 1, widths["stream"]
        late = len(shapes) > 1
        files = {"both": 2 * stream} if not late else dict.fromkeys(STREAMS, stream)
        rules = tuple(
            _cmcs_rules(f"networks.{name}", width, outputs, widths) for name, width in files.items()
        )
        stride = recipe.stride_frames
        settings = CmcsSettings(
            fusion="late" if late else "early",
            branches=widths["branches"],
            width=widths["width"],
            branch_width=widths["branch"],
            attention_width=widths["attention"],
            stride_frames=stride,
        )
        # Source: CMCS detect.py, utils.py and configs: sequences are interpolated to frames and
        # runs dilated by 1.25 strides; runs of one class are apart, so nothing is suppressed.
        proposals = ProposalSettings(
            thresholds=(0.5,),
            widen_samples=int(CMCS_WIDENING_SNIPPETS * stride),
            class_threshold=0.1,
            align="start",
            upsample=stride,
            oic=OicSettings(margin_ratio=0.25, min_margin=1.0, class_bonus=0.25),
            nms=NmsSettings(kind="hard", threshold=1.0),
        )
        return ImportPlan(
            "published_cmcs",
            settings,
            rules,
            on_width(recipe, widths),
            WHOLE_VIDEO,
            proposals,
            notes,
        )

    return plan
