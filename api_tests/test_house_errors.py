"""Every error code and every warning code is explained in docs/errors.md, and nothing else is."""

import ast
import re
from pathlib import Path

import models.errors
import service.errors
from service.jobs import queue

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "errors.md").read_text()
ERROR_TEXT, _, WARNING_TEXT = TEXT.partition("\n## Warnings\n")


def _codes_in(text: str) -> list[str]:
    return re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.MULTILINE)


def _tree(root: type) -> list[type]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


def _classes() -> list[type]:
    own = [*_tree(models.errors.PipelineError), *_tree(service.errors.ServiceError)]
    return [one for one in own if one.__module__.partition(".")[0] in {"models", "service"}]


def _warning_codes_in_the_sources() -> set[str]:
    """First argument of each ``MediaWarning(...)`` in the packages, where it is a literal."""
    found = set()
    for package in ("models", "service", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MediaWarning":
                    named = [word.value for word in node.keywords if word.arg == "code"]
                    code = (node.args[:1] or named)[0]
                    if isinstance(code, ast.Constant):
                        found.add(code.value)
    return found


def test_every_error_code_is_documented():
    raised = {one.code for one in _classes()} | {queue.CRASHED.code}
    assert raised - set(_codes_in(ERROR_TEXT)) == set()


def test_no_documented_code_is_invented():
    raised = {one.code for one in _classes()} | {queue.CRASHED.code}
    assert set(_codes_in(ERROR_TEXT)) - raised == set()


def test_each_code_is_explained_once():
    codes = _codes_in(ERROR_TEXT)
    assert sorted(codes) == sorted(set(codes))
    assert len(codes) > 30


def test_retryable_errors_are_marked_so():
    rows = dict(re.findall(r"^\| `([a-z_]+)` (\|.*)\|$", ERROR_TEXT, flags=re.MULTILINE))
    for one in _classes():
        marks = re.findall(r"\| (yes|no) \|", rows[one.code] + "|")
        assert marks == ["yes" if one.retryable else "no"], one.code


def test_statuses_of_requests_are_the_documented_ones():
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", ERROR_TEXT, flags=re.MULTILINE))
    documented = {one.code: one.status for one in _tree(service.errors.ServiceError)}
    assert rows
    assert {code: int(status) for code, status in rows.items()}.items() <= documented.items()


def test_every_warning_code_is_documented():
    assert _warning_codes_in_the_sources() - set(_codes_in(WARNING_TEXT)) == set()
    assert "demo_model" in _codes_in(WARNING_TEXT)


def test_codes_are_plain_identifiers():
    for one in _classes():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one.code), one
