"""The command line's composition root: every command has an owner, and only that one is loaded."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _commands() -> dict[str, tuple[str, str]]:
    """Read the table from the file: the module itself is imported by nobody, tests included."""
    for node in ast.parse((ROOT / "kinetag.py").read_text()).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "COMMANDS":
            assert node.value is not None
            table = ast.literal_eval(node.value)
            assert isinstance(table, dict)
            return table
    pytest.fail("kinetag.py has no COMMANDS table")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kinetag", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", sorted(_commands()))
def test_the_owner_of_a_command_has_it(command):
    module, line = _commands()[command]
    app = import_module(module).app
    names = {
        one.name or one.callback.__name__.replace("_", "-") for one in app.registered_commands
    } | {group.name for group in app.registered_groups}
    assert command in names
    assert line.endswith(".")


def test_every_command_of_the_packages_is_mounted():
    mounted = _commands()
    for module in ("models.cli", "service.cli", "workers.cli"):
        for one in import_module(module).app.registered_commands:
            if one.hidden:
                continue
            name = one.name or one.callback.__name__.replace("_", "-")
            assert mounted.get(name, ("", ""))[0] == module, f"{module} has {name}, unmounted"


def test_help_names_every_command_and_succeeds():
    completed = _run("--help")
    assert completed.returncode == 0, completed.stderr
    for command in _commands():
        assert command in completed.stdout


def test_help_of_a_command_is_its_own():
    completed = _run("localize", "--help")
    assert completed.returncode == 0, completed.stderr
    assert "--format" in completed.stdout


def test_an_unknown_command_is_wrong_usage_without_traceback():
    completed = _run("lokalize")
    assert completed.returncode == 2
    assert "localize" in completed.stderr
    assert "Traceback" not in completed.stderr


def test_the_overview_loads_neither_torch_nor_the_web_framework():
    program = (
        "import json, runpy, sys\n"
        "sys.argv = ['kinetag', '--help']\n"
        "try:\n"
        "    runpy.run_module('kinetag', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert completed.returncode == 0, completed.stderr
    loaded = set(json.loads(completed.stderr))
    assert "typer" in loaded
    assert loaded.isdisjoint({"torch", "fastapi", "cv2", "av", "sqlalchemy", "numpy"})


def test_the_version_is_the_installed_one():
    completed = _run("--version")
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.strip() == "kinetag 0.1.0"
