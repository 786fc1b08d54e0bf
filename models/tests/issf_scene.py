"""A small ISSF head with a batch of videos of different length, for its tests."""

from dataclasses import replace

import torch

from models.heads.base import HeadSpec, Moment
from models.heads.issf import IssfHead
from models.heads.issf_settings import IssfSettings
from models.heads.registry import PRESETS

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 6)
LENGTHS = (30, 17, 23)
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
# A scale of 5 keeps every probability far from the clamp at which published code differs.
PLAIN = IssfSettings(width=8, dropout=0.0, scale=5.0)
VARIANTS = {
    "issf": PLAIN,
    "raw": replace(PLAIN, attention="raw", memory="direct", kd_weight_after=0.5),
    "sqrt": replace(PLAIN, attention="sqrt", kernel=3, memory="best", memory_target=0.3),
    "rskp": replace(PLAIN, refine="rskp", memory_target=0.2, kd_weight_after=0.5),
    "sigmoid": replace(PLAIN, video_loss="sigmoid_bce", slots=3),
}
WARM, LATE = 10, 150  # epochs of 180, before and after the memory is filled at 100


def moment(epoch=WARM, epochs=180):
    return Moment("main", epoch + 1, epochs, epoch, epochs, torch.arange(3))


class Videos:
    """A training set in memory."""

    def __init__(self, features, labels):
        self._features, self.labels = features, labels

    def features(self, video):
        return self._features[video]


def scene(settings, seed=0, lengths=LENGTHS):
    torch.manual_seed(seed)
    head = IssfHead(SPEC, settings)
    features = torch.randn(len(lengths), max(lengths), SPEC.feature_width).abs()
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return head, features, mask


def filled(settings, seed=0):
    """A head whose memory has been filled at the end of warm-up."""
    head, features, mask = scene(settings, seed)
    videos = Videos([features[row, :length] for row, length in enumerate(LENGTHS)], LABELS)
    head.start_epoch(moment(settings.warm_up_epochs(180)), videos)
    return head, features, mask


def published(name: str) -> IssfSettings:
    """The head settings of a preset."""
    settings = PRESETS["issf"][name].head
    assert isinstance(settings, IssfSettings)
    return settings
