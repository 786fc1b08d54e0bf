"""Which models there are, read from their cards; nothing of a model is loaded.

The layout is the one `models.modelcard` writes: a model folder holds ``card.json``; a folder of
models holds model folders, and may be one itself.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from models.recipe import FeatureRecipe
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
    """

    name: str
    version: str
    method: str
    classes: tuple[str, ...]
    recipe_digest: str
    licence: str
    metrics: dict[str, Any]
    warnings: tuple[dict[str, Any], ...]

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
            summary = _read_card(candidate / CARD_NAME)
            if summary is not None:
                found.setdefault(summary.identity, summary)
    newest_first = sorted(found.values(), key=lambda one: _version_key(one.version), reverse=True)
    return sorted(newest_first, key=lambda one: one.name)


def find_model(spec: str, folders: Sequence[Path]) -> ModelSummary:
    """Return the model NAME[@VERSION]; without a version the newest.

    Raises:
        UnknownModel: there is none.
    """
    name, _, version = spec.partition("@")
    models = list_models(folders)
    for model in models:
        if model.name == name and version in {"", model.version}:
            return model
    known = ", ".join(model.identity for model in models) or "none"
    message = f"There is no model {spec!r}; installed: {known}."
    raise UnknownModel(message)


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
