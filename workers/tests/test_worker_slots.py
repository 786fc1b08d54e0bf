"""Several workers of one device: each its own lock, name, drain flag and share of the cores."""

import socket

import pytest
from typer.testing import CliRunner

import workers.wiring
from service.settings import Settings
from workers.celery_main import worker_arguments
from workers.cli import app
from workers.devicelock import DeviceLock, FolderLockedError, exclusive_folder
from workers.wiring import (
    MAX_WORKERS,
    WorkerOptions,
    drain_flag,
    run_folder,
    share_device,
    worker_lock,
)

HOST = socket.gethostname()


def test_only_worker_of_a_device_is_called_after_it():
    options = WorkerOptions("cuda:1")
    assert (options.name, options.owner) == ("cuda-1", f"{HOST}/cuda-1")
    assert options.arguments == ("--device", "cuda:1", "--threads", "0")


def test_nothing_is_shared_between_slots_or_devices(tmp_path):
    settings = Settings(data_dir=tmp_path)
    workers = [
        WorkerOptions(device, slot=slot)
        for device in ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "cuda:11")
        for slot in range(13)
    ]
    for what in (
        lambda one: one.owner,
        lambda one: drain_flag(settings, one),
        lambda one: worker_lock(settings, one),
        lambda one: DeviceLock(run_folder(settings), one.file_name).path,
        lambda one: worker_arguments(one.name)[-1],
        lambda one: one.arguments,
    ):
        assert len({what(one) for one in workers}) == len(workers)


def test_hosts_that_share_a_folder_do_not_stop_each_other(tmp_path, monkeypatch):
    settings = Settings(data_dir=tmp_path)
    here = drain_flag(settings, WorkerOptions("cpu"))
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    there = WorkerOptions("cpu")
    assert drain_flag(settings, there) != here
    assert there.owner == "elsewhere/cpu"


def test_slot_taken_twice_is_refused_and_another_is_not(tmp_path):
    settings = Settings(data_dir=tmp_path)
    first, second = (worker_lock(settings, WorkerOptions("cpu", slot=slot)) for slot in (0, 1))
    with (
        exclusive_folder(first, "taken"),
        exclusive_folder(second, "taken"),
        pytest.raises(FolderLockedError),
        exclusive_folder(second, "taken"),
    ):
        pytest.fail("two workers in one slot")


@pytest.mark.parametrize(
    ("num_processors", "num_threads", "num_workers", "expected"),
    [(8, 0, 1, 0), (8, 0, 2, 4), (8, 0, 3, 2), (2, 0, 4, 1), (8, 3, 2, 3), (8, 3, 1, 3)],
)
def test_workers_share_the_cores(monkeypatch, num_processors, num_threads, num_workers, expected):
    monkeypatch.setattr(workers.wiring, "num_processors", lambda: num_processors)
    shared = share_device("cpu", num_threads, num_workers)
    assert [one.slot for one in shared] == list(range(num_workers))
    assert {one.num_threads for one in shared} == {expected}


def test_most_workers_still_have_names_of_their_own():
    assert len({one.owner for one in share_device("cpu", 1, MAX_WORKERS)}) == MAX_WORKERS


@pytest.mark.parametrize("command", ["worker", "up"])
@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "", "CPU", "cpu\n"])
def test_a_device_nobody_has_is_refused_before_anything_starts(tmp_path, command, device):
    answer = CliRunner().invoke(app, [command, "--device", device, "--data", str(tmp_path / "d")])
    assert answer.exit_code == 2
    assert not (tmp_path / "d").exists()
