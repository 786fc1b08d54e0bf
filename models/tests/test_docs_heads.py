"""docs/heads.md against the code: functions, options, defaults, command lines, pictures."""

import ast
import importlib
import re
import shlex
import sys
from dataclasses import fields
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from models.heads.base import HeadSpec
from models.heads.registry import HEADS, PRESETS, build_head
from models.training.overrides import settable, with_overrides

MODELS = Path(__file__).resolve().parents[1]
DOCS = MODELS.parent / "docs"
PAGE = DOCS / "heads.md"
PICTURES = DOCS / "images" / "heads"
TITLES = {"dcc": "DCC", "tssa": "TSSA", "aicl": "AICL", "cleannet": "CleanNet", "issf": "ISSF"}
TITLE_EM, TEXT_EM = 0.66, 0.56  # mean widths of characters in a wide font, in sizes

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="an installation without its docs")


@cache
def page():
    return PAGE.read_text(encoding="utf-8")


def section(method):
    (body,) = re.findall(rf"^## {TITLES[method]}\n(.*?)(?=^## )", page(), re.DOTALL | re.MULTILINE)
    return body


def part(method, heading):
    title = re.escape(f"### {heading} {TITLES[method]}")
    (body,) = re.findall(rf"^{title}\n(.*?)(?=^#|\Z)", section(method), re.DOTALL | re.MULTILINE)
    return body


def references():
    return sorted(set(re.findall(r"`([\w/]+\.py):([\w.]+)`", page())))


