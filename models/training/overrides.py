"""`--set key=value`: one setting of a preset, by its name, changed and checked."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from models.config import Preset, TrainingSettings
from models.errors import TrainingDataInvalid

PARTS = ("head", "inference", "proposals")
TRUE_WORDS, FALSE_WORDS = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def with_overrides(preset: Preset, assignments: Iterable[str]) -> Preset:
    """Return a preset with ``key=value`` assignments applied in order.

    A key is a setting's name, with its part in front where two parts have one of that name:
    ``head.width=64``, ``steps=200`` (of every stage), ``STAGE.steps=200``, ``proposals.nms.kind``.

    Raises:
        TrainingDataInvalid: an assignment has no such form, setting or value.
    """
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found:
            message = f"--set needs KEY=VALUE, got {assignment!r}."
            raise TrainingDataInvalid(message)
        preset = _apply(preset, key.strip(), text.strip())
    return preset


def settable(preset: Preset) -> list[str]:
    """Return every full key of a preset, sorted."""
    keys = [f"{part}.{name}" for part in PARTS for name in _leaves(getattr(preset, part))] + [
        f"{stage.stage}.{name}" for stage in preset.stages for name in _leaves(stage)
    ]
    return sorted(set(keys))


def _leaves(settings: Any) -> list[str]:  # noqa: ANN401 - any settings dataclass
    names = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            names += [f"{field.name}.{inner}" for inner in _leaves(value)]
        else:
            names.append(field.name)
    return names


def _apply(preset: Preset, key: str, text: str) -> Preset:
    matches = [full for full in settable(preset) if full == key or full.endswith(f".{key}")]
    parts = {full.split(".")[0] for full in matches}
    in_stages = parts <= {stage.stage for stage in preset.stages}
    if not matches or (len(parts) > 1 and not in_stages):
        hint = ", ".join(matches or settable(preset))
        message = f"--set knows no single setting {key!r}; choose one of {hint}."
        raise TrainingDataInvalid(message)
    for full in matches:
        part, _, path = full.partition(".")
        if part in PARTS:
            changed = _changed(getattr(preset, part), path.split("."), text)
            preset = replace(preset, **{part: changed})
        else:
            stages = tuple(
                _changed(stage, path.split("."), text) if stage.stage == part else stage
                for stage in preset.stages
            )
            preset = replace(preset, stages=stages)
    if key.split(".")[-1] == "steps":
        preset = _without_epochs(preset, parts)
    return preset


def _without_epochs(preset: Preset, parts: set[str]) -> Preset:
    """Let given steps win over a preset's epochs."""
    stages: tuple[TrainingSettings, ...] = tuple(
        replace(stage, epochs=0) if stage.stage in parts else stage for stage in preset.stages
    )
    return replace(preset, stages=stages)


def _changed(settings: Any, path: list[str], text: str) -> Any:  # noqa: ANN401 - as given
    name = path[0]
    if len(path) > 1:
        return replace(settings, **{name: _changed(getattr(settings, name), path[1:], text)})
    hint = get_type_hints(type(settings))[name]
    try:
        return replace(settings, **{name: _parsed(hint, text)})
    except ValueError as error:
        message = f"--set {name}={text}: {error}."
        raise TrainingDataInvalid(message) from error


def _parsed(hint: Any, text: str) -> Any:  # noqa: ANN401 - whatever the setting is
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            message = f"choose one of {', '.join(map(str, get_args(hint)))}"
            raise ValueError(message)
        return text
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return tuple(_parsed(inner, one) for one in text.split(",") if one.strip())
    if hint is bool:
        if text.lower() not in TRUE_WORDS + FALSE_WORDS:
            message = "say true or false"
            raise ValueError(message)
        return text.lower() in TRUE_WORDS
    if hint in (int, float, str):
        return hint(text)
    message = "it cannot be set on the command line"
    raise ValueError(message)
