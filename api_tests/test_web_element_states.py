"""The element in Chromium in every state it can be in, at every size, with everything hostile."""

import json
from dataclasses import replace

import pytest

from bench.web.archive import draw_short
from bench.web.hosting import host, host_ready, until
from service.jobs.states import TaskKind

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "\u202egnp.exe",
    "a" * 255,
]
PHONE = {"width": 360, "height": 780}
WALL = {"width": 3840, "height": 2160}
SLIDER_MS = 50
SHOW = "(e, data) => { e.data = data; }"


def planted(num_segments, labels, hours=10.0, points=1000):
    """What the element's `data` takes, without any service."""
    seconds = hours * 3600
    each = seconds / num_segments
    segments = [
        {
            "label": labels[at % len(labels)],
            "score": 0.3 + at % 70 / 100,
            "raw_score": 0.3 + at % 70 / 100,
            "start": at * each,
            "end": at * each + min(20.0, each / 2),
        }
        for at in range(num_segments)
    ]
    curve = [[((at * 7 + c * 13) % 100) / 100 for c in range(len(labels))] for at in range(points)]
    video = {
        "name": "<b>v</b>.mp4",
        "duration": seconds,
        "nominal_fps": 25,
        "width": 16,
        "height": 9,
    }
    return {
        "result": {
            "video": video,
            "model": "m@1",
            "segments": segments,
            "labels_seen": dict.fromkeys(labels, 0.9),
            "recorded_at": "2026-11-20T08:30:00Z",
        },
        "activations": {
            "classes": labels,
            "num_steps": points,
            "seconds": [(at + 0.5) * seconds / points for at in range(points)],
            "localization": curve,
            "stream_attention": {},
            "video_scores": [0.9] * len(labels),
        },
    }


def state(timeline):
    return timeline.locator(".cover").get_attribute("data-state")


def test_a_job_is_followed_from_waiting_to_its_end(page_of, archive_service, drawn_folder, axe):
    archive = archive_service.archive
    recording = draw_short(drawn_folder, 3, 12, labels=(), width_px=320, height_px=240)
    job = archive.add_queued(replace(recording, name="followed.mp4"))
    page = page_of()
    timeline = host(page, archive_service.url, job=job)
    until(page, lambda: state(timeline) == "queued")
    assert axe(page) == []
    queue, held, task = archive._queue, [], None
    while task is None or task.job_id != job:
        task = queue.claim(owner="test", lease_seconds=60, kinds=(TaskKind.PLAN,))
        held.append(task)
    for other in held[:-1]:
        queue.release(other.id, other.token)
    queue.heartbeat(task.id, task.token, lease_seconds=60, stage="validating", fraction=0.5)
    until(page, lambda: state(timeline) == "processing")
    timeline.get_by_text("Looking at the video").wait_for()
    assert axe(page) == []
    queue.fail(
        task.id, task.token, code="unreadable_video", message="No <b>video</b>.", retryable=False
    )
    until(page, lambda: state(timeline) == "failed")
    assert timeline.get_by_text("No <b>video</b>.").is_visible()
    assert axe(page) == []


@pytest.mark.parametrize(
    ("attributes", "expected", "code"),
    [
        ({"job": "job_" + "0" * 26}, "missing", "not_found"),
        ({"job": 0, "token": "kt_" + "a" * 40}, "expired", "unauthorized"),
        ({}, "empty", None),
    ],
)
def test_refusals_are_told(page_of, archive_service, axe, attributes, expected, code):
    if attributes.get("job") == 0:
        attributes = {**attributes, "job": archive_service.jobs[0]}
    page = page_of()
    timeline = host(page, archive_service.url, **attributes)
    until(page, lambda: state(timeline) == expected)
    assert axe(page) == []
    if code is not None:
        told = page.evaluate("told.filter(([name]) => name === 'kinetag-error')")
        assert told[0][1]["message"]


def test_no_access_is_told_and_a_new_token_helps(page_of, archive_service):
    page = page_of()
    refusal = {"status": 403, "code": "forbidden", "title": "No", "detail": "No."}
    path = f"{archive_service.url}/v1/jobs/{archive_service.jobs[0]}"
    page.route(path, lambda route: route.fulfill(status=403, body=json.dumps(refusal)))
    timeline = host(page, archive_service.url, job=archive_service.jobs[0])
    until(page, lambda: state(timeline) == "denied")
    page.unroute(path)
    timeline.get_by_role("button", name="Try again").click()
    page.locator("kinetag-timeline[data-ready]").wait_for()


