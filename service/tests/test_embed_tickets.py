"""Tickets: one video's bytes for players that can send no header, and nothing else."""

from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from service.embedding.tickets import MAX_LIFETIME_SECONDS
from service.jobs.records import VideoRecord
from service.jobs.store import transaction
from service.main import create_app

PAGE = "https://dash.example"
EVIL = "https://evil.example"
BYTES = bytes(range(256)) * 40


class Player:
    """A service with one video and a job about it."""

    def __init__(self, client, upload, core):
        self.client, self.core = client, core
        made = client.post("/v1/jobs", **upload)
        assert made.status_code == 202, made.text
        self.job, self.video = made.json()["id"], made.json()["video"]["id"]

    def token(self, **wish):
        wish = {"job": self.job, "origins": [PAGE], **wish}
        return self.client.post("/v1/embed-tokens", json=wish).json()["token"]

    def ticket(self, token=None, origin=None, video=None):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if origin is not None:
            headers["Origin"] = origin
        made = self.client.post(f"/v1/videos/{video or self.video}/ticket", headers=headers)
        assert made.status_code == 201, made.text
        return made.json()["url"]


def served(settings, upload, **changes):
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield Player(client, upload, app.state.context.core)


@pytest.fixture(params=["stored", "path", "s3"])
def player(request, settings, tmp_path):
    upload: dict[str, Any] = {
        "files": {"video": ("cam.mp4", BYTES)},
        "data": {"camera": "dock"},
    }
    changes: dict[str, Any] = {}
    if request.param == "path":
        folder = tmp_path / "archive"
        folder.mkdir()
        (folder / "cam.mp4").write_bytes(BYTES)
        upload = {"json": {"path": str(folder / "cam.mp4"), "camera": "dock"}}
        changes = {"path_roots": (str(folder),)}
    elif request.param == "s3":
        bucket = request.getfixturevalue("s3_bucket")
        endpoint = request.getfixturevalue("s3_server")
        changes = {"storage_url": f"{bucket}/videos", "storage_endpoint": endpoint}
    yield from served(settings, upload, **changes)


@pytest.fixture
def local(settings):
    upload = {"files": {"video": ("cam.mp4", BYTES)}, "data": {"camera": "dock"}}
    yield from served(settings, upload)


def test_a_ticket_plays_and_seeks_wherever_the_bytes_lie(player):
    url = player.ticket(player.token(), PAGE)
    for headers in ({"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, {}):
        whole = player.client.get(url, headers=headers)
        assert (whole.status_code, whole.content) == (200, BYTES)
        part = player.client.get(url, headers={**headers, "Range": "bytes=1000-1009"})
        assert (part.status_code, part.content) == (206, BYTES[1000:1010])
        assert part.headers["content-range"] == f"bytes 1000-1009/{len(BYTES)}"
        open_end = player.client.get(url, headers={**headers, "Range": f"bytes={len(BYTES) - 3}-"})
        assert open_end.content == BYTES[-3:]
        head = player.client.head(url, headers=headers)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(BYTES)))
        behind = player.client.get(url, headers={**headers, "Range": "bytes=99999999-"})
        assert behind.status_code == 416
        for answer in (whole, part, head, behind):
            told = answer.headers.get("access-control-allow-origin")
            assert told == headers.get("Origin")
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_page_uses_only_a_ticket_that_names_it(local):
    through_token = local.ticket(local.token(), PAGE)
    at_home = local.ticket()
    for url, origin, site, status in (
        (through_token, PAGE, "cross-site", 200),
        (through_token, EVIL, "cross-site", 403),
        (through_token, "null", "cross-site", 403),
        # Without crossorigin the browser says nothing of the page.
        (through_token, None, "cross-site", 403),
        (through_token, None, "same-site", 403),
        (at_home, PAGE, "cross-site", 403),
        (at_home, None, "cross-site", 403),
        (at_home, None, "same-origin", 200),
        (at_home, "http://localhost", "same-origin", 200),
        (at_home, None, None, 200),
        (through_token, None, "same-origin", 200),
    ):
        headers = {} if origin is None else {"Origin": origin}
        if site is not None:
            headers["Sec-Fetch-Site"] = site
        answer = local.client.get(url, headers=headers)
        assert answer.status_code == status, (url == at_home, origin, site, answer.text)
        told = answer.headers.get("access-control-allow-origin")
        assert told == (PAGE if (status, origin) == (200, PAGE) else None)


def test_a_ticket_is_of_one_video(local):
    other = local.client.post("/v1/videos", files={"video": ("b.mp4", b"another")}).json()["id"]
    url = local.ticket()
    assert local.client.get(url).status_code == 200
    assert local.client.get(url.replace(local.video, other)).status_code == 403
    none = "vid_" + "0" * 26
    assert local.client.get(url.replace(local.video, none)).status_code == 403


