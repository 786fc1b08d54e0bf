"""Regions of videos as single vectors, the bank that keeps them, and the contrast between them.

A region is a stretch of a video seen for one of its labels, as action or as background. The bank
holds the newest regions of every training video, so that each video is told from all others.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.heads.losses import masked_info_nce

ContrastScope = Literal["video", "batch", "bank"]
KINDS = 2  # action, background
NO_CLASS = -1


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of several videos.

    Attributes:
        vectors: f32[B, L, 2, R, d] of unit length: action, then background; per label the whole
            video, then its parts.
        valid: bool[B, L, 2, R]; other vectors are zero and mean nothing.
        classes: int64[B, L], -1 where a video has fewer labels.
        videos: int64[B], places in the training set.
    """

    vectors: Tensor
    valid: Tensor
    classes: Tensor
    videos: Tensor

    def detached(self) -> "Regions":
        """Return the same without gradient."""
        return Regions(self.vectors.detach(), self.valid, self.classes, self.videos)


@dataclass(frozen=True, slots=True)
class _Flat:
    """Valid regions side by side: f32[n, d], bool[n], int64[n], int64[n]."""

    vectors: Tensor
    is_action: Tensor
    classes: Tensor
    videos: Tensor


def num_regions(num_parts: int) -> int:
    """Return R: the whole video and its parts; one part is the whole video itself."""
    return 1 if num_parts == 1 else num_parts + 1


def label_slots(labels: Tensor, num_slots: int) -> Tensor:
    """Return int64[B, L]: the classes of f32[B, C] labels in order, filled up with -1."""
    order = labels.argsort(dim=1, descending=True, stable=True)[:, :num_slots]
    return torch.where(labels.gather(1, order) > 0, order, NO_CLASS)


def region_members(mask: Tensor, num_parts: int) -> Tensor:
    """Return f32[B, R, T]: 1 where a real snippet lies in a region.

    The parts divide the real snippets evenly in order of time; of fewer snippets than parts some
    parts stay empty.

    Source: DCC (CVPR 2022), section 3.2: the whole video and M equal parts.
    """
    whole = mask[:, None, :]
    if num_parts > 1:
        ranks = mask.cumsum(dim=1) - 1
        parts = ranks.clamp(min=0) * num_parts // mask.sum(dim=1, keepdim=True)
        divided = functional.one_hot(parts, num_parts).bool().transpose(1, 2) & whole
        whole = torch.cat([whole, divided], dim=1)
    return whole.float()


