"""Readers of events, while the API process is killed: each event once, in order, none missed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from service.jobs.commands import NewJob, create_job, get_job, open_core
from service.jobs.events import PUBLIC_DETAILS
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue
from service.jobs.records import EventRecord
from service.jobs.store import reading
from service.jobs.videos import NewVideo
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
NUM_JOBS = 12
NUM_CHUNKS = 3
KILLS = 2
SECONDS = 90.0
ENDED = ("succeeded", "failed", "canceled")


class Api:
    """`kinetag api` at one address, however often it is killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = (folder.parent / "api.log").open("ab")
        self.start()

    def start(self):
        command = [sys.executable, "-m", "kinetag", "api", "--data", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        deadline = time.monotonic() + SECONDS
        while not self.answers():
            assert self.process.poll() is None, "it ended at its start"
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)

    def answers(self):
        try:
            return httpx2.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.log.close()


class Reader(threading.Thread):
    """Follows a stream as a browser does: when it breaks, back with the last id it has seen."""

    def __init__(self, api, path, last=None):
        super().__init__(daemon=True)
        self.api, self.path, self.last = api, path, last
        self.seen, self.connections = [], 0
        self.done = threading.Event()

    def run(self):
        while not self.done.is_set():
            try:
                self.follow()
            except httpx2.HTTPError:
                self.done.wait(0.1)

    def follow(self):
        headers = {} if self.last is None else {"Last-Event-ID": str(self.last)}
        with httpx2.stream("GET", self.api.url + self.path, headers=headers, timeout=30) as answer:
            if answer.status_code == 204:
                self.done.set()
                return
            self.connections += 1
            number = None
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line.startswith("data: ") and number is not None:
                    document = json.loads(line[6:])
                    self.seen.append((number, document["type"], document["data"]["id"]))
                    self.last, number = number, None
                if self.done.is_set():
                    return


@pytest.fixture
def core(tmp_path):
    core = open_core(Settings(data_dir=tmp_path / "data"))
    yield core
    core.engine.dispose()


@pytest.fixture
def api(core, tmp_path):
    api = Api(tmp_path / "data")
    yield api
    api.close()


def add_job(core):
    video = NewVideo("v", source="path", source_ref="/v")
    return create_job(core, NewJob(video, "m@1"))[0].job.id


def work(core, until):
    """Do what there is to do, as a worker would, slowly."""
    queue = TaskQueue(core.engine)
    while not until.is_set():
        task = queue.claim(owner="w", lease_seconds=60)
        if task is None:
            until.wait(0.05)
        elif task.kind == "plan":
            queue.complete_plan(task.id, task.token, Plan(NUM_CHUNKS, {}, recipe=task.job_id))
        elif task.kind == "chunk":
            queue.heartbeat(task.id, task.token, lease_seconds=60, stage="flow", fraction=0.5)
            until.wait(0.1)
            queue.complete_chunk(task.id, task.token, computed=True, computed_with={})
        else:
            queue.complete_join(task.id, task.token, result={})


def told(core, job_id=None):
    """What users are to be told, straight from the database."""
    statement = select(EventRecord.id, EventRecord.type, EventRecord.job_id).order_by(
        EventRecord.id
    )
    if job_id is not None:
        statement = statement.where(EventRecord.job_id == job_id)
    with reading(core.engine) as session:
        rows = session.execute(statement).all()
    return [tuple(row) for row in rows if row.type in PUBLIC_DETAILS]


@pytest.mark.timeout(300)
def test_readers_miss_nothing_while_the_api_is_killed(core, api):
    job_ids = [add_job(core) for _ in range(NUM_JOBS)]
    readers = [Reader(api, "/v1/events", last=0), Reader(api, f"/v1/jobs/{job_ids[-1]}/events")]
    ended = threading.Event()
    worker = threading.Thread(target=work, args=(core, ended), daemon=True)
    for thread in (*readers, worker):
        thread.start()
    for _ in range(KILLS):
        threading.Event().wait(1.0)
        api.kill()
        api.start()
    deadline = time.monotonic() + SECONDS
    while any(get_job(core, job_id).job.status not in ENDED for job_id in job_ids):
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    ended.set()
    worker.join(20)
    expected = told(core)
    while len(readers[0].seen) < len(expected) or not readers[1].done.is_set():
        assert time.monotonic() < deadline, (len(readers[0].seen), len(expected))
        threading.Event().wait(0.1)
    readers[0].done.set()
    assert readers[0].seen == expected
    assert readers[1].seen == told(core, job_ids[-1])
    assert min(reader.connections for reader in readers) > 1, "they were interrupted"
    assert {kind for _, kind, _ in expected} >= {"job.queued", "chunk.done", "job.succeeded"}


@pytest.mark.timeout(120)
def test_an_api_that_is_to_end_lets_its_readers_go(core, api):
    job_id = add_job(core)
    readers = [Reader(api, f"/v1/jobs/{job_id}/events") for _ in range(5)]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + SECONDS
    while any(not reader.seen for reader in readers):
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    for reader in readers:
        reader.done.set()
    started = time.monotonic()
    api.process.send_signal(signal.SIGTERM)
    assert api.process.wait(20) == 0
    assert time.monotonic() - started < 5, "uvicorn's grace was used up"
