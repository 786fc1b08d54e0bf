"""The element in Chromium: what people do with it has its real effect."""

import json
from itertools import pairwise

import pytest

from bench.web.hosting import host_ready, until

FPS = 25.0
SETTLE = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"


@pytest.fixture
def shown(page_of, archive_service):
    """Returns (**attributes) -> a page with the first job of the archive, and the element."""

    def show(**attributes):
        page = page_of(viewport={"width": 1280, "height": 900})
        attributes.setdefault("job", archive_service.jobs[0])
        timeline = host_ready(page, archive_service.url, **attributes)
        video = timeline.locator("video")
        until(page, lambda: video.evaluate("v => v.readyState") > 1)
        return page, timeline

    return show


def result_of(service, job, choice=None):
    path = f"/v1/jobs/{job}"
    if choice is None:
        return service.client.get(f"{path}/result").json()
    return service.client.post(f"{path}/resegment", json=choice).json()


def now(timeline):
    return timeline.evaluate("e => e.currentTime")


def window(timeline):
    """What the overview says of the part on screen."""
    return timeline.locator(".overview").get_attribute("aria-valuetext")


def spot(timeline, segment, duration):
    """Where on the page the middle of a segment is, computed from what is known of it."""
    labels = timeline.locator(".label .name").all_inner_texts()
    field = timeline.locator(".field").bounding_box()
    row = timeline.locator(".label").nth(labels.index(segment["label"])).bounding_box()
    middle = (segment["start"] + segment["end"]) / 2
    return field["x"] + middle / duration * field["width"], row["y"] + row["height"] * 0.74


def press(page, timeline, *keys):
    timeline.locator(".lanes").evaluate("e => e.focus()")
    for key in keys:
        page.keyboard.press(key)


def test_segments_are_where_they_are_and_a_click_goes_there(shown, archive_service):
    page, timeline = shown()
    result = result_of(archive_service, archive_service.jobs[0])
    assert timeline.evaluate("e => e.segments") == result["segments"]
    assert len(result["segments"]) >= 2
    for index, segment in enumerate(result["segments"]):
        x, y = spot(timeline, segment, result["video"]["duration"])
        page.mouse.click(x, y)
        assert timeline.evaluate("e => e.selected") == segment
        middle = (segment["start"] + segment["end"]) / 2
        assert now(timeline) == pytest.approx(middle, abs=0.05)
        video = timeline.locator("video").evaluate("v => v.currentTime")
        assert video == pytest.approx(middle, abs=0.05)
        told = page.evaluate("told.filter(([name]) => name === 'segment-select').at(-1)[1]")
        assert told == {"segment": segment, "index": index}
    x, y = spot(timeline, result["segments"][0], result["video"]["duration"])
    beside = {**result["segments"][0], "start": 0.0, "end": 0.2}
    page.mouse.click(spot(timeline, beside, result["video"]["duration"])[0], y)
    assert timeline.evaluate("e => e.selected") is None


def test_the_canvas_shows_what_is_planted_in_the_colour_of_its_label(shown, archive_service):
    page, timeline = shown()
    result = result_of(archive_service, archive_service.jobs[0])
    field = timeline.locator(".field").bounding_box()
    for segment in result["segments"]:
        x, y = spot(timeline, segment, result["video"]["duration"])
        # The lower edge of the bar: captions stand above it.
        pixel = timeline.locator(".field canvas").evaluate(
            """(canvas, [x, y]) => {
              const ratio = devicePixelRatio;
              const data = canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data;
              return [...data.slice(0, 3)];
            }""",
            [x - field["x"], y - field["y"] + 6],
        )
        swatch = timeline.locator(".label", has_text=segment["label"]).locator(".swatch")
        wanted = swatch.evaluate(
            "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)"
        )
        assert pixel == wanted


def test_frame_steps_move_by_exactly_one_frame(shown):
    page, timeline = shown()
    video = timeline.locator("video")

    def frame():
        """The frame that holds the video's own position: the one on screen."""
        return int(video.evaluate("v => v.currentTime") * FPS + 1e-6)

    timeline.evaluate("e => e.seek(3.02)")
    before = frame()
    for count in (1, 2, 3):
        timeline.evaluate("e => e.step(1)")
        assert frame() == before + count
    timeline.evaluate("e => e.step(-1)")
    assert frame() == before + 2
    press(page, timeline, ",")
    until(page, lambda: frame() == before + 1)


