"""`kinetag models import`: a published checkpoint becomes a model, with a report of its keys."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from models.errors import WeightsInvalid
from models.importers.classes import read_classes
from models.importers.importing import ImportedModel, ImportRequest, import_published
from models.modelcard import list_models
from models.pipeline import model_folders


def import_model(
    source: str, files: Sequence[Path], name: str, classes: str, home: Path
) -> ImportedModel:
    """Import a checkpoint into ``home / "models" / name``.

    Raises:
        InputError: the class list cannot be read.
        ModelUnknown: no such source.
        WeightsMissing: a file is not there.
        WeightsInvalid: a model of this name is here already, or the file cannot be imported.
        DiskFull: no space is left.
    """
    labels = read_classes(classes)
    taken = {card.name for _, card in list_models(model_folders(home))}
    if name in taken:
        message = f"There is a model {name} already; choose another --name or remove it first."
        raise WeightsInvalid(message)
    request = ImportRequest(source, tuple(files), name, labels)
    return import_published(request, home / "models")


def report_table(imported: ImportedModel) -> Table:
    """Return one row per tensor of every file."""
    table = Table()
    for heading in ("file", "key", "shape", "our parameter", "note"):
        table.add_column(heading, overflow="fold")  # a key cut short would say nothing
    for one in imported.report:
        shape = " x ".join(str(size) for size in one.shape) or "scalar"
        table.add_row(one.file, one.source, shape, one.target or "not used", one.note)
    return table
