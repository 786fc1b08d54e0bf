"""The search view in Chromium: filters, the wall of clips, saved searches, and who is kept out."""

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from standardwebhooks import Webhook

from bench.web.archive import Archive, draw_short
from bench.web.serving import served_archive

ROOT = Path(__file__).resolve().parents[1]
MORNING = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
# All that there is to find is near the screen.
TALL = {"width": 1440, "height": 4000}
HUGE = {"width": 3840, "height": 2160}
HOSTILE = '<img src=x onerror=alert(1)>"&'
ROLL_SECONDS = 0.5
NO_PICTURE = "upload.mp4"


@pytest.fixture(scope="module")
def found(tmp_path_factory, drawn_folder):
    """`kinetag api` on videos of two cameras and none, one without pictures."""
    archive = Archive(tmp_path_factory.mktemp("search") / "data")
    looks = {"width_px": 320, "height_px": 240}
    falls = draw_short(drawn_folder, 1, 20, labels=("wave", "fall"), **looks)
    kicks = draw_short(drawn_folder, 2, 20, labels=("jump", "kick"), **looks)
    runs = draw_short(drawn_folder, 4, 20, labels=("run", "walk"), **looks)
    planted = ((3, falls, "entrance"), (1, kicks, "dock"), (0, runs, "yard"))
    for day, tag in enumerate(("monday", "tuesday")):
        for hours, recording, camera in planted:
            moment = MORNING + timedelta(days=day, hours=hours)
            named = replace(recording, name=f"{camera}-{tag}.mp4", camera=camera, tag=tag)
            archive.add(replace(named, recorded_at=moment, seed=day))
    archive.add(replace(falls, name="old.mp4", camera="dock", tag="monday", seed=5))
    archive.add(replace(kicks, name=NO_PICTURE, seed=6), thumbnails=False)
    with served_archive(archive, KINETAG_ALLOW_PRIVATE_URLS="1") as served:
        yield served
    archive.close()


@pytest.fixture(scope="module")
def strangers(found, drawn_folder):
    """A job of which every text that can be a stranger's is hostile; after the pictures."""
    names = {"jump": HOSTILE, "kick": "kick"}
    looks = {"width_px": 320, "height_px": 240}
    kicks = draw_short(drawn_folder, 2, 20, labels=tuple(names), **looks)
    instances = [replace(one, label=names[one.label]) for one in kicks.instances]
    hostile = replace(kicks, name=f"{HOSTILE}.mp4", camera=HOSTILE, tag=HOSTILE)
    return found.archive.add(replace(hostile, instances=instances, labels=tuple(names.values())))


def ask(found, **query):
    """What the API answers, all of it."""
    answer = found.client.get("/v1/segments", params={"page_size": 200, **query})
    return answer.raise_for_status().json()["segments"]


def opened(page):
    """Wait until results are shown; return the ids of their segments, in order."""
    page.locator(".search-results[aria-busy=false]").wait_for()
    links = page.locator(".clip a, .rows tbody a").evaluate_all(
        "links => links.map((link) => link.getAttribute('href'))"
    )
    return [parse_qs(link.partition("?")[2])["segment"][0] for link in links]


def until_shown(page, number):
    """Wait until there are so many clips."""
    page.wait_for_function(
        "(number) => document.querySelectorAll('.clip').length === number", arg=number
    )


def ids(segments):
    """The ids of segments."""
    return [one["id"] for one in segments]


def search(query=(), **more):
    """The address of a search."""
    text = urlencode([*dict(query).items(), *more.items()], doseq=True)
    return f"/#/search?{text}" if text else "/#/search"


LOOKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "search-light": ({"viewport": DESKTOP}, {}),
    "search-dark": ({"viewport": DESKTOP, "color_scheme": "dark"}, {"label": ["fall", "kick"]}),
    "search-phone": ({"viewport": PHONE, "color_scheme": "dark"}, {}),
    "search-4k": ({"viewport": HUGE, "color_scheme": "dark"}, {}),
    "search-table": ({"viewport": DESKTOP}, {"view": "table"}),
    "search-table-phone": ({"viewport": PHONE}, {"view": "table"}),
}


