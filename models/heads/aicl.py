"""AICL: actionness-inconsistency-guided contrastive learning.

A class-aware trunk gives class activations; one trunk per stream gives class-agnostic
actionness. Where the two disagree about what is action, snippets are pulled towards those on
which they agree.

Source: AICL (AAAI 2023), its supplement and public code. Where paper and code differ the code is
followed, except: the fused sequence averages both actionness streams, so that it stays in [0, 1],
and contrast sets hold only their members unless ``fill_pairs`` is set. On features without flow,
which the paper does not know, the RGB actionness stands alone and has nothing to agree with.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.config import (
    HeadSettings,
    InferenceSettings,
    NmsSettings,
    OicSettings,
    Preset,
    ProposalSettings,
    TrainingSettings,
)
from models.heads.base import Head, HeadEntry, HeadOutput, HeadSpec, Moment, checked_mask
from models.heads.blocks import (
    PointwiseHead,
    TemporalEmbedding,
    above_own_median,
    selected_mean,
    snippet_counts,
    top_selection,
)
from models.heads.losses import (
    generalized_cross_entropy,
    masked_info_nce,
    masked_mse,
    multiple_instance_bce,
    normalized_cross_entropy,
)

# query, positive, negatives of the four contrastive terms, by set name
CONTRAST_TERMS = (("ia", "ca", "cb"), ("ib", "cb", "ca"), ("ca", "ia", "cb"), ("cb", "ib", "ca"))
SET_NAMES = ("ca", "cb", "ia", "ib")
STREAMS = ("rgb", "flow")
EMBEDDING_NAMES = ("embedding", *(f"{stream}_embedding" for stream in STREAMS))

VideoLoss = Literal["softmax_ce", "sigmoid_bce"]
Ranking = Literal["fused", "class_activations"]
ClassActionness = Literal["sum", "max"]


@dataclass(frozen=True, slots=True)
class AiclSettings(HeadSettings):
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


class AiclHead(Head):
    """The AICL network and all of its loss terms; one actionness per stream of the features.

    Attributes:
        streams: of the features that the head looks at one by one, RGB first.
    """

    required_streams: ClassVar[tuple[str, ...]] = ("rgb",)

    def __init__(self, spec: HeadSpec, settings: AiclSettings) -> None:
        super().__init__(spec, settings)
        # A softmax over one class is 1 whatever it sees.
        alone = len(spec.classes) == 1
        self.video_loss: VideoLoss = "sigmoid_bce" if alone else settings.video_loss
        width, kernel = settings.width, settings.kernel
        self.input_dropout = nn.Dropout(settings.input_dropout)
        self.trunk = TemporalEmbedding(spec.feature_width, width, kernel)
        self.classifier = PointwiseHead(width, len(spec.classes))
        self.streams = tuple(stream for stream in STREAMS if stream in spec.streams)
        for stream in self.streams:
            self.add_module(f"{stream}_trunk", TemporalEmbedding(spec.stream_width, width, kernel))
        for stream in self.streams:
            self.add_module(f"{stream}_actionness", PointwiseHead(width, 1))

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the head; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        dropped: Tensor = self.input_dropout(features)
        embedding: Tensor = self.trunk(dropped, valid)
        logits: Tensor = self.classifier(embedding)
        evidence = {"embedding": embedding}
        for stream in self.streams:
            evidence |= self._one_stream(stream, dropped, valid)
        seen = torch.stack([evidence[f"{stream}_actionness"] for stream in self.streams])
        attention = seen.sum(dim=0) / len(self.streams)
        share = self.settings.class_share
        fused = share * self._probabilities(logits) + (1 - share) * attention[..., None]
        ranking = fused if self.settings.topk_by == "fused" else logits
        counts = snippet_counts(valid, self.settings.topk_divisor)
        top = top_selection(ranking.detach(), counts, valid[..., None])
        video_logits = selected_mean(logits, top)
        return HeadOutput(
            class_logits=logits,
            localization=fused,
            scoring=fused,
            video_scores=self._probabilities(video_logits),
            attention=attention,
            mask=valid,
            evidence=evidence | {"video_logits": video_logits, "top": top},
        )

    def _one_stream(self, stream: str, features: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """Return the stream's own embedding f32[B, T, width] and actionness f32[B, T]."""
        part = features[..., self.spec.stream_slice(stream)]
        embedding: Tensor = self.get_submodule(f"{stream}_trunk")(part, valid)
        actionness: Tensor = self.get_submodule(f"{stream}_actionness")(embedding)
        return {
            f"{stream}_embedding": embedding,
            f"{stream}_actionness": torch.sigmoid(actionness)[..., 0],
        }

    def stream_attention(self, output: HeadOutput) -> dict[str, Tensor]:
        """Return each stream's own actionness, whose mean is the attention."""
        return {stream: output.evidence[f"{stream}_actionness"] for stream in self.streams}

    def loss(
        self,
        output: HeadOutput,
        labels: Tensor,
        moment: Moment,  # noqa: ARG002  # same in all heads
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return L_a + L_ca + L_c + L_mc + L_ac, each with its weight, and the unweighted parts.

        L_mc is 0 where there is one stream.
        """
        settings, evidence, mask = self.settings, output.evidence, output.mask
        seen = [evidence[f"{stream}_actionness"] for stream in self.streams]
        action = (evidence["top"] & (labels > 0)[:, None, :]).any(dim=2)
        class_actionness = self._class_actionness(output.class_logits)
        parts = {
            "video": self._video_loss(output, labels),
            "actionness": torch.stack(
                [generalized_cross_entropy(one, action, mask, settings.gce_q) for one in seen]
            ).sum(),
            "modality": masked_mse(seen[0], seen[-1], mask),
            "action": masked_mse(class_actionness, output.attention, mask),
        }
        total = (
            parts["video"]
            + settings.actionness_weight * parts["actionness"]
            + settings.modality_weight * parts["modality"]
            + settings.action_weight * parts["action"]
        )
        if settings.contrast_weight > 0:
            parts["contrast"] = self._contrast(output, class_actionness)
            total = total + settings.contrast_weight * parts["contrast"]
        return total, parts

    def _probabilities(self, logits: Tensor) -> Tensor:
        if self.video_loss == "softmax_ce":
            return torch.softmax(logits, dim=-1)
        return torch.sigmoid(logits)

    def _class_actionness(self, logits: Tensor) -> Tensor:
        """Return f32[B, T]: actionness as the class activations see it."""
        if self.settings.class_actionness == "sum":
            return torch.sigmoid(logits.sum(dim=-1))
        return torch.sigmoid(logits.amax(dim=-1))

    def _video_loss(self, output: HeadOutput, labels: Tensor) -> Tensor:
        video_logits = output.evidence["video_logits"]
        if self.video_loss == "softmax_ce":
            return normalized_cross_entropy(video_logits, labels)
        return multiple_instance_bce(video_logits, output.class_logits, labels, output.mask)

    def mine(self, output: HeadOutput, class_actionness: Tensor) -> dict[str, Tensor]:
        """Return the four contrast sets, bool[B, T] each.

        Both actionness sequences are cut at their own median. ``ca`` and ``cb``: both say action,
        both say background; ``ia`` and ``ib``: they disagree, and the class activations are
        highest, lowest. All are ranked by the class-aware actionness.
        """
        mask = output.mask
        one = above_own_median(class_actionness.detach(), mask)
        other = above_own_median(output.attention.detach(), mask)
        members = {
            "ca": one & other,
            "cb": ~one & ~other & mask,
            "ia": (one ^ other) & mask,
            "ib": (one ^ other) & mask,
        }
        counts = snippet_counts(mask, self.settings.pair_divisor)
        ranks = class_actionness.detach()
        chosen = {}
        for name, member in members.items():
            ranking = ranks if name in {"ca", "ia"} else 1 - ranks
            if self.settings.fill_pairs:
                chosen[name] = top_selection(ranking * member, counts, mask)
            else:
                chosen[name] = top_selection(ranking, counts, member)
        return chosen

    def _contrast(self, output: HeadOutput, class_actionness: Tensor) -> Tensor:
        """Return the sum over all embeddings and four terms of InfoNCE on the mined sets."""
        sets = self.mine(output, class_actionness)
        chosen = torch.stack([sets[name] for name in SET_NAMES], dim=1)  # [B, 4, T]
        filled = chosen.any(dim=2)
        places = [[SET_NAMES.index(name) for name in term] for term in CONTRAST_TERMS]
        queries, positives, negatives = (list(one) for one in zip(*places, strict=True))
        # Candidates are the four set means, then single snippets: a mean is the positive of its
        # term, snippets are the negatives.
        complete = filled[:, positives] & filled[:, negatives]
        is_mean = torch.eye(len(SET_NAMES), dtype=torch.bool, device=chosen.device)[positives]
        mean_is_positive = is_mean[None] & complete[..., None]
        positive = torch.cat([mean_is_positive, torch.zeros_like(chosen)], dim=2)
        negative = torch.cat([torch.zeros_like(mean_is_positive), chosen[:, negatives]], dim=2)
        weights = chosen.float() / chosen.sum(dim=2, keepdim=True).clamp(min=1)
        total = output.class_logits.new_zeros(())
        embeddings = [output.evidence[one] for one in EMBEDDING_NAMES if one in output.evidence]
        for embedding in embeddings:
            means = weights.to(embedding.dtype) @ embedding
            losses, used = masked_info_nce(
                means[:, queries],
                torch.cat([means, embedding], dim=1),
                positive,
                negative,
                self.settings.temperature,
            )
            total = total + (losses.sum(dim=0) / used.sum(dim=0).clamp(min=1)).sum()
        return total


# Source: a measured trial on drawn videos with a narrow backbone and a short budget; there the
# published losses failed and these changes carried (class-wise sigmoid, top-k by the class
# activations, g = 2/3, input dropout). docs/decisions.md has the figures.
_SMALL = Preset(
    name="small",
    head=AiclSettings(
        width=128,
        class_share=2 / 3,
        video_loss="sigmoid_bce",
        topk_by="class_activations",
        class_actionness="max",
        input_dropout=0.5,
    ),
    stages=(TrainingSettings(),),
    inference=InferenceSettings(),
    proposals=ProposalSettings(),
)

# Source: AAAI2023-AICL scripts, config and inference; the margin of 0.2 comes from an argument
# that its call passes into the margin's position.
_THUMOS14 = Preset(
    name="thumos14",
    head=AiclSettings(),
    stages=(
        TrainingSettings(
            epochs=900,
            num_snippets=750,
            sampling="perturb",
            learning_rate=1e-4,
            weight_decay=5e-4,
            standardize=False,
            log_every=50,
        ),
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
_ACTIVITYNET = Preset(
    name="activitynet1.3",
    head=AiclSettings(width=1024, class_share=1 / 2, topk_divisor=2),
    stages=(
        TrainingSettings(
            steps=50_000,
            batch_size=32,
            num_snippets=50,
            sampling="perturb",
            learning_rate=1e-4,
            weight_decay=5e-4,
            standardize=False,
            log_every=200,
        ),
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

ENTRY = HeadEntry(
    AiclHead,
    AiclSettings,
    presets=(_SMALL, _THUMOS14, _ACTIVITYNET),
    plain=(("contrast_weight", 0.0), ("modality_weight", 0.0), ("action_weight", 0.0)),
)
