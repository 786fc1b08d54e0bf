"""Results as people and tools want them. Torch-free; rounding happens only here.

Native JSON is the product's own shape; every other format is made from it, so that a stored
native result can be rendered in any format later. Each is explained in docs/formats.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.exports.annotators import to_fiftyone, to_label_studio
from models.exports.native import selected, stamped, to_native
from models.exports.tables import CSV_COLUMNS, to_activitynet, to_csv, to_jsonl
from models.exports.webvtt import to_webvtt

__all__ = [
    "CSV_COLUMNS",
    "EXPORTS",
    "ExportFormat",
    "selected",
    "stamped",
    "to_activitynet",
    "to_csv",
    "to_fiftyone",
    "to_jsonl",
    "to_label_studio",
    "to_native",
    "to_webvtt",
]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format of results.

    Attributes:
        ending: of a file's name, with its dot.
        media_type: as HTTP names it, without parameters.
        render: from a native object to the whole text.
    """

    ending: str
    media_type: str
    render: Callable[[Mapping[str, Any]], str]


def _json_lines(
    make: Callable[[Mapping[str, Any]], Any],
) -> Callable[[Mapping[str, Any]], str]:
    """Return a renderer of one line of JSON, whatever the names in it."""

    def render(native: Mapping[str, Any]) -> str:
        return json.dumps(make(native), ensure_ascii=False, allow_nan=False) + "\n"

    return render


EXPORTS: dict[str, ExportFormat] = {
    "native": ExportFormat(".json", "application/json", _json_lines(dict)),
    "activitynet": ExportFormat(
        ".activitynet.json", "application/vnd.activitynet+json", _json_lines(to_activitynet)
    ),
    "csv": ExportFormat(".csv", "text/csv", to_csv),
    "jsonl": ExportFormat(".jsonl", "application/x-ndjson", to_jsonl),
    "webvtt": ExportFormat(".vtt", "text/vtt", to_webvtt),
    "labelstudio": ExportFormat(
        ".labelstudio.json", "application/vnd.labelstudio+json", _json_lines(to_label_studio)
    ),
    "fiftyone": ExportFormat(
        ".fiftyone.json", "application/vnd.fiftyone+json", _json_lines(to_fiftyone)
    ),
}
"""Every format by its name."""