@cache
def names_in(path):
    """Return the functions and classes of a file, methods as ``Class.method``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{one.name}" for one in node.body if hasattr(one, "name")}
    return names


@pytest.mark.parametrize(("file", "name"), references())
def test_a_named_function_exists(file, name):
    path = MODELS / file if "/" in file else MODELS / "heads" / file
    assert path.is_file()
    assert name in names_in(path)


def test_every_equation_names_a_function():
    assert len(references()) > 80
    for method in TITLES:
        rows = [row for row in part(method, "Equations of").splitlines() if row.startswith("| ")]
        assert len(rows) > 9
        assert all(".py:" in row for row in rows if row[2:5] not in ("---", "equ"))


def test_every_trainable_head_of_the_package_has_a_section():
    ours = {name for name, entry in HEADS.items() if entry.head.trainable}
    assert ours >= set(TITLES)
    for name, entry in HEADS.items():
        if not entry.head.trainable:
            assert re.search(rf"^\| `{name}` \|", page(), re.MULTILINE)


@pytest.mark.parametrize("method", TITLES)
def test_a_section_is_complete(method):
    headings = re.findall(r"^### (.*)$", section(method), re.MULTILINE)
    wanted = ["Equations of", "Options of", "Presets of", "Numbers of"]
    wanted += ["What is published and what is ours in", "Limits of"]
    assert headings == [f"{one} {TITLES[method]}" for one in wanted]
    assert f"(images/heads/{method}.svg)" in section(method)
    numbers = part(method, "Numbers of")
    assert f"python -m bench.planted --method {method} --seeds 3" in numbers
    presets = part(method, "Presets of").splitlines()
    assert all(
        f"`{name}`" in next(row for row in presets if "|" in row) for name in PRESETS[method]
    )


def setting(settings, path):
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


def says(cell, value):
    """Say whether a cell of a table states a value."""
    if isinstance(value, bool):
        return cell == str(value).lower()
    if isinstance(value, tuple):
        return cell == ", ".join(map(str, value))
    if isinstance(value, int | float):
        return float(Fraction(cell)) == pytest.approx(value, rel=1e-6)
    return cell == value


@pytest.mark.parametrize("method", TITLES)
def test_the_options_are_those_of_the_head(method):
    rows = re.findall(r"^\| `([\w.]+)` \|(.*)\|$", part(method, "Options of"), re.MULTILINE)
    presets = PRESETS[method]
    keys = [one for one in settable(presets["thumos14"]) if one.startswith("head.")]
    assert sorted(f"head.{name}" for name, _ in rows) == keys
    named = {name.split(".")[0] for name, _ in rows}
    assert named == {field.name for field in fields(HEADS[method].settings)}
    for name, rest in rows:
        default, *others, meaning = (cell.strip() for cell in rest.split("|"))
        assert says(default, setting(HEADS[method].settings(), name)), name
        assert says(default, setting(presets["thumos14"].head, name)), name
        assert meaning
        for cell, preset in zip(others, ("small", "activitynet1.3"), strict=True):
            assert says(cell or default, setting(presets[preset].head, name)), (name, preset)


def command_lines():
    return re.findall(r"^kinetag train (.*) --features DIR --tags FILE --out OUT$", page(), re.M)


@pytest.mark.parametrize("line", command_lines())
def test_a_variant_can_be_had(line):
    words = shlex.split(line)
    given = list(zip(words[::2], words[1::2], strict=True))
    assert {flag for flag, _ in given} <= {"--method", "--preset", "--set"}
    method = dict(given)["--method"]
    preset = PRESETS[method][dict(given).get("--preset", "small")]
    assignments = [value for flag, value in given if flag == "--set"]
    changed = with_overrides(preset, assignments)
    assert bool(assignments) == (changed != preset)
    spec = HeadSpec(("a", "b"), ("rgb", "flow"), 8)
    build_head(method, spec, with_overrides(changed, ["head.width=8"]).head)


def test_no_command_line_is_left_unread():
    assert len(command_lines()) == len(re.findall("^kinetag train", page(), re.MULTILINE))
    assert len(command_lines()) > 30


@pytest.fixture(scope="module")
def drawing():
    """The drawing program; it lies outside of every package."""
    sys.path.insert(0, str(PICTURES))
    try:
        yield importlib.import_module("draw")
    finally:
        sys.path.remove(str(PICTURES))
        sys.modules.pop("draw", None)
        sys.modules.pop("flowchart", None)


@pytest.mark.parametrize("method", TITLES)
def test_a_picture_is_what_its_description_draws(drawing, method):
    (diagram,) = [one for one in drawing.DIAGRAMS if one.name == method]
    text = drawing.svg(diagram)
    assert (PICTURES / f"{method}.svg").read_text(encoding="utf-8") == text
    sizes = re.findall(r'font-size="(\d+)"', text)
    assert min(map(int, sizes)) >= 12
    assert ElementTree.fromstring(text).get("width") == "900"  # noqa: S314  # drawn just now


@pytest.mark.parametrize("method", TITLES)
def test_the_boxes_of_a_picture_hold_their_text_and_keep_apart(drawing, method):
    (diagram,) = [one for one in drawing.DIAGRAMS if one.name == method]
    places = {box.name: diagram.rectangle(box) for box in diagram.boxes}
    assert len(places) == len(diagram.boxes)
    for box in diagram.boxes:
        left, top, right, bottom = places[box.name]
        assert left >= 0
        assert right <= 900
        assert 30 < top < bottom < diagram.height - 30
        if box.kind != "note":
            assert len(box.title) * TITLE_EM * 13 <= right - left, box.title
            assert all(len(line) * TEXT_EM * 12 <= right - left for line in box.lines), box.lines
    for one, other in combinations(places.values(), 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]


@pytest.mark.parametrize("method", TITLES)
def test_no_arrow_of_a_picture_runs_through_a_box(drawing, method):
    (diagram,) = [one for one in drawing.DIAGRAMS if one.name == method]
    for arrow in diagram.arrows:
        ends = {arrow.start.split(".")[0], arrow.end.split(".")[0]}
        path = diagram.path(arrow)
        for (x0, y0), (x1, y1) in pairwise(path):
            assert x0 == x1 or y0 == y1
            for box in diagram.boxes:
                left, top, right, bottom = diagram.rectangle(box)
                inside = max(x0, x1) > left and min(x0, x1) < right
                inside = inside and max(y0, y1) > top and min(y0, y1) < bottom
                assert not inside or (box.name in ends), (arrow, box.name)
