"""The page of a frame: who may put it into a frame of his, by its headers."""

import re

import pytest

PAGE = "https://dash.example"
FOREIGN = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "iframe",
}


@pytest.fixture
def made(client):
    """Return a function of a wish: what POST /v1/embed-tokens answers."""
    job = client.post("/v1/jobs", files={"video": ("a.mp4", b"x")}).json()["id"]

    def make(**wish):
        wish = {"origins": [PAGE, "http://localhost:3000"], **(wish or {"job": job})}
        return client.post("/v1/embed-tokens", json=wish).json()

    return make


def ancestors(answer):
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "require-trusted-types-for 'script'" in policy
    return policy.partition("frame-ancestors ")[2].partition(";")[0]


def test_a_frame_names_its_origins_and_nothing_contradicts_it(client, made):
    for answer in (made(), made(camera="a/b c?<&#ü")):
        address = answer["url"].partition("#")[0]
        page = client.get(address, headers=FOREIGN)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert ancestors(page) == f"{PAGE} http://localhost:3000"
        assert "x-frame-options" not in page.headers
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "set-cookie" not in page.headers
        # Asked again, the policy comes along.
        known = {**FOREIGN, "If-None-Match": page.headers["etag"]}
        again = client.get(address, headers=known)
        assert (again.status_code, ancestors(again)) == (304, ancestors(page))


def test_without_a_list_of_its_own_nobody_frames_it(client, made):
    address, _, frame = made()["url"].partition("#")[0].partition("?frame=")
    other = made(camera="dock")["url"]
    others_frame = other.partition("frame=")[2].partition("#")[0]
    token = made()["token"]
    for query in ("", "?frame=", "?frame=*", f"?frame={frame}x", f"?frame={others_frame}",
                  f"?frame={token}", f"?frame={frame}&frame={others_frame}",
                  "?frame=https://evil.example"):  # fmt: skip
        page = client.get(address + query, headers=FOREIGN)
        assert (page.status_code, ancestors(page)) == (200, "'none'"), query
        assert page.headers["x-frame-options"] == "DENY"
    unnamed = other.partition("#")[0].replace("camera=dock", "camera=yard")
    assert ancestors(client.get(unnamed)) == "'none'"


def test_what_is_no_job_has_no_page(client):
    for path in (
        "/embed/x",
        "/embed/",
        "/embed/camera",
        "/embed/camera?camera=",
    ):
        answer = client.get(path)
        assert answer.status_code in {404, 422}, path
        assert answer.headers["x-frame-options"] == "DENY"
    assert client.post("/embed/camera", headers=FOREIGN).status_code == 403


def test_the_page_is_the_same_for_all_and_knows_nothing(client, made):
    pages = {client.get(made(camera=name)["url"].partition("#")[0]).text for name in "ab"}
    assert len(pages) == 1
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=|https?://", pages.pop())


def test_ready_html_holds_no_markup_of_others(client, made):
    answer = made(camera='"><script>alert(1)</script>')
    for name in ("iframe", "element"):
        assert "alert(1)<" not in answer[name]
        assert answer[name].count("<script") == (name == "element")
    assert 'src="http://localhost/embed/camera?camera=' in answer["iframe"]
    assert 'api="http://localhost"' in answer["element"]
