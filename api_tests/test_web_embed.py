"""Timelines on pages of other origins, in Chromium: who sees them, and who does not."""

import contextlib
import html
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from bench.web.archive import Archive, draw_short
from bench.web.serving import served_archive
from service.accounts.keys import NewKey, create_key, revoke_key
from service.accounts.tenants import ensure_tenant

ROOT = Path(__file__).parents[1]
EVIL_LABEL = '"><img src=x onerror="globalThis.pwned=1">'
EVIL_NAME = "</script><script>globalThis.pwned=1</script>\"'<b>.mp4"
EVIL_CAMERA = "<svg onload=globalThis.pwned=1>/../&#x22;?frame=x#kte_"
REFUSED_FRAME = r"frame-ancestors|chrome-error|Failed to load resource|ERR_BLOCKED"
FRAME_SECONDS = 20
BLOCKED = r"CORS policy|ERR_FAILED|Failed to load resource"
TOLD = """
globalThis.told = [];
addEventListener("message", ({ source, origin, data }) => {
  if (data?.source !== "kinetag") return;
  told.push({ ...data, origin });
  globalThis.onTold?.(data, source, origin);
});
"""


class Site:
    """Somebody's web site: pages by their paths, on a port of its own, at two origins."""

    def __init__(self):
        self.pages = {}
        self.asked = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append((self.path, dict(self.headers)))
                text = site.pages.get(self.path.partition("?")[0])
                text = text() if callable(text) else text
                self.send_response(404 if text is None else 200)
                kind = "application/json" if self.path.startswith("/token") else "text/html"
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.end_headers()
                self.wfile.write((text or "").encode())

            do_POST = do_GET  # noqa: N815 - as above

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        # Two sites as browsers see it; the service is at 127.0.0.1 too, on another port.
        self.friend = f"http://localhost:{self.port}"
        self.stranger = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, path, body):
        self.pages[path] = f"<!doctype html><title>Host</title><body>{body}</body>"
        return self.friend + path

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class House:
    """A service that needs keys, on planted archives of two tenants."""

    def __init__(self, served, archives, site):
        self.served, self.archive, self.strangers, self.site = served, *archives, site
        self.url = served.url
        self.key_id, self.key = self.make_key(self.archive)
        _, self.strange_key = self.make_key(self.strangers)

    def make_key(self, archive):
        record, text = create_key(archive.core, NewKey("dashboard"))
        return record.id, text.reveal()

    def mint(self, key=None, status=201, **wish):
        wish = {"origins": [self.site.friend], **({"job": self.job} if not wish else {}), **wish}
        if "job" not in wish and "camera" not in wish:
            wish["job"] = self.job
        headers = {"Authorization": f"Bearer {key or self.key}"}
        made = self.served.client.post("/v1/embed-tokens", json=wish, headers=headers)
        assert made.status_code == status, made.text
        return made.json()

    def element(self, token, job=None, **attributes):
        given = {"api": self.url, "job": job or self.job, "token": token, **attributes}
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
        module = f"{self.url}/web/timeline/kinetag-timeline.js"
        return (
            f"<script>{TOLD}</script><kinetag-timeline{written}></kinetag-timeline>"
            f'<script type="module" src="{module}"></script>'
        )

    def frame(self, made, more=""):
        return f"<script>{TOLD}{more}</script>{made['iframe']}"


@pytest.fixture(scope="module")
def site():
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory, drawn_folder, site):
    folder = tmp_path_factory.mktemp("embedded") / "data"
    archive = Archive(folder)
    owner = ensure_tenant(archive.core, "strangers")
    strangers = Archive(folder, owner.id)
    drawn = draw_short(drawn_folder, 1, 20, labels=("wave", "fall"), width_px=320, height_px=240)
    evil = replace(
        drawn,
        name=EVIL_NAME,
        camera=EVIL_CAMERA,
        labels=(EVIL_LABEL, "fall"),
        instances=[
            replace(one, label=EVIL_LABEL if one.label == "wave" else one.label)
            for one in drawn.instances
        ],
    )
    drawn = replace(drawn, labels=("wave", "fall"))
    job = archive.add(replace(drawn, name="dock.mp4", camera="dock"))
    other = archive.add(replace(drawn, name="yard.mp4", camera="yard"))
    evil_job = archive.add(evil)
    strange = strangers.add(replace(drawn, name="theirs.mp4", camera="dock"))
    with served_archive(archive, KINETAG_REQUIRE_KEYS="1") as served:
        house = House(served, (archive, strangers), site)
        house.job, house.other, house.evil, house.strange = job, other, evil_job, strange
        yield house
    archive.close()
    strangers.close()


