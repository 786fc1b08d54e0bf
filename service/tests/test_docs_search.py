"""docs/search.md: its commands run as written, its shapes and numbers are ours."""

import json
import re
import subprocess
from pathlib import Path

from service.api.segment_files import CSV_COLUMNS
from service.api.segmentbodies import (
    DEFAULT_PAGE_SIZE,
    MAX_EXPORT_SIZE,
    MAX_PAGE_SIZE,
    MAX_WORDS,
    FacetsBody,
    SegmentBody,
    SegmentQuery,
)
from service.search.finding import MAX_FACETS
from service.search.indexing import RESULTS_PER_TURN
from service.webhooks.endpoints import MAX_WEBHOOKS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "search.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_commands_run_as_written(live_server, tmp_path):
    host, port = live_server
    script = "\n".join(blocks("sh"))
    assert script.count("curl ") > 9
    script = script.replace("KINETAG=http://127.0.0.1:8000", f"KINETAG=http://{host}:{port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"code"' not in done.stdout
    assert (tmp_path / "segments.csv").read_text() == ",".join(CSV_COLUMNS) + "\n"


def test_the_shapes_shown_are_ours():
    found, facets = (json.loads(block) for block in blocks("json"))
    (segment,) = found["segments"]
    assert list(segment) == list(SegmentBody.model_fields)
    SegmentBody.model_validate(segment)
    FacetsBody.model_validate(facets)


def test_every_parameter_is_told_of():
    table = TEXT[TEXT.index("| parameter |") : TEXT.index("Everything that is given")]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert named == set(SegmentQuery.model_fields)


def test_the_numbers_are_ours():
    assert f"for more, up to {MAX_WORDS}." in TEXT
    assert f"at most {MAX_PAGE_SIZE} at once, {DEFAULT_PAGE_SIZE} if nothing" in TEXT
    assert f"`page_size={MAX_EXPORT_SIZE}`" in TEXT
    assert f"at most {MAX_FACETS} of each" in TEXT
    assert f"up to {MAX_WEBHOOKS} webhooks" in TEXT
    assert "up to fifty a second" in TEXT
    assert RESULTS_PER_TURN == 50
    assert f"`{','.join(CSV_COLUMNS)}`" in TEXT
