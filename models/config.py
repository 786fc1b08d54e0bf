"""Every setting of the science after the features: frozen values, and the presets built of them.

Deployment settings live elsewhere. A preset is complete: what it does not name does not happen.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from models.errors import WeightsInvalid

Alignment = Literal["center", "start"]
NmsKind = Literal["hard", "soft", "soft_once", "contain"]
VideoLoss = Literal["softmax_ce", "sigmoid_bce"]
Ranking = Literal["fused", "class_activations"]
ClassActionness = Literal["sum", "max"]
TrainSampling = Literal["crop", "perturb"]
TestSampling = Literal["native", "uniform", "uniform_short"]

NINE_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class OicSettings:
    """Outer-inner contrast, all published variants.

    Attributes:
        margin_ratio: width of each margin as a share of the proposal, >= 0.
        min_margin: smallest margin in samples of the scored sequence, >= 0.
        class_bonus: weight of the class's video score added to the contrast, >= 0.
        thresholded: score a sequence that is set to zero at and below the proposal's threshold.
        nominal_margin: divide the margins' sum by their full width even where the sequence ends.
        min_length: shortest run in samples that becomes a proposal, >= 1.

    Source: BaS-Net, CoLA, AICL, ACM-Net, CMCS and TSSA differ in exactly these values.
    """

    margin_ratio: float = 0.25
    min_margin: float = 0.0
    class_bonus: float = 0.2
    thresholded: bool = False
    nominal_margin: bool = False
    min_length: int = 1


@dataclass(frozen=True, slots=True)
class NmsSettings:
    """Suppression of overlapping proposals of one class.

    Attributes:
        kind: ``hard`` drops, ``soft`` decays and ranks again (Gaussian), ``soft_once`` emits a
            suppressed interval once with a decayed score and never looks at it again, ``contain``
            drops intervals that lie mostly inside a better one.
        threshold: overlap from which an interval is suppressed, in [0, 1].
        alpha: width of the Gaussian of both soft kinds, > 0.
        plus_one: add one second to lengths and intersections, as published code does.

    Source: Soft-NMS (ICCV 2017) for ``soft``; ASL and AICL for ``soft_once``; RSKP for
    ``contain``; ``plus_one`` is the pixel habit of BaS-Net, CoLA, ASL and AICL.
    """

    kind: NmsKind = "hard"
    threshold: float = 0.4
    alpha: float = 0.35
    plus_one: bool = False


@dataclass(frozen=True, slots=True)
class ProposalSettings:
    """From activations to proposals.

    Attributes:
        thresholds: cuts of the localization sequence; a sample above the cut is inside.
        class_threshold: classes whose video score reaches this are localized.
        allow_empty: an empty answer is allowed; False forces the best class when none passes.
        align: a snippet's value stands at its window's ``center`` or at its ``start``.
        upsample: samples per snippet, linear interpolation.
        min_raw_score: proposals whose outer-inner contrast is below this are left out.
        oic, nms: see there.
    """

    thresholds: tuple[float, ...] = NINE_THRESHOLDS
    class_threshold: float = 0.15
    allow_empty: bool = True
    align: Alignment = "center"
    upsample: int = 24
    min_raw_score: float = -1.0
    oic: OicSettings = OicSettings()
    nms: NmsSettings = NmsSettings()


@dataclass(frozen=True, slots=True)
class AiclSettings:
    """The AICL head.

    Attributes:
        width: channels of each of the three trunks.
        kernel: of the trunks' temporal convolution, odd.
        class_share: g, the class activations' share in the fused sequence, in [0, 1].
        topk_divisor: video scores average the best T / this snippets.
        pair_divisor: contrast sets hold at most T / this snippets.
        video_loss: ``softmax_ce`` as published, or ``sigmoid_bce`` with every snippet a negative
            of each absent class.
        topk_by: sequence whose best snippets are averaged.
        class_actionness: ``sum`` of the class logits as published, or their ``max``, which stays
            meaningful when each class has its own sigmoid.
        input_dropout: on the features, training only.
        gce_q: exponent of the generalised cross entropy.
        temperature: of the contrastive term.
        fill_pairs: fill short contrast sets with arbitrary snippets, as published code does.
        actionness_weight, contrast_weight, modality_weight, action_weight: of L_ca, L_c, L_mc
            and L_ac beside the video loss; a contrast weight of 0 skips its computation.

    Source: AICL (AAAI 2023), its supplement and its public code; defaults are its THUMOS14 values.
    """

    width: int = 512
    kernel: int = 3
    class_share: float = 1 / 3
    topk_divisor: int = 8
    pair_divisor: int = 20
    video_loss: VideoLoss = "softmax_ce"
    topk_by: Ranking = "fused"
    class_actionness: ClassActionness = "sum"
    input_dropout: float = 0.0
    gce_q: float = 0.7
    temperature: float = 0.1
    fill_pairs: bool = False
    actionness_weight: float = 1.0
    contrast_weight: float = 0.01
    modality_weight: float = 5.0
    action_weight: float = 0.1


@dataclass(frozen=True, slots=True)
class KineticsSettings:
    """The backbone's own classifier as class activations.

    Attributes:
        video_snippets: a class's video score is the mean of this many best snippets, so that a
            short action in a long video still counts.
    """

    video_snippets: int = 3


HeadSettings = AiclSettings | KineticsSettings


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a head is trained.

    Attributes:
        steps: optimiser steps; the last one is kept.
        batch_size: videos per step, at most the number of videos.
        num_snippets: T of a training sample.
        sampling: ``crop`` = native spacing, a random crop or padding; ``perturb`` = T jittered
            positions over the whole video, repeating snippets of short ones.
        learning_rate, beta1, beta2, weight_decay: of Adam.
        standardize: subtract the training features' mean and divide by their deviation.
        log_every: steps between log records.
    """

    steps: int = 400
    batch_size: int = 16
    num_snippets: int = 64
    sampling: TrainSampling = "crop"
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    standardize: bool = True
    log_every: int = 20


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    """How a head is fed at inference.

    Attributes:
        sampling: ``native`` = every snippet at its own place; ``uniform`` = stretched or thinned
            to ``num_snippets``; ``uniform_short`` = thinned only when longer.
        num_snippets: T of the two uniform kinds.
        window_snippets: longest native stretch seen at once.
        overlap_snippets: of neighbouring windows, cross-faded; less than a window.
    """

    sampling: TestSampling = "native"
    num_snippets: int = 750
    window_snippets: int = 64
    overlap_snippets: int = 32


