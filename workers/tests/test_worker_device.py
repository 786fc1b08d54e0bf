"""One device, one task; and the watchdog over whoever holds it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.devicelock import DeviceLock, FolderLockedError, Occupancy, exclusive_folder
from workers.watchdog import Watchdog

HOLDER = """
import signal, sys
from pathlib import Path
from workers.devicelock import DeviceLock
lock = DeviceLock(Path(sys.argv[1]), "cpu")
assert lock.acquire()
with lock.occupied("task_7", 3):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path: Path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_second_process_is_kept_out_and_can_read_why(tmp_path, holder):
    lock = DeviceLock(tmp_path, "cpu")
    assert not lock.acquire()
    assert lock.occupancy() == Occupancy(holder.pid, "task_7", 3)


def test_killed_holder_leaves_no_lock_and_no_claim_of_work(tmp_path, holder):
    holder.kill()
    holder.wait()
    lock = DeviceLock(tmp_path, "cpu")
    assert lock.occupancy() is None
    assert lock.acquire()
    lock.release()


def test_devices_do_not_exclude_each_other(tmp_path, holder):
    assert DeviceLock(tmp_path, "cuda:1").acquire()


def test_lock_is_not_reentrant(tmp_path):
    lock = DeviceLock(tmp_path, "cpu")
    assert lock.acquire()
    assert not lock.acquire()
    lock.release()
    assert lock.acquire()


def test_idle_holder_is_not_occupied(tmp_path):
    lock = DeviceLock(tmp_path, "cpu")
    assert lock.acquire()
    with lock.occupied("task_1", 1):
        assert lock.occupancy() == Occupancy(os.getpid(), "task_1", 1)
    assert lock.occupancy() is None


def test_folder_lock_refuses_the_second_owner_with_its_message(tmp_path):
    path = tmp_path / "up.lock"
    with (
        exclusive_folder(path, "taken"),
        pytest.raises(FolderLockedError, match="taken"),
        exclusive_folder(path, "taken"),
    ):
        pytest.fail("the second owner came in")
    with exclusive_folder(path, "taken"):
        pass


def test_a_folder_that_cannot_be_made_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with (
        pytest.raises(FolderLockedError, match="cannot be written to"),
        exclusive_folder(tmp_path / "file" / "lock", "taken"),
    ):
        pytest.fail("there is no such folder")


def test_watchdog_kills_unwanted_work_only_after_its_grace(tmp_path, holder):
    now = [0.0]
    killed = []
    watchdog = Watchdog(
        DeviceLock(tmp_path, "cpu"),
        is_unwanted=lambda task_id, token: (task_id, token) == ("task_7", 3),
        on_killed=lambda *claim: killed.append(claim),
        grace_seconds=30,
        clock=lambda: now[0],
    )
    watchdog.look()
    now[0] = 29.9
    watchdog.look()
    assert holder.poll() is None
    assert killed == []
    now[0] = 30.0
    watchdog.look()
    assert holder.wait(10) == -signal.SIGKILL
    assert killed == [("task_7", 3)]
    watchdog.look()
    assert len(killed) == 1


def test_watchdog_leaves_wanted_work_alone(tmp_path, holder):
    now = [0.0]
    watchdog = Watchdog(
        DeviceLock(tmp_path, "cpu"),
        is_unwanted=lambda task_id, token: False,
        on_killed=lambda *claim: None,
        grace_seconds=30,
        clock=lambda: now[0],
    )
    for step in range(10):
        now[0] = step * 60.0
        watchdog.look()
    assert holder.poll() is None