@pytest.mark.parametrize("name", LOOKS)
def test_it_looks_good_on_every_screen(page_of, found, axe, screen, name):
    options, query = LOOKS[name]
    page = page_of(found.url + search(query), **options)
    assert opened(page)
    if "table" not in name:
        page.wait_for_function(
            """() => [...document.querySelectorAll(".clip")].every((clip) =>
              clip.querySelector(".is-drawn") ||
              clip.getBoundingClientRect().top > window.innerHeight)"""
        )
    assert axe(page) == []
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1]
    page.wait_for_timeout(300)  # pictures come in softly
    screen(page, name)


def test_filters_of_a_phone_are_a_dialog(page_of, found, axe, screen):
    page = page_of(found.url + "/#/search", viewport=PHONE, has_touch=True, is_mobile=True)
    opened(page)
    page.get_by_role("button", name="Filters").tap()
    page.get_by_role("checkbox", name=re.compile("^fall")).check()
    page.wait_for_url("**label=fall")
    assert axe(page) == []
    screen(page, "search-filters-phone")
    page.get_by_role("button", name="Show clips").tap()
    assert opened(page) == ids(ask(found, label="fall"))
    page.locator(".clip-play").first.tap()
    page.wait_for_function("() => document.querySelector('[data-clip=playing]')")
    page.get_by_role("button", name="Filters · 1").tap()
    assert page.get_by_role("checkbox", name=re.compile("^fall")).is_checked()


FILTERS: list[dict[str, Any]] = [
    {"label": "fall"},
    {"label": ["fall", "kick"]},
    {"label": HOSTILE},
    {"min_score": "0.8"},
    {"max_score": "0.8"},
    {"camera": "dock"},
    {"tag": "monday"},
    {"since": "2026-11-20T20:00:00.000Z"},
    {"until": "2026-11-20T20:00:00.000Z"},
    {"min_duration": "2"},
    {"max_duration": "2"},
    {"order": "score"},
    {"label": "fall", "camera": "dock", "min_score": "0.3"},
]


def test_every_filter_of_the_address_filters(page_of, found, strangers):
    page = page_of(found.url + "/#/search", viewport=TALL)
    everything = ids(ask(found))
    assert opened(page) == everything
    for query in FILTERS:
        page.goto(found.url + search(query))
        wanted = ids(ask(found, **query))
        assert len(wanted) > 0, query
        assert wanted != everything, query
        until_shown(page, len(wanted))
        assert opened(page) == wanted, query


def test_controls_filter_and_write_the_address(page_of, found, axe):
    page = page_of(found.url + "/#/search", viewport=TALL)
    opened(page)
    page.get_by_role("checkbox", name=re.compile("^fall")).check()
    page.wait_for_url("**/#/search?label=fall")
    page.get_by_label("Score").focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    page.wait_for_url("**min_score=0.3*")
    page.get_by_role("checkbox", name=re.compile("^dock")).check()
    page.get_by_label("At least, in seconds").press_sequentially("0.5")
    page.get_by_label("At least, in seconds").press("Enter")
    page.wait_for_url("**min_duration=0.5*")
    wanted = ask(found, label="fall", min_score="0.3", camera="dock", min_duration="0.5")
    until_shown(page, len(wanted))
    assert opened(page) == ids(wanted)
    assert page.locator(".chip").count() == 4
    assert axe(page) == []
    page.get_by_role("button", name="Remove camera dock").click()
    page.wait_for_function("() => document.querySelectorAll('.chip').length === 3")
    page.get_by_role("button", name="Clear all").click()
    page.wait_for_url("**/#/search")
    assert opened(page) == ids(ask(found))


