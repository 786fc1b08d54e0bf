"""Inception-I3D, the two-stream backbone, as published.

Owns the network only: no weights, no preprocessing. Parameter names are those of the public
PyTorch port, so that its checkpoints load key by key. One network serves one stream.

Source: Carreira and Zisserman, "Quo Vadis, Action Recognition?" (CVPR 2017), figure 3;
layer facts from google-deepmind/kinetics-i3d i3d.py and piergiaj/pytorch-i3d pytorch_i3d.py.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Triple = tuple[int, int, int]

# Source: piergiaj/pytorch-i3d, Unit3D; sonnet's 0.999 moving average in the original.
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 0.01
KINETICS_CLASSES = 400


class Branches(NamedTuple):
    """Output channels of one inception module at width 1, in the order of the paper's figure."""

    single: int
    reduce_first: int
    first: int
    reduce_second: int
    second: int
    pooled: int

    @property
    def total(self) -> int:
        """Channels after concatenation."""
        return self.single + self.first + self.second + self.pooled


class Unit(NamedTuple):
    """A convolution with batch norm and ReLU."""

    channels: int
    kernel: Triple
    stride: Triple


class Pool(NamedTuple):
    """A max pool."""

    kernel: Triple
    stride: Triple


# Source: i3d.py, end points in order.
END_POINTS: dict[str, Unit | Pool | Branches] = {
    "Conv3d_1a_7x7": Unit(64, (7, 7, 7), (2, 2, 2)),
    "MaxPool3d_2a_3x3": Pool((1, 3, 3), (1, 2, 2)),
    "Conv3d_2b_1x1": Unit(64, (1, 1, 1), (1, 1, 1)),
    "Conv3d_2c_3x3": Unit(192, (3, 3, 3), (1, 1, 1)),
    "MaxPool3d_3a_3x3": Pool((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": Branches(64, 96, 128, 16, 32, 32),
    "Mixed_3c": Branches(128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": Pool((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": Branches(192, 96, 208, 16, 48, 64),
    "Mixed_4c": Branches(160, 112, 224, 24, 64, 64),
    "Mixed_4d": Branches(128, 128, 256, 24, 64, 64),
    "Mixed_4e": Branches(112, 144, 288, 32, 64, 64),
    "Mixed_4f": Branches(256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": Pool((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": Branches(256, 160, 320, 32, 128, 128),
    "Mixed_5c": Branches(384, 192, 384, 48, 128, 128),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return zeros before and after one dimension, so that ceil(size / stride) values come out.

    Of an odd total the extra zero stands behind.

    Source: TensorFlow's SAME rule, computed from the input size as pytorch_i3d.py does.
    """
    remainder = size % stride
    total = max(kernel - (remainder if remainder else stride), 0)
    return total // 2, total - total // 2


class SamePool3d(nn.Module):
    """Max pool with SAME padding, for inputs that are never negative.

    The original pads with zeros. After a ReLU no value is below zero, so windows that are cut
    off at the border give the same maximum and nothing has to be copied.
    """

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.kernel = pool.kernel
        self.stride = pool.stride

    def forward(self, x: Tensor) -> Tensor:
        """Pool float[B, C, F, H, W] >= 0 to ceil(size / stride) per dimension."""
        before = [
            same_padding(size, kernel, stride)[0]
            for size, kernel, stride in zip(x.shape[2:], self.kernel, self.stride, strict=True)
        ]
        return F.max_pool3d(x, self.kernel, self.stride, before, ceil_mode=True)


class Unit3d(nn.Module):
    """Convolution with SAME padding, then batch norm and ReLU."""

    def __init__(self, in_channels: int, unit: Unit) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, unit.channels, unit.kernel, unit.stride, bias=False)
        self.bn: nn.Module = nn.BatchNorm3d(
            unit.channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM
        )
        self.kernel = unit.kernel
        self.stride = unit.stride

    def forward(self, x: Tensor) -> Tensor:
        """Map float[B, Cin, F, H, W] to float[B, Cout, ceil(F/s), ceil(H/s), ceil(W/s)]."""
        pads = [
            same_padding(size, kernel, stride)
            for size, kernel, stride in zip(x.shape[2:], self.kernel, self.stride, strict=True)
        ]
        padding = [before for before, _ in pads]
        if any(before != after for before, after in pads):
            # F.pad counts dimensions from the last one backwards.
            x = F.pad(x, [zeros for pair in reversed(pads) for zeros in pair])
            padding = [0, 0, 0]
        conv = self.conv3d
        x = F.conv3d(x, conv.weight, conv.bias, self.stride, padding)
        normalized: Tensor = self.bn(x)
        return F.relu(normalized, inplace=not torch.is_grad_enabled())


def _pointwise(in_channels: int, channels: int) -> Unit3d:
    return Unit3d(in_channels, Unit(channels, (1, 1, 1), (1, 1, 1)))


def _cube(in_channels: int, channels: int) -> Unit3d:
    return Unit3d(in_channels, Unit(channels, (3, 3, 3), (1, 1, 1)))


class InceptionModule(nn.Module):
    """Four branches side by side; attribute names are those of the public checkpoints."""

    def __init__(self, in_channels: int, branches: Branches) -> None:
        super().__init__()
        self.b0 = _pointwise(in_channels, branches.single)
        self.b1a = _pointwise(in_channels, branches.reduce_first)
        self.b1b = _cube(branches.reduce_first, branches.first)
        self.b2a = _pointwise(in_channels, branches.reduce_second)
        self.b2b = _cube(branches.reduce_second, branches.second)
        self.b3a = SamePool3d(Pool((3, 3, 3), (1, 1, 1)))
        self.b3b = _pointwise(in_channels, branches.pooled)

    def forward(self, x: Tensor) -> Tensor:
        """Map float[B, Cin, F, H, W] >= 0 to the four branches joined along channels."""
        return torch.cat(
            [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))],
            dim=1,
        )


class Classifier(nn.Module):
    """A 1x1x1 convolution with bias: the linear classifier of the published network."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map pooled features float[B, D] to logits float[B, C]."""
        weight = self.conv3d.weight
        return F.linear(x.to(weight.dtype), weight.flatten(1), self.conv3d.bias)


class InceptionI3d(nn.Module):
    """One stream of I3D.

    Args:
        in_channels: 3 for RGB, 2 for flow.
        num_classes: of the classifier.
        width: channel multiplier; 1.0 is the published network, 0.25 the bundled one.
        dropout: share of features dropped before the classifier while training.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int = KINETICS_CLASSES,
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.width = width
        channels = in_channels
        for name, end_point in END_POINTS.items():
            if isinstance(end_point, Pool):
                self.add_module(name, SamePool3d(end_point))
                continue
            if isinstance(end_point, Unit):
                scaled = end_point._replace(channels=scaled_channels(end_point.channels, width))
                self.add_module(name, Unit3d(channels, scaled))
                channels = scaled.channels
            else:
                branches = Branches(*(scaled_channels(count, width) for count in end_point))
                self.add_module(name, InceptionModule(channels, branches))
                channels = branches.total
        self.dropout = nn.Dropout(dropout)
        self.logits = Classifier(channels, num_classes)
        self.feature_width = channels

    def forward_features(self, x: Tensor) -> Tensor:
        """Return pooled features before dropout and classifier.

        Args:
            x: float[B, Cin, F, H, W] in [-1, 1].

        Returns:
            float[B, D], the mean over the whole last map. For 16 x 224 x 224 that map is
            2 x 7 x 7 and the mean equals the published average pool.
        """
        for name in END_POINTS:
            x = self.get_submodule(name)(x)
        # In fp32 whatever the network computes in: averaging removes most of bf16's rounding.
        return x.mean(dim=(2, 3, 4), dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits float[B, C] of clips float[B, Cin, F, H, W] in [-1, 1]."""
        logits: Tensor = self.logits(self.dropout(self.forward_features(x)))
        return logits


def scaled_channels(channels: int, width: float) -> int:
    """Return a channel count times the width factor, at least 1."""
    return max(1, round(channels * width))


@torch.no_grad()
def fold_batch_norms(network: nn.Module) -> None:
    """Move every batch norm's scale and shift into the convolution before it, in place.

    The network must be in evaluation mode; its state dict is another one afterwards.
    """
    for unit in network.modules():
        if isinstance(unit, Unit3d) and isinstance(unit.bn, nn.BatchNorm3d):
            unit.conv3d = nn.utils.fuse_conv_bn_eval(unit.conv3d, unit.bn)
            unit.bn = nn.Identity()
