"""Every error code and every warning code is explained in docs/errors.md, and nothing else is."""

import ast
import re
from pathlib import Path
from typing import Any

import models.errors
import service.errors
from models.decode_warnings import PROBLEM_SENTENCES
from service.jobs import queue

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "errors.md").read_text()
ERROR_TEXT, _, WARNING_TEXT = TEXT.partition("\n## Warnings\n")


def _codes_in(text: str) -> list[str]:
    return re.findall(r"^\| `([a-z_]+)` \|", text, flags=re.MULTILINE)


def _tree(root: Any) -> list[Any]:
    return [root, *(found for child in root.__subclasses__() for found in _tree(child))]


def _classes() -> list[Any]:
    own = [*_tree(models.errors.PipelineError), *_tree(service.errors.ServiceError)]
    return [one for one in own if one.__module__.partition(".")[0] in {"models", "service"}]


def _literals(call: ast.Call) -> list[str]:
    """Codes a call gives to a warning: ``MediaWarning(code, …)`` or ``notes.append((code, …))``."""
    if getattr(call.func, "id", "") == "MediaWarning":
        named = [word.value for word in call.keywords if word.arg == "code"]
        firsts: list[ast.expr] = (call.args[:1] or named)[:1]
    elif getattr(getattr(call.func, "value", None), "id", "") == "notes":
        tuples = [node for argument in call.args for node in ast.walk(argument)]
        firsts = [node.elts[0] for node in tuples if isinstance(node, ast.Tuple) and node.elts]
    else:
        firsts = []
    values = [first.value for first in firsts if isinstance(first, ast.Constant)]
    return [value for value in values if isinstance(value, str)]


def _warning_codes_in_the_sources() -> set[str]:
    found = set(PROBLEM_SENTENCES)
    for package in ("models", "service", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            if "tests" not in path.parts:
                calls = [
                    n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
                ]
                found.update(code for call in calls for code in _literals(call))
    return found


def test_the_warning_probe_sees_each_form():
    source = "MediaWarning('a', s)\nMediaWarning(code='b')\nnotes.append(('c', s, 1.0))\nf('d')"
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert {code for call in calls for code in _literals(call)} == {"a", "b", "c"}


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
    assert {"demo_model", "frames_lost"} <= set(_codes_in(WARNING_TEXT))


def test_codes_are_plain_identifiers():
    for one in _classes():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one.code), one