def test_a_search_is_shared_by_its_address_and_back_goes_back(page_of, found):
    page = page_of(found.url + "/#/search", viewport=TALL)
    opened(page)
    page.get_by_role("checkbox", name=re.compile("^kick")).check()
    page.wait_for_url("**label=kick")
    kicks = opened(page)
    page.get_by_label("Order").select_option("score")
    page.wait_for_url("**order=score")
    address = page.url
    shared = page_of(address, viewport=TALL)
    assert opened(shared) == ids(ask(found, label="kick", order="score"))
    page.go_back()
    page.wait_for_url("**label=kick")
    assert opened(page) == kicks
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.chip').length === 0")
    assert opened(page) == ids(ask(found))
    assert not page.get_by_role("checkbox", name=re.compile("^kick")).is_checked()


def test_a_time_range_is_set_in_local_time(page_of, found):
    page = page_of(found.url + "/#/search", viewport=TALL, timezone_id="America/New_York")
    opened(page)
    page.get_by_text("From … to …").click()
    page.get_by_label("From").fill("2026-11-20T15:00")
    page.get_by_label("From").press("Tab")
    page.wait_for_url("**since=2026-11-20T20%3A00%3A00.000Z")
    wanted = ask(found, since="2026-11-20T20:00:00Z")
    until_shown(page, len(wanted))
    assert opened(page) == ids(wanted)
    page.get_by_role("radio", name="last 1 h").check(force=True)
    page.wait_for_url("**within=1h")
    page.get_by_role("heading", name="No clip matches").wait_for()


def playing(page):
    """Where the clip that plays is, in seconds; None where none does."""
    return page.evaluate(
        """() => {
          const video = document.querySelector("video.search-clip");
          const playing = document.querySelector("[data-clip=playing]");
          return video && playing && !video.paused ? video.currentTime : null;
        }"""
    )


def test_a_clip_plays_its_seconds_while_it_is_pointed_at(page_of, found):
    page = page_of(found.url + search(label="fall", camera="dock"))
    segments = ask(found, label="fall", camera="dock")
    assert opened(page) == ids(segments)
    segment = min(segments, key=lambda one: one["end"] - one["start"])
    card = page.locator(f".clip:has(a[href*='{segment['id']}'])")
    first, last = segment["start"] - ROLL_SECONDS, segment["end"] + ROLL_SECONDS
    card.hover()
    page.wait_for_function("() => document.querySelector('[data-clip=playing]')")
    seen = []
    deadline_ms = 1000 * (last - first) + 2500
    while len(seen) * 60 < deadline_ms:
        seen.append(playing(page))
        page.wait_for_timeout(60)
        if len(seen) > 5 and any(b < a - 0.3 for a, b in pairwise(seen)):
            break  # it went round
    assert min(seen) >= max(0, first) - 0.05
    assert max(seen) <= last + 0.2
    assert any(b < a - 0.3 for a, b in pairwise(seen)), seen
    assert page.evaluate("document.querySelector('video.search-clip').muted")
    page.mouse.move(5, 5)
    page.wait_for_function("() => !document.querySelector('video')")
    assert playing(page) is None
    assert page.locator("[data-clip]").count() == 0


def test_the_keyboard_reaches_everything(page_of, found):
    page = page_of(found.url + "/#/search")
    everything = ask(found)
    opened(page)
    page.locator(".clip a").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('[data-clip=playing]')")
    segment = everything[1]
    assert segment["start"] - ROLL_SECONDS - 0.05 <= playing(page) <= segment["end"] + 0.7
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('video')")
    page.keyboard.press("End")
    last = everything[-1]
    page.wait_for_function(
        "(id) => document.activeElement.getAttribute('href')?.includes(id)", arg=last["id"]
    )
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/#/jobs/{last['job']}?**")
    where = parse_qs(page.url.rpartition("?")[2])
    assert where["segment"] == [last["id"]]
    assert float(where["at"][0]) == pytest.approx(last["start"], abs=0.001)
    page.go_back()
    page.wait_for_function(
        "(id) => document.activeElement.getAttribute('href')?.includes(id)", arg=last["id"]
    )


def test_still_pages_play_by_a_button(page_of, found, axe):
    page = page_of(found.url + "/#/search", reduced_motion="reduce")
    opened(page)
    page.locator(".clip").first.hover()
    page.wait_for_timeout(400)
    assert page.locator("video").count() == 0
    page.locator(".clip-play").first.click()
    page.wait_for_function("() => document.querySelector('[data-clip=playing]')")
    assert axe(page) == []
    page.locator(".clip-play").first.click()
    page.wait_for_function("() => !document.querySelector('video')")


