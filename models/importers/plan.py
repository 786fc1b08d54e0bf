"""What an import source is, and how the files of one checkpoint become one model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from models.config import HeadSettings, InferenceSettings, ProposalSettings
from models.importers.keymap import KeyRule
from models.recipe import FeatureRecipe

Widths = Mapping[str, int]
Shapes = Mapping[str, tuple[int, ...]]
STREAMS = ("rgb", "flow")
# Longer than any video of the published sets (2,615 snippets), so that each is seen at once.
WHOLE_VIDEO = InferenceSettings(sampling="native", window_snippets=3000, overlap_snippets=300)

# The published feature sets: two-stream I3D on 16-frame windows, extracted by others.
EXTERNAL_I3D = FeatureRecipe(name="external-i3d")
NO_BACKBONE_NOTE = (
    "The file holds no backbone: its features were extracted by others; raw video is described "
    "with the weights of `kinetag models pull i3d-kinetics400`, which are close and not the same."
)


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """How the files of one checkpoint become one model.

    Attributes:
        method: name of the head.
        settings: of the head.
        rules: of every tensor, one list per file.
        recipe: of the features it takes.
        inference, proposals: as its authors run it.
        notes: sentences for the model card.
    """

    method: str
    settings: HeadSettings
    rules: tuple[list[KeyRule], ...]
    recipe: FeatureRecipe
    inference: InferenceSettings
    proposals: ProposalSettings
    notes: tuple[str, ...] = (NO_BACKBONE_NOTE,)


@dataclass(frozen=True, slots=True)
class ImportSource:
    """One kind of published checkpoint.

    Attributes:
        name: as in ``kinetag models import --from NAME``.
        origin: page of its authors.
        licence: SPDX name of the licence of the repository that publishes it.
        num_files: how many files one model may be made of.
        class_key: tensor whose first axis counts the classes.
        background: that axis counts a background class as well.
        plan: makes the plan from the number of classes, the files' shapes and the widths.
        state_key: entry of the file that holds the tensors; None when the file is the table.
        container: ``torch`` or ``tensorflow``.
        widths: of the published network.
    """

    name: str
    origin: str
    licence: str
    num_files: tuple[int, ...]
    class_key: str
    plan: Callable[[int, list[Shapes], Widths], ImportPlan]
    background: bool = False
    state_key: str | None = None
    container: str = "torch"
    widths: Widths = field(default_factory=lambda: {"stream": 1024})


def on_width(recipe: FeatureRecipe, widths: Widths) -> FeatureRecipe:
    """Return the recipe with the stream width of this checkpoint."""
    return replace(recipe, stream_width=widths["stream"])


def steps(first: float, last: float, step: float) -> tuple[float, ...]:
    """Return first, first + step, ... last, rounded to what was meant."""
    return tuple(round(first + step * i, 6) for i in range(round((last - first) / step) + 1))
