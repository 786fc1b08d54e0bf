"""Settings and presets of the ISSF head (`models.heads.issf`)."""

from dataclasses import dataclass, replace
from typing import Literal

from models.config import (
    HeadSettings,
    InferenceSettings,
    NmsSettings,
    OicSettings,
    Preset,
    ProposalSettings,
    TrainingSettings,
)
from models.heads.refinement import Saliency, Scaling

Refine = Literal["issf", "rskp", "none"]
VideoLoss = Literal["softmax_ce", "sigmoid_bce"]
MemoryRule = Literal["own", "momentum", "direct", "best", "none"]


@dataclass(frozen=True, slots=True)
class IssfSettings(HeadSettings):
    """The ISSF head.

    Attributes:
        width: channels E of the embedding; 0 for the width of the features, as published.
        kernel: of the embedding's temporal convolution, odd; 1 is the published linear map.
        dropout: behind the embedding, training only.
        input_dropout: on the features, training only.
        scale: of every cosine that becomes a logit.
        video_loss: ``softmax_ce`` as published; ``sigmoid_bce`` makes L_ca class-wise, with every
            snippet a negative of each absent class, probabilities sigmoids, and the distillation
            one of sigmoids.
        refine: ``issf`` rewrites snippets from salient and other ones, ``rskp`` by propagation
            over prototypes, ``none`` is the base branch alone, without memory and distillation.
        saliency: what makes a snippet salient; see `models.heads.refinement.snippet_changes`.
        salient_share: of the snippets that are salient.
        mark_previous: also mark the snippet before each, as the released helper does.
        reduction: r, of the channel unit.
        salient_weight: sigma, of the salient part in the refined features.
        attention: scaling of the temporal unit, in the video and towards the memory.
        num_prototypes, em_iterations, propagation: of ``rskp``; the last is w.
        memory: ``momentum`` blends new features in, ``direct`` replaces the old by them, ``best``
            keeps the best by score, ``none`` has no memory, ``own`` is what the refinement was
            published with (``momentum`` of salient snippets, ``best`` of prototypes).
        slots: S, features per class.
        momentum: eta0.
        warm_up_share: of the epochs before the memory is filled and used; with a single epoch it
            never is.
        refined_weight, memory_weight: of both classification losses on the refined branch and on
            the branch from the memory, beside 1 on the base branch.
        mil_weight: of the class-wise classification loss beside the class-agnostic one.
        attention_weight: of the margin of the base attention.
        kd_weight, kd_weight_after: of the distillation, during and after warm-up.
        memory_target: share of the memory branch in the pseudo labels.
        temperature: of the distillation.
        base_share: of the base branch in what inference returns; the rest is the refined branch.
        base_only: inference without the refined branch.
        scoring_attention: share of the attention in the sequence that scores proposals.

    Source: ISSF for widths, shares, weights and epochs on THUMOS14, RSKP for scale, dropout,
    distillation, fusion and everything of ``rskp``; scaling, slots, eta0, warm-up, both weights
    of the refined branches and equal shares in the pseudo labels are ours.
    """

    width: int = 0
    kernel: int = 1
    dropout: float = 0.6
    input_dropout: float = 0.0
    scale: float = 20.0
    video_loss: VideoLoss = "softmax_ce"
    refine: Refine = "issf"
    saliency: Saliency = "l1"
    salient_share: float = 0.5
    mark_previous: bool = False
    reduction: int = 4
    salient_weight: float = 0.88
    attention: Scaling = "cos5"
    num_prototypes: int = 8
    em_iterations: int = 2
    propagation: float = 0.5
    memory: MemoryRule = "own"
    slots: int = 5
    momentum: float = 0.5
    warm_up_share: float = 100 / 180
    refined_weight: float = 1.0
    memory_weight: float = 0.5
    mil_weight: float = 0.2
    attention_weight: float = 0.1
    kd_weight: float = 1.0
    kd_weight_after: float = 1.0
    memory_target: float = 0.5
    temperature: float = 0.2
    base_share: float = 0.6
    base_only: bool = False
    scoring_attention: float = 0.0

    def memory_rule(self) -> MemoryRule:
        """Return the rule that ``memory`` stands for; without refinement there is none."""
        if self.refine == "none":
            return "none"
        if self.memory == "own":
            return "momentum" if self.refine == "issf" else "best"
        return self.memory

    def warm_up_epochs(self, epochs: int) -> int:
        """Return the first epoch, from 0, that uses the memory."""
        return round(self.warm_up_share * epochs)


