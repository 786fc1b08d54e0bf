"""Pulling published weights from a server that drops, resumes, lies or is not there."""

import contextlib
import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from models.backbones.published import pull
from models.backbones.registry import random_weights
from models.catalog import GIT_BLOB_PREFIX, BackboneRecord, StreamFile
from models.download import download_file
from models.errors import DiskFull, WeightsInvalid, WeightsMissing
from models.recipe import FeatureRecipe
from models.weights import git_blob_id, load_weights

RECIPE = FeatureRecipe(name="small", width=0.0625, stream_width=64, crop_px=32, short_side_px=32)


class _Server:
    """A local server of named files.

    Attributes:
        files: path -> bytes.
        cut_bytes: a body is broken off after so many bytes, once per entry of the list.
        ranges: whether Range is understood.
        requests: (path, Range header) of each request.
    """

    def __init__(self):
        self.files = {}
        self.cut_bytes = []
        self.ranges = True
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer._answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def url(self, name):
        return f"http://127.0.0.1:{self._http.server_address[1]}/{name}"

    def _answer(self, request):
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        body = self.files.get(request.path.strip("/"))
        if body is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start > len(body) or (start and start == len(body)):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        part = body[start:]
        if self.cut_bytes:
            part = part[: self.cut_bytes.pop(0)]
            request.close_connection = True
        with contextlib.suppress(ConnectionError):
            request.wfile.write(part)


@pytest.fixture
def server():
    with _Server() as running:
        yield running


@pytest.fixture
def published(server, tmp_path):
    """A record of two small streams, served."""
    states = random_weights(RECIPE)
    files = []
    for stream, state in states.items():
        path = tmp_path / f"source-{stream}.pt"
        torch.save(state, path)
        name = f"{stream}_imagenet.pt"
        server.files[name] = path.read_bytes()
        files.append(StreamFile(stream, server.url(name), git_blob_id(path), path.stat().st_size))
    return BackboneRecord(
        name="small", recipe=RECIPE, files=tuple(files), licence="Apache-2.0",
        origin="https://example.org", paper="none", note="A small one.",
    )  # fmt: skip


def test_pull_brings_verified_safetensors_and_repeats_for_free(server, published, tmp_path):
    seen = []
    paths = pull(published, tmp_path / "small", lambda *report: seen.append(report))
    assert set(paths) == {"rgb", "flow"}
    for file in published.files:
        state = load_weights(paths[file.stream], f"{GIT_BLOB_PREFIX}{file.git_blob}")
        expected = random_weights(RECIPE)[file.stream]
        assert all(torch.equal(state[name], value) for name, value in expected.items())
        name = file.url.rpartition("/")[2]
        reports = [(done, total) for one, done, total in seen if one == name]
        size = len(server.files[name])
        assert reports[-1] == (size, size)
        assert reports == sorted(reports)
    names = sorted(path.name for path in (tmp_path / "small").iterdir())
    assert names == ["flow.json", "flow.safetensors", "rgb.json", "rgb.safetensors"]
    before = len(server.requests)
    assert pull(published, tmp_path / "small") == paths
    assert len(server.requests) == before


def test_a_dropped_connection_is_resumed_in_the_middle(server, published, tmp_path):
    file = published.files[0]
    name = file.url.rpartition("/")[2]
    server.cut_bytes = [100_000, 50_000]
    download_file(file, tmp_path / name)
    assert (tmp_path / name).read_bytes() == server.files[name]
    starts = [wanted for _, wanted in server.requests]
    assert starts == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_with_the_part(server, published, tmp_path):
    file = published.files[0]
    body = server.files[file.url.rpartition("/")[2]]
    (tmp_path / "rgb.pt.part").write_bytes(body[:70_000])
    download_file(file, tmp_path / "rgb.pt")
    assert server.requests == [("/rgb_imagenet.pt", "bytes=70000-")]
    assert (tmp_path / "rgb.pt").read_bytes() == body
    assert not (tmp_path / "rgb.pt.part").exists()


def test_a_complete_part_needs_no_more_bytes(server, published, tmp_path):
    file = published.files[0]
    body = server.files["rgb_imagenet.pt"]
    (tmp_path / "rgb.pt.part").write_bytes(body)
    download_file(file, tmp_path / "rgb.pt")
    assert (tmp_path / "rgb.pt").read_bytes() == body


def test_a_server_without_ranges_starts_over(server, published, tmp_path):
    server.ranges = False
    body = server.files["rgb_imagenet.pt"]
    (tmp_path / "rgb.pt.part").write_bytes(b"x" * 1000)
    download_file(published.files[0], tmp_path / "rgb.pt")
    assert (tmp_path / "rgb.pt").read_bytes() == body


def test_a_changed_file_is_removed_and_refused(server, published, tmp_path):
    body = bytearray(server.files["rgb_imagenet.pt"])
    body[5000] ^= 1
    server.files["rgb_imagenet.pt"] = bytes(body)
    with pytest.raises(WeightsInvalid, match="not the published file"):
        pull(published, tmp_path / "small")
    assert list((tmp_path / "small").iterdir()) == []


def test_an_endless_body_is_stopped(server, published, tmp_path):
    file = dataclasses.replace(published.files[0], approximate_bytes=1000)
    with pytest.raises(WeightsInvalid, match="far larger"):
        download_file(file, tmp_path / "rgb.pt")


def test_offline_is_said_in_one_sentence(published, tmp_path):
    with _Server() as gone:
        url = gone.url("rgb.pt")
    file = dataclasses.replace(published.files[0], url=url)
    with pytest.raises(WeightsMissing, match="Connect this machine to the internet"):
        download_file(file, tmp_path / "rgb.pt")


def test_a_server_that_always_drops_is_given_up_and_the_part_kept(server, published, tmp_path):
    server.cut_bytes = [10_000, 0, 0, 0, 0, 0]
    with pytest.raises(WeightsMissing, match="repeat"):
        download_file(published.files[0], tmp_path / "rgb.pt")
    assert (tmp_path / "rgb.pt.part").stat().st_size == 10_000


def test_a_withdrawn_file_is_said(server, published, tmp_path):
    server.files.clear()
    with pytest.raises(WeightsMissing, match="404"):
        download_file(published.files[0], tmp_path / "rgb.pt")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/rgb.pt"])
def test_only_web_addresses_are_fetched(published, tmp_path, url):
    with pytest.raises(WeightsInvalid, match="Only http"):
        download_file(dataclasses.replace(published.files[0], url=url), tmp_path / "rgb.pt")


def test_a_file_without_a_published_hash_is_not_fetched(server, published, tmp_path):
    file = dataclasses.replace(published.files[0], git_blob=None)
    with pytest.raises(WeightsInvalid, match="names no hash"):
        download_file(file, tmp_path / "rgb.pt")
    assert server.requests == []


def test_proxies_of_the_environment_are_not_used(server, published, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    download_file(published.files[0], tmp_path / "rgb.pt")
    assert (tmp_path / "rgb.pt").is_file()


def test_a_full_disk_is_said(server, published, tmp_path):
    # Writing to this device fails as a full disk does.
    (tmp_path / "rgb.pt.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        download_file(published.files[0], tmp_path / "rgb.pt")
