"""Turns the files of a published checkpoint into a model folder, or into one clear refusal."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.config import settings_to_json
from models.datasets.thumos import THUMOS14_CLASSES
from models.errors import ModelUnknown, WeightsInvalid
from models.heads.base import Head, HeadSpec
from models.heads.registry import build_head
from models.importers.keymap import KeyReport, KeyRule, mapped, require_fit
from models.importers.plan import STREAMS, ImportPlan, ImportSource, Shapes, Widths
from models.importers.sources import SOURCES
from models.importers.tensorflow import TensorFlowCheckpoint, open_checkpoint
from models.modelcard import NAME_PATTERN, ModelCard, save_model
from models.types import FloatArray
from models.weights import load_strictly, read_checkpoint

IMPORTED_VERSION = "1"
READ_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import.

    Attributes:
        source: a name of `models.importers.sources.SOURCES`.
        files: of the checkpoint; of two, the RGB stream's comes first.
        name: of the new model.
        classes: labels in the order of the network's outputs.
        widths: of the network where it is not the published one.
    """

    source: str
    files: tuple[Path, ...]
    name: str
    classes: tuple[str, ...] = THUMOS14_CLASSES
    widths: Widths | None = None


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """What came of an import.

    Attributes:
        card: of the model.
        head: with the imported weights, in evaluation mode.
        report: one line for every tensor of every file.
    """

    card: ModelCard
    head: Head
    report: tuple[KeyReport, ...]
    standardize_mean: FloatArray = field(repr=False)
    standardize_std: FloatArray = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object: the model and the report."""
        return {
            "model": self.card.identity,
            "method": self.card.method,
            "classes": list(self.card.classes),
            "licence": self.card.licence,
            "notes": list(self.card.notes),
            "keys": [one.to_json() for one in self.report],
        }


def import_checkpoint(request: ImportRequest) -> ImportedModel:
    """Read a published checkpoint into the head that runs it; nothing is written.

    Raises:
        ModelUnknown: no such source.
        WeightsMissing: a file is not there.
        WeightsInvalid: the name or the number of files or classes does not fit, or a file is
            damaged, unsafe or no checkpoint of this source in any key, shape, type or value.
    """
    source = _source(request)
    states, checkpoints = _opened(source, request.files)
    shapes: list[Shapes] = [
        {name: tuple(one.shape) for name, one in state.items()} for state in states
    ]
    shapes += [{name: one.shape for name, one in tf.entries.items()} for tf in checkpoints]
    num_classes = _class_count(source, shapes, request)
    plan = source.plan(num_classes, shapes, request.widths or source.widths)
    parameters: dict[str, Tensor] = {}
    report: list[KeyReport] = []
    for index, (file, rules) in enumerate(zip(request.files, plan.rules, strict=True)):
        require_fit(shapes[index], rules, file.name, source.name)
        state = states[index] if states else _read_used(checkpoints[index], rules)
        own, lines = mapped(state, rules, file.name)
        parameters |= own
        report += lines
    head = build_head(plan.method, HeadSpec.for_recipe(request.classes, plan.recipe), plan.settings)
    load_strictly(head, {**_untouched(head), **parameters}, request.name)
    head.eval()
    width = plan.recipe.feature_width
    return ImportedModel(
        card=_card(request, source, plan),
        head=head,
        report=tuple(report),
        standardize_mean=np.zeros(width, np.float32),
        standardize_std=np.ones(width, np.float32),
    )


def import_published(request: ImportRequest, models_folder: Path) -> ImportedModel:
    """Import a published checkpoint as the model ``models_folder / name``.

    Raises:
        ModelUnknown: no such source.
        WeightsMissing: a file is not there.
        WeightsInvalid: see `import_checkpoint`.
        DiskFull: no space is left.
    """
    imported = import_checkpoint(request)
    save_model(models_folder / request.name, imported.card, imported)
    return imported


def _source(request: ImportRequest) -> ImportSource:
    source = SOURCES.get(request.source)
    if source is None:
        message = f"There is no import from {request.source}; known are: {', '.join(SOURCES)}."
        raise ModelUnknown(message)
    if not NAME_PATTERN.fullmatch(request.name):
        message = (
            f"A model's name may hold letters, digits, dots, dashes and underscores, and "
            f"{request.name!r} does not fit."
        )
        raise WeightsInvalid(message)
    if len(request.files) not in source.num_files:
        wanted = " or ".join(str(count) for count in source.num_files)
        message = (
            f"A model of {source.name} is made of {wanted} files, and {len(request.files)} are "
            "given; of two, the RGB stream's comes first."
        )
        raise WeightsInvalid(message)
    if len(request.files) > 1 and [_stream_in(one.name) for one in request.files] == [
        "flow",
        "rgb",
    ]:
        message = "The files' names say flow and then rgb; give the RGB stream's file first."
        raise WeightsInvalid(message)
    return source


def _stream_in(name: str) -> str:
    """Return the stream that a file's name speaks of; empty if none or both."""
    found = [stream for stream in STREAMS if stream in name.lower()]
    return found[0] if len(found) == 1 else ""


