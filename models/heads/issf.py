"""ISSF: pseudo labels from features refined by salient snippets and by a memory of each class.

A base branch of cosines gives class activations and attention. Its features are rewritten from
the snippets where the video changes; the class activations of the rewritten features, and of
those rewritten once more from what other videos of the same classes left in a memory, teach the
base branch. ``refine="rskp"`` is the method it grew from: prototypes instead of salient snippets.

Source: ISSF (AAAI 2024), whose code is not public; where it is silent RSKP (CVPR 2022) and its
public code are followed.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from models.heads.base import (
    Head,
    HeadEntry,
    HeadOutput,
    HeadSpec,
    Moment,
    TrainingVideos,
    checked_mask,
)
from models.heads.blocks import TemporalEmbedding
from models.heads.class_memory import ClassMemory, memory_share
from models.heads.cosine_prediction import CosinePrediction, Prediction
from models.heads.issf_settings import ISSF_PRESETS, IssfSettings
from models.heads.losses import (
    attention_margin,
    class_distillation,
    distillation,
    multiple_instance_bce,
    normalized_cross_entropy,
    with_background,
)
from models.heads.refinement import (
    BoundaryRefinement,
    propagate,
    salient_snippets,
    snippet_changes,
    temporal_unit,
    video_prototypes,
)

MARGIN_DIVISOR = 8  # Source: RSKP processor.py, the lowest and the highest T / 8 of the attention


class IssfHead(Head):
    """The base branch, its refinement, the memory of classes and every loss term."""

    training_only: ClassVar[tuple[str, ...]] = ("memory",)

    def __init__(self, spec: HeadSpec, settings: IssfSettings) -> None:
        super().__init__(spec, settings)
        width = settings.width or spec.feature_width
        num_classes = len(spec.classes)
        self.embedding = TemporalEmbedding(spec.feature_width, width, settings.kernel)
        self.input_dropout = nn.Dropout(settings.input_dropout)
        self.dropout = nn.Dropout(settings.dropout)
        self.predict = CosinePrediction(width, num_classes, settings.scale)
        if settings.refine == "issf":
            self.refinement = BoundaryRefinement(
                width, settings.reduction, settings.salient_weight, settings.attention
            )
        if settings.refine == "rskp":
            self.prototypes = nn.Parameter(torch.empty(settings.num_prototypes, width))
            nn.init.xavier_uniform_(self.prototypes)
        if settings.memory_rule() != "none":
            self.memory = ClassMemory(num_classes, settings.slots, width)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # every map here has one

    def forward(self, features: Tensor, mask: Tensor | None = None) -> HeadOutput:
        """Run the base branch and, unless switched off, the refined one; see `Head.forward`."""
        valid = checked_mask(features, mask, self.spec)
        settings = self.settings
        with_refined = settings.refine != "none" and (self.training or not settings.base_only)
        clean: Tensor = self.embedding(self.input_dropout(features), valid)
        embedding: Tensor = self.dropout(clean)
        base: Prediction = self.predict(embedding, valid)
        probabilities = self._probabilities(base.logits)
        video_scores = self._probabilities(base.agnostic)
        evidence = {"clean": clean, "embedding": embedding, **base.evidence("base")}
        if with_refined:
            found = self._refine(clean, embedding, valid)
            refined: Prediction = self.predict(found["refined"], valid)
            evidence |= found | refined.evidence("refined")
            share = settings.base_share
            video_scores = torch.lerp(self._probabilities(refined.agnostic), video_scores, share)
            probabilities = torch.lerp(self._probabilities(refined.logits), probabilities, share)
        localization = probabilities * base.attention[..., None]
        attended = base.attention[..., None].expand_as(localization)
        return HeadOutput(
            class_logits=base.logits[..., : len(self.spec.classes)],
            localization=localization,
            scoring=torch.lerp(localization, attended, settings.scoring_attention),
            video_scores=video_scores,
            attention=base.attention,
            mask=valid,
            evidence=evidence,
        )

    def _refine(self, clean: Tensor, embedding: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return ``refined`` f32[B, T, E], and the salient snippets or the prototypes it used."""
        settings = self.settings
        if settings.refine == "rskp":
            found = video_prototypes(embedding, self.prototypes, mask, settings.em_iterations)
            members = torch.ones(found.shape[:2], dtype=torch.bool, device=found.device)
            refined = propagate(embedding, found, members, mask, settings.propagation)
            return {"refined": refined, "prototypes": found}
        salient = self._salient(clean, mask)
        return {"refined": self.refinement(embedding, salient, mask), "salient": salient}

    def _salient(self, clean: Tensor, mask: Tensor) -> Tensor:
        settings = self.settings
        changes = snippet_changes(clean, settings.saliency, training=self.training)
        return salient_snippets(
            changes, mask, settings.salient_share, mark_previous=settings.mark_previous
        )

    def loss(
        self, output: HeadOutput, labels: Tensor, moment: Moment
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return L_ca + 0.2 L_mil over all branches + L_kd + 0.1 L_att, and the unweighted parts.

        A video without labels teaches what background is and takes part in the distillation; it
        is left out of the attention's margin, which would look for action in it.

        Source: ISSF, equations 10 and 11; RSKP processor.py for the losses of refined branches.
        """
        settings, evidence, mask = self.settings, output.evidence, output.mask
        base = Prediction.from_evidence(evidence, "base")
        agnostic, classwise = self._classification(base, labels, mask)
        tagged = (labels > 0).any(dim=1)
        share_tagged = tagged.to(labels.dtype).mean()
        margin = output.attention.new_zeros(())
        if bool(tagged.any()):
            margin = share_tagged * attention_margin(
                output.attention[tagged], mask[tagged], MARGIN_DIVISOR
            )
        parts = {"ca": agnostic, "mil": classwise, "attention": margin}
        if settings.refine != "none":
            self._add_refined(parts, output, labels, moment)
        total = parts["ca"] + settings.mil_weight * parts["mil"]
        total = total + settings.attention_weight * parts["attention"]
        if "kd" in parts:
            after = moment.epoch >= settings.warm_up_epochs(moment.epochs)
            weight = settings.kd_weight_after if after else settings.kd_weight
            total = total + weight * parts["kd"]
        return total, parts

    def _classification(
        self, prediction: Prediction, labels: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return L_ca, for which no video is background, and L_mil, for which each is in part.

        A video without labels adds nothing to the published L_ca.

        Source: RSKP processor.py.
        """
        classwise = normalized_cross_entropy(prediction.classwise, with_background(labels, 1.0))
        if self.settings.video_loss == "softmax_ce":
            none = with_background(labels, 0.0)
            return normalized_cross_entropy(prediction.agnostic, none), classwise
        num_classes = len(self.spec.classes)
        agnostic = multiple_instance_bce(
            prediction.agnostic[:, :num_classes], prediction.logits[..., :num_classes], labels, mask
        )
        return agnostic, classwise

    def _probabilities(self, logits: Tensor) -> Tensor:
        """Return f32[..., C] of f32[..., C + 1] logits."""
        whole = (
            torch.softmax(logits, dim=-1)
            if self.settings.video_loss == "softmax_ce"
            else torch.sigmoid(logits)
        )
        return whole[..., : len(self.spec.classes)]

    def _add_refined(
        self, parts: dict[str, Tensor], output: HeadOutput, labels: Tensor, moment: Moment
    ) -> None:
        """Add both refined branches to the classification losses, and the distillation."""
        settings, evidence, mask = self.settings, output.evidence, output.mask
        refined = Prediction.from_evidence(evidence, "refined")
        agnostic, classwise = self._classification(refined, labels, mask)
        parts["ca"] = parts["ca"] + settings.refined_weight * agnostic
        parts["mil"] = parts["mil"] + settings.refined_weight * classwise
        target = refined.logits.detach().clone()
        if moment.epoch >= settings.warm_up_epochs(moment.epochs):
            remembered, rows = self._remember(output, labels)
            if remembered is not None:
                agnostic, classwise = self._classification(remembered, labels[rows], mask[rows])
                weight = settings.memory_weight * rows.to(labels.dtype).mean()
                parts["ca"] = parts["ca"] + weight * agnostic
                parts["mil"] = parts["mil"] + weight * classwise
                target[rows] = torch.lerp(
                    target[rows], remembered.logits.detach(), settings.memory_target
                )
        logits, temperature = evidence["base.logits"], settings.temperature
        if settings.video_loss == "softmax_ce":
            parts["kd"] = distillation(logits, target, mask, temperature)
        else:
            num_classes = len(self.spec.classes)
            parts["kd"] = class_distillation(
                logits[..., :num_classes], target[..., :num_classes], mask, temperature
            )

    def _remember(self, output: HeadOutput, labels: Tensor) -> tuple[Prediction | None, Tensor]:
        """Return the branch refined from the memory and bool[B], the videos that have it."""
        settings, evidence = self.settings, output.evidence
        if settings.memory_rule() == "none":
            return None, torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        stored, members = self.memory.recall(labels)
        rows = members.any(dim=1)
        if not bool(rows.any()):
            return None, rows
        mask = output.mask[rows]
        if settings.refine == "rskp":
            embedding = evidence["embedding"][rows]
            rewritten = propagate(embedding, stored, members[rows], mask, settings.propagation)
        else:
            rewritten = temporal_unit(
                evidence["refined"][rows], stored, members[rows], settings.attention
            )
        remembered: Prediction = self.predict(rewritten, mask)
        return remembered, rows

    def start_epoch(self, moment: Moment, videos: TrainingVideos) -> None:
        """Fill the memory at the end of warm-up from all training videos, in evaluation mode.

        Source: ISSF, section on the memory; RSKP processor.py and evaluation/eval.py:ft_eval.
        """
        settings = self.settings
        if settings.memory_rule() == "none":
            return
        if moment.epoch != settings.warm_up_epochs(moment.epochs):
            return
        was_training = self.training
        self.eval()
        with torch.no_grad():
            for video, labels in enumerate(videos.labels):
                features = videos.features(video)[None]
                mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
                clean = self.embedding(features, mask)
                offered = self._refine(clean, clean, mask) | {"clean": clean}
                for label, found, scores in self._candidates(offered, 0, labels):
                    self.memory.keep_best(label, found, scores)
        self.train(was_training)

    def after_batch(self, output: HeadOutput, labels: Tensor, moment: Moment) -> None:
        """Offer each video's features to the memory of its classes.

        Source: ISSF, equations 7 and 8; RSKP model/memory.py for ``best``.
        """
        settings = self.settings
        rule = settings.memory_rule()
        if rule == "none" or moment.epoch < settings.warm_up_epochs(moment.epochs):
            return
        share = 1.0
        if rule == "momentum":
            share = memory_share(settings.momentum, moment.epoch / moment.epochs)
        for row in range(len(labels)):
            for label, found, scores in self._candidates(output.evidence, row, labels[row]):
                if rule == "best":
                    self.memory.keep_best(label, found, scores)
                else:
                    self.memory.blend(label, found, scores, share)

    def _candidates(
        self, evidence: dict[str, Tensor], row: int, labels: Tensor
    ) -> list[tuple[int, Tensor, Tensor]]:
        """Return what one video offers each of its classes: class, f32[K, E], f32[K] probability.

        Salient snippets before dropout, or the video's prototypes.
        """
        if self.settings.refine == "rskp":
            found = evidence["prototypes"][row]
        else:
            found = evidence["clean"][row][evidence["salient"][row]]
        scores = torch.softmax(self.predict.classify(found), dim=-1)
        present = torch.nonzero(labels > 0)[:, 0].tolist()
        return [(label, found, scores[:, label]) for label in present]


ENTRY = HeadEntry(IssfHead, IssfSettings, presets=ISSF_PRESETS, plain=(("refine", "none"),))
