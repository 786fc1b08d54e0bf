"""Model folders: a card that says what a model is, and its head's weights beside it.

A folder holds ``card.json`` and ``head.safetensors``. The card records the weights' hash and is
written last, so a folder is complete or refused. Nothing is ever unpickled. Heads of the same model
for other speeds lie in subfolders of the speed's name, each with a card and weights of its own.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.atomic import write_bytes_atomic, write_text_atomic
from models.config import (
    InferenceSettings,
    ProposalSettings,
    settings_from_json,
    settings_to_json,
)
from models.errors import ModelUnknown, WeightsInvalid, WeightsMissing
from models.heads.base import Head, HeadSpec
from models.heads.registry import build_head, head_entry
from models.localize.calibration import calibration_from_json
from models.recipe import FeatureRecipe
from models.speeds import EXACT, SPEEDS, ModelChoice, speed_not_offered
from models.types import FloatArray, MediaWarning

CARD_NAME = "card.json"
WEIGHTS_NAME = "head.safetensors"
CARD_FORMAT = 1
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HEAD_PREFIX = "head."
MEAN_KEY = "standardize.mean"
STD_KEY = "standardize.std"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is and how it is run.

    Attributes:
        name, version: letters, digits and ``._-``.
        method: name of the head.
        classes: labels in order.
        recipe: of the features, with the hashes of the backbone's weights.
        head_settings: of the head, as JSON.
        inference, proposals: how it is fed and how its activations become segments.
        calibration: of the scores; None where raw scores are clipped.
        training: what it was trained with, for people.
        metrics: measured quality, for people.
        licence: of the weights.
        warnings: carried by every result of this model.
        notes: sentences for people.
        speed: of `models.speeds`, at which the recipe makes features.
    """

    name: str
    version: str
    method: str
    classes: tuple[str, ...]
    recipe: FeatureRecipe
    head_settings: dict[str, Any]
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    calibration: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    warnings: tuple[MediaWarning, ...] = ()
    notes: tuple[str, ...] = ()
    speed: str = EXACT

    @property
    def identity(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` restores an equal card."""
        document = {name: getattr(self, name) for name in _FIELD_NAMES}
        document["recipe"] = self.recipe.to_json()
        document["inference"] = settings_to_json(self.inference)
        document["proposals"] = settings_to_json(self.proposals)
        document["warnings"] = [warning.to_json() for warning in self.warnings]
        return {"format": CARD_FORMAT, **document}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ModelCard":
        """Restore a card.

        Raises:
            WeightsInvalid: the document is no card this release can read.
        """
        values = dict(document)
        if values.pop("format", None) != CARD_FORMAT:
            message = "The model card has another format; update Kinetag or train the model again."
            raise WeightsInvalid(message)
        values.pop("head_sha256", None)
        try:
            values["recipe"] = FeatureRecipe.from_json(values["recipe"])
            values["inference"] = settings_from_json(InferenceSettings, values["inference"])
            values["proposals"] = settings_from_json(ProposalSettings, values["proposals"])
            values["warnings"] = tuple(MediaWarning(**one) for one in values.get("warnings", ()))
            calibration_from_json(values.get("calibration"))  # refused here, not while it runs
            for name in ("classes", "notes"):
                values[name] = tuple(values.get(name, ()))
            card = cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            message = f"The model card is damaged or from another release ({error})."
            raise WeightsInvalid(message) from error
        if card.speed not in SPEEDS:
            message = f"The model card has a speed unknown to this release ({card.speed})."
            raise WeightsInvalid(message)
        return card


_FIELD_NAMES = tuple(field_.name for field_ in fields(ModelCard))


class SavableHead(Protocol):
    """A head with its standardisation."""

    @property
    def head(self) -> Head:
        """The network."""

    @property
    def standardize_mean(self) -> FloatArray:
        """float32[D]."""

    @property
    def standardize_std(self) -> FloatArray:
        """float32[D]."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run.

    Attributes:
        card: what it is.
        head: in evaluation mode, on the CPU.
        standardize_mean, standardize_std: float32[D].
        folder: it was loaded from.
    """

    card: ModelCard
    head: Head
    standardize_mean: FloatArray
    standardize_std: FloatArray
    folder: Path

    @property
    def recipe(self) -> FeatureRecipe:
        """Of the features it takes."""
        return self.card.recipe

    @property
    def inference(self) -> InferenceSettings:
        """How the head is fed."""
        return self.card.inference

    @property
    def model_folder(self) -> Path:
        """Of the model itself, where this head is one of its other speeds; else ``folder``."""
        is_other = self.folder.name == self.card.speed and _holds_card(self.folder.parent)
        return self.folder.parent if is_other else self.folder


def save_model(folder: Path, card: ModelCard, trained: SavableHead) -> None:
    """Write a model folder; an existing model in it is replaced.

    The weights come first and the card, which names their hash, last: a crash in between leaves
    a folder that loading refuses with a clear error, never one that runs the wrong weights.

    Raises:
        WeightsInvalid: name or version hold characters that a folder name must not.
        DiskFull: no space is left.
    """
    for part in (card.name, card.version):
        if not NAME_PATTERN.fullmatch(part):
            message = (
                f"A model's name and version may hold letters, digits, dots, dashes and "
                f"underscores, and {part!r} does not fit."
            )
            raise WeightsInvalid(message)
    state = trained.head.trained_state()
    tensors = {
        HEAD_PREFIX + name: value.detach().cpu().contiguous() for name, value in state.items()
    }
    tensors[MEAN_KEY] = _as_tensor(trained.standardize_mean)
    tensors[STD_KEY] = _as_tensor(trained.standardize_std)
    content = safetensors.torch.save(tensors)
    write_bytes_atomic(folder / WEIGHTS_NAME, content)
    document = {**card.to_json(), "head_sha256": hashlib.sha256(content).hexdigest()}
    write_text_atomic(folder / CARD_NAME, json.dumps(document, indent=2) + "\n")


def load_card(folder: Path) -> ModelCard:
    """Read the card of a model folder without its weights.

    Raises:
        ModelUnknown: there is no card.
        WeightsInvalid: the card cannot be read.
    """
    return ModelCard.from_json(_card_document(folder))


def load_model(folder: Path) -> LoadedModel:
    """Load a model folder.

    Raises:
        ModelUnknown: there is no card.
        WeightsMissing: the card has no weights beside it.
        WeightsInvalid: the weights are damaged, or do not fit the card in any name or shape.
        RecipeMismatch: the recipe lacks a stream the head needs.
    """
    document = _card_document(folder)
    card = ModelCard.from_json(document)
    tensors = _load_tensors(folder, str(document.get("head_sha256", "")))
    settings = settings_from_json(head_entry(card.method).settings, card.head_settings)
    head = build_head(card.method, HeadSpec.for_recipe(card.classes, card.recipe), settings)
    expected = {HEAD_PREFIX + name: tuple(v.shape) for name, v in head.trained_state().items()}
    expected[MEAN_KEY] = expected[STD_KEY] = (card.recipe.feature_width,)
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != expected:
        differing = sorted(
            name for name in {*found, *expected} if found.get(name) != expected.get(name)
        )
        message = (
            f"The weights of {card.identity} do not fit its card in {', '.join(differing[:5])}; "
            "install the model again."
        )
        raise WeightsInvalid(message)
    head.load_trained_state({name: tensors[HEAD_PREFIX + name] for name in head.trained_state()})
    head.eval()
    mean, std = tensors[MEAN_KEY].numpy(), tensors[STD_KEY].numpy()
    return LoadedModel(card, head, mean, std, folder)


def list_models(folders: Sequence[Path]) -> list[tuple[Path, ModelCard]]:
    """Return every readable model in the folders, by name and version, newest version first.

    A folder is a model folder itself or holds model folders. Of two with the same name and
    version the one in the earlier folder counts. Damaged ones are left out, and so are the folders
    of a model's other speeds: `model_speeds` finds them.
    """
    found: dict[str, tuple[Path, ModelCard]] = {}
    for folder in folders:
        for candidate in [folder, *_subfolders(folder)]:
            if not _holds_card(candidate) or (candidate.name in SPEEDS and _holds_card(folder)):
                continue
            try:
                card = load_card(candidate)
            except WeightsInvalid:
                continue
            found.setdefault(card.identity, (candidate, card))
    by_version = sorted(found.values(), key=lambda one: _version_key(one[1].version), reverse=True)
    return sorted(by_version, key=lambda one: one[1].name)


def model_speeds(folder: Path, card: ModelCard) -> dict[str, Path]:
    """Return the speeds that a model offers with the folders of their heads, its own speed first.

    A subfolder whose card is damaged, or of another model or version, offers nothing.

    Args:
        folder: of the model.
        card: in that folder.
    """
    found = {card.speed: folder}
    for speed in SPEEDS:
        if speed in found or not _holds_card(folder / speed):
            continue
        try:
            other = load_card(folder / speed)
        except WeightsInvalid:
            continue
        if (other.identity, other.speed) == (card.identity, speed):
            found[speed] = folder / speed
    return found


def find_model(spec: str, folders: Sequence[Path], speed: str = "") -> LoadedModel:
    """Load the model NAME[@VERSION][:SPEED]; without a version the newest one.

    Versions are compared number by number: 10 is newer than 9.

    Args:
        spec: as above; without a speed the model runs at its own one, as a rule `EXACT`.
        folders: see `list_models`.
        speed: takes the place of a speed in ``spec``.

    Raises:
        ModelUnknown: it is not there, or has no head for that speed; the message names what is.
        WeightsMissing: as `load_model`.
        WeightsInvalid: as `load_model`.
    """
    choice = ModelChoice.parse(spec).at(speed)
    models = list_models(folders)
    for folder, card in models:
        if card.name != choice.name or choice.version not in {"", card.version}:
            continue
        speeds = model_speeds(folder, card)
        wanted = choice.speed or card.speed
        if wanted not in speeds:
            raise ModelUnknown(speed_not_offered(card.identity, wanted, tuple(speeds)))
        return load_model(speeds[wanted])
    known = ", ".join(card.identity for _, card in models) or "none"
    message = f"There is no model {spec}; installed are: {known}."
    raise ModelUnknown(message)


def _holds_card(folder: Path) -> bool:
    return (folder / CARD_NAME).is_file()


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _version_key(version: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|[^\d._-]+", version)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _card_document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / CARD_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"There is no model in {folder.name}: it has no {CARD_NAME}."
        raise ModelUnknown(message) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        message = f"The model card in {folder.name} is damaged; install the model again."
        raise WeightsInvalid(message) from error
    if not isinstance(document, dict):
        message = f"The model card in {folder.name} is no JSON object; install the model again."
        raise WeightsInvalid(message)
    return document


def _load_tensors(folder: Path, expected_sha256: str) -> dict[str, Tensor]:
    try:
        content = (folder / WEIGHTS_NAME).read_bytes()
    except FileNotFoundError as error:
        message = f"The model in {folder.name} has no {WEIGHTS_NAME}; install it again."
        raise WeightsMissing(message) from error
    if hashlib.sha256(content).hexdigest() != expected_sha256:
        message = (
            f"The weights in {folder.name} are not those its card names; install the model again."
        )
        raise WeightsInvalid(message)
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        message = f"The weights in {folder.name} are damaged; install the model again."
        raise WeightsInvalid(message) from error


def _as_tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))
