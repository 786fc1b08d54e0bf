"""The supervisor of one device, with children that only write down what they are told."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEADLINE_SECONDS = 20.0

EXECUTOR = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with (folder / "heard").open("a") as heard:
    print("start", os.getpid(), file=heard, flush=True)
    for line in sys.stdin:
        print("fed", line.strip(), file=heard, flush=True)
    flag = (folder / "draining").exists()
    print("drained" if flag else "closed", file=heard, flush=True)
"""

SUPERVISOR = """
import pathlib, sys
from workers.devicelock import DeviceLock
from workers.supervisor import SupervisorSettings, WorkerSupervisor
folder = pathlib.Path(sys.argv[1])
lock = DeviceLock(folder, "cpu")
settings = SupervisorSettings(
    drain_flag=folder / "draining",
    executor_command=(sys.executable, str(folder / "executor.py"), str(folder)),
    celery_command=None,
    poll_seconds=0.05,
)
WorkerSupervisor(settings, lock, (folder / "claimable").exists).run()
"""

PARENTS = """
import sys
import workers.supervisor, workers.celery_main, workers.cli, workers.up, workers.sweeper
from workers.celery_app import BrokerAddress, build_app
from workers.tasks import register_tasks
register_tasks(build_app(BrokerAddress("memory://", "x:")), print)
heavy = {"torch", "torchvision", "pytorchvideo", "av", "cv2", "numpy"} & set(sys.modules)
print(sorted(heavy))
"""


class Watched:
    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "executor.py").write_text(EXECUTOR)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(folder)], start_new_session=True
        )

    def heard(self) -> list[str]:
        path = self.folder / "heard"
        return path.read_text().splitlines() if path.exists() else []

    def until(self, condition) -> list[str]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            lines = self.heard()
            if condition(lines):
                return lines
            select.select([], [], [], 0.02)
        pytest.fail(f"it did not happen in time; heard {self.heard()}")

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def watched(tmp_path):
    made = Watched(tmp_path)
    yield made
    made.close()


def test_claimable_work_wakes_the_executor_and_term_drains_it(watched):
    (watched.folder / "claimable").touch()
    watched.until(lambda lines: lines.count("fed *") >= 2)
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(DEADLINE_SECONDS) == 0
    assert watched.heard()[-1] == "drained"
    assert not (watched.folder / "draining").exists()


def test_killed_executor_is_replaced_and_fed_again(watched):
    (watched.folder / "claimable").touch()
    lines = watched.until(lambda lines: "fed *" in lines)
    os.kill(int(lines[0].split()[1]), signal.SIGKILL)
    lines = watched.until(
        lambda lines: sum("start" in line for line in lines) == 2 and lines[-1] == "fed *"
    )
    assert lines[0] != next(line for line in reversed(lines) if "start" in line)


def test_without_work_no_executor_is_started(watched):
    (watched.folder / "draining").touch()
    # The flag of a killed predecessor goes when the supervisor is up; then it is idle.
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (watched.folder / "draining").exists() and time.monotonic() < deadline:
        select.select([], [], [], 0.02)
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(DEADLINE_SECONDS) == 0
    assert watched.heard() == []


def test_parents_of_the_workers_stay_free_of_torch_and_decoders():
    done = subprocess.run(
        [sys.executable, "-c", PARENTS], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
