"""Contact sheets: one inert page with everything in it, whatever videos and classes are called."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.plots.palette import color_slots
from models.plots.primitives import Strip
from models.plots.scene import scene_of
from models.plots.sheet import Card, Failure, Sheet, Totals, render_sheet
from models.plots.sheet_style import SHEET_POLICY, SHEET_STYLE, style_source

HOSTILE = (
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><script>x</script>",
    "javascript:alert(1)", "\u202egnp.exe", "a\x00\x1b[31mb", "&lt;b&gt;", "x" * 4000,
    "' onload='x",
)  # fmt: skip
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "dl", "div",
    "dt", "dd", "ul", "ol", "li", "span", "bdi", "main", "section", "table", "thead", "tbody", "tr",
    "th", "td", "code", "img", "svg", "rect", "a", "details", "summary", "nav", "footer",
}  # fmt: skip
VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Collects the elements of a page, and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.found, self.open, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def scene(segments=(), duration=100.0, name="cam.mp4", **more):
    rows = [{"label": one, "start": a, "end": b, "score": s} for one, a, b, s in segments]
    native = {"video": {"name": name, "duration": duration}, "model": "m@1", "segments": rows}
    return scene_of({**native, **more})


def page(cards, failures=(), **more):
    totals = Totals(num_failed=len(failures))
    for card in cards:
        labels = [label for label, marks in card.scene.marks.items() for _ in marks]
        totals.add(card.scene.duration_seconds, labels)
    sheet = Sheet("batch", "about", totals, failures, **more)
    return "".join(render_sheet(sheet, iter(cards)))


names = st.text(min_size=1, max_size=40) | st.sampled_from(HOSTILE)


@settings(max_examples=60, deadline=None)
@given(name=names, label=names, message=names, title=names)
def test_no_name_becomes_markup(name, label, message, title):
    cards = [Card(name, scene([(label, 1, 5, 0.5)], name=name, camera=label))]
    failures = [Failure(name, "code", message)]
    totals = Totals(num_failed=1)
    totals.add(100.0, [label])
    sheet = Sheet(title, message, totals, failures, note=message)
    reader = read("".join(render_sheet(sheet, iter(cards))))
    assert {tag for tag, _ in reader.found} <= ALLOWED
    for tag, attributes in reader.found:
        assert not [one for one in attributes if one.startswith("on") or one == "style"]
        assert tag != "a" or attributes["href"].startswith("/")
    assert sum(tag == "style" for tag, _ in reader.found) == 1
    assert not re.search("[\x00\u202e]", "".join(reader.words))


def test_a_sheet_is_whole_by_itself():
    strip = Strip(b"\xff\xd8jpeg", 16, 9, 3, (1.0, 2.0, 3.0))
    one = scene([("fall", 10, 20, 0.9)])
    text = page([Card("a.mp4", one), Card("b.mp4", scene_with(strip))])
    assert style_source(SHEET_STYLE) in SHEET_POLICY
    assert html.unescape(read(text).found[3][1]["content"]) == SHEET_POLICY
    assert re.findall(r"<style>(.*?)</style>", text, re.DOTALL) == [SHEET_STYLE]
    assert "<script" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert all(
        one.startswith("data:image/jpeg;base64,") for one in re.findall(r'src="(.*?)"', text)
    )


def scene_with(strip):
    native = {"video": {"name": "b", "duration": 9.0}, "model": "m", "segments": []}
    return scene_of(native, thumbnails=strip)


def test_what_was_found_stands_where_it_is():
    text = page([Card("a.mp4", scene([("fall", 10, 20, 0.9), ("fall", 50, 90, 0.4)]))])
    rects = re.findall(r'<rect x="([\d.]+)" width="([\d.]+)"', text)
    assert sorted((float(x), float(width)) for x, width in rects) == [(40, 40), (200, 160)]
    slot = color_slots(["fall"])["fall"]
    assert f'class="bars k{slot}"' in text
    words = " ".join("".join(read(text).words).split())
    assert "0:10.0 to 0:20.0" in words
    assert "2 · 50.0 s" in words


def test_times_of_day_are_shown_where_they_are_known():
    known = scene([("fall", 10, 20, 0.9)], recorded_at="2026-11-20T09:00:00.000Z")
    words = "".join(read(page([Card("a.mp4", known)])).words)
    assert "09:00:10 to 09:00:20" in words
    assert "2026-11-20 09:00:00 UTC" in words


def test_failures_and_empty_videos_are_told():
    failures = [Failure(f"{at}.mp4", "unreadable_video", "Damaged.") for at in range(300)]
    text = page([Card("a.mp4", scene())], failures)
    assert text.count("<code>unreadable_video</code>") == 200
    assert "And 100 more." in text
    assert "Nothing found." in text
    assert "No video has a result on this page." in page([])


def test_cards_and_lists_are_bounded():
    segments = [(f"c{at % 30:02d}", at / 30, at / 30 + 0.01, at / 3000) for at in range(3000)]
    text = page([Card("a.mp4", scene(segments))])
    assert text.count('class="lane"') == 6
    assert "And 24 more classes with lower scores." in text
    assert "And 2,960 more with lower scores." in text
    assert len(text) - len(SHEET_STYLE) < 100_000


def test_pages_agree_on_colours_where_classes_are_given():
    classes = ["walk", "fall", "wave", "run", "sit", "lift", "climb", "throw"]
    slots = color_slots(classes)
    for label in classes:
        text = page([Card("a.mp4", scene([(label, 1, 9, 0.5)]))], classes=classes)
        assert f'class="bars k{slots[label]}"' in text


@pytest.mark.parametrize("count", [0, 1, 2])
def test_figures_are_those_of_all_videos(count):
    cards = [Card(f"{at}.mp4", scene([("fall", 1, 2, 0.5)] * at)) for at in range(count)]
    words = " ".join(read(page(cards)).words)
    assert f" {count} " in words
    assert ("Segments " + str(sum(range(count)))) in " ".join(words.split())
