"""Found segments as files: CSV, JSON lines, Grafana annotations. Streamed, one at a time."""

import json
from collections.abc import Callable, Iterable, Iterator

from models.exports.tables import csv_line
from service.api.segmentbodies import segment_json
from service.search.filters import milliseconds
from service.search.finding import FoundSegment

CSV_COLUMNS = (
    "video",
    "label",
    "start",
    "end",
    "score",
    "start_time",
    "end_time",
    "camera",
    "tag",
    "model",
    "job",
    "id",
)
SEND_BYTES = 64 * 1024

Writer = Callable[[Iterable[FoundSegment]], Iterator[str]]


def csv_lines(found: Iterable[FoundSegment]) -> Iterator[str]:
    """Yield a CSV file with a header; no spreadsheet runs any of its cells as a formula."""
    yield csv_line(CSV_COLUMNS)
    for one in found:
        segment = segment_json(one)
        yield csv_line(
            segment["video"]["name"] if name == "video" else segment[name] for name in CSV_COLUMNS
        )


def json_lines(found: Iterable[FoundSegment]) -> Iterator[str]:
    """Yield one JSON object per segment, in ASCII, so that every reader sees the same lines."""
    for one in found:
        yield json.dumps(segment_json(one), allow_nan=False) + "\n"


def grafana_annotations(found: Iterable[FoundSegment]) -> Iterator[str]:
    """Yield a JSON array of Grafana's annotations.

    Whoever has no wall-clock time has no place on a dashboard and is left out.

    Source: Grafana's HTTP API, annotations: ``time`` and ``timeEnd`` in milliseconds.
    """
    separator = "["
    for one in found:
        if one.start_time is None or one.end_time is None:
            continue
        tags = (one.row.label, one.job.camera, one.job.tag)
        annotation = {
            "time": milliseconds(one.start_time),
            "timeEnd": milliseconds(one.end_time),
            "tags": [tag for tag in tags if tag is not None],
            "text": f"{one.row.label} {one.score:.2f}",
        }
        yield separator + json.dumps(annotation, allow_nan=False)
        separator = ",\n"
    yield "[]\n" if separator == "[" else "]\n"


WRITERS: dict[str, tuple[str, str, Writer]] = {
    "csv": ("text/csv; charset=utf-8", "segments.csv", csv_lines),
    "jsonl": ("application/x-ndjson", "segments.jsonl", json_lines),
    "grafana": ("application/json", "annotations.json", grafana_annotations),
}
"""Format -> media type, name to save it by, writer."""


def gathered(parts: Iterable[str]) -> Iterator[bytes]:
    """Yield text in pieces worth sending."""
    waiting: list[bytes] = []
    size_bytes = 0
    for part in parts:
        waiting.append(part.encode(errors="backslashreplace"))
        size_bytes += len(waiting[-1])
        if size_bytes >= SEND_BYTES:
            yield b"".join(waiting)
            waiting, size_bytes = [], 0
    yield b"".join(waiting)