def test_a_codec_that_cannot_be_played_is_said(page_of, found):
    page = page_of(found.url + "/#/search")
    page.route("**/content?ticket=*", lambda route: route.fulfill(body=b"nothing that plays"))
    opened(page)
    page.locator(".clip").first.hover()
    page.locator(".search-clip-message", has_text="cannot play this video's codec").wait_for()


def test_pictures_are_drawn_where_there_are_any(page_of, found):
    page = page_of(found.url + "/#/search", viewport=TALL)
    # No picture but those of strips.
    page.route("**/ticket", lambda route: route.fulfill(status=404, json={}))
    segments = ask(found)
    opened(page)
    without = [one for one in segments if one["video"]["name"] == NO_PICTURE]
    page.wait_for_function(
        "(n) => document.querySelectorAll('.clip-picture.is-drawn').length >= n",
        arg=len(segments) - len(without),
    )
    bare = without[0]["video"]["id"]
    asked = [url for _, url in page.watch.requests if "thumbnails" in url and bare not in url]
    assert len(set(asked)) == len(asked)  # once per video
    for one in without:
        assert page.locator(f".clip:has(a[href*='{one['id']}']) .is-drawn").count() == 0


def test_strangers_texts_stay_texts(page_of, found, strangers):
    page = page_of(found.url + search(label=HOSTILE, camera=HOSTILE, tag=HOSTILE))
    assert opened(page) == ids(ask(found, label=HOSTILE))
    assert page.locator(".clip-label").first.inner_text() == HOSTILE
    assert page.locator(".chip-value").all_inner_texts() == [HOSTILE] * 3
    page.goto(found.url + search(label=HOSTILE, view="table"))
    page.locator(".rows").wait_for()
    assert page.locator(".rows tbody a").first.inner_text() == HOSTILE
    assert page.locator("img[src=x]").count() == 0


def test_empty_states_say_what_to_do(page_of, found, axe):
    page = page_of(found.url + search(label="fall", camera="dock", min_score="1"))
    hint = page.get_by_role("link", name=re.compile("Without score from 1.00"))
    hint.wait_for()
    assert axe(page) == []
    hint.click()
    page.wait_for_url("**/#/search?label=fall&camera=dock")
    assert opened(page) == ids(ask(found, label="fall", camera="dock"))
    nobody = page_of(viewport=TALL, allowed_errors="ERR_INTERNET_DISCONNECTED")
    nothing = {"segments": [], "next_page_token": None}
    nobody.route("**/v1/segments?*", lambda route: route.fulfill(json=nothing))
    nobody.goto(found.url + "/#/search")
    nobody.get_by_role("heading", name="Nothing to search yet").wait_for()
    assert axe(nobody) == []
    nobody.unroute("**/v1/segments?*")
    nobody.context.set_offline(True)
    nobody.get_by_label("Order").select_option("score")
    nobody.get_by_role("heading", name="The service does not answer").wait_for()
    assert axe(nobody) == []
    nobody.context.set_offline(False)
    nobody.get_by_role("button", name="Try again").click()
    assert opened(nobody) == ids(ask(found, order="score"))


def test_a_key_without_the_scope_is_told_so(page_of, found, axe):
    page = page_of()
    problem = {"status": 403, "code": "forbidden", "detail": "The key lacks the scope jobs:read."}
    page.route(
        "**/v1/segments*",
        lambda route: route.fulfill(
            status=403, content_type="application/problem+json", body=json.dumps(problem)
        ),
    )
    page.goto(found.url + "/#/search")
    page.get_by_text("This key may not search").wait_for()
    page.get_by_text("The key lacks the scope jobs:read.").wait_for()
    assert axe(page) == []


