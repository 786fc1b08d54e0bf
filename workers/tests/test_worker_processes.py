"""Children of a supervisor: tied to it, restarted with backoff, stopped with and without force."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.parentdeath import tied_command
from workers.processes import ProcessSpec, SupervisedProcess

DEADLINE_SECONDS = 20.0


def _exited(pid: int | None) -> bool:
    """Wait for any process's end through a pidfd."""
    assert pid is not None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([descriptor], [], [], DEADLINE_SECONDS)
        return bool(ready)
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_grandchild_dies_when_its_parent_is_killed():
    script = (
        "import subprocess, sys; from workers.parentdeath import tied_command;"
        "child = subprocess.Popen(tied_command(('sleep', '600')));"
        "print(child.pid, flush=True); child.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _exited(grandchild)


def test_tied_command_runs_the_command_itself():
    done = subprocess.run(tied_command(("echo", "hello")), capture_output=True, check=True)
    assert done.stdout == b"hello\n"


def test_dead_child_comes_back_only_after_its_backoff():
    now = [0.0]
    child = SupervisedProcess(ProcessSpec("quick", ("false",)), clock=lambda: now[0])
    child.start()
    assert _exited(child.pid)
    assert not child.watch()
    now[0] = 0.4
    assert not child.watch()
    now[0] = 0.6
    assert child.watch()
    assert child.restarts == 1
    assert _exited(child.pid)
    # The second death waits twice as long.
    assert not child.watch()
    now[0] = 1.5
    assert not child.watch()
    now[0] = 1.7
    assert child.watch()
    child.kill()


def test_child_that_ignores_term_is_killed_at_the_deadline(tmp_path: Path):
    ready = tmp_path / "ready"
    script = (
        "import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch(); signal.pause()"
    )
    child = SupervisedProcess(
        ProcessSpec("stubborn", (sys.executable, "-c", script), own_group=True, stop_seconds=0.2)
    )
    child.start()
    pid = child.pid
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ready.exists() and time.monotonic() < deadline:
        select.select([], [], [], 0.02)
    child.stop()
    assert _exited(pid)
    assert child.pid is None


def test_secret_configuration_reaches_the_child_over_standard_input(tmp_path: Path):
    copy = tmp_path / "copy"
    script = f"import sys, pathlib; pathlib.Path({str(copy)!r}).write_text(sys.stdin.read())"
    child = SupervisedProcess(
        ProcessSpec("reader", (sys.executable, "-c", script), stdin_text="requirepass x\n")
    )
    child.start()
    assert _exited(child.pid)
    assert copy.read_text() == "requirepass x\n"
