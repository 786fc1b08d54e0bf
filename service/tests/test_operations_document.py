"""docs/operations.md and docs/grafana.json say what there is."""

import json
import re
from pathlib import Path

from service.metrics.collecting import COUNTERS, GAUGES
from service.metrics.requests import RequestMetrics
from service.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "operations.md").read_text()


def rows():
    lines = [line for line in TEXT.splitlines() if line.startswith("| `KINETAG_")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {name.strip("`"): (default, meaning) for name, default, meaning in cells}


def shown(field):
    value = field.get_default()
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def test_the_table_of_settings_is_the_settings():
    found = rows()
    fields = {f"KINETAG_{name.upper()}": field for name, field in Settings.model_fields.items()}
    assert list(found) == list(fields)
    for name, field in fields.items():
        default, meaning = found[name]
        assert meaning == field.description
        if field.default_factory is None:
            assert default == shown(field), name


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are():
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    described = [*GAUGES.values(), *COUNTERS.values()]
    known = {one.name for one in GAUGES.values()}
    known |= {f"{one.name}_total" for one in COUNTERS.values()}
    labels = {label for one in described for label in one.labels}
    labels |= {"method", "route", "le", "__name__"}
    for family in RequestMetrics().registry.collect():
        known |= {family.name + end for end in ("", "_total", "_bucket", "_count", "_sum")}
    asked = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"kinetag_\w+", target["expr"]))
            assert names
            assert names <= known
            asked |= names
            used = re.findall(r"[{,](\w+)=", target["expr"])
            used += re.findall(r"by \((\w+)\)", target["expr"])
            used += re.findall(r"{{(\w+)}}", target["legendFormat"])
            assert set(used) <= labels
    assert len(asked) >= 12
