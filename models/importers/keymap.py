"""From the tensors of a checkpoint to the parameters of a head, with every key accounted for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from models.errors import WeightsInvalid

Change = Literal["none", "linear_to_conv", "transpose", "transpose_to_conv"]
NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What becomes of one tensor of a checkpoint.

    Attributes:
        source: its name there.
        shape: it must have there.
        target: our parameter; empty for a tensor that is known and not used.
        change: how its values are laid out anew: ``linear_to_conv`` appends an axis of 1 to a
            linear map, ``transpose`` exchanges the axes of one, ``transpose_to_conv`` does both.
        reason: why it is not used.
    """

    source: str
    shape: tuple[int, ...]
    target: str = ""
    change: Change = "none"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """One line of an import's report.

    Attributes:
        file: name of the checkpoint.
        source: the tensor's name there.
        shape: of it.
        target: our parameter; None where the tensor is not used.
        note: how it was laid out anew, or why it is not used.
    """

    file: str
    source: str
    shape: tuple[int, ...]
    target: str | None
    note: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "file": self.file,
            "source": self.source,
            "shape": list(self.shape),
            "target": self.target,
            "note": self.note,
        }


def require_fit(
    shapes: Mapping[str, tuple[int, ...]], rules: Sequence[KeyRule], file: str, origin: str
) -> None:
    """Refuse a checkpoint that differs from the rules in any name or shape.

    Raises:
        WeightsInvalid: keys are missing, unknown or of another shape; the message names some.
    """
    expected = {rule.source: rule.shape for rule in rules}
    missing = [name for name in expected if name not in shapes]
    unknown = [name for name in shapes if name not in expected]
    reshaped = [
        f"{name} {list(shapes[name])} for {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    parts = [
        f"{verb} {', '.join(names[:NAMES_SHOWN])}"
        + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")
        for verb, names in (("lacks", missing), ("also has", unknown), ("has", reshaped))
        if names
    ]
    if parts:
        message = f"{file} is no checkpoint of {origin}: it {'; it '.join(parts)}."
        raise WeightsInvalid(message)


def mapped(
    state: Mapping[str, Tensor], rules: Sequence[KeyRule], file: str
) -> tuple[dict[str, Tensor], list[KeyReport]]:
    """Return our parameters and a report line for every rule; the state must fit the rules."""
    parameters: dict[str, Tensor] = {}
    report: list[KeyReport] = []
    for rule in rules:
        note = rule.reason or ("" if rule.change == "none" else rule.change.replace("_", " "))
        report.append(KeyReport(file, rule.source, rule.shape, rule.target or None, note))
        if rule.target:
            parameters[rule.target] = _changed(state[rule.source], rule.change)
    return parameters, report


def _changed(tensor: Tensor, change: Change) -> Tensor:
    if change in {"transpose", "transpose_to_conv"}:
        tensor = tensor.T
    if change in {"linear_to_conv", "transpose_to_conv"}:
        tensor = tensor[..., None]
    return tensor.to(torch.float32).contiguous().clone()


def affine(
    source: str,
    target: str,
    shape: tuple[int, ...],
    change: Change = "none",
    names: tuple[str, str] = ("weight", "bias"),
) -> list[KeyRule]:
    """Return the rules of a layer's weight of this shape and of its bias.

    The bias is as long as the first axis of the weight in our layout. A source that ends in
    ``/`` is a TensorFlow scope, any other a torch module.
    """
    separator = "" if source.endswith("/") else "."
    outputs = shape[-1] if change.startswith("transpose") else shape[0]
    return [
        KeyRule(f"{source}{separator}{names[0]}", shape, f"{target}.weight", change),
        KeyRule(f"{source}{separator}{names[1]}", (outputs,), f"{target}.bias"),
    ]