def test_keys_do_what_the_help_says(shown, archive_service):
    page, timeline = shown()
    video = timeline.locator("video")
    result = result_of(archive_service, archive_service.jobs[0])
    by_time = sorted(result["segments"], key=lambda one: one["start"])
    press(page, timeline, "n", "n")
    assert timeline.evaluate("e => e.selected") == by_time[1]
    press(page, timeline, "p")
    assert timeline.evaluate("e => e.selected") == by_time[0]
    press(page, timeline, "Home", "ArrowRight", "ArrowRight")
    assert now(timeline) == pytest.approx(2.0)
    press(page, timeline, "l", "ArrowLeft")
    assert now(timeline) == pytest.approx(11.0)
    press(page, timeline, "End", "j")
    assert now(timeline) == pytest.approx(result["video"]["duration"] - 10)
    press(page, timeline, "<")
    assert video.evaluate("v => v.playbackRate") == 0.75
    press(page, timeline, ">", ">", "ArrowDown", "ArrowDown", "m")
    assert video.evaluate("v => [v.playbackRate, v.volume, v.muted]") == [1.25, 0.8, True]
    press(page, timeline, " ")
    until(page, lambda: not video.evaluate("v => v.paused"))
    press(page, timeline, "k")
    assert video.evaluate("v => v.paused") is True
    press(page, timeline, "?")
    assert timeline.locator(".sheet").is_visible()
    page.keyboard.press("Escape")
    assert timeline.locator(".sheet").count() == 0
    page.keyboard.press("Escape")
    assert timeline.evaluate("e => e.selected") is None


def test_the_timeline_zooms_and_pans(shown):
    page, timeline = shown()
    whole = window(timeline)
    field = timeline.locator(".field").bounding_box()
    middle = (field["x"] + field["width"] / 2, field["y"] + 10)
    press(page, timeline, "+", "+", "+")
    zoomed = window(timeline)
    press(page, timeline, "Shift+ArrowRight")
    assert len({whole, zoomed, window(timeline)}) == 3
    press(page, timeline, "0")
    assert window(timeline) == whole
    page.mouse.move(*middle)
    page.mouse.wheel(0, -400)
    until(page, lambda: window(timeline) != whole)
    zoomed = window(timeline)
    page.mouse.down()
    page.mouse.move(middle[0] - 200, middle[1], steps=4)
    page.mouse.up()
    panned = window(timeline)
    assert panned != zoomed
    overview = timeline.locator(".overview").bounding_box()
    inside = timeline.locator(".window").bounding_box()
    page.mouse.move(inside["x"] + inside["width"] / 2, overview["y"] + 8)
    page.mouse.down()
    page.mouse.move(overview["x"] + 5, overview["y"] + 8, steps=4)
    page.mouse.up()
    assert window(timeline).startswith("0:00 ")
    timeline.evaluate("e => e.zoom(5, 10)")
    assert window(timeline) == "0:05 to 0:10"
    timeline.get_by_role("button", name="Show all (0)").click()
    assert window(timeline) == whole


def test_a_drag_along_the_ruler_moves_in_the_video(shown):
    page, timeline = shown()
    ruler = timeline.locator(".ruler").bounding_box()
    duration = timeline.evaluate("e => e.shadowRoot.querySelector('video').duration")
    y = ruler["y"] + 5
    page.mouse.move(ruler["x"] + ruler["width"] * 0.25, y)
    page.mouse.down()
    assert now(timeline) == pytest.approx(0.25 * duration, abs=0.05)
    page.mouse.move(ruler["x"] + ruler["width"] * 0.75, y, steps=5)
    page.mouse.up()
    assert now(timeline) == pytest.approx(0.75 * duration, abs=0.05)
    assert timeline.locator(".ruler").get_attribute("aria-valuenow") == str(round(0.75 * duration))


