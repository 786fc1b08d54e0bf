"""The page `/` in a real Chromium: adding videos, following them, looking at them, logging in."""

import re
from pathlib import Path

import numpy as np
import pytest

from bench.web.serving import ServedArchive
from service.accounts.keys import NewKey, create_key, revoke_key
from service.accounts.scopes import DEFAULT_SCOPES

MIB = 1024 * 1024
SLOW_BYTES_PER_SECOND = 700_000
JOB_MS = 240_000
DESKTOP = {"width": 1440, "height": 900}
LOOKS = {
    "light": (DESKTOP, "light"),
    "dark": (DESKTOP, "dark"),
    "phone": ({"width": 360, "height": 740}, "dark"),
    "4k": ({"width": 3840, "height": 2160}, "light"),
}
CUT_LINE = "net::ERR_|status of"
"""What the console says of requests that a killed service, or a closing page, leaves behind."""

MODULES = Path(__file__).resolve().parents[1] / "service" / "web" / "page"
SHIFTS = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 300);
})"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """(mebibytes, name?) -> path of a file that nobody has looked into yet."""
    folder = tmp_path_factory.mktemp("clips")
    dice = np.random.default_rng(11)

    def make(mebibytes, name):
        path = folder / name
        path.write_bytes(dice.bytes(round(mebibytes * MIB)))
        return path

    return make


@pytest.fixture
def guarded(archive_service):
    """The same archive behind a service that wants keys; it has a finished job's id."""
    served = ServedArchive(archive_service.archive, {"KINETAG_REQUIRE_KEYS": "1"})
    served.start()
    served.jobs = archive_service.jobs
    core = served.archive.core

    def make(name):
        record, text = create_key(core, NewKey(name, DEFAULT_SCOPES))
        return record.id, text.reveal()

    served.make_key = make
    served.revoke = lambda key_id: revoke_key(core, key_id)
    yield served
    served.kill()
    served.client.close()


