"""Thousands of requests made up from the OpenAPI document: no 5xx, nothing undocumented.

At least LEAST_CASES of them; the same command line as here, with another seed, finds others.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
HOOKS = HERE / "fuzz" / "hooks.py"
CONFIG = HERE / "fuzz" / "schemathesis.toml"
LEAST_CASES = 5000
EXAMPLES = 100
STREAMS = r"/events$"  # they end with their job only; api_tests/test_events_over_http.py reads them
# A request may be refused for what no schema can say: an id that is gone, a host that is away.
EXCLUDED_CHECKS = "positive_data_acceptance"


@pytest.fixture
def known_things(start_service, draw_video):
    """A service in which there is one of everything, and the ids of it."""
    service = start_service("--broker", "none", "--device", "cpu", "--threads", "1")
    job = service.wait(service.submit(draw_video(2)))
    assert job["status"] == "succeeded"
    client = service.client
    webhook = client.post("/v1/webhooks", json={"url": "https://example.com/hook"}).json()
    batch = client.post(
        "/v1/batches", json={"items": [{"video_id": job["video"]["id"]}], "model": "tiny@1"}
    ).json()
    upload = client.post(
        "/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "4096"}
    ).headers["location"]
    return service, {
        "job_id": job["id"],
        "video_id": job["video"]["id"],
        "webhook_id": webhook["id"],
        "batch_id": batch["id"],
        "upload_id": upload.rstrip("/").rpartition("/")[2],
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_made_up_request_breaks_the_service_or_its_description(known_things, tmp_path):
    service, known = known_things
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
        "run", f"{service.ready['url']}/openapi.json",
        "--checks", "all", "--exclude-checks", EXCLUDED_CHECKS,
        "--phases", "coverage,fuzzing,stateful",
        "--max-examples", str(EXAMPLES), "--continue-on-failure", "--seed", "5",
        "--exclude-path-regex", STREAMS, "--request-timeout", "20", "--no-color",
        # It empties the service as it goes, and deletes what the next request asks for.
        "--suppress-health-check", "all",
    ]  # fmt: skip
    run = subprocess.run(
        command,
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": str(HOOKS),
            "KINETAG_FUZZ_KNOWN": json.dumps(known),
        },
        timeout=850,
    )
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    count = int(re.search(r"(\d+) generated", run.stdout)[1])
    assert count >= LEAST_CASES
    assert service.client.get("/readyz").status_code == 200
    assert "internal_error" not in service.read_log()
