"""`kinetag models`: which models are here, what they are, and how published ones get here."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table

from models.errors import InputError, PipelineError, ResourceError

models_app = typer.Typer(no_args_is_help=True, help="List, show, pull and import models.")

# As in models.importers.sources, which loads torch and is not loaded here for a help text.
IMPORT_NAMES = "aicl, rskp, basnet, acmnet, asl, cola, cmcs, cmcs-untrimmednet, stpn-tf"
EXIT_INPUT = 3
EXIT_WEIGHTS = 4
EXIT_MACHINE = 5
HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="KINETAG_HOME",
        help="Folder of Kinetag's models, weights and stored features.",
    ),
]
DEFAULT_HOME = Path(typer.get_app_dir("kinetag"))


def _fail(error: PipelineError) -> NoReturn:
    sys.stderr.write(f"{error} [{error.code}]\n")
    status = EXIT_MACHINE if isinstance(error, ResourceError) else EXIT_WEIGHTS
    if isinstance(error, InputError):
        status = EXIT_INPUT
    raise typer.Exit(status) from error


@models_app.command("list")
def list_(
    home: HomeOption = DEFAULT_HOME,
    json_: Annotated[bool, typer.Option("--json", help="One JSON array for machines.")] = False,
) -> None:
    """List the models on this machine and the published ones that can be pulled."""
    from models.catalog import CATALOG
    from models.modelcard import list_models, model_speeds
    from models.pipeline import model_folders

    found = [
        (card, model_speeds(folder, card)) for folder, card in list_models(model_folders(home))
    ]
    if json_:
        rows = [
            {
                "name": card.name,
                "version": card.version,
                "method": card.method,
                "classes": list(card.classes),
                "recipe": card.recipe.digest,
                "speeds": list(speeds),
                "licence": card.licence,
            }
            for card, speeds in found
        ]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        return
    table = Table("model", "head", "classes", "recipe", "speeds", "licence")
    for card, speeds in found:
        classes = str(len(card.classes))
        table.add_row(
            *(card.identity, card.method, classes, card.recipe.name),
            *(", ".join(speeds), card.licence),
        )
    console = Console()
    console.print(table)
    pullable = ", ".join(name for name, record in CATALOG.items() if record.recipe.weights)
    console.print(f"published, to be had with `kinetag models pull NAME`: {pullable}")


@models_app.command()
def show(
    model: Annotated[str, typer.Argument(help="NAME[@VERSION][:SPEED]")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Print a model's card as JSON: classes, recipe, training, metrics, licence.

    ``speeds`` names the feature recipe of each speed that the model has a head for.
    """
    from models.modelcard import find_model, load_card, model_speeds
    from models.pipeline import model_folders

    try:
        chosen = find_model(model, model_folders(home))
        speeds = model_speeds(chosen.model_folder, load_card(chosen.model_folder))
        recipes = {speed: load_card(folder).recipe.digest for speed, folder in speeds.items()}
    except PipelineError as error:
        _fail(error)
    document = {**chosen.card.to_json(), "speeds": recipes}
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@models_app.command()
def pull(
    name: Annotated[str, typer.Argument(help="i3d-kinetics400")], home: HomeOption = DEFAULT_HOME
) -> None:
    """Download published weights, verify them, convert them to safetensors, make them a model.

    After ``kinetag models pull i3d-kinetics400`` the model ``kinetics400`` answers with the 400
    Kinetics actions.
    """
    from models.catalog import MEBIBYTE, find_record
    from models.commands.pull import pull_model

    console = Console(stderr=True)
    try:
        record = find_record(name)
        size = sum(one.approximate_bytes for one in record.files) / MEBIBYTE
        console.print(f"{record.name}: {record.note}")
        console.print(f"about {size:.0f} MiB from {record.origin}, licence {record.licence}")
        with _download_bar(console) as on_progress:
            identity = pull_model(record, home / "models" / record.name, on_progress)
    except PipelineError as error:
        _fail(error)
    console.print(f"ready: kinetag localize --model {identity} FILE")


@models_app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="The checkpoint; of two files, RGB first.")],
    source: Annotated[str, typer.Option("--from", help=f"One of {IMPORT_NAMES}.")],
    name: Annotated[str, typer.Option(help="Of the new model.")],
    classes: Annotated[
        str, typer.Option(help="thumos14, or a text file with one label per line.")
    ] = "thumos14",
    home: HomeOption = DEFAULT_HOME,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False,
) -> None:
    """Make a model of a checkpoint that others published; every key is reported.

    The file is checked whole, nothing in it is run, and a file that differs in any key, shape or
    type is refused.
    """
    from models.commands.import_model import import_model, report_table

    try:
        imported = import_model(source, files, name, classes, home)
    except PipelineError as error:
        _fail(error)
    if json_:
        sys.stdout.write(json.dumps(imported.to_json(), ensure_ascii=False) + "\n")
        return
    Console().print(report_table(imported))
    console = Console(stderr=True)
    for note in imported.card.notes:
        console.print(note, highlight=False)
    console.print(f"ready: kinetag localize --model {imported.card.identity} FILE")


@contextmanager
def _download_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that shows a bar per file on a terminal and one plain line otherwise."""
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
                if not console.is_terminal:
                    console.print(f"downloading {name}")
            bar.update(tasks[name], completed=done, total=total)

        yield report