def test_a_segment_is_looped(shown, archive_service):
    page, timeline = shown()
    segments = result_of(archive_service, archive_service.jobs[0])["segments"]
    index = min(range(len(segments)), key=lambda at: segments[at]["end"] - segments[at]["start"])
    segment = segments[index]
    timeline.evaluate("(e, index) => e.select(index)", index)
    timeline.locator(".speed").select_option("4")
    seen = timeline.evaluate(
        """async (e) => {
          e.shadowRoot.querySelector(".bar [aria-label^=Loop]").click();
          const seen = [];
          const until = performance.now() + 2500;
          while (performance.now() < until) {
            await new Promise(requestAnimationFrame);
            seen.push(e.currentTime);
          }
          return seen;
        }"""
    )
    assert min(seen) >= segment["start"] - 0.1
    # At four times the speed a frame of the screen is worth several of the video.
    assert max(seen) <= segment["end"] + 0.4
    assert any(later < earlier - 0.3 for earlier, later in pairwise(seen))
    press(page, timeline, "r", "k")
    assert timeline.locator(".bar [aria-label^=Loop]").get_attribute("aria-pressed") == "false"


def test_a_threshold_is_previewed_at_once_and_answered_exactly(shown, archive_service):
    page, timeline = shown()
    page.wait_for_timeout(300)
    waits = timeline.evaluate(
        """async (e) => {
          const slider = e.shadowRoot.querySelector("#threshold");
          const waits = [];
          for (const value of [0.3, 0.4, 0.5, 0.25, 0.15]) {
            const from = performance.now();
            slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((resolve) => requestAnimationFrame(() => {
              const channel = new MessageChannel();
              channel.port1.onmessage = resolve;
              channel.port2.postMessage(0);
            }));
            waits.push(performance.now() - from);
          }
          return waits;
        }"""
    )
    assert min(waits) < 50
    assert timeline.locator(".tally").inner_text() == "Preview…"
    until(page, lambda: page.evaluate("told.some(([name]) => name === 'resegment')"))
    wanted = result_of(archive_service, archive_service.jobs[0], {"thresholds": [0.15]})
    assert timeline.evaluate("e => e.segments") == wanted["segments"]
    told = page.evaluate("told.filter(([name]) => name === 'resegment')")
    assert [one[1]["choice"] for one in told] == [{"thresholds": [0.15]}]
    asked = [url for method, url in page.watch.requests if method == "POST" and "resegment" in url]
    assert len(asked) == 1
    press(page, timeline, "\\")
    own = result_of(archive_service, archive_service.jobs[0])["segments"]
    assert timeline.evaluate("e => e.segments") == own


def test_of_two_choices_the_later_one_counts(shown, archive_service):
    _, timeline = shown()
    answers = timeline.evaluate(
        """(e) => Promise.all([0.9, 0.2].map((cut) => e.resegment({ thresholds: [cut] })))"""
    )
    wanted = result_of(archive_service, archive_service.jobs[0], {"thresholds": [0.2]})["segments"]
    assert answers == [None, wanted]
    assert timeline.evaluate("e => e.segments") == wanted


def test_a_minimum_score_is_exact_at_once(shown, archive_service):
    _, timeline = shown()
    scores = sorted(
        one["score"] for one in result_of(archive_service, archive_service.jobs[0])["segments"]
    )
    least = round((scores[0] + scores[-1]) / 2, 2)
    timeline.locator("#min-score").fill(str(least))
    wanted = result_of(archive_service, archive_service.jobs[0], {"min_score": least})["segments"]
    assert timeline.evaluate("e => e.segments") == wanted
    assert 0 < len(wanted) < len(scores)
    assert timeline.locator("[role=option]").count() == len(wanted)


def test_evidence_says_why(shown, archive_service):
    _, timeline = shown()
    segment = result_of(archive_service, archive_service.jobs[0])["segments"][0]
    timeline.evaluate("e => e.select(0)")
    panel = timeline.locator(".evidence")
    panel.get_by_text("Picture").wait_for()
    text = panel.inner_text()
    for part in (
        segment["label"],
        f"{segment['score']:.2f}",
        f"{segment['raw_score']:.3f}",
        "Recorded",
    ):
        assert part in text
    curves = archive_service.client.get(f"/v1/jobs/{archive_service.jobs[0]}/activations").json()
    inside = [
        (rgb, flow)
        for at, rgb, flow in zip(
            curves["seconds"],
            *(curves["stream_attention"][s] for s in ("rgb", "flow")),
            strict=True,
        )
        if segment["start"] <= at < segment["end"]
    ]
    seen, moved = (sum(column) for column in zip(*inside, strict=True))
    assert f"Picture {round(100 * seen / (seen + moved))} %" in text


