"""The whole service where it is not alone on one machine, and what an operator sees of it."""

import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from service.accounts.secrets import new_key_text
from service.jobs.store import new_id
from service.storage_remote import open_remote

CANARY = "canary7f3a9c"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def collector():
    """A collector of spans: keeps what was sent to /v1/traces."""
    spans = []

    class Sink(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                role = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.extend((role["kinetag.role"], span) for span in scope.spans)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()
        thread.join()


def metrics(service):
    text = service.client.get("/metrics").raise_for_status().text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def blobs_by_kind(blobs):
    kinds = ("videos", "thumbnails", "results", "features")
    return {kind: sum(1 for _ in blobs.keys(kind)) for kind in kinds}


def test_jobs_on_postgresql_with_everything_in_object_storage(
    start_service, draw_video, postgres_server, s3_bucket, s3_server, tmp_path
):
    service = start_service(
        KINETAG_DATABASE_URL=postgres_server("service"),
        KINETAG_STORAGE_URL=f"{s3_bucket}/kinetag",
        KINETAG_STORAGE_ENDPOINT=s3_server,
    )
    video = draw_video(2)
    first = service.submit(video, tag="first")
    ended = service.wait(first)
    assert ended["status"] == "succeeded", (ended, service.read_log())
    assert service.client.get(f"{first}/activations").raise_for_status().json()
    address = ended["links"]["video"]
    content = service.client.get(f"{address}/content", headers={"Range": "bytes=10-99"})
    assert (content.status_code, content.content) == (206, video.read_bytes()[10:100])

    blobs = open_remote(f"{s3_bucket}/kinetag", s3_server, tmp_path / "tmp")
    assert blobs_by_kind(blobs) == {"videos": 1, "thumbnails": 0, "results": 1, "features": 1}
    for name in ("videos", "results", "features", "kinetag.db"):
        assert not (service.folder / name).exists()

    # The same bytes again: stored once, extracted once.
    second = service.submit(video, tag="second")
    assert service.wait(second)["status"] == "succeeded"
    assert blobs_by_kind(blobs)["videos"] == blobs_by_kind(blobs)["features"] == 1
    found = service.until(
        lambda: metrics(service).get(("kinetag_chunks_total", "found")), 20, "the figures"
    )
    assert found == 1
    assert metrics(service)["kinetag_frames_total",] == 50

    service.until(lambda: not list((service.folder / "tmp").glob("blob-*")), 20, "the tidying")
    for job in (first, second):
        assert service.client.delete(job).status_code == 204
    assert set(blobs_by_kind(blobs).values()) == {0}
    assert service.stop() == 0


def test_logs_traces_and_figures_tell_everything_but_secrets(start_service, draw_video, collector):
    endpoint, spans = collector
    service = start_service(
        KINETAG_LOG_FORMAT="json", KINETAG_LOG_LEVEL="debug", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint
    )
    key = new_key_text(new_id("key")).reveal()
    unknown = service.client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    assert unknown.status_code in {200, 401}
    with draw_video(2).open("rb") as file:
        name = f'x\n{{"event": "forged {CANARY}"}}.mp4'
        posted = service.client.post(
            "/v1/jobs",
            params={"token": CANARY},
            headers={"X-Request-ID": "from-outside/1", "Cookie": f"session={CANARY}"},
            files={"video": (name, file)},
            data={"model": "tiny@1", "webhook": f"https://hooks.example/x?secret={CANARY}"},
        )
    assert posted.status_code == 202, posted.text
    assert posted.headers["X-Request-ID"] == "from-outside/1"
    job = posted.headers["location"]
    for url in (f"https://user:{CANARY}@hooks.example/", f"https://hooks.example/?{CANARY}"):
        service.client.post("/v1/webhooks", headers=JSON, content=json.dumps({"url": url}))
        service.client.post("/v1/jobs", headers=JSON, content=json.dumps({"url": url}))
    made_up = service.client.get("/healthz", headers={"X-Request-ID": f"<{CANARY}> {'x' * 200}"})
    assert made_up.headers["X-Request-ID"].startswith("req_")
    ended = service.wait(job)
    assert ended["status"] == "succeeded", service.read_log()
    service.until(lambda: {"infer", "commit"} <= names(spans, "worker"), 20, "the spans")
    assert service.stop() == 0

    lines = (service.folder.parent / f"{service.folder.name}.log").read_text().splitlines()
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(documents) > 20
    assert [line for line in lines if CANARY in line or key in line or "forged" in line] == []
    job_id = job.rpartition("/")[2]
    about = [one for one in documents if one.get("job_id") == job_id]
    assert {"task_started", "task_ended"} <= {one["event"] for one in about}
    requests = [one for one in documents if one["event"] == "request"]
    assert all(one["request_id"] and "?" not in one["path"] for one in requests)

    assert {"request"} <= names(spans, "api")
    assert {"claim", "task", "decode", "infer", "commit"} <= names(spans, "worker")
    traces = [span for role, span in spans if role == "worker" and span.name == "kinetag.task"]
    inside = [span for _, span in spans if span.parent_span_id in {one.span_id for one in traces}]
    assert {"kinetag.infer", "kinetag.commit"} <= {span.name for span in inside}
    text = repr([span for _, span in spans])
    assert job_id in text
    assert CANARY not in text
    assert key not in text


def names(spans, role):
    return {span.name.removeprefix("kinetag.") for one, span in list(spans) if one == role}


def test_a_backup_of_a_running_service_serves_elsewhere(start_service, draw_video, tmp_path):
    service = start_service()
    video = draw_video(2)
    job = service.submit(video, tag="kept")
    backup, other = tmp_path / "backup", tmp_path / "restored"
    done = kinetag("backup", backup, "--data", service.folder)
    assert (done.returncode, "files" in done.stdout) == (0, True), done.stderr
    busy = kinetag("upgrade", "--data", service.folder)
    assert (busy.returncode, "[data_folder_busy]" in busy.stderr) == (2, True), busy.stderr
    assert service.client.delete(job).status_code in {202, 204}
    assert service.stop() == 0

    assert kinetag("restore", backup, "--data", other).returncode == 0
    restored = replace(service, folder=other, seen={})
    restored.start()
    try:
        kept = restored.job(job)
        assert kept["tag"] == "kept"
        content = restored.client.get(f"{kept['links']['video']}/content")
        assert content.content == video.read_bytes()
    finally:
        restored.close()


def kinetag(*arguments):
    """Run a command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "kinetag", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