def _opened(
    source: ImportSource, files: Sequence[Path]
) -> tuple[list[dict[str, Tensor]], list[TensorFlowCheckpoint]]:
    """Return what the files hold: torch states, or opened TensorFlow checkpoints."""
    if source.container == "tensorflow":
        return [], [open_checkpoint(file) for file in files]
    return [read_checkpoint(file, source.state_key) for file in files], []


def _read_used(checkpoint: TensorFlowCheckpoint, rules: Sequence[KeyRule]) -> dict[str, Tensor]:
    """Return the tensors that become parameters; those of the optimiser stay unread."""
    state: dict[str, Tensor] = {}
    for rule in rules:
        if rule.target:
            values = checkpoint.read(rule.source)
            if not np.isfinite(values).all():
                message = (
                    f"{checkpoint.data_path.name} has values of {rule.source} that are not "
                    "finite; refused."
                )
                raise WeightsInvalid(message)
            state[rule.source] = torch.from_numpy(values)
    return state


def _class_count(source: ImportSource, shapes: Sequence[Shapes], request: ImportRequest) -> int:
    """Return the number of classes after checking it against the list, where it can be known."""
    wanted = len(request.classes)
    for file, one in zip(request.files, shapes, strict=True):
        shape = one.get(source.class_key)
        if not shape:
            continue  # the complete comparison that follows names what is missing
        found = shape[0] - int(source.background)
        if found != wanted:
            message = (
                f"{file.name} knows {found} classes and the class list has {wanted}; "
                "give its own list with --classes FILE."
            )
            raise WeightsInvalid(message)
    return wanted


def _untouched(head: Head) -> Mapping[str, Tensor]:
    """Return what training alone needs and no published file holds, as it was built."""
    kept = head.trained_state()
    return {name: value for name, value in head.state_dict().items() if name not in kept}


def _card(request: ImportRequest, source: ImportSource, plan: ImportPlan) -> ModelCard:
    files = [{"name": one.name, "sha256": digest} for one, digest in _digests(source, request)]
    return ModelCard(
        name=request.name,
        version=IMPORTED_VERSION,
        method=plan.method,
        classes=request.classes,
        recipe=plan.recipe,
        head_settings=settings_to_json(plan.settings),
        inference=plan.inference,
        proposals=plan.proposals,
        training={"imported_from": source.name, "origin": source.origin, "files": files},
        licence=source.licence,
        notes=(f"Imported from a checkpoint of {source.origin}.", *plan.notes),
    )


def _digests(source: ImportSource, request: ImportRequest) -> list[tuple[Path, str]]:
    """Return every file that was read with its sha256."""
    paths = list(request.files)
    if source.container == "tensorflow":
        paths = [open_checkpoint(file).data_path for file in request.files]
    found = []
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(READ_BLOCK_BYTES):
                digest.update(block)
        found.append((path, digest.hexdigest()))
    return found