def test_a_token_gets_tickets_of_its_video_alone(local):
    other = local.client.post("/v1/videos", files={"video": ("b.mp4", b"another")}).json()["id"]
    for wish in ({}, {"job": None, "camera": "dock"}):
        headers = {"Authorization": f"Bearer {local.token(**wish)}", "Origin": PAGE}
        mine = local.client.post(f"/v1/videos/{local.video}/ticket", headers=headers)
        assert mine.status_code == 201
        refused = local.client.post(f"/v1/videos/{other}/ticket", headers=headers)
        assert refused.status_code == 403


def test_whoever_changes_a_ticket_has_none(local):
    url = local.ticket()
    path, _, ticket = url.partition("?ticket=")
    assert local.client.get(f"{path}?ticket={ticket}").status_code == 200
    end = len(ticket) - 1
    for changed in (
        ticket[:-1],
        ticket + "A",
        ticket[: end // 2] + ("A" if ticket[end // 2] != "A" else "B") + ticket[end // 2 + 1 :],
        ticket.replace("ktt_", "kte_"),
        ticket.replace("ktt_", "ktf_"),
        "x",
        "",
        local.token(),
        f"{ticket}&ticket={ticket}",
    ):
        answer = local.client.get(f"{path}?ticket={changed}")
        assert (answer.status_code, answer.json()["code"]) in {
            (401, "unauthorized"),
            (403, "forbidden"),
        }, changed


def test_a_ticket_ends_with_the_token_it_was_made_with_and_in_time(local):
    at_home = local.client.post(f"/v1/videos/{local.video}/ticket").json()["expires_at"]
    wish = {"job": local.job, "origins": [PAGE], "expires_in_seconds": 30}
    token = local.client.post("/v1/embed-tokens", json=wish).json()
    headers = {"Authorization": f"Bearer {token['token']}", "Origin": PAGE}
    through = local.client.post(f"/v1/videos/{local.video}/ticket", headers=headers).json()
    assert through["expires_at"] == token["expires_at"]
    assert through["expires_at"] < at_home
    assert MAX_LIFETIME_SECONDS <= 15 * 60


def test_an_expired_ticket_says_so_to_its_page(local):
    wish = {"job": local.job, "origins": [PAGE], "expires_in_seconds": 1}
    token = local.client.post("/v1/embed-tokens", json=wish).json()["token"]
    headers = {"Authorization": f"Bearer {token}", "Origin": PAGE}
    made = local.client.post(f"/v1/videos/{local.video}/ticket", headers=headers)
    while local.client.get(f"/v1/jobs/{local.job}", headers=headers).status_code == 200:
        pass
    answers = [local.client.get(f"/v1/jobs/{local.job}", headers=headers)]
    if made.status_code == 201:
        answers.append(local.client.get(made.json()["url"], headers={"Origin": PAGE}))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
        assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_deleted_videos_ticket_opens_nothing(local):
    url = local.ticket()
    deleted = local.client.delete(f"/v1/videos/{local.video}?force=true")
    assert deleted.status_code == 204
    answer = local.client.get(url)
    assert (answer.status_code, answer.json()["code"]) == (404, "video_not_found")


def test_a_video_that_is_not_there_has_no_ticket(local):
    missing = "vid_" + "0" * 26
    assert local.client.post(f"/v1/videos/{missing}/ticket").status_code == 404
    with transaction(local.core.engine) as session:
        session.execute(update(VideoRecord).values(kept=False))
    assert local.client.post(f"/v1/videos/{local.video}/ticket").status_code == 201


def test_a_key_goes_before_a_ticket(local):
    url = local.ticket()
    headers = {"Authorization": "Bearer kinetag_x"}
    assert local.client.get(url, headers=headers).status_code == 401


def test_where_no_key_is_needed_a_ticket_lets_its_page_in_nowhere_else(local):
    other = local.client.post("/v1/videos", files={"video": ("b.mp4", b"another")}).json()["id"]
    ticket = local.ticket(local.token(), PAGE).partition("?ticket=")[2]
    for method, path in (
        ("GET", "/v1/jobs"),
        ("GET", f"/v1/jobs/{local.job}"),
        ("GET", "/v1/segments"),
        ("GET", f"/v1/videos/{other}"),
        ("POST", f"/v1/videos/{other}/ticket"),
        ("POST", f"/v1/videos/{local.video}/ticket"),
        ("GET", f"/v1/videos/{other}/content"),
    ):
        headers = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
        answer = local.client.request(method, path, params={"ticket": ticket}, headers=headers)
        assert answer.status_code == 403, (method, path, answer.text)
