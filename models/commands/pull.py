"""`kinetag models pull`: a published backbone becomes a model that answers at once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.backbones.published import pull
from models.catalog import BackboneRecord, kinetics400_labels
from models.config import settings_to_json
from models.download import DownloadCallback
from models.heads.base import Head, HeadSpec
from models.heads.kinetics import KINETICS_PROPOSALS, KineticsSettings, classifier_state
from models.heads.registry import build_head
from models.modelcard import ModelCard, save_model
from models.types import FloatArray
from models.weights import load_strictly, load_weights

KINETICS_NAME = "kinetics400"
KINETICS_VERSION = "1"


@dataclass(frozen=True, slots=True)
class _Untrained:
    """A head as `save_model` wants it: its features are taken as they are."""

    head: Head
    standardize_mean: FloatArray
    standardize_std: FloatArray


def pull_model(
    record: BackboneRecord, folder: Path, on_progress: DownloadCallback | None = None
) -> str:
    """Pull a backbone and write the model of its own classifier beside the weights.

    Args:
        record: of the catalogue.
        folder: becomes the model folder.
        on_progress: called with a file's name, bytes so far and bytes in all.

    Returns:
        The model's identity, ``kinetics400@1``.

    Raises:
        WeightsMissing: the publisher cannot be reached; repeating goes on where it stopped.
        WeightsInvalid: what came is not the published file.
        DiskFull: no space is left.
    """
    paths = pull(record, folder, on_progress)
    expected = dict(record.recipe.weights)
    states = {stream: load_weights(path, expected[stream]) for stream, path in paths.items()}
    classes = kinetics400_labels()
    settings = KineticsSettings()
    head = build_head("kinetics", HeadSpec.for_recipe(classes, record.recipe), settings)
    load_strictly(head, classifier_state(states), "the Kinetics classifier")
    width = record.recipe.feature_width
    card = ModelCard(
        name=KINETICS_NAME,
        version=KINETICS_VERSION,
        method="kinetics",
        classes=classes,
        recipe=record.recipe,
        head_settings=settings_to_json(settings),
        proposals=KINETICS_PROPOSALS,
        licence=record.licence,
        notes=(record.note, f"From {record.origin}; {record.paper}."),
    )
    save_model(
        folder, card, _Untrained(head, np.zeros(width, np.float32), np.ones(width, np.float32))
    )
    return card.identity