def test_the_list_is_the_timeline_for_keyboards(shown, archive_service):
    page, timeline = shown()
    by_time = sorted(
        result_of(archive_service, archive_service.jobs[0])["segments"],
        key=lambda one: one["start"],
    )
    timeline.locator("[role=listbox]").focus()
    for wanted in (by_time[0], by_time[1]):
        page.keyboard.press("ArrowDown")
        assert timeline.evaluate("e => e.selected") == wanted
        assert now(timeline) == pytest.approx(wanted["start"])
    active = timeline.locator("[role=listbox]").get_attribute("aria-activedescendant")
    row = timeline.locator(f"#{active}")
    assert row.get_attribute("aria-selected") == "true"
    assert by_time[1]["label"] in row.inner_text()
    timeline.get_by_label("Class", exact=True).select_option(by_time[0]["label"])
    of_label = [one for one in by_time if one["label"] == by_time[0]["label"]]
    assert timeline.locator("[role=option]").count() == len(of_label)


def test_thumbnails_hang_at_the_mouse(shown, archive_service):
    page, timeline = shown()
    segment = result_of(archive_service, archive_service.jobs[0])["segments"][0]
    x, y = spot(timeline, segment, 20.0)
    page.mouse.move(x, y)
    canvas = timeline.locator(".tip canvas")
    canvas.wait_for()
    colours = canvas.evaluate(
        "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    assert colours > 20
    assert segment["label"] in timeline.locator(".tip").inner_text()


def test_exports_are_what_is_on_screen(shown, archive_service):
    page, timeline = shown()
    job = archive_service.jobs[0]
    timeline.get_by_role("button", name="Export").click()
    with page.expect_download() as waiting:
        timeline.get_by_role("menuitem", name="Spreadsheet").click()
    assert waiting.value.suggested_filename == "entrance.csv"
    wanted = archive_service.client.get(f"/v1/jobs/{job}/result?format=csv").content
    assert waiting.value.path().read_bytes() == wanted
    choice = {"thresholds": [0.2], "min_score": 0.5}
    timeline.evaluate("(e) => e.resegment({ thresholds: [0.2] })")
    timeline.locator("#min-score").fill("0.5")
    text = timeline.evaluate("async (e) => (await e.exportAs('native')).text()")
    assert json.loads(text) == result_of(archive_service, job, choice)
    picture = timeline.evaluate("async (e) => (await e.exportAs('svg')).text()")
    assert picture.lstrip().startswith("<")


def test_two_fingers_zoom_and_one_pans(page_of, archive_service):
    page = page_of(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True)
    timeline = host_ready(page, archive_service.url, job=archive_service.jobs[0])
    whole = window(timeline)
    timeline.locator(".field").scroll_into_view_if_needed()
    box = timeline.locator(".field").bounding_box()
    y = box["y"] + 20
    session = page.context.new_cdp_session(page)

    def touch(kind, *xs):
        points = [{"x": box["x"] + x, "y": y, "id": at} for at, x in enumerate(xs)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 150, 200)
    for spread in (20, 50, 80):
        touch("touchMove", 150 - spread, 200 + spread)
    touch("touchEnd")
    page.evaluate(SETTLE)
    pinched = window(timeline)
    assert pinched != whole
    touch("touchStart", 200)
    for x in (180, 140, 100):
        touch("touchMove", x)
    touch("touchEnd")
    page.evaluate(SETTLE)
    assert window(timeline) not in {whole, pinched}
    timeline.get_by_role("button", name="Show all (0)").click()
    timeline.locator(".overview").scroll_into_view_if_needed()
    result = result_of(archive_service, archive_service.jobs[0])
    segment = result["segments"][0]
    middle = (segment["start"] + segment["end"]) / 2 / result["video"]["duration"]
    names = timeline.locator(".label .name").all_inner_texts()
    row = timeline.locator(".label").nth(names.index(segment["label"])).bounding_box()
    page.touchscreen.tap(box["x"] + middle * box["width"], row["y"] + row["height"] * 0.74)
    assert timeline.evaluate("e => e.selected") == segment
