"""Checkpoints of heads on the usual two-stream I3D features at 25 frames per second.

Per source: its tensors, the head that runs it, and its authors' decoding.
"""

from dataclasses import replace

from models.config import InferenceSettings, NmsSettings, OicSettings, ProposalSettings
from models.heads.aicl import AiclSettings
from models.heads.dcc_network import DccSettings
from models.heads.issf_settings import IssfSettings
from models.heads.published_acmnet import AcmNetSettings
from models.heads.published_cola import ColaSettings
from models.importers.keymap import KeyRule, affine
from models.importers.plan import (
    EXTERNAL_I3D,
    NO_BACKBONE_NOTE,
    STREAMS,
    WHOLE_VIDEO,
    ImportPlan,
    Shapes,
    Widths,
    on_width,
    steps,
)

# Source: AAAI2023-AICL inference_thumos.py and scripts; the margin of 0.2 comes from an argument
# that its call passes into the margin's position. ASL's code is the same without soft suppression.
_AICL_PROPOSALS = ProposalSettings(
    thresholds=steps(0.1, 0.9, 0.1),
    class_threshold=0.25,
    allow_empty=False,
    align="start",
    upsample=24,
    oic=OicSettings(margin_ratio=0.2, class_bonus=0.2),
    nms=NmsSettings(kind="soft_once", threshold=0.4, alpha=0.35, plus_one=True),
)
_ASL_PROPOSALS = replace(
    _AICL_PROPOSALS, nms=NmsSettings(kind="hard", threshold=0.4, plus_one=True)
)
_STRETCHED = InferenceSettings(sampling="uniform", num_snippets=750)
_THINNED = InferenceSettings(sampling="uniform_short", num_snippets=750)