@dataclass(frozen=True, slots=True)
class Preset:
    """Everything that decides a trained head beside its data and seed."""

    name: str
    head: HeadSettings
    training: TrainingSettings
    inference: InferenceSettings
    proposals: ProposalSettings


# Source: a measured trial on drawn videos with a narrow backbone and a short budget; there the
# published losses failed and these changes carried (class-wise sigmoid, top-k by the class
# activations, g = 2/3, input dropout). docs/decisions.md has the figures.
_AICL_SMALL = Preset(
    name="small",
    head=AiclSettings(
        width=128,
        class_share=2 / 3,
        video_loss="sigmoid_bce",
        topk_by="class_activations",
        class_actionness="max",
        input_dropout=0.5,
    ),
    training=TrainingSettings(),
    inference=InferenceSettings(),
    proposals=ProposalSettings(),
)

# Source: AAAI2023-AICL scripts, config and inference; the margin of 0.2 comes from an argument
# that its call passes into the margin's position.
_AICL_THUMOS14 = Preset(
    name="thumos14",
    head=AiclSettings(),
    training=TrainingSettings(
        steps=11_700,
        num_snippets=750,
        sampling="perturb",
        learning_rate=1e-4,
        weight_decay=5e-4,
        standardize=False,
        log_every=50,
    ),
    inference=InferenceSettings(sampling="uniform", num_snippets=750),
    proposals=ProposalSettings(
        class_threshold=0.25,
        allow_empty=False,
        align="start",
        oic=OicSettings(margin_ratio=0.2),
        nms=NmsSettings(kind="soft_once", threshold=0.4, alpha=0.35, plus_one=True),
    ),
)

# Source: AICL supplement (T = 50, width 1024, k = T/2, g = 1/2); optimiser, steps, class
# threshold and NMS from SAL_ActivityNet, which its author names as the same code base.
_AICL_ACTIVITYNET = Preset(
    name="activitynet1.3",
    head=AiclSettings(width=1024, class_share=1 / 2, topk_divisor=2),
    training=TrainingSettings(
        steps=50_000,
        batch_size=32,
        num_snippets=50,
        sampling="perturb",
        learning_rate=1e-4,
        weight_decay=5e-4,
        standardize=False,
        log_every=200,
    ),
    inference=InferenceSettings(sampling="uniform", num_snippets=50),
    proposals=ProposalSettings(
        class_threshold=0.1,
        allow_empty=False,
        align="start",
        oic=OicSettings(margin_ratio=0.2),
        nms=NmsSettings(kind="soft_once", threshold=0.7, alpha=0.35, plus_one=True),
    ),
)

PRESETS: dict[str, dict[str, Preset]] = {
    "aicl": {
        "small": _AICL_SMALL,
        "thumos14": _AICL_THUMOS14,
        "activitynet1.3": _AICL_ACTIVITYNET,
    },
}

# A 400-way softmax over trimmed-clip logits is flat on background: 0.2 is forty times its mean.
KINETICS_PROPOSALS = ProposalSettings(class_threshold=0.2)

AnySettings = HeadSettings | ProposalSettings | TrainingSettings | InferenceSettings
SettingsType = TypeVar("SettingsType")


def settings_to_json(settings: AnySettings) -> dict[str, Any]:
    """Return a settings dataclass as a JSON object; `settings_from_json` restores it."""
    document: dict[str, Any] = asdict(settings)
    return document


def settings_from_json(kind: type[SettingsType], document: Mapping[str, Any]) -> SettingsType:
    """Restore a settings dataclass; a missing field takes its default.

    Raises:
        WeightsInvalid: the document holds a field that this release does not know.
    """
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass type
    unknown = sorted(set(document) - known)
    if unknown:
        message = (
            f"The model card has settings unknown to this release ({', '.join(unknown)} in "
            f"{kind.__name__}); update Kinetag or train the model again."
        )
        raise WeightsInvalid(message)
    values: dict[str, Any] = {}
    for name, value in document.items():
        hint = hints[name]
        if is_dataclass(hint) and isinstance(value, Mapping):
            values[name] = settings_from_json(hint, value)  # type: ignore[arg-type]  # narrowed
        elif isinstance(value, list):
            values[name] = tuple(value)
        else:
            values[name] = value
    return kind(**values)
