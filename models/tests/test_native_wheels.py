"""What is built into published wheels, and the check that none of them lacks the kernel."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "wheels.yml"
CHECK = ROOT / ".ci" / "check_wheel.py"

pytestmark = pytest.mark.skipif(not WORKFLOW.is_file(), reason="no workflows in this tree")


def test_the_workflow_names_every_platform_and_pins_the_builder():
    yaml = pytest.importorskip("yaml")
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["wheels"]
    runners = steps["strategy"]["matrix"]["runner"]
    assert {runner.split("-")[0] for runner in runners} == {"ubuntu", "macos"}
    assert any(runner.endswith("-arm") for runner in runners)
    used = [step["uses"] for step in steps["steps"]]
    builder = [name for name in used if "cibuildwheel" in name]
    assert len(builder) == 1
    assert re.fullmatch(r"pypa/cibuildwheel@v\d+\.\d+\.\d+", builder[0])


def test_wheels_are_built_for_every_python_and_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    settings = project["tool"]["cibuildwheel"]
    versions = {
        line.rpartition(" ")[2].replace(".", "")
        for line in project["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    }
    assert set(settings["build"]) == {f"cp{version}-*" for version in versions}
    assert settings["test-command"].endswith("{project}/.ci/check_wheel.py")


def test_the_check_passes_with_a_kernel_and_fails_without():
    pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")
    command = [sys.executable, str(CHECK)]
    whole = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert whole.returncode == 0, whole.stderr
    hidden = "import sys, runpy; sys.modules['models.flow._tvl1'] = None; "
    command = [sys.executable, "-c", f"{hidden}runpy.run_path({str(CHECK)!r}, run_name='__main__')"]
    without = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert without.returncode != 0