def plan_aicl(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of AICL's own checkpoint."""
    del shapes
    hidden, stream = widths["hidden"], widths["stream"]
    base = "actionness_module"
    rules = [
        *affine(f"{base}.base_module.0", "trunk.conv", (hidden, 2 * stream, 3)),
        *affine(f"{base}.cls.0", "classifier.conv", (num_classes, hidden, 1)),
    ]
    for name in STREAMS:
        rules += affine(f"{base}.action_module_{name}.0", f"{name}_trunk.conv", (hidden, stream, 3))
        rules += affine(f"{base}.cls_{name}", f"{name}_actionness.conv", (1, hidden, 1))
    return ImportPlan(
        "aicl",
        AiclSettings(width=hidden, fill_pairs=True),
        (rules,),
        on_width(EXTERNAL_I3D, widths),
        _STRETCHED,
        _AICL_PROPOSALS,
    )


def plan_asl(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of ASL's checkpoint, whose network is AICL's with kernels of 1."""
    del shapes
    hidden, stream = widths["hidden"], widths["stream"]
    rules = [
        *affine("base_module.0", "trunk.conv", (hidden, 2 * stream, 1)),
        *affine("base_module.2", "classifier.conv", (num_classes, hidden, 1)),
    ]
    for name in STREAMS:
        rules += affine(f"action_module_{name}.0", f"{name}_trunk.conv", (hidden, stream, 1))
        rules += affine(f"action_module_{name}.2", f"{name}_actionness.conv", (1, hidden, 1))
    settings = AiclSettings(
        width=hidden, kernel=1, contrast_weight=0.0, modality_weight=0.0, action_weight=0.0
    )
    recipe = on_width(EXTERNAL_I3D, widths)
    return ImportPlan("aicl", settings, (rules,), recipe, _STRETCHED, _ASL_PROPOSALS)


# Source: BaS-Net config.py, test.py, utils.py. Its class score is made binary before it is added.
_BASNET_PROPOSALS = ProposalSettings(
    thresholds=steps(0.0, 0.225, 0.025),
    class_threshold=0.25,
    align="start",
    upsample=24,
    oic=OicSettings(margin_ratio=0.25, class_bonus=0.2, thresholded=True, binary_bonus=True),
    nms=NmsSettings(kind="hard", threshold=0.7, plus_one=True),
)
BASNET_SLOPE = 0.01  # LeakyReLU's default


def plan_basnet(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of a BaS-Net checkpoint, which DCC runs without its contrast."""
    del shapes
    width, hidden, features = widths["width"], widths["hidden"], 2 * widths["stream"]
    rules = [
        *affine("filter_module.conv_1.0", "network.foreground.first.conv", (hidden, features, 1)),
        *affine("filter_module.conv_2.0", "network.foreground.second.conv", (1, hidden, 1)),
        *affine("cas_module.conv_1.0", "network.embedding.0.conv", (width, features, 3)),
        *affine("cas_module.conv_2.0", "network.embedding.1.conv", (width, width, 3)),
        KeyRule(
            "cas_module.conv_3.0.weight",
            (num_classes + 1, width, 1),
            "network.classifier.conv.weight",
        ),
    ]
    settings = DccSettings(
        width=width,
        foreground_width=hidden,
        foreground_slope=BASNET_SLOPE,
        suppress="input",
        scaling="min_max_signed",
        contrast=False,
    )
    recipe = on_width(EXTERNAL_I3D, widths)
    return ImportPlan("dcc", settings, (rules,), recipe, _STRETCHED, _BASNET_PROPOSALS)


# Source: RSKP options.py, evaluation/eval.py and evaluation/detectionMAP.py.
_RSKP_PROPOSALS = ProposalSettings(
    thresholds=steps(0.001, 0.039, 0.002),
    class_threshold=0.1,
    align="start",
    upsample=1,
    oic=OicSettings(margin_ratio=0.25, class_bonus=0.0, min_length=2, trailing_sample=True),
    nms=NmsSettings(kind="contain", threshold=0.5, plus_one=True, plus_unit="snippets"),
)


def plan_rskp(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of an RSKP checkpoint, which ISSF runs with RSKP's refinement."""
    del shapes
    embed, prototypes = widths["embed"], widths["prototypes"]
    rules = [
        KeyRule("mu", (prototypes, embed), "prototypes"),
        KeyRule("ac_center", (num_classes + 1, embed), "predict.class_centres"),
        KeyRule("fg_center", (1, embed), "predict.foreground_centre"),
        *affine(
            "feature_embedding.0",
            "embedding.conv",
            (embed, 2 * widths["stream"]),
            "linear_to_conv",
        ),
    ]
    settings = IssfSettings(width=embed, refine="rskp", num_prototypes=prototypes)
    recipe = on_width(EXTERNAL_I3D, widths)
    return ImportPlan("issf", settings, (rules,), recipe, WHOLE_VIDEO, _RSKP_PROPOSALS)


# Source: CoLA core/config.py, core/utils.py.
_COLA_PROPOSALS = ProposalSettings(
    thresholds=steps(0.0, 0.225, 0.025),
    attention_thresholds=steps(0.1, 0.9, 0.025),
    class_threshold=0.2,
    allow_empty=False,
    align="start",
    upsample=24,
    oic=OicSettings(margin_ratio=0.25, class_bonus=0.2, thresholded=True, min_length=2),
    nms=NmsSettings(kind="hard", threshold=0.6, plus_one=True),
)


def plan_cola(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of a CoLA checkpoint."""
    del shapes
    embed, base = widths["embed"], "actionness_module"
    classifier = (num_classes, embed, 1)
    rules = [
        *affine(f"{base}.f_embed.0", "embedding.conv", (embed, 2 * widths["stream"], 3)),
        KeyRule(f"{base}.f_cls.0.weight", classifier, "classifier.conv.weight"),
    ]
    settings = ColaSettings(width=embed)
    recipe = on_width(EXTERNAL_I3D, widths)
    return ImportPlan("published_cola", settings, (rules,), recipe, _THINNED, _COLA_PROPOSALS)


# Source: ACM-Net main_thu.py, main_act.py, config/model_config.py.
_ACMNET_PROPOSALS = ProposalSettings(
    thresholds=(0.15, 0.2),
    attention_thresholds=steps(0.15, 0.95, 0.05),
    class_threshold=0.25,
    allow_empty=False,
    align="start",
    upsample=20,
    oic=OicSettings(margin_ratio=0.2, class_bonus=0.0, thresholded=True, min_length=2),
    nms=NmsSettings(kind="hard", threshold=0.55, plus_one=True),
)
_ACMNET_ACTIVITYNET_PROPOSALS = replace(
    _ACMNET_PROPOSALS,
    thresholds=steps(0.005, 0.02, 0.005),
    attention_thresholds=steps(0.005, 0.02, 0.005),
    attention_bonus=0.25,
    class_threshold=0.1,
    oic=OicSettings(margin_ratio=0.15, class_bonus=0.0, min_length=2),
    nms=NmsSettings(kind="hard", threshold=0.9, plus_one=True),
)
_ACMNET_ACTIVITYNET_NOTE = (
    "The published ActivityNet decoder empties sequences below the cut before it scores them; "
    "here they are scored as they are."
)


def plan_acmnet(num_classes: int, shapes: list[Shapes], widths: Widths) -> ImportPlan:
    """Return the plan of an ACM-Net checkpoint of either data set."""
    # A dropout stands before the convolution in the ActivityNet network and shifts its name.
    activitynet = "feature_embedding.1.weight" in shapes[0]
    width = 2 * widths["stream"]
    rules = [
        *affine(f"feature_embedding.{int(activitynet)}", "embedding.conv", (width, width, 3)),
        *affine("att_branch", "attention.conv", (3, width, 1)),
        *affine("snippet_cls", "classifier.conv", (num_classes + 1, width), "linear_to_conv"),
    ]
    settings, proposals = AcmNetSettings(width=width), _ACMNET_PROPOSALS
    inference = _THINNED
    notes: tuple[str, ...] = (NO_BACKBONE_NOTE,)
    if activitynet:
        settings = AcmNetSettings(width, 3, 2, 10, 10, 0.3)
        proposals = _ACMNET_ACTIVITYNET_PROPOSALS
        inference = InferenceSettings(sampling="uniform_short", num_snippets=75)
        notes = (NO_BACKBONE_NOTE, _ACMNET_ACTIVITYNET_NOTE)
    recipe = on_width(EXTERNAL_I3D, widths)
    return ImportPlan("published_acmnet", settings, (rules,), recipe, inference, proposals, notes)