def many_segments(number):
    """Answers of a service with many segments, page by page."""

    def answer(route):
        query = parse_qs(route.request.url.partition("?")[2])
        at = int(query.get("page_token", ["0"])[0])
        size = int(query["page_size"][0])
        rows = [
            {
                "id": f"seg_{index}",
                "job": "job_1",
                "video": {"id": "vid_1", "name": "long.mp4", "duration": 36000.0},
                "label": "fall",
                "score": 0.5,
                "raw_score": 0.5,
                "start": 3.0 * index,
                "end": 3.0 * index + 2,
                "start_time": None,
                "end_time": None,
                "camera": "dock",
                "tag": None,
                "model": "kinetag-demo@1",
                "created_at": "2026-11-20T08:30:00Z",
            }
            for index in range(at, min(at + size, number))
        ]
        token = str(at + size) if at + size < number else None
        route.fulfill(json={"segments": rows, "next_page_token": token})

    return answer


@pytest.mark.parametrize("view", ["wall", "table"])
def test_thousands_of_results_cost_no_more_than_a_screen(page_of, found, view):
    number = 3000
    page = page_of()
    page.route("**/v1/segments?*", many_segments(number))
    page.goto(found.url + search(view=view))
    shown = ".clip" if view == "wall" else ".rows tbody tr:not(.rows-gap)"
    page.locator(shown).first.wait_for()
    most = page.evaluate(
        """async ([shown, number]) => {
          let most = 0;
          const rest = () =>
            new Promise((done) => requestAnimationFrame(() => setTimeout(done, 10)));
          for (let round = 0; round < 600; round += 1) {
            window.scrollTo(0, document.body.scrollHeight);
            await rest();
            most = Math.max(most, document.querySelectorAll(shown).length);
            if (document.querySelector(".search-end").hidden) break;
          }
          window.scrollTo(0, document.body.scrollHeight);
          await rest();
          return most;
        }""",
        [shown, number],
    )
    assert page.locator(".search-count").inner_text() == "3,000 clips"
    assert most < 120
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    page.locator(f"{shown} a[href$='seg_2999']").wait_for()
    page.evaluate("window.scrollTo(0, 0)")
    page.locator(f"{shown} a[href$='seg_0']").wait_for()


def test_new_clips_are_told_of_and_nothing_jumps(page_of, found, drawn_folder):
    page = page_of(found.url + search(label="wave"), viewport={"width": 1000, "height": 300})
    before = opened(page)
    page.locator(".connection[data-state=live]").wait_for()
    page.evaluate("window.scrollTo(0, 200)")
    looks = {"width_px": 320, "height_px": 240}
    waves = draw_short(drawn_folder, 1, 20, labels=("wave", "fall"), **looks)
    job = found.archive.add(replace(waves, name="new.mp4", recorded_at=datetime.now(UTC), seed=9))
    new = ids(ask(found, label="wave", job=job))
    words = f"{len(new)} new clip" + ("s" if len(new) > 1 else "")
    pill = page.get_by_role("button", name=words)
    pill.wait_for()
    assert opened(page) == before
    assert page.evaluate("window.scrollY") == 200
    pill.click()
    until_shown(page, len(before) + len(new))
    assert opened(page) == ids(ask(found, label="wave"))
    assert not pill.is_visible()


def test_a_search_is_saved_as_a_file(page_of, found):
    page = page_of(found.url + search(label="fall"))
    opened(page)
    for name, kind in (("CSV", "csv"), ("JSON Lines", "jsonl"), ("Grafana", "grafana")):
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        saved = download.value.path().read_bytes()
        answer = found.client.get("/v1/segments", params={"label": "fall", "format": kind})
        assert saved == answer.content


