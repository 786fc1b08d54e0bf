"""The equipment that pages are looked at with sees what it is there to see."""

import functools
import http.server
import threading

import pytest

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>
<main><h1>Heading</h1><img src="/missing.png"></main><script>1</script>"""
POLICY = "default-src 'none'; img-src 'self'"


class Handler(http.server.BaseHTTPRequestHandler):
    """One page that breaks its own policy and has a picture without words."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def bad_page():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_what_a_page_does_wrong_is_seen(browser, bad_page, web_modules):
    from bench.web.browser import axe_violations, watched_context

    with watched_context(browser) as (context, watch):
        page = context.new_page()
        page.goto(bad_page)
        assert "image-alt" in {one["id"] for one in axe_violations(page, web_modules)}
        page.evaluate("setTimeout(() => { throw new Error('thrown') })")
        page.wait_for_timeout(100)
        assert any("script-src" in one for one in watch.violations)
        assert any("thrown" in one for one in watch.errors)
        assert watch.strangers() == []
        assert watch.strangers(hosts=()) != []


def test_the_archive_is_served_as_the_service_would(archive_service):
    jobs = archive_service.client.get("/v1/jobs").json()["jobs"]
    assert {job["id"] for job in jobs} == set(archive_service.jobs)
    assert [job["status"] for job in jobs] == ["queued", "failed", *["succeeded"] * 4]
    first = archive_service.client.get(f"/v1/jobs/{archive_service.jobs[0]}/result").json()
    assert {one["label"] for one in first["segments"]} == {"wave", "fall"}
    again = archive_service.client.post(f"/v1/jobs/{archive_service.jobs[0]}/resegment", json={})
    assert again.json() == first
