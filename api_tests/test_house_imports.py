"""The import contracts hold, cover every module, and nobody imports the composition root."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "service", "workers")


def _sources():
    for folder in (*PACKAGES, "bench", "api_tests"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def _imported_modules(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _contracts() -> list[dict[str, Any]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return contracts


def _contract(name: str) -> dict[str, Any]:
    (found,) = [contract for contract in _contracts() if contract["name"] == name]
    return found


def test_nobody_imports_the_composition_root():
    sources = list(_sources())
    assert len(sources) > 20
    guilty = [
        str(path.relative_to(ROOT))
        for path in sources
        if "kinetag" in {name.partition(".")[0] for name in _imported_modules(path.read_text())}
    ]
    assert guilty == []


def test_the_import_probe_sees_both_forms():
    assert _imported_modules("import kinetag\nfrom kinetag.x import y") == {"kinetag", "kinetag.x"}


def test_import_contracts_hold():
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists() and shutil.which("lint-imports") is None:
        pytest.fail("lint-imports is not installed; run make install")
    completed = subprocess.run(
        [str(program), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert f"{len(_contracts())} kept, 0 broken" in completed.stdout


def test_every_module_of_the_science_has_a_layer():
    placed = {
        name.strip(" ()")
        for line in _contract("Layers inside models")["layers"]
        for name in line.replace(":", "|").split("|")
    }
    present = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "models").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert present - {"__init__"} <= placed


def test_the_web_side_of_the_service_is_closed_to_workers():
    closed = set(_contract("Workers know the job core, not the web")["forbidden_modules"])
    expected = {
        f"service.{name}"
        for name in ("api", "main", "auth")
        if (ROOT / "service" / name).is_dir() or (ROOT / "service" / f"{name}.py").exists()
    }
    assert {"service.api", "service.main"} <= expected <= closed


def test_relative_imports_are_absent():
    guilty = [
        str(path.relative_to(ROOT))
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert guilty == []
