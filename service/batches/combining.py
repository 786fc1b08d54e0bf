"""One file over the results of many videos: ActivityNet JSON, CSV, JSON lines. Streamed.

Nothing here holds more than one result in memory; only the names of all videos are.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.exports import CSV_COLUMNS, to_activitynet, to_csv, to_jsonl
from models.exports.tables import TIME_COLUMNS

NamedResult = tuple[str, Mapping[str, Any]]
"""Name of an item, and its native result."""


class CombinedFormat(StrEnum):
    """What a combined result can be asked for as."""

    ACTIVITYNET = "activitynet"
    CSV = "csv"
    JSONL = "jsonl"
    NATIVE = "native"


def video_ids(names: Sequence[str]) -> dict[str, str]:
    """Return name -> the id under which a video stands in a combined result.

    That is its path without the ending, as data sets name videos; where two files share it, each
    keeps its ending.
    """
    counts = Counter(map(_without_ending, names))
    return {name: stem if counts[stem := _without_ending(name)] == 1 else name for name in names}


@dataclass(frozen=True, slots=True)
class Naming:
    """What a writer must know of all results before it sees the first.

    Attributes:
        ids: name of an item -> id of its video; see `video_ids`.
        timed: whether any recording's moment is known, so that the CSV has columns for it.
    """

    ids: Mapping[str, str]
    timed: bool = False


def activitynet_lines(results: Iterable[NamedResult], naming: Naming) -> Iterator[str]:
    """Yield an ActivityNet result file, one video a line.

    The details name every model and recipe that took part; there is one unless models changed.
    """
    details: dict[str, None] = {}
    yield '{"version":"VERSION 1.3","results":{'
    separator = "\n"
    for name, native in results:
        document = to_activitynet(native)
        (segments,) = document["results"].values()
        details[document["external_data"]["details"]] = None
        yield f"{separator}{_json(naming.ids.get(name, name))}:{_json(segments)}"
        separator = ",\n"
    external = {"used": True, "details": "; ".join(details)}
    yield f'\n}},"external_data":{_json(external)}}}\n'


def csv_lines(results: Iterable[NamedResult], naming: Naming) -> Iterator[str]:
    """Yield CSV ``video,label,start,end,score`` with one header; a video is named by its path."""
    columns = (*CSV_COLUMNS, *(TIME_COLUMNS if naming.timed else ()))
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(columns)
    yield header.getvalue()
    for name, native in results:
        named = _named(name, native)
        if naming.timed:
            unknown = dict.fromkeys(TIME_COLUMNS, "")
            segments = [{**unknown, **segment} for segment in named["segments"]]
            named = {"recorded_at": "", **named, "segments": segments}
        else:
            named.pop("recorded_at", None)
        rows = to_csv(named).removeprefix(header.getvalue())
        if rows:
            yield rows


def segment_lines(results: Iterable[NamedResult], naming: Naming) -> Iterator[str]:
    """Yield one JSON object per segment, each with its video and model."""
    del naming
    for name, native in results:
        lines = to_jsonl(_named(name, native))
        if lines:
            yield lines


def native_lines(results: Iterable[NamedResult], naming: Naming) -> Iterator[str]:
    """Yield one JSON object per video: ``name``, ``id`` and the native ``result``."""
    for name, native in results:
        yield _json({"name": name, "id": naming.ids.get(name, name), "result": native}) + "\n"


COMBINED: dict[
    CombinedFormat, tuple[str, Callable[[Iterable[NamedResult], Naming], Iterator[str]]]
] = {
    CombinedFormat.ACTIVITYNET: ("application/json", activitynet_lines),
    CombinedFormat.CSV: ("text/csv; charset=utf-8", csv_lines),
    CombinedFormat.JSONL: ("application/x-ndjson", segment_lines),
    CombinedFormat.NATIVE: ("application/x-ndjson", native_lines),
}
"""Format -> (media type, writer)."""


def _named(name: str, native: Mapping[str, Any]) -> dict[str, Any]:
    return {**native, "video": {**native["video"], "name": name}}


def _without_ending(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folder}{slash}{stem}" if dot and stem else name


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
