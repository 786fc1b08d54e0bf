"""The make targets and the repository's own promises: tidy, self-contained, free of leftovers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX)\b|for now\b")
TEXT_SUFFIXES = {"", ".cfg", ".cpp", ".hpp", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}


def _tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def _make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({} if path is None else {"PATH": path})}
    make = shutil.which("make")
    assert make is not None
    return subprocess.run(
        [make, *arguments], capture_output=True, text=True, env=environment, timeout=60, check=False
    )


def test_the_targets_users_rely_on_exist():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert {"bundled-model", "demo", "install", "lint", "lock", "test"} <= targets


def test_help_lists_only_what_exists():
    completed = _make("-C", str(ROOT), "--no-print-directory", "help")
    assert completed.returncode == 0, completed.stderr
    named = set(re.findall(r"^make ([a-z-]+) ", completed.stdout, re.MULTILINE))
    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


@pytest.fixture
def bare_clone(tmp_path: Path) -> Path:
    """The files `make install` looks at, and a PATH with the plain tools but no Python."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("Makefile", "pyproject.toml", "CMakeLists.txt"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "requirements", clone / "requirements")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "cksum", "mkdir", "rm", "sh", "touch", "tr"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return clone


def test_without_a_fitting_python_make_says_so_in_a_sentence(bare_clone):
    completed = _make("-C", str(bare_clone), "install", path=str(bare_clone.parent / "tools"))
    assert completed.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in completed.stderr
    assert "make PYTHON=" in completed.stderr
    assert not (bare_clone / ".venv").exists()


def test_an_old_python_is_passed_over(bare_clone):
    tools = bare_clone.parent / "tools"
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    completed = _make("-C", str(bare_clone), "install", path=str(tools))
    assert completed.returncode != 0
    assert "needs Python 3.11, 3.12 or 3.13" in completed.stderr


def test_writable_places_are_inside_the_clone():
    exported = dict(re.findall(r"^export ([A-Z_]+) := (.+)$", MAKEFILE, re.MULTILINE))
    for name in ("KINETAG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "MPLCONFIGDIR", "TORCH_HOME"):
        assert exported[name].startswith("$(ROOT)/"), name
    assert exported["PIP_NO_CACHE_DIR"] == "1"


def test_the_workflow_runs_the_scripts_a_developer_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    commands = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    assert ".ci/run" in commands
    script = (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["lint", "test", "demo"]
    checked = subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, timeout=10, check=False)
    assert checked.returncode == 0


def test_commit_hooks_call_what_make_lint_calls():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    local = [
        hook["entry"]
        for repo in hooks["repos"]
        if repo["repo"] == "local"
        for hook in repo["hooks"]
    ]
    lint = MAKEFILE.partition("\nlint:")[2].partition("\n\n")[0]
    for entry in local:
        program = entry.removeprefix(".venv/bin/").partition(" --force-exclude")[0]
        assert program in lint, program


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    for part in ("Version 2.0, January 2004", "9. Accepting Warranty", "END OF TERMS"):
        assert part in text
    notice = (ROOT / "NOTICE").read_text()
    assert "FFmpeg" in notice
    assert "CUDA" in notice


def test_nothing_unfinished_is_in_the_tree():
    guilty = []
    for path in _tracked():
        if path.suffix in TEXT_SUFFIXES and path.name not in {"LICENSE", Path(__file__).name}:
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if LEFTOVER.search(line):
                    guilty.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert guilty == []


def test_large_files_are_only_where_they_belong():
    limit = 500 * 1024
    guilty = [
        str(path.relative_to(ROOT))
        for path in _tracked()
        if path.stat().st_size > limit
        and path.relative_to(ROOT).parts[:2] != ("models", "bundled")
        and path.relative_to(ROOT).parts[0] != "docs"
    ]
    assert guilty == []


def test_test_files_have_unique_names_and_no_packages_around_them():
    folders = [*(ROOT / name / "tests" for name in ("models", "service", "workers"))]
    names = [
        path.name for folder in [*folders, ROOT / "api_tests"] for path in folder.rglob("test_*.py")
    ]
    assert len(names) > 5
    assert sorted(names) == sorted(set(names))
    assert [folder for folder in folders if (folder / "__init__.py").exists()] == []
