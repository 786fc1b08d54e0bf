"""I3D with a ResNet-50 trunk through pytorchvideo: RGB only, one network as its authors built it.

Owns the adaptation to our interface: input in [-1, 1], features pooled before the projection.
"""

import torch
from pytorchvideo.models.hub import i3d_r50
from torch import Tensor, nn

from models.backbones.inception_i3d import KINETICS_CLASSES

# Source: PyTorchVideo's inference tutorial: values in [0, 1] minus 0.45, over 0.225.
INPUT_MEAN = 0.45
INPUT_STD = 0.225


class PytorchvideoI3d(nn.Module):
    """pytorchvideo's i3d_r50; parameter names are those of its public checkpoint.

    Args:
        num_classes: of the projection.
    """

    def __init__(self, *, num_classes: int = KINETICS_CLASSES) -> None:
        super().__init__()
        network = i3d_r50(pretrained=False, model_num_class=num_classes)
        self.blocks: nn.ModuleList = network.blocks
        self.in_channels = 3
        self.feature_width = int(self.blocks[-1].proj.in_features)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the mean over the whole last map, float[B, 2048].

        Args:
            x: float[B, 3, F, H, W] in [-1, 1]. For 8 x 224 x 224 the last map is 4 x 7 x 7 and
                the mean equals the published average pool.
        """
        x = (x + 1) / 2
        x = (x - INPUT_MEAN) / INPUT_STD
        for block in self.blocks[:-1]:
            x = block(x)
        return x.mean(dim=(2, 3, 4), dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits float[B, C] of clips float[B, 3, F, H, W] in [-1, 1]."""
        head = self.blocks[-1]
        projection: nn.Module = head.get_submodule("proj")
        dropout: nn.Module = head.get_submodule("dropout")
        features = dropout(self.forward_features(x))
        logits: Tensor = projection(features.to(next(projection.parameters()).dtype))
        return logits
