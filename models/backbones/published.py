"""Brings a published backbone onto this machine: download, verification, conversion."""

from pathlib import Path

from models.backbones.registry import build_backbone
from models.catalog import BackboneRecord
from models.download import DownloadCallback, download_file
from models.weights import convert_checkpoint, is_converted


def pull(
    record: BackboneRecord, folder: Path, on_progress: DownloadCallback | None = None
) -> dict[str, Path]:
    """Download and convert every stream of a record.

    Streams that are there already cost nothing. The published pickles are removed once converted.

    Args:
        record: of the catalogue.
        folder: gets ``<stream>.safetensors`` and its record ``<stream>.json``.
        on_progress: called with a file's name, bytes so far and bytes in all.

    Returns:
        The safetensors file of each stream.

    Raises:
        WeightsMissing: the publisher cannot be reached; repeating goes on where it stopped.
        WeightsInvalid: what came is not the published file, or does not fit the backbone.
        DiskFull: no space is left.
    """
    targets: dict[str, Path] = {}
    for file in record.files:
        target = folder / f"{file.stream}.safetensors"
        if not is_converted(target, file):
            checkpoint = folder / file.url.rpartition("/")[2]
            download_file(file, checkpoint, on_progress)
            network = build_backbone(record.recipe, file.stream)
            convert_checkpoint(checkpoint, target, file, network)
            checkpoint.unlink()
        targets[file.stream] = target
    return targets
