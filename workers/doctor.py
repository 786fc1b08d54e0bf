"""`kinetag doctor`: what this machine can do for Kinetag, in sentences or as one JSON object.

The science examines itself in child processes (`models.doctor`); what belongs to a deployment,
its data folder and its broker, is looked at here. `docs/doctor.md` has the keys and codes.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.doctor.problems import Problem, find_problems
from models.doctor.processes import ProbeProcess
from models.doctor.report import DoctorOptions, StartProbe, examine
from models.doctor.wording import detected, measured
from service.settings import Settings
from workers.doctor_bridges import bridge_lines, bridge_problems, examine_bridges
from workers.doctor_deployment import (
    deployment_lines,
    deployment_problems,
    examine_broker,
    examine_data_folder,
)

FORMAT = 1
EXIT_USABLE = 0
EXIT_UNUSABLE = 1

Document = dict[str, Any]


def run_doctor(
    settings: Settings, *, quick: bool, as_json: bool, start: StartProbe = ProbeProcess
) -> int:
    """Examine the machine, say what was found, return the exit status.

    Args:
        settings: of the deployment.
        quick: leave the benchmark out.
        as_json: one JSON object on standard output in the place of sentences.
        start: begins a probe; another one in tests.

    Returns:
        0 where Kinetag is usable, 1 where something it needs is missing.
    """
    options = DoctorOptions(model_folders=settings.model_folders, quick=quick)
    with _status(as_json) as on_stage:
        document = examine(
            options,
            on_stage,
            start,
            meanwhile=lambda: {
                "broker": examine_broker(settings),
                "bridges": examine_bridges(settings),
                "data_folder": examine_data_folder(settings),
            },
        )
    problems = [
        *find_problems(document),
        *deployment_problems(document),
        *bridge_problems(document["bridges"]),
    ]
    problems.sort(key=lambda one: one.severity != "error")
    usable = not any(one.severity == "error" for one in problems)
    whole = {
        "format": FORMAT,
        "kinetag": _kinetag_version(),
        "usable": usable,
        **document,
        "problems": [asdict(one) for one in problems],
    }
    if as_json:
        sys.stdout.write(json.dumps(whole, ensure_ascii=False) + "\n")
    else:
        _print(whole, problems)
    return EXIT_USABLE if usable else EXIT_UNUSABLE


def _print(document: Document, problems: list[Problem]) -> None:
    """Print one line per finding; on a terminal in colour and wrapped, else plain."""
    console = Console()
    deployment = [*deployment_lines(document), *bridge_lines(document["bridges"])]
    lines = [*detected(document), *deployment, *measured(document)]
    if console.is_terminal:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for topic, sentence in lines:
            table.add_row(topic, Text(sentence))
        console.print(table)
    else:
        width = max(len(topic) for topic, _ in lines)
        for topic, sentence in lines:
            sys.stdout.write(f"{topic:<{width}}  {sentence}\n")
    for problem in problems:
        colour = "red" if problem.severity == "error" else "yellow"
        text = f"{problem.severity}: {problem.message} [{problem.code}]"
        if console.is_terminal:
            console.print(text, style=colour, markup=False, highlight=False)
        else:
            sys.stdout.write(text + "\n")
    verdict = "Kinetag is usable here." if document["usable"] else "Kinetag is not usable here yet."
    console.print(verdict, style="bold", markup=False, highlight=False)


@contextmanager
def _status(as_json: bool) -> Iterator[Callable[[str], None]]:
    """Yield a callback that shows on a terminal what is being done."""
    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda stage: status.update(f"{stage} …")


def _kinetag_version() -> str | None:
    try:
        return version("kinetag")
    except PackageNotFoundError:
        return None
