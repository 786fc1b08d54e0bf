"""Results as rows: ActivityNet JSON, CSV and JSON lines."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

CSV_COLUMNS = ("video", "label", "start", "end", "score")
TIME_COLUMNS = ("start_time", "end_time")
"""Further columns of a recording whose moment is known."""


def video_key(name: str) -> str:
    """Return the name of a video without its ending, by which tools know it."""
    return PurePosixPath(name).stem or name


def to_activitynet(native: Mapping[str, Any]) -> dict[str, Any]:
    """Render a native object as an ActivityNet result file with all three top keys.

    Source: activitynet/ActivityNet Evaluation, which insists on version, results, external_data.
    """
    segments = [
        {
            "label": segment["label"],
            "score": segment["score"],
            "segment": [segment["start"], segment["end"]],
            **_times(segment),
        }
        for segment in native["segments"]
    ]
    return {
        "version": "VERSION 1.3",
        "results": {video_key(native["video"]["name"]): segments},
        "external_data": {
            "used": True,
            "details": f"model {native['model']}, feature recipe {native['recipe']}",
        },
    }


def to_csv(native: Mapping[str, Any]) -> str:
    """Render a native object as CSV ``video,label,start,end,score`` with a header line.

    Of a recording whose moment is known ``start_time,end_time`` follow. A cell that a spreadsheet
    would run as a formula is prefixed with an apostrophe.
    """
    times = TIME_COLUMNS if "recorded_at" in native else ()
    names = ("start", "end", "score", *times)
    video = native["video"]["name"]
    rows = [csv_line((*CSV_COLUMNS, *times))]
    rows += [
        csv_line((video, segment["label"], *(segment[name] for name in names)))
        for segment in native["segments"]
    ]
    return "".join(rows)


def to_jsonl(native: Mapping[str, Any]) -> str:
    """Render a native object as JSON lines: each segment with all that says what it is of.

    No segments, no lines. Text beyond ASCII is escaped, so that every reader sees the same lines.
    """
    whole = {
        "video": native["video"]["name"],
        "video_sha256": native["video"]["sha256"],
        "model": native["model"],
        **({"camera": native["camera"]} if "camera" in native else {}),
    }
    return "".join(
        json.dumps({**whole, **segment}, allow_nan=False) + "\n" for segment in native["segments"]
    )


def _times(segment: Mapping[str, Any]) -> dict[str, Any]:
    return {name: segment[name] for name in TIME_COLUMNS if name in segment}


def csv_line(cells: Iterable[object]) -> str:
    """Return one line of a CSV file; no spreadsheet runs any of its cells as a formula."""
    buffer = io.StringIO()
    # With this line end the writer quotes both characters; with a bare newline it lets a carriage
    # return pass unquoted, and readers take it for the end of the line.
    csv.writer(buffer, lineterminator="\r\n").writerow(map(_inert_cell, cells))
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _inert_cell(cell: object) -> object:
    # Source: OWASP "CSV Injection": cells starting with these run as formulas.
    dangerous = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if dangerous else cell
