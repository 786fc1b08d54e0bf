"""CleanNet: proposals judged by the contrast of class activations at their ends.

Snippets are classified per stream and pooled by an attention into the video's prediction. Anchors
at every snippet, moved by a generator that learns to raise their contrast score, are the
proposals; no threshold cuts a sequence.

Source: CleanNet (ICCV 2019). Its classification starts from a network trained on other videos;
here a first stage trains it from tags. No code of it is public: what the paper leaves open
follows AutoLoc and UntrimmedNet where they say it. AutoLoc's prior of how long actions last comes
from annotated times and has no place here.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import (
    ContrastSettings,
    HeadSettings,
    InferenceSettings,
    NmsSettings,
    Preset,
    ProposalSettings,
    TrainingSettings,
)
from models.heads.base import (
    Head,
    HeadEntry,
    HeadOutput,
    HeadSpec,
    Moment,
    TrainingVideos,
    checked_mask,
)
from models.heads.blocks import attention_pooling, masked_softmax
from models.heads.contrast_score import contrast_scores
from models.heads.losses import (
    PROBABILITY_EPSILON,
    multiple_instance_bce,
    probability_cross_entropy,
)
from models.heads.proposal_generator import (
    GeneratorShape,
    PointSampling,
    ProposalGenerator,
    TrunkNorm,
    anchor_intervals,
)
from models.types import HeadProposals

CLASSIFY, GENERATE = "classify", "generate"

Mode = Literal["generator", "plain"]
VideoLoss = Literal["softmax_ce", "sigmoid_bce"]
Fusion = Literal["probabilities", "logits"]


@dataclass(frozen=True, slots=True)
class CleanNetSettings(HeadSettings):
    """The CleanNet head.

    Attributes:
        mode: ``generator`` moves anchors by a trained regression, ``plain`` takes them as they are.
        anchors: sizes in snippets.
        width: channels of the generator's trunk.
        points: K, places inside an anchor at which the trunk is read.
        point_sampling: one place per part of the anchor (``tsn``), or only its ``center``.
        trunk_norm: ``group`` normalises each video by itself, ``batch`` as AutoLoc does.
        trunk_groups: of channels, for ``group``.
        class_kernel: snippets that the class and the attention layer see at once, odd; published 1.
        fusion: average the streams' class ``probabilities``, or their ``logits`` before them.
        attention_temperature: the attention is divided by it before its softmax over time.
        video_loss: ``softmax_ce`` as published: classes share each snippet's probability and the
            normalised labels are the target; ``sigmoid_bce``: each class for itself, the video and
            every snippet a negative of each absent class. One class alone is always told by
            the latter: a softmax over one class is 1 whatever it sees.
        feature_dropout: on the features in the first stage's training.
        class_gate, attention_gate: an anchor counts for a class where the class activation at its
            snippet reaches the one, and its attention, in shares of the video's mean, the other.
        contrast: of the judge.
        positive_score: proposals above it are rewarded.
        reward_margin: m; the loss of a positive proposal is max(m - score, 0).
        regression_weight: of L_reg in the second stage.
        joint: train the classification further in the second stage, on snippets that positive
            proposals cover, and let its streams mix.
        video_weight: of the video loss beside it.
        keep_anchors: at inference the anchors are judged beside the moved ones.
        keep_above: proposals scored at most this are not handed on.

    Source: CleanNet (ICCV 2019) for anchors, ``positive_score`` and ``joint``; UntrimmedNet for
    ``feature_dropout``, and for an ``attention_temperature`` of 3 that its test code has; AutoLoc
    for width and the class gate of 0.1. The paper is silent on K, margin and gates.
    """

    mode: Mode = "generator"
    anchors: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    width: int = 128
    points: int = 3
    point_sampling: PointSampling = "tsn"
    trunk_norm: TrunkNorm = "group"
    trunk_groups: int = 8
    class_kernel: int = 1
    fusion: Fusion = "probabilities"
    attention_temperature: float = 1.0
    video_loss: VideoLoss = "softmax_ce"
    feature_dropout: float = 0.8
    class_gate: float = 0.1
    attention_gate: float = 0.5
    contrast: ContrastSettings = field(default_factory=ContrastSettings)
    positive_score: float = 0.5
    reward_margin: float = 2.0
    regression_weight: float = 1.0
    joint: bool = True
    video_weight: float = 1.0
    keep_anchors: bool = False
    keep_above: float = 0.0


class CleanNetHead(Head):
    """Classification, attention, generator and judge; any number of streams."""

    def __init__(self, spec: HeadSpec, settings: CleanNetSettings) -> None:
        super().__init__(spec, settings)
        self.stage = CLASSIFY
        num_streams, num_classes = len(spec.streams), len(spec.classes)
        self.video_loss: VideoLoss = settings.video_loss if num_classes > 1 else "sigmoid_bce"
        self.dropout = nn.Dropout(settings.feature_dropout)
        kernel = settings.class_kernel
        self.classifier = nn.Conv1d(
            spec.feature_width, num_streams * num_classes, kernel, padding=kernel // 2
        )
        self.attention = nn.Conv1d(spec.feature_width, 1, kernel, padding=kernel // 2)
        blocks = torch.zeros(num_streams * num_classes, spec.feature_width, 1)
        for place, stream in enumerate(spec.streams):
            rows = slice(place * num_classes, (place + 1) * num_classes)
            blocks[rows, spec.stream_slice(stream)] = 1.0
        self.blocks: Tensor
        self.register_buffer("blocks", blocks, persistent=False)
        self._start_as_average_of_streams()
        self.generator: ProposalGenerator | None = None
        if settings.mode == "generator":
            shape = GeneratorShape(
                settings.width,
                settings.anchors,
                settings.points,
                settings.trunk_norm,
                settings.trunk_groups,
                settings.point_sampling,
            )
            # Both modes draw the same random numbers afterwards and so train the same judge.
            with torch.random.fork_rng(devices=[]):
                self.generator = ProposalGenerator(spec.feature_width, shape)

    @torch.no_grad()
    def _start_as_average_of_streams(self) -> None:
        """Start as one classification and one attention layer per stream, averaged.

        Source: CleanNet equations 4 and 5, with fresh weights of one stream's fan-in.
        """
        reach = 1 / math.sqrt(self.spec.stream_width * self.settings.class_kernel)
        for layer in (self.classifier, self.attention):
            for parameter in layer.parameters():
                parameter.uniform_(-reach, reach)
        self.classifier.weight.mul_(self.blocks)
        self.attention.weight.div_(len(self.spec.streams))

    def start_stage(self, stage: str, videos: TrainingVideos) -> None:
        """Remember the stage; any but ``generate`` trains the classification."""
        del videos
        self.stage = stage

    def stage_parameters(self, stage: str) -> list[nn.Parameter]:
        """Return the classification, then the generator and, if ``joint``, both.

        Plain mode has nothing to learn in the second stage; its parameters are returned, and stay
        as they are because the loss gives them no gradient.
        """
        judge = [*self.classifier.parameters(), *self.attention.parameters()]
        if stage != GENERATE or self.generator is None:
            return judge
        return [*self.generator.parameters(), *(judge if self.settings.joint else [])]

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the head; see `Head.forward`.

        ``localization`` and ``scoring`` are the class activations that the judge sees.
        ``attention`` is r / (1 + r) of the softmax attention r in shares of its mean, so that 0.5
        is average.
        """
        valid = checked_mask(features, mask, self.spec)
        classifying = self.training and self.stage != GENERATE
        seen: Tensor = self.dropout(features) if classifying else features
        channels = seen.masked_fill(~valid[..., None], 0.0).transpose(1, 2)
        probabilities, logits = self._classify(channels)
        raw = self.attention(channels)[:, 0] / self.settings.attention_temperature
        weights = masked_softmax(raw, valid)
        relative = weights * valid.sum(dim=1, keepdim=True)
        evidence = {"relative_attention": relative}
        if not classifying:
            evidence["proposals"] = self._proposals(features, valid)
        return HeadOutput(
            class_logits=logits,
            localization=probabilities,
            scoring=probabilities,
            video_scores=attention_pooling(probabilities, weights, valid).clamp(0.0, 1.0),
            attention=relative / (1 + relative),
            mask=valid,
            evidence=evidence,
        )

    def _classify(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """Return class probabilities and mean class logits, f32[B, T, C], of f32[B, D, T]."""
        weight = self.classifier.weight
        if self.training and self.stage != GENERATE:
            weight = weight * self.blocks  # beside them stand zeros, which get no gradient so
        padding = self.settings.class_kernel // 2
        joined = functional.conv1d(channels, weight, self.classifier.bias, padding=padding)
        kinds = (len(self.spec.streams), len(self.spec.classes))
        logits = joined.transpose(1, 2).reshape(len(joined), -1, *kinds)
        mean = logits.mean(dim=2)
        if self.settings.fusion == "logits":
            return self._squash(mean), mean
        return self._squash(logits).mean(dim=2), mean

    def _squash(self, logits: Tensor) -> Tensor:
        if self.video_loss == "sigmoid_bce":
            return torch.sigmoid(logits)
        return torch.softmax(logits, dim=-1)

    def _proposals(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return f32[B, T, A, 2]: the proposals of each snippet in steps."""
        if self.generator is None:
            return anchor_intervals(mask.shape[1], self.settings.anchors, mask.sum(dim=1))
        proposals: Tensor = self.generator(features, mask)
        if self.training or not self.settings.keep_anchors:
            return proposals
        anchors = anchor_intervals(mask.shape[1], self.settings.anchors, mask.sum(dim=1))
        return torch.cat([proposals, anchors], dim=2)

    def gates(self, output: HeadOutput) -> Tensor:
        """Return bool[B, T, C]: snippets whose anchors count for a class."""
        attended: Tensor = output.evidence["relative_attention"] >= self.settings.attention_gate
        likely: Tensor = output.scoring >= self.settings.class_gate
        return likely & (attended & output.mask)[..., None]

    def loss(
        self, output: HeadOutput, labels: Tensor, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return L_cls, or in the second stage L_reg and, if ``joint``, L_cls on covered snippets.

        A video without labels adds nothing to ``softmax_ce``, its snippets are negatives of
        ``sigmoid_bce``, and it has no positive proposal.
        """
        if moment.stage != GENERATE:
            video = self._video_loss(output, labels, output.mask)
            return video, {"video": video}
        if self.generator is None:
            nothing = output.scoring.new_zeros(())
            return nothing, {"regression": nothing}
        regression, covered = self._regression_loss(output, labels)
        parts = {"regression": regression}
        total = self.settings.regression_weight * regression
        if self.settings.joint:
            parts["video"] = self._video_loss(output, labels, covered)
            total = total + self.settings.video_weight * parts["video"]
        return total, parts

    def _video_loss(self, output: HeadOutput, labels: Tensor, counted: Tensor) -> Tensor:
        """Return the video loss in which only some snippets, bool[B, T], have a say."""
        weights = output.evidence["relative_attention"]
        pooled = attention_pooling(output.scoring, weights, counted)
        if self.video_loss == "softmax_ce":
            return probability_cross_entropy(pooled, labels)
        video_logits = torch.logit(pooled, PROBABILITY_EPSILON)
        snippet_logits = torch.logit(output.scoring, PROBABILITY_EPSILON)
        absent = 1 - labels
        false_alarm = (functional.softplus(video_logits) * absent).sum() / absent.sum().clamp(min=1)
        found = multiple_instance_bce(video_logits, snippet_logits, labels, counted)
        return found + false_alarm

    def _regression_loss(self, output: HeadOutput, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_reg and bool[B, T], the snippets that positive proposals cover.

        Proposals of every tagged class are judged together; a video without a positive one has
        no part in the mean over videos. Where nothing is covered, all snippets are returned.
        """
        gates = self.gates(output) & (labels > 0)[:, None, :]
        covered = output.mask.clone()
        losses = []
        for row, length in enumerate(output.mask.sum(dim=1).tolist()):
            intervals, classes = _gated(output, gates[row], row)
            judge = output.scoring[row, :length]
            scores = contrast_scores(judge, intervals, classes, self.settings.contrast)
            positive = scores > self.settings.positive_score
            if bool(positive.any()):
                short = (self.settings.reward_margin - scores[positive]).clamp(min=0.0)
                losses.append(short.mean())
                inside = _covered_steps(intervals[positive].detach(), covered.shape[1])
                if bool((inside & covered[row]).any()):
                    covered[row] &= inside
        if not losses:
            return output.scoring.new_zeros(()), covered
        return torch.stack(losses).mean().to(output.scoring.dtype), covered

    @torch.no_grad()
    def propose(self, output: HeadOutput) -> list[HeadProposals]:
        """Return the scored proposals of each sample, of every class that its gates let through."""
        gates = self.gates(output)
        found = []
        for row, length in enumerate(output.mask.sum(dim=1).tolist()):
            intervals, classes = _gated(output, gates[row], row)
            judge = output.scoring[row, :length]
            scores = contrast_scores(judge, intervals, classes, self.settings.contrast)
            usable = (scores > self.settings.keep_above) & (intervals[:, 1] > intervals[:, 0])
            found.append(
                HeadProposals(
                    class_index=classes[usable].cpu().numpy(),
                    steps=intervals[usable].double().cpu().numpy(),
                    raw_scores=scores[usable].cpu().numpy(),
                )
            )
        return found


def _gated(output: HeadOutput, gates: Tensor, row: int) -> tuple[Tensor, Tensor]:
    """Return f32[K, 2] intervals of one sample and int64[K] classes that gates bool[T, C] pass."""
    proposals = output.evidence["proposals"][row]
    snippets, classes = gates.nonzero(as_tuple=True)
    intervals = proposals[snippets].flatten(0, 1)
    return intervals, classes.repeat_interleave(proposals.shape[1])


def _covered_steps(intervals: Tensor, num_steps: int) -> Tensor:
    """Return bool[T]: steps of which an interval of f32[K, 2] covers at least the centre."""
    centres = torch.arange(num_steps, device=intervals.device) + 0.5
    inside = (intervals[:, :1] <= centres) & (centres < intervals[:, 1:])
    return inside.any(dim=0)


# Source: measured on planted videos, seeds 10 to 12; docs/heads.md has the figures. Class layers
# over three snippets, because activations of single snippets are as noisy as their features and
# noise makes edges. Higher rates, because steps are few, and SGD at its published rate leaves the
# generator as it was drawn. Anchors kept, because so short a training loses some that fit; no
# joint training, because it lost a little.
_SMALL = Preset(
    name="small",
    head=CleanNetSettings(class_kernel=3, joint=False, keep_anchors=True),
    stages=(
        TrainingSettings(stage=CLASSIFY, steps=250, learning_rate=3e-3),
        TrainingSettings(stage=GENERATE, steps=150, batch_size=1, sampling="full"),
    ),
    inference=InferenceSettings(),
    proposals=ProposalSettings(
        source="head", score="contrast", class_threshold=0.1, min_raw_score=0.0, max_per_class=200
    ),
)

_CLASSIFY = TrainingSettings(
    stage=CLASSIFY,
    steps=3000,
    num_snippets=750,
    sampling="perturb",
    learning_rate=1e-4,
    weight_decay=5e-4,
    standardize=False,
    log_every=50,
)
_GENERATE = TrainingSettings(
    stage=GENERATE,
    steps=600,
    batch_size=1,
    num_snippets=750,
    sampling="full",
    optimizer="sgd",
    learning_rate=1e-4,
    momentum=0.9,
    weight_decay=5e-4,
    decay_every=200,
    standardize=False,
    log_every=50,
)
# Whole videos are seen at once: longer than any of the benchmark, 1.4 hours at 0.64 s.
_WHOLE = InferenceSettings(window_snippets=8192, overlap_snippets=1024)
_PROPOSALS = ProposalSettings(
    source="head",
    class_threshold=0.1,
    allow_empty=False,
    align="start",
    min_raw_score=0.0,
    max_per_class=200,
    nms=NmsSettings(kind="hard", threshold=0.4),
)

# Source: CleanNet (ICCV 2019) §4.1 for anchors, SGD's rate and its decay, class threshold and
# suppression; UntrimmedNet's dropout; momentum, decay, steps and the first stage are ours, because
# its classification came trained.
_THUMOS14 = Preset(
    name="thumos14",
    head=CleanNetSettings(),
    stages=(_CLASSIFY, _GENERATE),
    inference=_WHOLE,
    proposals=_PROPOSALS,
)

# Source: the same; anchors as for ActivityNet 1.2, one pass with a later decay.
_ACTIVITYNET = Preset(
    name="activitynet1.3",
    head=CleanNetSettings(anchors=(16, 32, 64, 128, 256, 512)),
    stages=(_CLASSIFY, replace(_GENERATE, epochs=1, decay_every=1500)),
    inference=_WHOLE,
    proposals=_PROPOSALS,
)

ENTRY = HeadEntry(
    CleanNetHead,
    CleanNetSettings,
    presets=(_SMALL, _THUMOS14, _ACTIVITYNET),
    plain=(("mode", "plain"),),
)