class Sink(BaseHTTPRequestHandler):
    """Takes messages."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        assert isinstance(server, SinkServer)
        server.received.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


class SinkServer(ThreadingHTTPServer):
    """A receiver; ``received`` has headers and bodies."""

    def __init__(self):
        self.received = []
        super().__init__(("127.0.0.1", 0), Sink)


@pytest.fixture
def sink():
    """A receiver on a free port."""
    server = SinkServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def sweeper(found):
    """`kinetag sweeper`, which sends what is to be sent."""
    data = str(found.archive.settings.data_dir)
    process = subprocess.Popen(
        [sys.executable, "-m", "kinetag", "sweeper", "--data", data],
        env={**os.environ, "PYTHONPATH": str(ROOT), **found.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield process
    process.terminate()
    process.wait(20)


def received(page, sink, number, secret, subject):
    """Wait for so many messages about a job, or a webhook, that are signed; return them."""
    found, messages = [], []
    for _ in range(300):
        messages = [Webhook(secret).verify(body, headers) for headers, body in sink.received]
        found = [one for one in messages if one["data"]["id"] == subject]
        if len(found) >= number:
            return found
        page.wait_for_timeout(100)
    pytest.fail(f"{len(found)} messages of {number} came, of {len(messages)}")


def test_a_saved_search_tells_of_what_it_finds(page_of, found, axe, sink, sweeper, drawn_folder):
    page = page_of(found.url + search(label="kick", min_score="0.2"))
    opened(page)
    page.get_by_role("button", name="Save search").click()
    page.get_by_label("Name").fill(HOSTILE)
    assert axe(page) == []
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name=HOSTILE, exact=True).wait_for()
    saved = found.client.get("/v1/searches").json()["searches"]
    assert [(one["name"], one["filter"]) for one in saved] == [
        (HOSTILE, {"label": ["kick"], "min_score": 0.2})
    ]
    page.get_by_role("button", name=re.compile("^Tell me")).click()
    page.get_by_label("Address of the receiver").fill(f"http://127.0.0.1:{sink.server_port}/told")
    assert axe(page) == []
    page.locator(".notify form button").click()
    secret = page.get_by_label("Secret").input_value()
    assert secret.startswith("whsec_")
    assert axe(page) == []
    page.get_by_role("button", name="Send a test").click()
    hook = found.client.get("/v1/webhooks").json()["webhooks"][-1]
    assert received(page, sink, 1, secret, hook["id"])[0]["type"] == "webhook.test"
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name=re.compile("^Telling")).wait_for()
    looks = {"width_px": 320, "height_px": 240}
    kicks = draw_short(drawn_folder, 2, 20, labels=("jump", "kick"), **looks)
    job = found.archive.add(replace(kicks, name="told.mp4", seed=11))
    new = ask(found, label="kick", min_score="0.2", job=job)
    told = [one["data"] for one in received(page, sink, len(new), secret, job)]
    starts = sorted(one["segment"]["start"] for one in told)
    assert starts == pytest.approx(sorted(one["start"] for one in new), abs=0.001)
    assert {one["segment"]["label"] for one in told} == {"kick"}


def test_saved_searches_are_opened_renamed_and_deleted(page_of, found, axe):
    wish = {"name": "Kicks", "filter": {"label": ["kick"], "camera": ["dock"]}}
    made = found.client.post("/v1/searches", json=wish).raise_for_status().json()
    page = page_of(found.url + "/#/search")
    opened(page)
    page.get_by_role("link", name="Kicks", exact=True).click()
    page.wait_for_url("**/#/search?label=kick&camera=dock")
    assert page.locator(".saved-open[aria-current]").inner_text().strip() == "Kicks"
    page.get_by_role("button", name="Change Kicks").click()
    page.get_by_label("Name").fill("All kicks")
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("link", name="All kicks", exact=True).wait_for()
    found.client.post(f"/v1/searches/{made['id']}/webhook", json={"url": "http://127.0.0.1:9/x"})
    hook = next(
        one
        for one in found.client.get("/v1/webhooks").json()["webhooks"]
        if one["search"] == made["id"]
    )
    found.client.patch(f"/v1/webhooks/{hook['id']}", json={"enabled": False})
    page.reload()
    page.get_by_role("button", name="Switched off: All kicks").click()
    page.get_by_text("Switched off. Nobody is told.").wait_for()
    assert axe(page) == []
    page.get_by_role("button", name="Switch on").click()
    page.get_by_role("button", name="Telling: All kicks").wait_for()
    page.get_by_role("button", name="Change All kicks").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("link", name="All kicks", exact=True).wait_for(state="detached")
    assert found.client.get(f"/v1/searches/{made['id']}").status_code == 404
