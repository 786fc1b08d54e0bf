"""docs/webhooks.md: its receiver receives, its commands run as written, its numbers are ours."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from service.jobs.records import JobRecord, VideoRecord
from service.settings import Settings
from service.webhooks.delivery import RetryPolicy
from service.webhooks.events import MAX_SEGMENT_MESSAGES, EndedJob, Interest, MessageType
from service.webhooks.signing import new_secret, signed_headers

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def receiver():
    """The receiver of the page, as written; yields (its URL, its secret, the process)."""
    (program,) = blocks("python")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    secret = new_secret()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "SECRET": secret, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    waiter = threading.Event()
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            waiter.wait(0.02)
        else:
            break
    yield f"http://127.0.0.1:{port}/", secret, process
    process.kill()
    process.communicate()


def test_the_receiver_takes_what_we_sign_once_and_nothing_else(receiver):
    url, secret, process = receiver
    body = json.dumps({"type": "job.succeeded", "data": {"id": "job_1"}}).encode()
    now = datetime.now(UTC)

    def post(*headers_of):
        return httpx2.post(url, content=body, headers=signed_headers(*headers_of)).status_code

    assert post("msg_1", now, body, [new_secret(), secret]) == 204
    assert post("msg_1", now, body, [secret]) == 204
    assert post("msg_2", now, body, [secret]) == 204
    assert post("msg_3", now, body, [new_secret()]) == 400
    assert post("msg_3", now - timedelta(minutes=6), body, [secret]) == 400
    assert post("msg_3", now, body + b" ", [secret]) == 400
    assert post("msg_3", now, body, []) == 400
    process.kill()
    printed, _ = process.communicate(timeout=10)
    assert printed.splitlines() == ["job.succeeded job_1"] * 2


def test_the_commands_run_as_written(live_server, tmp_path):
    host, port = live_server
    script = "\n".join(blocks("sh"))
    assert script.count("curl ") > 7
    script = script.replace("KINETAG=http://127.0.0.1:8000", f"KINETAG=http://{host}:{port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"code"' not in done.stdout
    assert json.loads((tmp_path / "webhook.json").read_text())["secret"].startswith("whsec_")


def test_every_type_is_told_of():
    rows = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", TEXT, flags=re.MULTILINE))
    assert rows == set(MessageType)


def test_the_message_shown_has_the_shape_of_ours():
    (shown,) = (json.loads(block) for block in blocks("json"))
    segment = {**shown["data"]["segment"]}
    moment = datetime(2026, 3, 1, 9, tzinfo=UTC)
    start, end = segment.pop("start_time"), segment.pop("end_time")

    video = VideoRecord(id=shown["data"]["video"]["id"], name="cam3.mp4", recorded_at=moment)
    job = JobRecord(
        id=shown["data"]["id"], status="succeeded", model="kinetag-demo@1", options={},
        tag="store-12", camera="dock",
    )  # fmt: skip
    ended = EndedJob(job, video, {"segments": [segment]})
    (message,) = ended.messages(Interest.of({"events": ["segment.detected"]}))
    data = json.loads(message.body(moment))["data"]
    assert data == shown["data"]
    assert (data["segment"]["start_time"], data["segment"]["end_time"]) == (start, end)


def test_the_numbers_are_ours():
    retry = RetryPolicy.of(Settings())
    assert [retry.wait_seconds(attempt) for attempt in range(1, 7)] == [
        5, 30, 3 * 60, 18 * 60, 1.8 * 3600, 10.8 * 3600,
    ]  # fmt: skip
    assert "after 5 s, 30 s,\n3 min, 18 min, 1.8 h, 10.8 h and then daily" in TEXT
    waited = sum(retry.wait_seconds(attempt) for attempt in range(1, retry.max_attempts))
    assert 3.5 < waited / 86400 < 4
    assert f"`KINETAG_WEBHOOK_ATTEMPTS` ({retry.max_attempts}) times" in TEXT
    assert f"`KINETAG_WEBHOOK_TIMEOUT_SECONDS` ({Settings().webhook_timeout_seconds:g})" in TEXT
    assert f"At most the {MAX_SEGMENT_MESSAGES} segments" in TEXT