def denoised_regions(
    projected: Tensor,
    pseudo_labels: Tensor,
    confidence: Tensor,
    members: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the mean over each region of what its pseudo labels call action and background.

    Args:
        projected: f32[B, T, d].
        pseudo_labels: bool[B, T, L].
        confidence: f32[B, T, L], constants; 0 at padding.
        members: f32[B, R, T], see `region_members`.

    Returns:
        f32[B, L, 2, R, d] of unit length and bool[B, L, 2, R]: False, and zero, where no snippet
        of a region is of that kind.

    Source: DCC (CVPR 2022), eq. 5 and 6, and its l2 normalisation.
    """
    action = pseudo_labels.float() * confidence
    background = (~pseudo_labels).float() * confidence
    kinds = torch.stack([action, background], dim=-1).permute(0, 2, 3, 1)  # [B, L, 2, T]
    weights = kinds[:, :, :, None, :] * members[:, None, None, :, :]
    flat = weights.flatten(1, 3)
    # Only the direction of the mean remains, so it is taken over the weights: a short region of
    # a long video is then no tiny vector.
    sums = flat @ projected / flat.sum(dim=2, keepdim=True).clamp(min=torch.finfo(flat.dtype).eps)
    vectors = functional.normalize(sums, dim=-1)
    shape = weights.shape[:-1]
    return vectors.view(*shape, projected.shape[-1]), weights.sum(dim=-1) > 0


class RegionBank(nn.Module):
    """The newest regions of every training video, as buffers that checkpoints keep.

    Args:
        num_videos, num_slots: N, and L = most labels of one video.
        num_parts: M of each video.
        width: d.

    Source: DCC (CVPR 2022), section 3.2; newest entries replace older ones, without momentum.
    """

    vectors: Tensor
    valid: Tensor
    classes: Tensor

    def __init__(self, num_videos: int, num_slots: int, num_parts: int, width: int) -> None:
        super().__init__()
        shape = (num_videos, num_slots, KINDS, num_regions(num_parts))
        self.register_buffer("vectors", torch.zeros(*shape, width))
        self.register_buffer("valid", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("classes", torch.full((num_videos, num_slots), NO_CLASS))

    def write(self, regions: Regions) -> None:
        """Replace the entries of the regions' videos."""
        slots = regions.classes.shape[1]
        self.vectors[regions.videos, :slots] = regions.vectors.detach()
        self.valid[regions.videos, :slots] = regions.valid
        self.classes[regions.videos, :slots] = regions.classes

    def regions(self) -> Regions:
        """Return the entries of all videos."""
        videos = torch.arange(len(self.classes), device=self.classes.device)
        return Regions(self.vectors, self.valid, self.classes, videos)


def region_contrast(
    fresh: Regions, bank: RegionBank | None, scope: ContrastScope, temperature: float
) -> Tensor:
    """Return the mean contrastive loss of the action regions of a batch; 0 without any pair.

    Positives of an anchor: other action regions of its class, in its video and in other videos.
    Negatives: background regions of its video for its class, and of other videos every
    background region and the action regions of other classes. Its own video counts with fresh
    vectors only. Regions of another class of its own video are neither.

    Args:
        fresh: of the batch, with gradient.
        bank: entries of other videos, for the scope ``bank``.
        scope: which other videos count: none, those of the batch (fresh), those of the bank.
        temperature: > 0.

    Source: DCC (CVPR 2022), eq. 7 and table 6; the mean over anchors instead of 1 / M.
    """
    own = _flat(fresh)
    anchors = own.is_action.nonzero()[:, 0]
    if len(anchors) == 0:
        return fresh.vectors.sum() * 0.0
    positive, negative, same_video = _pairs(own, anchors, own)
    positive[torch.arange(len(anchors), device=anchors.device), anchors] = False
    if scope != "batch":
        positive, negative = positive & same_video, negative & same_video
    candidates = own.vectors
    if scope == "bank" and bank is not None:
        stored = _flat(bank.regions())
        more_positive, more_negative, stale = _pairs(own, anchors, stored)
        candidates = torch.cat([candidates, stored.vectors])
        positive = torch.cat([positive, more_positive & ~stale], dim=1)
        negative = torch.cat([negative, more_negative & ~stale], dim=1)
    losses, used = masked_info_nce(
        own.vectors[anchors], candidates, positive, negative, temperature
    )
    return losses.sum() / used.sum().clamp(min=1)


def _pairs(own: _Flat, anchors: Tensor, candidates: _Flat) -> tuple[Tensor, Tensor, Tensor]:
    """Return bool[A, n]: same class and action, contrary, and of the same video."""
    same_video = own.videos[anchors][:, None] == candidates.videos[None]
    same_class = own.classes[anchors][:, None] == candidates.classes[None]
    is_action = candidates.is_action[None]
    positive = same_class & is_action
    negative = torch.where(same_video, same_class & ~is_action, ~(same_class & is_action))
    return positive, negative, same_video


def _flat(regions: Regions) -> _Flat:
    valid = regions.valid & (regions.classes != NO_CLASS)[:, :, None, None]
    kind = torch.arange(KINDS, device=valid.device)[:, None]
    return _Flat(
        regions.vectors[valid],
        (kind == 0).expand_as(valid)[valid],
        regions.classes[:, :, None, None].expand_as(valid)[valid],
        regions.videos[:, None, None, None].expand_as(valid)[valid],
    )