def test_it_comes_back_when_the_connection_does(page_of, archive_service):
    page = page_of(allowed_errors="net::ERR_INTERNET_DISCONNECTED")
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0])
    page.context.set_offline(True)
    timeline.evaluate("e => { e.setAttribute('job', e.getAttribute('job') + ' '); }")
    until(page, lambda: state(timeline) == "offline")
    timeline.evaluate("(e, job) => e.setAttribute('job', job)", archive_service.jobs[0])
    page.context.set_offline(False)
    until(page, lambda: timeline.locator(".cover").is_hidden())


def test_nothing_found_is_said_and_shows_what_came_closest(page_of, archive_service, axe, screen):
    page = page_of()
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[2])
    assert timeline.get_by_text("Nothing was found.").is_visible()
    assert timeline.locator(".label").count() == 3
    assert axe(page) == []
    screen(page, "timeline-nothing")


def test_a_video_that_cannot_be_played_leaves_the_timeline(page_of, archive_service, axe):
    page = page_of()
    job = archive_service.jobs[0]
    page.route(
        "**/content?*", lambda route: route.fulfill(body=b"no video", content_type="video/mp4")
    )
    timeline = host_ready(page, archive_service.url, job=job)
    timeline.get_by_text("This browser cannot play this video (h264)").wait_for()
    assert axe(page) == []
    timeline.evaluate("e => e.select(0)")
    segment = timeline.evaluate("e => e.selected")
    assert timeline.evaluate("e => e.currentTime") == segment["start"]
    timeline.locator(".still").wait_for()
    timeline.evaluate("e => e.play()")
    until(page, lambda: timeline.evaluate("e => e.currentTime") > segment["start"] + 0.2)


def test_an_address_that_has_run_out_is_renewed_where_the_video_is(page_of, archive_service):
    page = page_of()
    tickets = []

    def short_lived(route):
        ticket = route.fetch().json()
        if not tickets:
            ticket["expires_at"] = "2020-01-01T00:00:00Z"
        tickets.append(ticket["url"])
        route.fulfill(body=json.dumps(ticket), content_type="application/json")

    page.route("**/ticket", short_lived)
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0])
    video = timeline.locator("video")
    until(page, lambda: video.evaluate("v => v.readyState") > 1)
    timeline.evaluate("e => e.seek(7)")
    until(page, lambda: len(tickets) == 2)
    until(
        page, lambda: video.evaluate("v => v.readyState > 1 && v.currentTime") == pytest.approx(7)
    )
    # Refused in the middle of it: the video goes on where it was.
    timeline.evaluate("e => e.play()")
    video.evaluate("v => { v.src = '/v1/videos/none/content?ticket=over'; }")
    until(page, lambda: len(tickets) == 3)
    until(page, lambda: video.evaluate("v => !v.paused && v.currentTime") > 7)


def test_tokens_are_minted_by_the_page_once_and_again_when_refused(page_of, archive_service):
    page = page_of()
    minted = []

    def mint(route):
        assert route.request.method == "POST"
        made = archive_service.client.post(
            "/v1/embed-tokens",
            json={"job": archive_service.jobs[0], "origins": [archive_service.url]},
        ).json()
        minted.append(made["token"])
        route.fulfill(body=json.dumps(made), content_type="application/json")

    page.route("**/mint", mint)
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0], token_url="/mint")  # noqa: S106 - an address
    until(page, lambda: timeline.locator("video").evaluate("v => v.readyState") > 1)
    assert len(minted) == 1
    assert timeline.evaluate("e => e.segments.length") > 0


def test_hostile_labels_are_text(page_of, archive_service, axe):
    page = page_of()
    timeline = host(page, archive_service.url)
    timeline.evaluate(SHOW, planted(40, HOSTILE, hours=0.1))
    until(page, lambda: timeline.locator(".label").count() == len(HOSTILE))
    timeline.evaluate("e => e.select(0)")
    assert timeline.locator(".label .name").all_text_contents() == HOSTILE
    assert timeline.locator(".evidence h2").text_content() == HOSTILE[0]
    page.mouse.move(*[timeline.locator(".field").bounding_box()[side] + 9 for side in "xy"])
    timeline.get_by_role("button", name="Lanes").click()
    assert timeline.locator(".menu .name").all_text_contents() == HOSTILE
    assert timeline.locator("img, script").count() == 0
    assert axe(page) == []


