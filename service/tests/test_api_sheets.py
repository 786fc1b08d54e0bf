"""Contact sheets of batches over HTTP: what stands in them, in pages, and that they are inert."""

import html
import io
import re

import pytest
from PIL import Image
from sqlalchemy import update

from models.plots.palette import color_slots
from models.plots.sheet_style import SHEET_STYLE, style_source
from service.batches.feeding import FeedLimits, feed_batches
from service.jobs.records import VideoRecord
from service.jobs.store import new_id, transaction
from service.settings import Settings

CLASSES = ("walk", "run", "fall")


@pytest.fixture
def archive_folder(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def settings(settings, archive_folder):
    return Settings(**{**settings.model_dump(), "path_roots": (str(archive_folder),)})


@pytest.fixture
def queue(client):
    return client.queue


@pytest.fixture
def batch(client, settings, archive_folder, run_job):
    """Run a batch of these items to its end; return its address."""

    def make(items, **more):
        answer = client.post("/v1/batches", json={"items": items, **more})
        assert answer.status_code == 202, answer.text
        limits = FeedLimits.of(settings)
        for _ in range(3):
            feed_batches(client.core, limits)
            run_job(num_chunks=1)
        feed_batches(client.core, limits)
        return answer.headers["location"]

    return make


def words(answer):
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", answer.text)).split())


def test_a_batch_has_a_contact_sheet(client, batch, archive_folder):
    items = [
        {"path": str(archive_folder / "a.mp4"), "recorded_at": "2026-11-20T09:00:00+01:00"},
        {"path": str(archive_folder / "b.mp4"), "name": "yard/b.mp4", "camera": "yard"},
        {"path": str(archive_folder / "absent.mp4"), "name": "absent.mp4"},
    ]
    here = batch(items, name="night shift")
    answer = client.get(f"{here}/sheet")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    shown = words(answer)
    assert "night shift" in shown
    assert "Videos 3 Failed 1 Segments 4" in shown
    assert "08:00:01 to 08:00:03" in shown
    assert "yard/b.mp4" in shown
    assert "path_refused" in shown
    jobs = [item["job_id"] for item in client.get(f"{here}/items").json()["items"]]
    assert [f'href="/#/jobs/{job}"' in answer.text for job in jobs[:2]] == [True, True]
    slots = color_slots(CLASSES)
    assert {f"bars k{slots['walk']}", f"bars k{slots['run']}"} == set(
        re.findall(r"bars k\d+", answer.text)
    )


def test_a_sheet_runs_and_loads_nothing(client, batch, archive_folder):
    items = [{"path": str(archive_folder / "a.mp4"), "name": "<img src=x onerror=alert(1)>"}]
    answer = client.get(batch(items, name="<script>alert(1)</script>") + "/sheet")
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert style_source(SHEET_STYLE) in policy
    assert f"<style>{SHEET_STYLE}</style>" in answer.text
    assert "style=" not in answer.text.replace(SHEET_STYLE, "")


def test_thumbnails_that_are_there_are_shown_as_a_few_moments(client, batch, archive_folder):
    here = batch([{"path": str(archive_folder / "a.mp4")}])
    picture = io.BytesIO()
    Image.new("RGB", (1600, 540), (9, 99, 200)).save(picture, "JPEG")
    client.core.blobs.put_bytes("thumbnails/x", picture.getvalue())
    shape = {"tile_width": 160, "tile_height": 90, "columns": 10, "count": 60,
             "seconds": [at / 10 for at in range(60)]}  # fmt: skip
    with transaction(client.core.engine) as session:
        values = {"thumbnails_key": "thumbnails/x", "facts": {"thumbnails": shape}}
        session.execute(update(VideoRecord).values(**values))
    text = client.get(f"{here}/sheet").text
    (address,) = re.findall(r'<img [^>]*src="data:image/jpeg;base64,([^"]*)"', text)
    assert 'alt="8 moments of a.mp4"' in text
    assert len(address) < 40_000
    client.core.blobs.put_bytes("thumbnails/y", b"no picture")
    with transaction(client.core.engine) as session:
        session.execute(update(VideoRecord).values(thumbnails_key="thumbnails/y"))
    assert "<img" not in client.get(f"{here}/sheet").text


def test_large_batches_come_in_pages(client, batch, archive_folder):
    paths = [archive_folder / name for name in ("a.mp4", "b.mp4", "c.mp4", "gone.mp4")]
    here = batch([{"path": str(path)} for path in paths])
    address: str | None = f"{here}/sheet?page_size=2"
    seen, pages = [], 0
    while address:
        answer = client.get(address)
        pages += 1
        seen += re.findall(r"<h3><a [^>]*><bdi>(.*?)</bdi>", answer.text)
        assert "Segments on this page" in words(answer)
        assert ("gone.mp4" in words(answer)) == (pages == 1)
        following = re.findall(r'<a href="([^"]*)">Next page</a>', answer.text)
        address = html.unescape(following[0]) if following else None
    assert (seen, pages) == (["a.mp4", "b.mp4", "c.mp4"], 2)


def test_strangers_and_wrong_pages_are_refused(client, batch, archive_folder):
    here = batch([{"path": str(archive_folder / "a.mp4")}])
    for query in ("page_size=101", "page_size=0", "page_token=zz"):
        assert client.get(f"{here}/sheet?{query}").status_code == 422
    answer = client.get(f"/v1/batches/{new_id('batch')}/sheet")
    assert (answer.status_code, answer.json()["code"]) == (404, "batch_not_found")
