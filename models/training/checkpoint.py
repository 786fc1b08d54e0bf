"""A half-way point of training in one file, written whole or not at all.

Holds tensors and JSON in a safetensors file; nothing in it can run code. A checkpoint names the
run it belongs to, and another run refuses it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.atomic import write_bytes_atomic
from models.errors import TrainingDataInvalid

CHECKPOINT_NAME = "checkpoint.safetensors"
META_KEY = "kinetag"
OPTIMIZER_PREFIX = "optimizer."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stood.

    Attributes:
        tensors: by name.
        facts: everything else, as JSON.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with a prefix, without it."""
        return {
            name[len(prefix) :]: value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a folder.

    Raises:
        DiskFull: no space is left; the former checkpoint stays.
    """
    tensors = {name: v.detach().cpu().contiguous() for name, v in checkpoint.tensors.items()}
    # A JSON text in a tensor: safetensors' own metadata has a size limit that a log can exceed.
    text = json.dumps(checkpoint.facts).encode()
    tensors[META_KEY] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    write_bytes_atomic(folder / CHECKPOINT_NAME, safetensors.torch.save(tensors))


def read_checkpoint(folder: Path, fingerprint: str) -> Checkpoint | None:
    """Return the checkpoint of a folder, or None where there is none.

    Args:
        folder: of the run.
        fingerprint: of the run that wants to go on.

    Raises:
        TrainingDataInvalid: the checkpoint is damaged or belongs to another run.
    """
    try:
        content = (folder / CHECKPOINT_NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        tensors = safetensors.torch.load(content)
        facts = json.loads(bytes(tensors.pop(META_KEY).tolist()))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        message = (
            f"The checkpoint in {folder.name} is damaged; start again without --resume "
            f"({type(error).__name__})."
        )
        raise TrainingDataInvalid(message) from error
    if facts.get("fingerprint") != fingerprint:
        message = (
            f"The checkpoint in {folder.name} belongs to a run with other data, method, settings "
            "or seed; repeat them exactly, or start again without --resume."
        )
        raise TrainingDataInvalid(message)
    return Checkpoint(tensors, facts)


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a finished run; absent is fine."""
    (folder / CHECKPOINT_NAME).unlink(missing_ok=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state per parameter, by ``optimizer.PLACE.NAME``."""
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{OPTIMIZER_PREFIX}{place}.{name}": torch.as_tensor(value)
        for place, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned (without its prefix)."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        place, _, key = name.partition(".")
        state.setdefault(int(place), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
