"""Pictures of timelines and contact sheets, as a browser shows them: inert, readable, in order."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from models.plots.palette import CLASS_COLORS, color_slots
from service.batches.records import BatchItemRecord
from service.jobs.commands import open_core
from service.jobs.store import transaction

SIZES = {
    "phone": {"width": 360, "height": 1500},
    "desktop": {"width": 1440, "height": 1200},
    "4k": {"width": 3840, "height": 2160},
}


def planted_batch(archive_service, name, names):
    """Make a batch that made the archive's jobs, as far as one can see; return its address."""
    client = archive_service.client
    jobs = [client.get(f"/v1/jobs/{job}").json() for job in archive_service.jobs[:4]]
    videos = [{"video_id": job["video"]["id"]} for job in jobs]
    items = [{**video, "name": one} for video, one in zip(videos, names, strict=False)]
    items.append({"path": "/nowhere/lost.mp4", "name": names[-1]})
    wish = {"items": items, "model": "kinetag-demo@1", "name": name}
    answer = client.post("/v1/batches", json=wish)
    assert answer.status_code == 202, answer.text
    refused = {"error_code": "path_refused", "error_message": "Not below a known folder."}
    rows = [{"status": "succeeded", "job_id": job["id"], "ended_at": utc_now()} for job in jobs]
    rows.append({"status": "failed", "ended_at": utc_now(), **refused})
    with transaction(open_core(archive_service.archive.settings).engine) as session:
        for position, row in enumerate(rows):
            here = BatchItemRecord.batch_id == answer.json()["id"]
            at = BatchItemRecord.position == position
            session.execute(update(BatchItemRecord).where(here, at).values(**row))
    return archive_service.url + answer.headers["location"]


@pytest.fixture(scope="module")
def batch(archive_service):
    names = ("entrance.mp4", "dock.mp4", "office.mp4", "yard.mp4", "usb-stick/old.mp4")
    return planted_batch(archive_service, "night shift", names)


def utc_now():
    return datetime.now(UTC)


def picture(archive_service, number=0, query=""):
    job = archive_service.jobs[number]
    return f"{archive_service.url}/v1/jobs/{job}/timeline.svg?{query}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_timeline_opened_by_itself_runs_nothing_and_follows_the_reader(
    archive_service, page_of, screen, theme
):
    page = page_of(color_scheme=theme, viewport={"width": 1200, "height": 700})
    answer = page.goto(picture(archive_service))
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    screen(page, f"picture-timeline-{theme}")
    rect = page.locator("rect", has=page.locator("title")).first
    label = rect.locator("title").text_content().split(" ")[0]
    classes = archive_service.client.get("/v1/models").json()["models"][0]["classes"]
    slot = color_slots(classes)[label]
    color = CLASS_COLORS[theme][slot].lstrip("#")
    wanted = ", ".join(str(int(color[at : at + 2], 16)) for at in (0, 2, 4))
    assert rect.evaluate("one => getComputedStyle(one).fill") == f"rgb({wanted})"


def test_hostile_names_are_text(archive_service, page_of):
    page = page_of(picture(archive_service, 3))
    assert "onerror" in page.locator("svg > title").text_content()
    assert page.locator("img, script, foreignObject").count() == 0


def test_a_timeline_is_an_image_in_a_page(archive_service, page_of):
    page = page_of(archive_service.url)
    size = page.evaluate(
        """async (address) => {
            const image = new Image();
            image.src = address;
            await image.decode();
            return [image.naturalWidth, image.naturalHeight > 200];
        }""",
        picture(archive_service, 0, "width=700"),
    )
    assert size == [700, True]


@pytest.mark.parametrize(
    ("kind", "theme"),
    [("phone", "dark"), ("desktop", "light"), ("desktop", "dark"), ("4k", "light")],
)
def test_a_contact_sheet_is_whole_and_accessible(batch, page_of, axe, screen, theme, kind):
    page = page_of(f"{batch}/sheet", viewport=SIZES[kind], color_scheme=theme)
    assert page.locator("h1").inner_text() == "night shift"
    assert page.locator(".card").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    screen(page, f"contact-sheet-{kind}-{theme}")
    page.locator("summary").first.click()
    assert page.locator("details table").first.is_visible()
    assert axe(page) == []
    colors = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colors == ("rgb(15, 17, 22)" if theme == "dark" else "rgb(246, 247, 249)")


def test_hostile_names_are_text_in_a_sheet(archive_service, page_of, axe):
    hostile = "<img src=x onerror=alert({})>.mp4"
    names = [hostile.format(at) for at in range(5)]
    address = planted_batch(archive_service, "<script>alert(1)</script>", names)
    page = page_of(f"{address}/sheet")
    assert page.locator("h1").inner_text() == "<script>alert(1)</script>"
    assert page.locator("h3 bdi").all_inner_texts() == names[:4]
    assert page.locator("script, img:not(.posters)").count() == 0
    assert axe(page) == []


def test_a_saved_sheet_shows_the_same_from_a_file(batch, archive_service, page_of, tmp_path):
    served = archive_service.client.get(f"{batch}/sheet").text
    saved = tmp_path / "sheet.html"
    saved.write_text(served)
    page = page_of(saved.as_uri())
    assert page.locator(".card").count() >= 3
    image = page.locator("img.posters").first
    assert image.evaluate("one => one.complete && one.naturalWidth > 300")
    assert page.locator("svg.bars rect").first.bounding_box()["width"] > 0
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"


def test_links_of_a_sheet_lead_to_its_jobs(batch, archive_service, page_of):
    page = page_of(f"{batch}/sheet")
    addresses = page.locator("h3 a").evaluate_all("all => all.map((one) => one.href)")
    jobs = {f"{archive_service.url}/#/jobs/{job}" for job in archive_service.jobs}
    assert addresses
    assert set(addresses) <= jobs


def test_paper_gets_a_light_sheet(batch, page_of, screen):
    page = page_of(f"{batch}/sheet", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    text = page.evaluate("getComputedStyle(document.body).color")
    assert text == "rgb(22, 27, 36)"
    screen(page, "contact-sheet-print")