# Source: measured on planted features of seeds 10 and 11, which no published figure uses. Linear
# maps read one noisy snippet at a time, and the published softmax never learns that a stretch
# shows nothing: mAP@0.5 of the base branch was 0.18 as published, 0.32 with a convolution, 0.69
# with class-wise sigmoids, dropout of the features instead of the embedding and a scale of 10, and
# 0.97 with one of 5. Attention of 5 * cosine averages over most of a short video; 20 stays near.
_SMALL = Preset(
    name="small",
    head=IssfSettings(
        width=128,
        kernel=3,
        dropout=0.0,
        input_dropout=0.5,
        scale=5.0,
        video_loss="sigmoid_bce",
        attention="cos20",
    ),
    stages=(TrainingSettings(),),
    inference=InferenceSettings(),
    proposals=ProposalSettings(),
)

# Twenty cuts of the product of class probability and attention.
# Source: RSKP options.py and evaluation/detectionMAP.py. Containment counts both ends of a run of
# snippets, hence the extra one. The public code also returns each run one snippet longer than it
# scored it (`OicSettings.trailing_sample`): left out.
_RSKP_PROPOSALS = ProposalSettings(
    thresholds=tuple(round(0.001 + 0.002 * step, 3) for step in range(20)),
    class_threshold=0.1,
    allow_empty=False,
    align="start",
    upsample=1,
    oic=OicSettings(margin_ratio=0.25, class_bonus=0.0, min_length=2),
    nms=NmsSettings(kind="contain", threshold=0.5, plus_one=True, plus_unit="snippets"),
)

# Source: ISSF for learning rate, epochs and batch; RSKP for one whole video at a time, betas and
# weight decay. The longest video of THUMOS14 has 2,615 snippets, which one window holds.
_THUMOS14 = Preset(
    name="thumos14",
    head=IssfSettings(),
    stages=(
        TrainingSettings(
            epochs=180,
            batch_size=1,
            accumulate=10,
            sampling="full",
            learning_rate=5e-5,
            beta2=0.99,
            weight_decay=5e-4,
            standardize=False,
        ),
    ),
    inference=InferenceSettings(sampling="native", window_snippets=4096),
    proposals=_RSKP_PROPOSALS,
)

# Source: RSKP options.py and processor.py, the method ISSF grew from: the memory is first used in
# epoch 101 of 200, the distillation weighs 0.5 from then on, the memory's pseudo labels 0.2.
_RSKP = replace(
    _THUMOS14,
    name="thumos14-rskp",
    head=IssfSettings(
        refine="rskp", warm_up_share=101 / 200, kd_weight_after=0.5, memory_target=0.2
    ),
    stages=(replace(_THUMOS14.training, epochs=200),),
)

# Source: ISSF for learning rate, epochs, batch, salient share and sigma; RSKP's author (RSKP#3)
# for dropout, weight decay, scale and the fusion at inference; ACM-Net main_act.py for sampling
# and decoding, with 0.25 of the class score only for runs of the attention.
_ACTIVITYNET = Preset(
    name="activitynet1.3",
    head=IssfSettings(
        dropout=0.7,
        scale=10.0,
        salient_share=0.9,
        salient_weight=0.9,
        warm_up_share=0.5,
        base_share=0.8,
        scoring_attention=0.3,
    ),
    stages=(
        TrainingSettings(
            epochs=100,
            batch_size=32,
            num_snippets=75,
            sampling="perturb_short",
            learning_rate=1e-4,
            beta2=0.99,
            weight_decay=1e-3,
            standardize=False,
            log_every=50,
        ),
    ),
    inference=InferenceSettings(sampling="uniform_short", num_snippets=75),
    proposals=ProposalSettings(
        thresholds=(0.005, 0.01, 0.015, 0.02),
        attention_thresholds=(0.005, 0.01, 0.015, 0.02),
        attention_bonus=0.25,
        class_threshold=0.1,
        allow_empty=False,
        align="start",
        upsample=20,
        oic=OicSettings(margin_ratio=0.15, class_bonus=0.0, min_length=2),
        nms=NmsSettings(kind="hard", threshold=0.9, plus_one=True),
    ),
)

ISSF_PRESETS = (_SMALL, _THUMOS14, _ACTIVITYNET, _RSKP)
