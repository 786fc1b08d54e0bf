"""Runs `kinetag localize --json` over real clips and lists what came out, by their origin.

    python -m bench.real_clips --data DIR [--json PATH] [--table PATH]

``DIR/clips/manifest.csv`` names the clips. With ``--table`` the list is written as Markdown.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import BenchReport
from models.atomic import write_text_atomic

INTRODUCTION = """# Real clips

What `kinetag localize --json` says about every clip of a folder of real test clips, by their
origin: `python -m bench.real_clips --data DIR --table docs/real-clips.md`. The clips themselves
are not part of this repository.

The bundled demonstration model knows drawn figures only, so the segments below mean nothing; what
counts is that every file ends in a result or in one clear error, and that lost frames are said.
"""


def run_localize(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], int, str]:
    """Return the parsed lines, the exit status and stderr of one run over all paths."""
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-") as home:
        command = [sys.executable, "-m", "kinetag", "localize", "--json", "--home", home]
        done = subprocess.run(  # noqa: S603 - our own command line
            [*command, *map(str, paths)], capture_output=True, text=True, check=False
        )
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr


def outcome(answer: Mapping[str, Any]) -> str:
    """Return one table cell: the error, or duration, segments and warnings."""
    if "error" in answer:
        return f"`{answer['error']['code']}`: {answer['error']['message']}"
    video = answer["video"]
    rate = "variable rate" if video["vfr"] else f"{video['nominal_fps']:.4g} fps"
    text = f"{video['duration']:.2f} s, {video['width']}x{video['height']}, {rate}; "
    text += f"{len(answer['segments'])} segments"
    notes = [one for one in answer["warnings"] if one["code"] != "demo_model"]
    for note in notes:
        at = "" if note["seconds"] is None else f" from {note['seconds']:.2f} s"
        text += f"; `{note['code']}`{at}"
    return text


def table(names: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown page."""
    parts = [INTRODUCTION]
    failed = sum("error" in answer for answer in answers)
    parts.append(f"{len(answers)} clips: {len(answers) - failed} results, {failed} clear errors.\n")
    origin = None
    for name, answer in sorted(zip(names, answers, strict=True), key=lambda pair: pair[0]):
        if Path(name).parent.name != origin:
            origin = Path(name).parent.name
            parts.append(f"\n## {origin}\n\n| clip | outcome |\n| --- | --- |")
        parts.append(f"| {Path(name).name} | {outcome(answer)} |")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder with clips/manifest.csv")
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument("--table", type=Path, help="write the list here")
    arguments = parser.parse_args()
    with (arguments.data / "clips" / "manifest.csv").open(newline="") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    started = time.monotonic()
    answers, status, messages = run_localize([arguments.data / name for name in names])
    seconds = time.monotonic() - started
    if arguments.table is not None:
        write_text_atomic(arguments.table, table(names, answers))
    errors = [answer["error"]["code"] for answer in answers if "error" in answer]
    BenchReport(
        bench="real_clips",
        source=f"{len(names)} clips of {arguments.data.name}/clips/manifest.csv",
        figures={
            "answers": len(answers),
            "results": len(answers) - len(errors),
            "errors": {code: errors.count(code) for code in sorted(set(errors))},
            "tracebacks": messages.count("Traceback"),
            "exit_status": status,
            "seconds": round(seconds, 1),
        },
    ).publish(arguments.json)


if __name__ == "__main__":
    main()