def told(page, kind, timeout=15_000):
    """Wait until the frame told something of a kind; return the last of it."""
    page.wait_for_function("kind => told.some(one => one.type === kind)", arg=kind, timeout=timeout)
    return page.evaluate("kind => told.findLast(one => one.type === kind)", kind)


def framed(page, house):
    page.wait_for_function("document.querySelector('iframe') !== null")
    deadline = time.monotonic() + FRAME_SECONDS
    # Its address is set, but where it leads to has to come first.
    while time.monotonic() < deadline:
        for one in page.frames:
            if one.url.startswith(f"{house.url}/embed/"):
                return one
        page.wait_for_timeout(20)
    return pytest.fail(f"the frame did not come: {[one.url for one in page.frames]}")


def outlive(lifetime_seconds):
    """Wait until a token made just now has ended: nothing but the clock ends it."""
    time.sleep(lifetime_seconds + 0.1)


def until(page, expression, timeout_seconds=20):
    """Wait until something is so. Playwright's own way needs eval, which our pages forbid."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)
    return found


def ready(page):
    """Wait until the element of a page, or of a frame, has its timeline."""
    until(page, "document.querySelector('kinetag-timeline')?.segments?.length > 0")


COVER = "document.querySelector('kinetag-timeline')?.shadowRoot?.querySelector('[part=cover]')"


def state(page):
    """Return what the element shows instead of a timeline, once it has stopped loading."""
    return until(
        page,
        f"""() => {{
          const cover = {COVER};
          const settled = cover && !cover.hidden && !['loading', undefined].includes(
            cover.dataset.state);
          return settled ? [cover.dataset.state, cover.innerText] : null;
        }}""",
    )


PLAYED = """async () => {
  const element = document.querySelector('kinetag-timeline');
  const video = element.shadowRoot.querySelector('video');
  const until = async (holds) => {
    for (let tries = 0; tries < 600 && !holds(); tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  };
  await until(() => video.readyState >= 2);
  const loaded = video.readyState;
  await element.play();
  await until(() => video.currentTime >= 0.4);
  const played = video.currentTime;
  element.pause();
  element.seek(12);
  await until(() => video.currentTime >= 11.5 && !video.seeking && video.readyState >= 2);
  const { currentTime: sought, videoWidth: width } = video;
  return { loaded, played, sought, width, error: video.error?.message ?? null };
}"""
SEEN = (
    "document.querySelector('kinetag-timeline').shadowRoot.querySelector('video').readyState >= 2"
)


def test_a_frame_shows_and_plays_and_keeps_the_token_to_itself(page_of, house, site, screen):
    made = house.mint()
    page = page_of(site.page("/frame", house.frame(made)))
    assert told(page, "ready") == {
        "source": "kinetag", "type": "ready", "job": house.job, "camera": None,
        "origin": house.url,
    }  # fmt: skip
    shown = told(page, "shown")
    assert (shown["job"], round(shown["duration"])) == (house.job, 20)
    frame = framed(page, house)
    ready(frame)
    until(frame, SEEN)
    screen(page, "embed-frame")
    played = frame.evaluate(PLAYED)
    assert played["played"] >= 0.4
    assert 11.5 <= played["sought"] < 13
    assert (played["width"], played["error"]) == (320, None)
    assert told(page, "time")["seconds"] >= 11.5
    frame.evaluate("document.querySelector('kinetag-timeline').select(0)")
    segment = told(page, "segment-select")
    assert (segment["segment"]["label"], segment["index"]) in {("wave", 0), ("fall", 0)}
    # Nothing of the token is left where it could be read.
    token = made["token"]
    assert token not in frame.evaluate("location.href")
    assert frame.evaluate("history.state") is None
    assert token not in str(page.context.storage_state())
    assert token not in frame.content()
    assert page.evaluate("history.length") <= 2
    assert page.context.cookies() == []
    page.go_back()
    assert all(token not in one.url for one in page.frames)
    requests = [url for _, url in page.watch.requests]
    assert any("/content?ticket=ktt_" in url for url in requests)
    assert not any(token in url.partition("#")[0] for url in requests)
    log = house.served.log.read_text()
    assert "embed_token_made" in log
    assert not re.search(r"kt[eft]_[A-Za-z0-9]", log)
    assert not any("Referer" in headers and token in str(headers) for _, headers in site.asked)


def test_a_strangers_frame_shows_nothing(page_of, house, site):
    made = house.mint()
    site.page("/steal", house.frame(made))
    path, _, rest = made["url"].partition("?frame=")
    list_of_job, _, token = rest.partition("#")
    other_list = house.mint(job=house.other)["url"].partition("?frame=")[2].partition("#")[0]
    addresses = {
        "another origin": (site.stranger, made["url"]),
        "no list": (site.friend, f"{path}#{token}"),
        "a changed list": (site.friend, f"{path}?frame={list_of_job[:-1]}x#{token}"),
        "another job's list": (site.friend, f"{path}?frame={other_list}#{token}"),
        "the token as a list": (site.friend, f"{path}?frame={token}#{token}"),
    }
    for name, (origin, address) in addresses.items():
        site.page("/steal", f'<script>{TOLD}</script><iframe src="{house.url}{address}"></iframe>')
        page = page_of(f"{origin}/steal", allowed_errors=REFUSED_FRAME)
        page.wait_for_function("document.querySelector('iframe').contentDocument === null")
        deadline = time.monotonic() + 10
        while not page.watch.errors and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        assert any("frame-ancestors" in error for error in page.watch.errors), name
        urls = [frame.url for frame in page.frames[1:]]
        assert all(url.startswith("chrome-error://") for url in urls), (name, urls)
        assert page.evaluate("told.length") == 0
        assert not any("/v1/" in url for _, url in page.watch.requests), name
        page.context.close()


def test_a_friend_inside_a_strangers_page_shows_nothing(page_of, house, site):
    site.page("/inner", house.frame(house.mint()))
    site.page("/outer", f'<iframe src="{site.friend}/inner"></iframe>')
    page = page_of(f"{site.stranger}/outer", allowed_errors=REFUSED_FRAME)
    deadline = time.monotonic() + 10
    while not page.watch.errors and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert any("frame-ancestors" in error for error in page.watch.errors)
    assert not any(frame.url.startswith(f"{house.url}/embed") for frame in page.frames)


def test_an_old_list_of_origins_shows_no_later_token(page_of, house, site):
    """A page that was once named, and is no more, keeps the list: the token has to name it too."""
    both = house.mint(origins=[site.friend, site.stranger])["url"].partition("#")[0]
    token = house.mint()["token"]
    site.page("/once", f'<script>{TOLD}</script><iframe src="{house.url}{both}#{token}"></iframe>')
    page = page_of(f"{site.stranger}/once")
    name, text = state(framed(page, house))
    assert (name, "dock" in text) == ("expired", False)
    assert page.evaluate("told.length") == 0
    assert not any("/v1/" in url for _, url in page.watch.requests)


def test_the_element_shows_and_plays_on_a_page_of_another_origin(page_of, house, site, screen):
    made = house.mint()
    page = page_of(site.page("/element", f"<script>{TOLD}</script>{made['element']}"))
    ready(page)
    until(page, SEEN)
    screen(page, "embed-element")
    played = page.evaluate(PLAYED)
    assert played["played"] >= 0.4
    assert 11.5 <= played["sought"] < 13
    # Ranges were asked for, across origins, with a ticket of this page's own.
    kinds = {url.partition("?")[0].rpartition("/")[2] for _, url in page.watch.requests}
    assert {"result", "activations", "ticket", "content", "thumbnails"} <= kinds
    again = page.evaluate(
        """async () => {
          const element = document.querySelector('kinetag-timeline');
          const fewer = await element.resegment({ min_score: 0.99 });
          return [fewer.length, (await element.exportAs('csv')).size];
        }"""
    )
    assert again[0] < page.evaluate(
        "document.querySelector('kinetag-timeline').segments.length + 9"
    )
    assert again[1] > 10


def test_a_stolen_token_shows_nothing_on_another_page(page_of, house, site):
    site.page("/thief", house.element(house.mint()["token"]))
    page = page_of(f"{site.stranger}/thief", allowed_errors=BLOCKED)
    name, text = state(page)
    assert name in {"offline", "denied"}
    assert "dock" not in text
    assert page.evaluate("document.querySelector('kinetag-timeline').segments.length") == 0


@pytest.mark.parametrize("whose", ["another job", "another tenant's job", "none of ours"])
def test_a_token_of_something_else_shows_nothing(page_of, house, site, whose):
    if whose == "another job":
        token, job, expected = house.mint()["token"], house.other, "denied"
    elif whose == "another tenant's job":
        made = house.mint(key=house.strange_key, job=house.strange)
        token, job, expected = made["token"], house.job, "denied"
    else:
        token, job, expected = house.mint()["token"][:-1] + "!", house.job, "offline"
    page = page_of(site.page("/wrong", house.element(token, job)), allowed_errors=BLOCKED)
    name, text = state(page)
    assert name == expected
    assert "dock" not in text
    assert page.evaluate("document.querySelector('kinetag-timeline').segments.length") == 0


def test_an_expired_token_is_said_and_the_next_one_heals(page_of, house, site, screen):
    token = house.mint(expires_in_seconds=1)["token"]
    outlive(1)
    page = page_of(site.page("/late", house.element(token)))
    name, text = state(page)
    assert (name, "expired" in text) == ("expired", True)
    screen(page, "embed-expired")
    page.evaluate(
        "token => document.querySelector('kinetag-timeline').setAttribute('token', token)",
        house.mint()["token"],
    )
    ready(page)


def test_a_frames_host_renews_its_token(page_of, house, site):
    """The first has expired before it is used, the next ends while the timeline is on screen."""
    first = house.mint(expires_in_seconds=1)
    outlive(1)
    lifetimes = iter([2, 300, 300])
    site.pages["/token"] = lambda: json.dumps(
        {"token": house.mint(expires_in_seconds=next(lifetimes))["token"]}
    )
    renew = """
    globalThis.onTold = async (data, source, origin) => {
      if (data.type !== "token-wanted") return;
      const { token } = await (await fetch("/token", { method: "POST" })).json();
      source.postMessage({ type: "token", token }, origin);
    };
    """
    page = page_of(site.page("/renewing", house.frame(first, renew)))
    told(page, "shown")
    assert page.evaluate("told.filter(one => one.type === 'token-wanted').length") == 1
    assert told(page, "token-wanted")["reason"] == "refused"
    outlive(2)
    frame = framed(page, house)
    count = frame.evaluate(
        """async () => (await document.querySelector('kinetag-timeline')
          .resegment({ min_score: 0.01 })).length"""
    )
    assert count > 0
    assert page.evaluate("told.filter(one => one.type === 'token-wanted').length") == 2
    assert page.evaluate("told.filter(one => one.type === 'error').length") == 0


def test_a_frame_whose_host_is_late_says_so_and_comes_back(page_of, house, site):
    first = house.mint(expires_in_seconds=1)
    outlive(1)
    page = page_of(site.page("/silent", house.frame(first)))
    told(page, "token-wanted")
    error = told(page, "error")
    assert error["code"] == "token_expired"
    frame = framed(page, house)
    assert state(frame)[0] == "expired"
    page.evaluate(
        """([token, origin]) => document.querySelector('iframe').contentWindow
          .postMessage({ type: 'token', token }, origin)""",
        [house.mint()["token"], house.url],
    )
    ready(frame)


def test_a_frame_listens_to_its_host_alone(page_of, house, site):
    made = house.mint()
    site.page(
        "/sibling",
        """<script>onmessage = () => {
          const target = parent.frames[0];
          for (const type of ['play', 'seek', 'token', 'appearance']) {
            target.postMessage({ type, seconds: 7, token: 'x', theme: 'dark' }, '*');
          }
        };</script>""",
    )
    body = house.frame(made) + f'<iframe id="sibling" src="{site.stranger}/sibling"></iframe>'
    page = page_of(site.page("/family", body))
    told(page, "shown")
    frame = framed(page, house)
    ready(frame)
    page.evaluate("document.getElementById('sibling').contentWindow.postMessage('go', '*')")
    page.wait_for_timeout(300)
    asked = "(() => { const one = document.querySelector('kinetag-timeline'); "
    asked += "return [one.currentTime, one.getAttribute('theme')]; })()"
    assert frame.evaluate(asked) == [0, None]
    assert page.evaluate("told.filter(one => one.type === 'error').length") == 0
    # What the sibling hears of the frame is nothing: it tells its parent alone, by name.
    say = """([message, origin]) =>
      document.querySelector('iframe').contentWindow.postMessage(message, origin)"""
    look = {"--kinetag-accent": "#b3261e", "--kinetag-surface": "url(//evil)", "color": "red"}
    message = {"type": "appearance", "theme": "dark", "variables": look}
    page.evaluate(say, [message, house.url])
    page.evaluate(say, [{"type": "seek", "seconds": 7}, house.url])
    until(frame, "document.querySelector('kinetag-timeline').currentTime === 7")
    assert frame.evaluate(asked)[1] == "dark"
    style = "document.querySelector('kinetag-timeline').getAttribute('style')"
    assert frame.evaluate(style) == "--kinetag-accent: #b3261e;"


def test_what_is_stored_is_never_markup(page_of, house, site):
    """A label, the name of a video, a camera: all three of a hostile hand."""
    for wish in ({"job": house.evil}, {"camera": EVIL_CAMERA}):
        made = house.mint(**wish)
        assert "<svg" not in made["iframe"] + made["element"]
        page = page_of(site.page("/evil-frame", house.frame(made)))
        told(page, "shown")
        frame = framed(page, house)
        ready(frame)
        assert frame.evaluate("globalThis.pwned") is None
        assert EVIL_LABEL in frame.evaluate(
            "document.querySelector('kinetag-timeline').segments.map((one) => one.label)"
        )
        page = page_of(site.page("/evil-element", f"<script>{TOLD}</script>{made['element']}"))
        ready(page)
        assert page.evaluate("globalThis.pwned") is None


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1100, "light")])
def test_a_frame_fits_a_phone_and_a_desk(page_of, house, site, screen, width, scheme):
    body = f"<h1>The dock</h1>{house.frame(house.mint())}"
    looks = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    page = page_of(site.page("/fitting", body), **looks)
    frame = framed(page, house)
    ready(frame)
    until(frame, SEEN)
    screen(page, f"embed-frame-{width}-{scheme}")
    assert frame.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_a_frame_is_accessible(page_of, house, axe):
    """The frame by itself, as assistive technology sees it, with its timeline and without."""
    page = page_of(house.url + house.mint()["url"])
    ready(page)
    found = [axe(page)]
    page = page_of(house.url + house.mint()["url"].partition("#")[0])
    assert state(page)[0] == "expired"
    found.append(axe(page))
    # The element is looked at, in all its states, in a module of its own.
    inside = "kinetag-timeline,"
    for one in (one for violations in found for one in violations):
        assert all(where.startswith(inside) for where in one["where"]), one


def test_a_frame_can_be_dressed_by_its_address(page_of, house, site):
    made = house.mint()
    page_path, _, token = made["url"].partition("#")
    dressed = (
        f"{house.url}{page_path}&theme=dark&controls=compact&start=5&job=x&token=y&onload=z"
        f"&--kinetag-accent={quote('rgb(10 20 30)')}&--kinetag-line={quote('url(//evil.example)')}"
        f"&--kinetag-font={quote('Georgia, serif')}&style=color:red#{token}"
    )
    body = f'<script>{TOLD}</script><iframe src="{html.escape(dressed)}"></iframe>'
    page = page_of(site.page("/dressed", body))
    told(page, "shown")
    frame = framed(page, house)
    ready(frame)
    names = frame.evaluate(
        """() => Object.fromEntries([...document.querySelector('kinetag-timeline').attributes]
          .map(({ name, value }) => [name, value]))"""
    )
    assert names == {
        "job": house.job,
        "theme": "dark",
        "controls": "compact",
        "start": "5",
        "style": "--kinetag-accent: rgb(10 20 30); --kinetag-font: Georgia, serif;",
    }


def test_processes_share_the_secret_and_a_revoked_key_is_dead_in_all(house):
    """Two API processes on one database."""
    key_id, key = house.make_key(house.archive)
    with served_archive(house.archive, KINETAG_REQUIRE_KEYS="1") as second:
        token = house.mint(key=key)["token"]
        headers = {"Authorization": f"Bearer {token}", "Origin": house.site.friend}
        path = f"/v1/jobs/{house.job}"
        clients = (house.served.client, second.client)
        assert [one.get(path, headers=headers).status_code for one in clients] == [200, 200]
        with second.client.stream("GET", f"/v1/jobs/{house.job}/events", headers=headers) as stream:
            assert stream.status_code in {200, 204}
        revoke_key(house.archive.core, key_id)
        time.sleep(1.0)
        assert [one.get(path, headers=headers).status_code for one in clients] == [401, 401]


# The document, as it is written.

DOCUMENT = (ROOT / "docs" / "embedding.md").read_text()


def block(kind, index):
    return re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)[index]


@pytest.fixture
def newcomer(house, tmp_path, drawn_folder):
    """What a reader of the document does: two files, one command. Yields her site's address."""
    (tmp_path / "host.py").write_text(block("python", 0))
    (tmp_path / "page.html").write_text(block("html", 0))
    (tmp_path / "frame.html").write_text(block("html", 1))
    port = Site()
    port.close()
    environment = {
        **os.environ,
        "KINETAG": house.url,
        "JOB": house.job,
        "KEY": house.key,
        "PORT": str(port.port),
    }
    command = [sys.executable, *block("sh", 1).split()[1:]]
    site = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    address = f"http://localhost:{port.port}"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(f"http://127.0.0.1:{port.port}/")
            break
        time.sleep(0.05)
    yield address
    site.terminate()
    site.wait(10)


def test_a_newcomer_who_copies_the_document_sees_her_timeline(page_of, newcomer, house, screen):
    assert block("sh", 1).strip() == "python3 host.py"
    page = page_of(newcomer)
    ready(page)
    played = page.evaluate(PLAYED)
    assert (played["played"] >= 0.4, played["error"]) == (True, None)
    page.evaluate("document.querySelector('kinetag-timeline').select(0)")
    page.wait_for_function("document.getElementById('told').textContent.includes('from second')")
    until(page, SEEN)
    screen(page, "embed-newcomer")

    page = page_of(f"{newcomer}/frame")
    page.wait_for_function("document.getElementById('frame').src !== ''")
    frame = framed(page, house)
    ready(frame)
    frame.evaluate("document.querySelector('kinetag-timeline').select(0)")
    page.wait_for_function("['wave', 'fall'].includes(document.getElementById('told').textContent)")


def test_the_documents_commands_work(house, tmp_path):
    """The curl commands, in a shell."""
    script = "\n".join(
        [
            "set -eu",
            f'kinetag() {{ "{sys.executable}" -m kinetag "$@"; }}',
            *(block("sh", index) for index in (2, 3)),
        ]
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KINETAG_DATA_DIR": str(house.archive.settings.data_dir),
            "KINETAG": house.url,
            "KEY": house.key,
            "JOB": house.job,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "kte_" in (tmp_path / "token.json").read_text()
    assert (tmp_path / "first.bin").stat().st_size == 100
