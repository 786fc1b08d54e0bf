"""Keys with real processes: docs/keys.md as written, revocation everywhere, no secret told."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path

import httpx2
import pytest

from service.accounts.keys import NewKey, create_key, revoke_key
from service.accounts.scopes import DEFAULT_SCOPES, Scope
from service.jobs.commands import open_core
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "keys.md"
KINETAG = [sys.executable, "-m", "kinetag"]
START_SECONDS = 60


class Apis:
    """API processes on one data folder, and the command line beside them."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KINETAG_DATA_DIR": str(folder / "data"),
            "KINETAG_LOG_FORMAT": "json",
            "KINETAG_LOG_LEVEL": "debug",
            "KINETAG_REQUIRE_KEYS": "1",
        }
        self.processes = []

    def start(self, *options, **environment):
        log = (self.folder / f"api-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [*KINETAG, "api", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**self.environment, **environment},
        )
        self.processes.append(process)
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (self.folder / f"api-{len(self.processes) - 1}.log").read_text()
        return found[0]

    @cached_property
    def core(self):
        """The database itself: a command line each time would take seconds."""
        return open_core(Settings(data_dir=self.folder / "data"))

    def key(self, *scopes):
        """Make a key; return its id and the key."""
        record, text = create_key(self.core, NewKey("test", scopes or DEFAULT_SCOPES))
        return record.id, text.reveal()

    def written(self):
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def close(self):
        self.core.engine.dispose()
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.communicate(timeout=30)


@pytest.fixture
def apis(tmp_path):
    apis = Apis(tmp_path)
    yield apis
    apis.close()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_the_document_works_as_written(apis, tmp_path):
    script = "\n".join(re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.S))
    url = apis.start()
    script = script.replace("http://127.0.0.1:8000", url)
    command = f'kinetag() {{ "{sys.executable}" -m kinetag "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command + script],
        cwd=tmp_path,
        env=apis.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "never used" in done.stdout
    assert "stored_bytes: 500000000000" in done.stdout
    assert '"jobs":[]' in done.stdout
    assert '"queued_jobs":200' in done.stdout
    made = json.loads((tmp_path / "key.json").read_text())
    assert made["scopes"] == ["jobs:read"]
    assert httpx2.get(f"{url}/v1/jobs", headers=bearer(made["key"])).status_code == 401


def test_a_revoked_key_is_worthless_in_every_process_within_a_second(apis):
    _, admin = apis.key(Scope.ADMIN)
    key_id, key = apis.key()
    here, there = apis.start(), apis.start()
    headers = bearer(key)
    with httpx2.Client() as client:
        for url in (here, there):
            assert client.get(f"{url}/v1/jobs", headers=headers).status_code == 200
        answer = client.delete(f"{here}/v1/keys/{key_id}", headers=bearer(admin))
        revoked = time.monotonic()
        assert answer.status_code == 204
        while client.get(f"{there}/v1/jobs", headers=headers).status_code == 200:
            assert time.monotonic() - revoked < 1.0
        assert client.get(f"{here}/v1/jobs", headers=headers).status_code == 401


def test_a_public_address_needs_keys_by_itself(apis):
    _, key = apis.key()
    environment = {"KINETAG_REQUIRE_KEYS": "", "KINETAG_ALLOWED_HOSTS": "*"}
    everywhere = "0.0.0.0"  # noqa: S104 - that is what is tested
    port = apis.start("--host", everywhere, **environment).rpartition(":")[2]
    url = f"http://127.0.0.1:{port}"
    assert httpx2.get(f"{url}/v1/jobs").status_code == 401
    assert httpx2.get(f"{url}/healthz").status_code == 200
    assert httpx2.get(f"{url}/v1/jobs", headers=bearer(key)).status_code == 200


def test_no_secret_is_written_down_or_told(apis):
    _, admin = apis.key(Scope.ADMIN, Scope.METRICS)
    revoked_id, revoked = apis.key()
    revoke_key(apis.core, revoked_id)
    unknown = re.sub(r"[0-9a-f]{64}$", "ab" * 32, admin)
    url = apis.start()
    told = []
    with httpx2.Client(base_url=url) as client:
        made = client.post("/v1/keys", headers=bearer(admin), json={"name": "new"}).json()["key"]
        keys = [admin, revoked, unknown, made]
        for key in keys:
            for headers in (bearer(key), {"X-API-Key": key}, bearer(key + "x"), bearer(f"{key} x")):
                told.append(client.get("/v1/jobs", headers=headers))
            told.append(client.get("/v1/jobs", headers={"Authorization": f"Basic {key}"}))
            told.append(client.get("/v1/jobs", params={"key": key}))
            told.append(client.get("/v1/jobs", headers=bearer(admin), params={"page_token": key}))
            told.append(client.post("/v1/keys", headers=bearer(key), content=b"{"))
        for path in ("/v1/keys", "/v1/usage", "/metrics", "/openapi.json", "/readyz"):
            answer = client.get(path, headers=bearer(admin))
            assert answer.status_code in {200, 503}, path
            told.append(answer)
    everything = apis.written() + "".join(f"{answer.headers}{answer.text}" for answer in told)
    for key in keys:
        assert key.rpartition("_")[2] not in everything
    lines = [json.loads(line) for line in apis.written().splitlines() if line.startswith("{")]
    denied = [line for line in lines if line["event"] == "request_denied"]
    assert {line["code"] for line in denied} == {"unauthorized", "forbidden"}
    assert any(line.get("key_id") == revoked_id for line in denied)
    assert any(line["event"] == "request" and line.get("key_id") for line in lines)
