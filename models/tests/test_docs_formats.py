"""docs/formats.md: its examples are what the code makes, and it knows every format and option."""

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.exports import EXPORTS, stamped
from models.overrides import LocalizeOverrides

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL))


def _segment(label, score, start, end, raw_score):
    return {
        "label": label, "score": score, "start": start, "end": end,
        "start_ms": round(start * 1000), "end_ms": round(end * 1000),
        "start_frame": int(start * 25), "end_frame": int(end * 25), "raw_score": raw_score,
    }  # fmt: skip


NATIVE = stamped(
    {
        "version": "1",
        "video": {
            "name": "cam3_0900.mp4", "sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2,
            "duration": 600.0, "nominal_fps": 25.0, "vfr": False, "width": 1280, "height": 720,
        },
        "model": "shop-floor@2",
        "speed": "exact",
        "recipe": "1f0c6a3be2d94e57",
        "computed_with": {"precision": "fp32"},
        "segments": [
            _segment("fall", 0.83, 41.28, 44.48, 0.91), _segment("wave", 0.4, 50.0, 52.4, 0.61)
        ],
        "labels_seen": {"fall": 0.97, "wave": 0.55},
        "warnings": [],
    },
    datetime(2026, 11, 20, 9, tzinfo=UTC),
    "dock",
)  # fmt: skip


def rendered(name):
    text = EXPORTS[name].render(NATIVE)
    if name == "jsonl" or EXPORTS[name].ending in {".csv", ".vtt"}:
        return text
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_every_format_has_an_example():
    assert set(EXAMPLES) == set(EXPORTS)
    for name, export in EXPORTS.items():
        assert f"| `{name}` | `{export.media_type}`" in PAGE
        assert f"`{export.ending}`" in PAGE


@pytest.mark.parametrize("name", EXPORTS)
def test_examples_are_what_the_code_makes(name):
    assert EXAMPLES[name] == rendered(name)


def test_every_option_is_explained():
    for field in fields(LocalizeOverrides):
        assert f"| `{field.name}` |" in PAGE
