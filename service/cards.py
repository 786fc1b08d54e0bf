"""Which models there are, read from their cards; nothing of a model is loaded.

The layout is the one `models.modelcard` writes: a model folder holds ``card.json``; a folder of
models holds model folders, and may be one itself. Subfolders named after a speed hold the model's
heads for other speeds.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from models.errors import ModelUnknown
from models.recipe import FeatureRecipe
from models.speeds import EXACT, SPEEDS, ModelChoice, speed_not_offered
from service.errors import UnknownModel

CARD_NAME = "card.json"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What the API says about a model.

    Attributes:
        classes: the labels it can find.
        recipe_digest: of the features it needs.
        warnings: carried by every result of it.
        speeds: that it has heads for, its own first.
        proposal_source: ``thresholds``, or ``head`` where it proposes intervals by itself.
        sampling: ``native``, or else it sees every video whole.
    """

    name: str
    version: str
    method: str
    classes: tuple[str, ...]
    recipe_digest: str
    licence: str
    metrics: dict[str, Any]
    warnings: tuple[dict[str, Any], ...]
    speeds: tuple[str, ...] = (EXACT,)
    proposal_source: str = "thresholds"
    sampling: str = "native"

    @property
    def identity(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


def list_models(folders: Sequence[Path]) -> list[ModelSummary]:
    """Return every readable model, by name, newest version first.

    Of two with the same name and version the one in the earlier folder counts. Damaged cards are
    logged and left out.
    """
    found: dict[str, ModelSummary] = {}
    for folder in folders:
        below = (
            sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        )
        for candidate in (folder, *below):
            if candidate.name in SPEEDS and (folder / CARD_NAME).is_file():
                continue
            summary = _read_card(candidate / CARD_NAME)
            if summary is not None:
                found.setdefault(summary.identity, _with_speeds(summary, candidate))
    newest_first = sorted(found.values(), key=lambda one: _version_key(one.version), reverse=True)
    return sorted(newest_first, key=lambda one: one.name)


def find_model(spec: str, folders: Sequence[Path], speed: str = "") -> tuple[ModelSummary, str]:
    """Return the model NAME[@VERSION][:SPEED], without a version the newest, and its full name.

    The full name is what a worker loads; it holds the speed where it is not the model's own.

    Args:
        spec: as above.
        folders: see `list_models`.
        speed: wished beside the name; empty for none.

    Raises:
        UnknownModel: there is none, or it has no head for that speed.
    """
    try:
        choice = ModelChoice.parse(spec).at(speed)
    except ModelUnknown as error:
        raise UnknownModel(str(error)) from error
    models = list_models(folders)
    for model in models:
        if model.name != choice.name or choice.version not in {"", model.version}:
            continue
        own, wanted = model.speeds[0], choice.speed or model.speeds[0]
        if wanted not in model.speeds:
            raise UnknownModel(speed_not_offered(model.identity, wanted, model.speeds))
        return model, str(ModelChoice(model.name, model.version, wanted if wanted != own else ""))
    known = ", ".join(model.identity for model in models) or "none"
    message = f"There is no model {spec!r}; installed: {known}."
    raise UnknownModel(message)


def _with_speeds(model: ModelSummary, folder: Path) -> ModelSummary:
    found = [*model.speeds]
    for speed in SPEEDS:
        other = _read_card(folder / speed / CARD_NAME) if speed not in found else None
        if other is not None and (other.identity, other.speeds) == (model.identity, (speed,)):
            found.append(speed)
    return replace(model, speeds=tuple(found))


def _read_card(path: Path) -> ModelSummary | None:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return ModelSummary(
            name=str(card["name"]),
            version=str(card["version"]),
            method=str(card["method"]),
            classes=tuple(map(str, card["classes"])),
            recipe_digest=FeatureRecipe.from_json(card["recipe"]).digest,
            licence=str(card.get("licence", "")),
            metrics=dict(card.get("metrics", {})),
            warnings=tuple(map(dict, card.get("warnings", ()))),
            speeds=(str(card.get("speed", EXACT)),),
            proposal_source=str(dict(card.get("proposals", {})).get("source", "thresholds")),
            sampling=str(dict(card.get("inference", {})).get("sampling", "native")),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        _log.warning("model_card_unreadable", folder=path.parent.name, error=repr(error))
        return None


def _version_key(version: str) -> list[tuple[int, int, str]]:
    # Numbers compare as numbers, so that 10 is newer than 9.
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