@pytest.mark.parametrize("count", [1000, 20_000])
def test_ten_hours_are_there_at_once_and_follow_the_slider(page_of, archive_service, count):
    page = page_of()
    timeline = host(page, archive_service.url)
    data = planted(count, [f"class {n}" for n in range(8)])
    waits = timeline.evaluate(
        """async (e, data) => {
          const painted = () => new Promise((resolve) => requestAnimationFrame(() => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = resolve;
            port2.postMessage(0);
          }));
          const from = performance.now();
          const ready = new Promise((resolve) => e.addEventListener("kinetag-ready", resolve));
          e.data = data;
          await ready;
          await painted();
          const shown = performance.now() - from;
          const waits = [];
          for (const id of ["threshold", "min-score"]) {
            const slider = e.shadowRoot.getElementById(id);
            for (const value of [0.5, 0.45, 0.4, 0.35, 0.3]) {
              const before = performance.now();
              slider.value = value;
              slider.dispatchEvent(new Event("input", { bubbles: true }));
              await painted();
              waits.push(performance.now() - before);
            }
          }
          return { shown, waits };
        }""",
        data,
    )
    # The best of each: how long others keep the machine busy is not the element's doing.
    if count == 1000:
        assert waits["shown"] < 1000
        assert min(waits["waits"][:5]) < SLIDER_MS
        assert min(waits["waits"][5:]) < SLIDER_MS
    assert timeline.evaluate("e => e.segments.length") == sum(
        one["score"] >= 0.3 for one in data["result"]["segments"]
    )
    assert timeline.locator("[role=option]").count() < 60


def test_four_hundred_classes_scroll(page_of, archive_service, axe):
    page = page_of()
    timeline = host(page, archive_service.url)
    labels = [f"class {n:03}" for n in range(400)]
    timeline.evaluate(SHOW, planted(800, labels, hours=1, points=20))
    until(page, lambda: timeline.locator(".label").count() == len(labels))
    lanes = timeline.locator(".lanes")
    assert lanes.evaluate("e => e.scrollHeight > 10 * e.clientHeight")
    lanes.evaluate("e => { e.scrollTop = e.scrollHeight; }")
    page.wait_for_timeout(100)
    painted = timeline.locator(".field canvas").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0)"
    )
    assert painted
    timeline.get_by_role("button", name="Lanes").click()
    timeline.get_by_placeholder("Find a class").fill("class 399")
    timeline.get_by_label("class 399").uncheck()
    assert timeline.locator(".label").count() == 399
    assert axe(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_right_and_is_accessible(page_of, archive_service, axe, screen, scheme):
    page = page_of(color_scheme=scheme, reduced_motion="reduce")
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0])
    timeline.evaluate("e => e.select(0)")
    timeline.get_by_text("Picture").wait_for()
    until(page, lambda: timeline.locator("video").evaluate("v => v.readyState") > 1)
    assert axe(page) == []
    screen(page, f"timeline-{scheme}")
    timeline.get_by_role("button", name="Keys (?)").click()
    assert axe(page) == []
    page.keyboard.press("Escape")
    timeline.get_by_role("button", name="Export").click()
    assert axe(page) == []


@pytest.mark.parametrize(("name", "viewport"), [("phone", PHONE), ("4k", WALL)])
def test_it_fits_every_screen(page_of, archive_service, axe, screen, name, viewport):
    page = page_of(viewport=viewport, has_touch=name == "phone")
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0])
    timeline.evaluate("e => e.select(0)")
    timeline.get_by_text("Picture").wait_for()
    until(page, lambda: timeline.locator("video").evaluate("v => v.readyState") > 1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    size = timeline.locator(".root").evaluate("e => parseFloat(getComputedStyle(e).fontSize)")
    assert size >= (20 if name == "4k" else 13)
    assert axe(page) == []
    screen(page, f"timeline-{name}", full_page=True)


def test_nothing_runs_on_after_it_is_taken_away(page_of, archive_service):
    page = page_of()
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0])
    timeline.evaluate(
        "e => { globalThis.gone = e; e.play(); e.resegment({thresholds: [0.2]}); e.remove(); }"
    )
    # Playwright's own waiting, because requests are noted only while it looks.
    page.wait_for_timeout(300)
    before = len(page.watch.requests)
    page.wait_for_timeout(500)
    assert len(page.watch.requests) == before
    assert page.evaluate("gone.shadowRoot.querySelector('video').paused")