def slowed(page, bytes_per_second=SLOW_BYTES_PER_SECOND):
    """Make the page's line slow; -1 is as fast as it goes."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    line = {"offline": False, "latency": 0, "downloadThroughput": -1}
    session.send("Network.emulateNetworkConditions", {**line, "uploadThroughput": bytes_per_second})


def add(page, *paths, tag=None):
    """Add files by the dialog, as a person does."""
    page.get_by_role("button", name="Add videos").click()
    dialog = page.get_by_role("dialog", name="Add videos")
    dialog.locator("input[type=file]").first.set_input_files([str(path) for path in paths])
    if tag is not None:
        dialog.get_by_label("Tag").fill(tag)
    dialog.get_by_role("button", name=re.compile("^Upload ")).click()
    dialog.wait_for(state="detached")


def eventually(page, script):
    """Wait until a script is true; Playwright's own way breaks the page's policy."""
    for _ in range(200):
        if page.evaluate(script):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never came true: {script}")


def upload_row(page, name):
    return page.locator(".upload").filter(has_text=name)


def job_row(page, name):
    return page.locator("li.job[data-job]").filter(has=page.locator(".job-name", has_text=name))


def begun(page, name, percent="[1-9]\\d?"):
    """Wait until some of a file is on its way."""
    words = upload_row(page, name).locator(".upload-words")
    words.filter(has_text=re.compile(f"{percent} %")).wait_for()


def chunks(page):
    """Note the offsets of all chunks that the page sends from now on."""
    offsets = []

    def note(request):
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))

    page.context.on("request", note)
    return offsets


def bytes_of(served, job_id):
    video = served.client.get(f"/v1/jobs/{job_id}").raise_for_status().json()["video"]["id"]
    return served.client.get(f"/v1/videos/{video}/content").raise_for_status().content


@pytest.mark.timeout(420)
def test_a_video_becomes_its_timeline(start_service, draw_video, page_of, axe, screen, clips):
    service = start_service("--broker", "none", "--device", "cpu", KINETAG_DEFAULT_MODEL="tiny@1")
    page = page_of(service.ready["url"])
    page.get_by_role("heading", name="Add a video").wait_for()
    assert axe(page) == []
    screen(page, "page-empty")

    add(page, draw_video(6), tag="first")
    row = job_row(page, "square-6.mp4")
    row.locator(".pill", has_text="Working").wait_for(timeout=JOB_MS)
    assert axe(page) == []
    screen(page, "page-working")
    row.locator(".pill", has_text="Ready").wait_for(timeout=JOB_MS)
    row.locator("canvas.drawn").wait_for()
    assert "first" in row.inner_text()

    row.get_by_role("link", name="square-6.mp4").click()
    page.wait_for_url("**/#/jobs/job_*")
    timeline = page.locator("kinetag-timeline")
    timeline.wait_for()
    eventually(page, "document.querySelector('kinetag-timeline')?.segments !== undefined")
    assert page.title() == "square-6.mp4 · Kinetag"
    assert page.evaluate("document.activeElement.textContent") == "square-6.mp4"

    # A text that says it is a video, and one that does not even say so.
    page.go_back()
    text = clips(0, "notes.mp4")
    text.write_text("This is no video.\n" * 100)
    add(page, text)
    failed = job_row(page, "notes.mp4")
    failed.locator(".pill", has_text="Failed").wait_for(timeout=JOB_MS)
    assert "unreadable_video" in failed.inner_text()


@pytest.mark.parametrize("name", LOOKS)
def test_every_size_and_both_themes(archive_service, page_of, axe, screen, name):
    viewport, scheme = LOOKS[name]
    page = page_of(archive_service.url, viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    job_row(page, "nothing.mp4").scroll_into_view_if_needed()
    job_row(page, "nothing.mp4").get_by_text("None of the actions was found.").wait_for()
    job_row(page, "dock.mp4").locator("canvas.drawn").wait_for()
    page.evaluate("scrollTo(0, 0)")
    assert axe(page) == []
    screen(page, f"page-videos-{name}")
    page.get_by_role("button", name="Add videos").click()
    page.get_by_role("dialog").get_by_text("8 actions").wait_for()
    assert axe(page) == []
    screen(page, f"page-add-{name}")
    page.keyboard.press("Escape")
    job_row(page, "entrance.mp4").get_by_role("link", name="entrance.mp4").last.click()
    page.locator("kinetag-timeline").wait_for()
    eventually(page, "document.querySelector('kinetag-timeline')?.segments?.length > 0")
    page.get_by_text("H.264 in MP4").wait_for()
    assert axe(page) == []
    screen(page, f"page-player-{name}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_empty_file_is_refused_in_the_services_words(archive_service, page_of, clips):
    page = page_of(archive_service.url)
    add(page, clips(0, "zero.mp4"))
    row = upload_row(page, "zero.mp4")
    row.get_by_text("empty_video").wait_for()
    row.get_by_role("button", name="Cancel: zero.mp4").click()
    row.wait_for(state="detached")


def test_what_looks_like_no_video_is_said_before(archive_service, page_of, clips, axe):
    page = page_of(archive_service.url)
    page.get_by_role("button", name="Add videos").click()
    dialog = page.get_by_role("dialog", name="Add videos")
    files = dialog.locator("input[type=file]").first
    files.set_input_files([str(clips(0.01, "a.txt")), str(clips(0.01, "cam_2026-03-01_09-05.mkv"))])
    assert dialog.get_by_text("does not look like a video").count() == 1
    dialog.get_by_label("Recorded at").select_option("name")
    assert "Mar 1, 2026, 9:05" in dialog.locator(".picked").inner_text()
    assert axe(page) == []
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_an_upload_pauses_and_goes_on(archive_service, page_of, clips, axe, screen):
    path = clips(3, "paused.mp4")
    page = page_of(archive_service.url, allowed_errors=CUT_LINE)
    slowed(page)
    offsets = chunks(page)
    add(page, path)
    begun(page, "paused.mp4")
    row = upload_row(page, "paused.mp4")
    row.get_by_role("button", name="Pause: paused.mp4").click()
    row.get_by_text("Paused ·").wait_for()
    assert axe(page) == []
    screen(page, "page-upload")
    slowed(page, -1)
    row.get_by_role("button", name="Resume: paused.mp4").click()
    job = job_row(page, "paused.mp4")
    job.wait_for()
    assert offsets[0] == 0
    assert 0 < offsets[-1] < path.stat().st_size
    assert bytes_of(archive_service, job.get_attribute("data-job")) == path.read_bytes()


def test_an_upload_goes_on_after_the_page_was_loaded_again(archive_service, page_of, clips, axe):
    path = clips(3, "reloaded.mp4")
    page = page_of(archive_service.url, allowed_errors=CUT_LINE)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    slowed(page)
    offsets = chunks(page)
    add(page, path, tag="again")
    begun(page, "reloaded.mp4", "[3-9]\\d")
    page.reload()
    assert asked == ["beforeunload"]
    row = upload_row(page, "reloaded.mp4")
    row.get_by_text("Interrupted").wait_for()
    assert axe(page) == []
    row.locator("input[type=file]").set_input_files(str(clips(0.1, "other.mp4")))
    page.get_by_text("That is another file").first.wait_for()
    slowed(page, -1)
    row.locator("input[type=file]").set_input_files(str(path))
    job = job_row(page, "reloaded.mp4")
    job.wait_for()
    assert 0 < offsets[-1] < path.stat().st_size
    assert "again" in job.inner_text()
    assert bytes_of(archive_service, job.get_attribute("data-job")) == path.read_bytes()
    begins = [url for method, url in page.watch.requests if method == "POST" and "uploads" in url]
    assert len(begins) == 1


def test_an_upload_survives_the_services_death(archive_service, page_of, clips):
    path = clips(3, "killed.mp4")
    page = page_of(archive_service.url, allowed_errors=CUT_LINE)
    slowed(page)
    add(page, path)
    begun(page, "killed.mp4", "[3-9]\\d")
    archive_service.kill()
    row = upload_row(page, "killed.mp4")
    row.get_by_text("Trying again").wait_for()
    page.get_by_text("Reconnecting").wait_for()
    archive_service.start()
    slowed(page, -1)
    job = job_row(page, "killed.mp4")
    job.wait_for()
    page.get_by_text("Live", exact=True).wait_for()
    assert bytes_of(archive_service, job.get_attribute("data-job")) == path.read_bytes()


def test_two_tabs_send_a_file_once(archive_service, page_of, clips):
    path = clips(2, "twice.mp4")
    first = page_of(archive_service.url)
    slowed(first)
    add(first, path)
    begun(first, "twice.mp4")
    second = first.context.new_page()
    second.goto(archive_service.url)
    add(second, path)
    upload_row(second, "twice.mp4").get_by_text("Another tab is sending").wait_for()
    slowed(first, -1)
    for tab in (first, second):
        eventually(tab, "document.querySelectorAll('.upload').length === 0")
        job_row(tab, "twice.mp4").nth(1).wait_for()
    begins = [url for method, url in first.watch.requests if method == "POST" and "uploads" in url]
    assert len(begins) == 1


def test_jobs_are_stopped_repeated_and_deleted(archive_service, page_of, axe, screen):
    page = page_of(archive_service.url)
    row = job_row(page, "waiting.mp4")
    row.get_by_role("button", name="Cancel: waiting.mp4").click()
    row.locator(".pill", has_text="Canceled").wait_for()
    row.get_by_role("button", name="Retry: waiting.mp4").click()
    row.nth(1).wait_for()
    assert row.nth(0).locator(".pill").inner_text() == "Queued"

    other = page.context.new_page()
    other.goto(archive_service.url)
    row.nth(1).get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    # Another job needs the video, so it is offered to stay.
    assert not dialog.get_by_role("checkbox").is_checked()
    assert "1 other result" in dialog.inner_text()
    assert page.evaluate("document.activeElement.textContent") == "Keep"
    assert axe(page) == []
    screen(page, "page-delete")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert row.count() == 2
    row.nth(1).get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("was deleted").first.wait_for()
    for tab in (page, other):
        eventually(
            tab,
            "document.querySelectorAll('li.job[data-job]').length > 0 && "
            "[...document.querySelectorAll('.job-name')]"
            ".filter((one) => one.textContent === 'waiting.mp4').length === 1",
        )


def test_login_keeps_the_key_in_this_tab_only(guarded, page_of, axe, screen):
    key_id, key = guarded.make_key("page")
    page = page_of(guarded.url, allowed_errors=CUT_LINE)
    field = page.get_by_label("API key")
    field.wait_for()
    assert field.get_attribute("type") == "password"
    assert axe(page) == []
    screen(page, "page-login")
    field.fill("no key at all")
    page.keyboard.press("Enter")
    page.get_by_text("That is no API key").wait_for()
    field.fill(key[:-4] + "0000")
    page.keyboard.press("Enter")
    page.get_by_text("This key does not hold").wait_for()
    assert axe(page) == []
    field.fill(f"  {key}\n")
    page.keyboard.press("Enter")
    job_row(page, "entrance.mp4").wait_for()
    page.get_by_text("Live", exact=True).wait_for()

    page.goto(guarded.url + "/#/jobs/" + guarded.jobs[0])
    page.locator("kinetag-timeline").wait_for()
    page.reload()
    page.locator("kinetag-timeline").wait_for()
    kept = page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify(localStorage)]")
    assert key in kept[0]
    assert key not in kept[1]
    assert not [url for _, url in page.watch.requests if key.split("_")[2] in url]

    # Revoked while the page is open: the stream of events is cut, and the page asks anew.
    guarded.revoke(key_id)
    page.get_by_role("heading", name="Log in again").wait_for()
    assert axe(page) == []
    assert page.evaluate("sessionStorage.length") == 0
    _, second = guarded.make_key("again")
    page.get_by_label("API key").fill(second)
    page.keyboard.press("Enter")
    page.locator("kinetag-timeline").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in to Kinetag").wait_for()
    assert page.evaluate("sessionStorage.length") == 0


def test_hostile_names_are_text(archive_service, page_of, axe):
    page = page_of(archive_service.url)
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    row = job_row(page, "<img src=x")
    row.locator("canvas.drawn").wait_for()
    assert "<b>yard</b>" in row.inner_text()
    assert "<i>tag</i>" in row.inner_text()
    row.get_by_role("button", name="Delete").click()
    assert "<img src=x onerror=alert(1)>" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    row.get_by_role("link").last.click()
    page.locator("kinetag-timeline").wait_for()
    assert "<img src=x onerror=alert(1)>" in page.title()
    assert page.locator("img:not([src='/web/page/mark.svg'])").count() == 0
    assert dialogs == []
    assert axe(page) == []


def test_addresses_lead_back_and_forth(archive_service, page_of, axe, screen):
    url, jobs = archive_service.url, archive_service.jobs
    page = page_of(f"{url}/#/jobs/{jobs[0]}")
    page.locator("kinetag-timeline").wait_for()
    page.get_by_text("H.264 in MP4").wait_for()
    assert page.title() == "entrance.mp4 · Kinetag"
    page.get_by_role("link", name="Newer: dock.mp4").click()
    page.get_by_role("heading", name="dock.mp4").wait_for()
    page.get_by_role("link", name="Older: entrance.mp4").wait_for()
    page.go_back()
    page.get_by_role("heading", name="entrance.mp4").wait_for()
    page.get_by_role("link", name="All videos", exact=True).click()
    page.get_by_role("heading", name="Videos", exact=True).wait_for()
    eventually(page, "document.activeElement.tagName === 'H1'")

    page.get_by_label("Camera").fill("dock")
    page.wait_for_url("**/#/?camera=dock")
    eventually(page, "document.querySelectorAll('li.job[data-job]').length === 2")
    page.reload()
    eventually(page, "document.querySelectorAll('li.job[data-job]').length === 2")
    page.get_by_label("Status").select_option("failed")
    page.get_by_text("No video fits these filters.").wait_for()
    assert axe(page) == []
    page.get_by_role("button", name="Clear").click()
    job_row(page, "broken.mp4").get_by_text("unreadable_video").wait_for()

    page.goto(f"{url}/#/jobs/job_{'0' * 26}")
    page.get_by_role("heading", name="This video is not here any more").wait_for()
    page.goto(f"{url}/#/nowhere/at/all")
    page.get_by_role("heading", name="There is nothing at this address").wait_for()
    assert axe(page) == []
    page.get_by_role("link", name="Search").click()
    page.get_by_role("heading", name="Search", exact=True).wait_for()


def test_a_list_that_is_left_while_it_loads_stops(archive_service, page_of):
    page = page_of(allowed_errors=CUT_LINE)
    held = []

    def hold(route):
        held.append(route)

    page.route("**/v1/jobs/*/result", hold)
    page.goto(archive_service.url)
    eventually(page, "document.querySelector('.pill.succeeded') !== null")
    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(50)
    assert held
    page.goto(f"{archive_service.url}/#/nowhere")
    page.get_by_role("heading", name="There is nothing at this address").wait_for()
    num_asked = len(page.watch.requests)
    page.wait_for_timeout(200)
    assert len(page.watch.requests) == num_asked


def test_other_pages_are_shown_how_to_embed(archive_service, page_of, axe, screen):
    page = page_of(f"{archive_service.url}/#/jobs/{archive_service.jobs[0]}")
    page.get_by_role("button", name="Embed").click()
    dialog = page.get_by_role("dialog", name="Embed this timeline")
    dialog.get_by_label("Sites that may show it").fill("dash.example/path")
    dialog.get_by_role("button", name="Make a token").click()
    dialog.locator(".form-error .code").wait_for()
    dialog.get_by_label("Sites that may show it").fill("https://dash.example")
    dialog.get_by_role("button", name="Make a token").click()
    dialog.get_by_text("<kinetag-timeline").wait_for()
    assert "kte_" in dialog.get_by_text("<iframe").inner_text()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog.get_by_role("button", name="Copy: As an element").click()
    dialog.get_by_text("Copied").first.wait_for()
    assert "<kinetag-timeline" in page.evaluate("navigator.clipboard.readText()")
    assert axe(page) == []
    screen(page, "page-embed")


def test_the_theme_is_remembered(archive_service, page_of):
    page = page_of(archive_service.url, color_scheme="dark")
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.reload()
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_keyboard_is_enough(archive_service, page_of):
    page = page_of(archive_service.url)
    job_row(page, "dock.mp4").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Add videos"
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Add videos"


def test_the_page_is_quick_and_still(archive_service, page_of):
    page = page_of()
    page.emulate_media(reduced_motion="reduce")
    page.goto(archive_service.url)
    page.locator(".job .pill").first.wait_for()
    assert page.evaluate(SHIFTS) < 0.02
    assert page.evaluate("document.getAnimations().length") == 0


def test_modules_that_begin_the_page_are_announced():
    """Whatever the first view imports is asked for at once, not one import after the other."""
    index = (MODULES / "index.html").read_text()
    announced = re.findall(r'rel="modulepreload" href="/web/([^"]+)"', index)
    assert len(announced) == len(set(announced))
    assert {*announced, "page/main.js"} == _imports({"page/main.js", "page/videos.js"})


def _imports(modules):
    web = MODULES.parent
    known, new = set(), set(modules)
    while new:
        module = new.pop()
        known.add(module)
        text = (web / module).read_text()
        for path in re.findall(r'^import [^;]*?from "(\.[^"]+)";', text, re.M):
            found = str(((web / module).parent / path).resolve().relative_to(web))
            new |= {found} - known
    return known


def test_long_lists_are_paged(archive_service, page_of):
    client, known = archive_service.client, archive_service.jobs[0]
    video = client.get(f"/v1/jobs/{known}").json()["video"]["id"]
    wish = {"video_id": video, "tag": "many", "queue": "batch"}
    for _ in range(33):
        client.post("/v1/jobs", json=wish).raise_for_status()
    page = page_of(f"{archive_service.url}/#/?tag=many")
    rows = page.locator("li.job[data-job]")
    rows.nth(29).wait_for()
    assert rows.count() == 30
    page.get_by_role("button", name="Show older ones").click()
    rows.nth(32).wait_for()
    assert rows.count() == 33
    last_read = "document.activeElement.closest('li')?.previousElementSibling?.dataset.job"
    eventually(page, f"{last_read} === '{rows.nth(29).get_attribute('data-job')}'")


def test_an_address_leads_to_its_segment(archive_service, page_of):
    url, job = archive_service.url, archive_service.jobs[0]
    segments = archive_service.client.get(f"/v1/jobs/{job}/result").json()["segments"]
    wanted, other = (
        segments[0],
        next(one for one in segments if one["label"] != segments[0]["label"]),
    )
    page = page_of(f"{url}/#/jobs/{job}?at={wanted['start'] + 0.2:.3f}&label={wanted['label']}")
    page.locator("kinetag-timeline .row").first.wait_for()
    look = "document.querySelector('kinetag-timeline')"
    eventually(page, f"{look}.selected?.start === {wanted['start']}")
    eventually(page, f"Math.abs({look}.currentTime - {wanted['start'] + 0.2:.3f}) < 0.01")
    # Another address of the same job: the player stays, and goes there.
    page.evaluate(f"location.hash = '#/jobs/{job}?at={other['start']:.3f}&segment=seg_1'")
    eventually(page, f"{look}.selected?.start === {other['start']}")


@pytest.mark.parametrize("rest", ["", "/", "/.", "/..", "/..%2F..%2Fv1%2Fkeys", "/<svg>", "/%00"])
def test_nothing_but_a_job_gets_into_a_path_of_the_service(archive_service, page_of, rest):
    page = page_of(f"{archive_service.url}/#/jobs{rest}")
    page.get_by_role("heading", name="There is nothing at this address").wait_for()
    asked = [url for _, url in page.watch.requests if "/v1/" in url and "/v1/events" not in url]
    assert asked == []


@pytest.mark.parametrize("part", ["/v1/jobs/{job}", "/v1/jobs/{job}/result?format=native"])
def test_a_proxys_page_in_place_of_an_answer_is_told(archive_service, page_of, part):
    url, job = archive_service.url, archive_service.jobs[0]
    page = page_of()
    address = url + part.format(job=job)
    page.route(
        address, lambda route: route.fulfill(body="<h1>Sign in</h1>", content_type="text/html")
    )
    page.goto(f"{url}/#/jobs/{job}")
    page.get_by_text("did not arrive whole").wait_for()
    page.unroute(address)
    page.get_by_role("button", name="Try again").click()
    page.locator("kinetag-timeline .row").first.wait_for()


def test_three_lanes_are_in_sight_under_the_video(archive_service, page_of):
    job = archive_service.jobs[0]
    page = page_of(f"{archive_service.url}/#/jobs/{job}", viewport=DESKTOP)
    page.locator("kinetag-timeline .row").first.wait_for()
    page.locator("kinetag-timeline .row").first.click()
    ends = """(element) => {
      const at = (one) => element.shadowRoot.querySelector(one).getBoundingClientRect();
      const lanes = at(".lanes").top + 3 * at(".label").height;
      return { lanes, stage: at(".stage").height, list: at(".list").bottom - at(".side").bottom };
    }"""
    seen = page.locator("kinetag-timeline").evaluate(ends)
    assert seen["lanes"] <= DESKTOP["height"]
    assert seen["stage"] > DESKTOP["height"] / 3
    page.set_viewport_size({"width": 1280, "height": 640})
    # The list ends where the video does, however low that is.
    assert page.locator("kinetag-timeline").evaluate(ends)["list"] <= 1


@pytest.mark.parametrize("width", [DESKTOP["width"], 700])
def test_a_full_screen_is_full(archive_service, page_of, width):
    job = archive_service.jobs[0]
    page = page_of(f"{archive_service.url}/#/jobs/{job}", viewport={"width": width, "height": 900})
    page.locator("kinetag-timeline .row").first.wait_for()
    page.get_by_role("button", name="Full screen").click()
    eventually(page, "document.fullscreenElement !== null")
    page.wait_for_timeout(200)
    gap = page.locator("kinetag-timeline").evaluate(
        """(element) => {
          const at = (one) => element.shadowRoot.querySelector(one).getBoundingClientRect();
          return [at(".bar").top - at(".stage").bottom, at(".root").height - innerHeight];
        }"""
    )
    assert gap == pytest.approx([0, 0], abs=2)


def test_players_that_were_left_are_gone(archive_service, page_of):
    url, job = archive_service.url, archive_service.jobs[0]
    page = page_of(f"{url}/#/")
    session = page.context.new_cdp_session(page)
    for _ in range(4):
        page.evaluate(f"location.hash = '#/jobs/{job}'")
        page.locator("kinetag-timeline .row").first.wait_for()
        page.evaluate("location.hash = '#/'")
        page.locator("li.job[data-job]").first.wait_for()
    prototype = session.send("Runtime.evaluate", {"expression": "HTMLVideoElement.prototype"})

    def left():
        session.send("HeapProfiler.collectGarbage")
        wish = {"prototypeObjectId": prototype["result"]["objectId"]}
        found = session.send("Runtime.queryObjects", wish)["objects"]["objectId"]
        count = {"objectId": found, "functionDeclaration": "function() { return this.length; }"}
        return session.send("Runtime.callFunctionOn", {**count, "returnByValue": True})["result"][
            "value"
        ]

    for _ in range(50):
        if left() <= 1:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{left()} videos are still held.")
