"""Pictures of timelines: where things stand, and that SVG and PNG show the same, whatever is in."""

import io
import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from models.errors import ContractViolation
from models.plots import ruler
from models.plots.fonts import Coverage
from models.plots.lanes import MAX_LANES, bars, choose_lanes, thinned
from models.plots.layout import MAX_HEIGHT_PX, MIN_WIDTH_PX, PictureChoice, lay_out
from models.plots.lettering import clean, fit, text_width, wrapped
from models.plots.palette import CLASS_COLORS, INKS, NUM_SLOTS, THEMES, color_of, color_slots
from models.plots.png import MISSING_NOTE, draw_png, render_png
from models.plots.primitives import Area, Box, Strip, Tile, Words
from models.plots.scene import Curves, Mark, scene_of
from models.plots.svg import render_svg

SVG = "{http://www.w3.org/2000/svg}"
FORBIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]></title><svg onload=alert(1)>",
    "a\x00b\x1b\x85\u2028c\ud800d\ufffee",
    "\u202egnp.exe\u2066",
    "z" + "\u0301" * 500,
    "&amp;&lt;&#x3c;",
    "x" * 5000,
)


def native_of(segments=(), duration=100.0, name="cam.mp4", **more):
    rows = [
        {"label": label, "start": start, "end": end, "score": score, "raw_score": score}
        for label, start, end, score in segments
    ]
    return {
        "video": {"name": name, "duration": duration}, "model": "m@1", "segments": rows,
        "warnings": [], **more,
    }  # fmt: skip


def hints(drawing):
    return [one for one in drawing.items if isinstance(one, Box) and one.hint]


def texts(drawing):
    return [one.text for one in drawing.items if isinstance(one, Words)]


def curves_of(num_steps, num_classes, duration, threshold=0.5):
    seconds = (np.arange(num_steps) + 0.5) * duration / num_steps
    values = np.random.default_rng(0).random((num_steps, num_classes)).astype(np.float32)
    return Curves(seconds, values, threshold)


def strip_of(num_tiles=4, seconds=100.0):
    image = Image.new("RGB", (16 * num_tiles, 9))
    for at in range(num_tiles):
        image.paste((60 * at, 255 - 60 * at, 128), (16 * at, 0, 16 * at + 16, 9))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    middles = tuple((at + 0.5) * seconds / num_tiles for at in range(num_tiles))
    return Strip(buffer.getvalue(), 16, 9, num_tiles, middles)


anything = st.text(max_size=60) | st.sampled_from(HOSTILE)


@settings(max_examples=60, deadline=None)
@given(
    name=anything,
    labels=st.lists(anything.filter(bool), min_size=1, max_size=12, unique=True),
    width=st.integers(320, 4096),
    height=st.none() | st.integers(160, 4096),
    theme=st.sampled_from(["light", "dark", "auto"]),
    data=st.data(),
)
def test_every_text_makes_valid_inert_svg(name, labels, width, height, theme, data):
    times = st.floats(-5, 130)
    drawn = st.tuples(st.sampled_from(labels), times, times, st.floats(0, 1))
    segments = data.draw(st.lists(drawn, max_size=20))
    scene = scene_of(
        native_of(segments, name=name, warnings=[{"message": name}]),
        classes=labels,
        curves=curves_of(30, len(labels), 100.0),
    )
    drawing = lay_out(scene, PictureChoice(width, height))
    assert drawing.width_px == width
    assert height is None or drawing.height_px == height
    assert drawing.height_px <= MAX_HEIGHT_PX
    written = render_svg(drawing, theme)
    written.encode()
    root = ET.fromstring(written)  # noqa: S314 - drawn just now
    known = {"svg", "title", "desc", "style", "rect", "line", "polygon", "polyline", "text"}
    assert {one.tag.removeprefix(SVG) for one in root.iter()} <= known
    attributes = {attribute for one in root.iter() for attribute in one.attrib}
    assert not [one for one in attributes if one.lower().startswith("on") or "href" in one]
    assert (root[0].tag, root[1].tag) == (SVG + "title", SVG + "desc")
    assert root[0].text == f"Timeline of {clean(name)}"
    for box in hints(drawing):
        assert -0.01 <= box.x <= box.x + box.width <= width + 0.01


@pytest.mark.parametrize("text", HOSTILE)
def test_strangers_text_is_made_harmless(text):
    shown = clean(text)
    assert len(shown) <= 300
    assert not FORBIDDEN.search(shown)
    assert "\u0301" * 5 not in shown
    if text.isprintable() and len(text) < 100:
        assert shown == text


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=80), width=st.floats(0, 500))
def test_cut_text_fits_and_begins_as_the_whole_does(text, width):
    shown = fit(clean(text), width, 13)
    assert text_width(shown, 13) <= width or shown == ""
    assert clean(text).startswith(shown.removesuffix("…").rstrip())
    assert len(wrapped(clean(text), width, 13, 3)) <= 3


@settings(max_examples=60, deadline=None)
@given(
    start=st.floats(0, 99),
    length=st.floats(2, 50),
    width=st.integers(320, 4096),
)
def test_a_segment_stands_at_its_time(start, length, width):
    scene = scene_of(native_of([("fall", start, start + length, 0.5)]))
    drawing = lay_out(scene, PictureChoice(width))
    (box,) = hints(drawing)
    (lane,) = [one for one in drawing.items if isinstance(one, Box) and one.ink == "lane"]
    end = min(start + length, 100.0)
    assert box.x == pytest.approx(lane.x + start / 100 * lane.width, abs=1.6)
    assert box.width == pytest.approx(max(1.5, (end - start) / 100 * lane.width), abs=1e-6)
    root = ET.fromstring(render_svg(drawing))  # noqa: S314 - drawn just now
    (rect,) = [one for one in root.iter(SVG + "rect") if len(one)]
    assert float(rect.get("x", "nan")) == pytest.approx(box.x, abs=0.01)
    assert rect.find(SVG + "title").text == box.hint
    assert "fall 0.50" in box.hint


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("scale", [1, 1.5, 2])
def test_pixels_have_the_colour_of_the_class_where_the_drawing_says(theme, scale):
    segments = [("walk", 10, 30, 0.9), ("fall", 40, 42, 0.8), ("sit", 70, 99, 0.2)]
    scene = scene_of(native_of(segments), classes=("walk", "fall", "sit"))
    drawing = lay_out(scene, PictureChoice(800))
    picture = Image.open(io.BytesIO(draw_png(drawing, theme, scale)))
    assert picture.format == "PNG"
    assert picture.size == (round(800 * scale), round(drawing.height_px * scale))
    slots = color_slots(["walk", "fall", "sit"])
    for label, box in zip(("walk", "fall", "sit"), hints(drawing), strict=True):
        wanted = ImageColor.getrgb(CLASS_COLORS[theme][slots[label]])
        for x, y in ((0.12, 0.15), (0.88, 0.15), (0.15, 0.85), (0.85, 0.85)):
            place = int((box.x + box.width * x) * scale), int((box.y + box.height * y) * scale)
            assert picture.getpixel(place) == wanted
        outside = (int((box.x - 4) * scale), int((box.y + box.height / 2) * scale))
        assert picture.getpixel(outside) == ImageColor.getrgb(INKS[theme].lane)
    assert picture.getpixel((1, 1)) == ImageColor.getrgb(INKS[theme].page)


def test_large_pictures_are_small_ones_larger():
    segments = [("walk", 10, 30, 0.9), ("fall", 40, 42, 0.8)]
    scene = scene_of(native_of(segments), classes=("walk", "fall"))
    small, large = (lay_out(scene, PictureChoice(width)) for width in (1600, 3200))
    assert (large.width_px, large.height_px) == (3200, 2 * small.height_px)
    assert large.items == small.items
    root = ET.fromstring(render_svg(large))  # noqa: S314 - drawn just now
    assert (root.get("width"), root.get("viewBox")) == ("3200", f"0 0 1600 {small.height_px}")
    picture = Image.open(io.BytesIO(draw_png(large)))
    box = hints(large)[0]
    place = round((box.x + 0.1 * box.width) * 2), round((box.y + box.height / 5) * 2)
    slot = color_slots(["walk", "fall"])["walk"]
    assert picture.size == (3200, large.height_px)
    assert picture.getpixel(place) == ImageColor.getrgb(CLASS_COLORS["light"][slot])
    tall = lay_out(scene, PictureChoice(4096, 2160))
    assert tall.height_px == 2160


def test_a_curve_reaches_its_peak_where_it_is():
    curves = curves_of(50_000, 1, 36_000.0)
    curves.values[:] = 0.1
    curves.values[12_345] = 1.0
    drawing = lay_out(scene_of(native_of(duration=36_000.0), classes=["x"], curves=curves))
    lane = next(one for one in drawing.items if isinstance(one, Box) and one.ink == "lane")
    area = next(one for one in drawing.items if isinstance(one, Area) and one.ink != "quiet")
    peak = area.points[np.argmin(area.points[:, 1])]
    wanted = lane.x + (12_345.5 / 50_000) * lane.width
    assert peak[0] == pytest.approx(wanted, abs=1.0)
    assert len(area.points) < lane.width + 8


@settings(max_examples=50, deadline=None)
@given(num_steps=st.integers(1, 400), num_points=st.integers(2, 300), seed=st.integers(0, 99))
def test_thinning_keeps_the_extent_and_every_peak(num_steps, num_points, seed):
    values = np.random.default_rng(seed).random(num_steps).astype(np.float32)
    seconds = np.arange(num_steps, dtype=np.float64)
    places, peaks = thinned(seconds, values, num_points)
    assert len(places) == len(peaks) == min(num_steps, num_points)
    assert peaks.max() == values.max()
    assert np.all(np.diff(places) > 0)
    if num_points >= num_steps:
        assert np.array_equal(peaks, values.astype(float))


def test_thousands_of_segments_cost_no_more_than_the_picture_is_wide():
    starts = np.linspace(0, 35_990, 20_000)
    marks = tuple(Mark(start, start + 0.5, 0.5) for start in starts.tolist())
    found = bars(marks, 1000 / 36_000, 1000)
    assert sum(bar.count for bar in found) == 20_000
    assert len(found) < 1000
    drawing = lay_out(scene_of(native_of([("a", m.start, m.end, m.score) for m in marks], 36_000)))
    assert len(render_svg(drawing)) < 200_000


def test_segments_apart_stay_apart():
    marks = (Mark(10, 10.1, 0.2), Mark(12, 12.1, 0.9), Mark(50, 80, 0.5))
    found = bars(marks, 5.0, 500)
    assert [(bar.count, bar.score) for bar in found] == [(1, 0.2), (1, 0.5), (1, 0.9)]
    assert [bar.width for bar in found] == [1.5, 150, 1.5]


def test_nothing_found_is_said():
    drawing = lay_out(scene_of(native_of(), classes=("a", "b"), curves=curves_of(9, 2, 100.0)))
    assert "Nothing found" in texts(drawing)
    assert drawing.description.startswith("Nothing found")
    assert {"a", "b"} <= set(texts(drawing))
    asked = lay_out(scene_of(native_of([("a", 1, 2, 0.5)])), PictureChoice(labels=("z",)))
    assert "Nothing found" in texts(asked)


def test_too_many_classes_are_named_below():
    segments = [(f"class {at:03d}", at % 90, at % 90 + 3, at / 421) for at in range(420)]
    drawing = lay_out(scene_of(native_of(segments)))
    assert len(hints(drawing)) == MAX_LANES
    assert "class 419" in texts(drawing)
    assert any(text.startswith("And 380 more classes") for text in texts(drawing))
    small = lay_out(scene_of(native_of(segments)), PictureChoice(640, 300))
    assert small.height_px == 300
    words = [one for one in small.items if isinstance(one, Words)]
    assert max(one.y for one in words) <= 300


def test_few_classes_all_have_lanes_and_many_only_those_found():
    few = scene_of(native_of([("b", 1, 9, 0.5)]), classes=("a", "b", "c"))
    assert [lane.label for lane in choose_lanes(few).lanes] == ["a", "b", "c"]
    many = scene_of(native_of([("c7", 1, 9, 0.5)]), classes=[f"c{at}" for at in range(20)])
    assert [lane.label for lane in choose_lanes(many).lanes] == ["c7"]
    curves = curves_of(5, 20, 100.0)
    curves.values[:, [3, 9]] = 2.0
    none = scene_of(native_of(), classes=[f"c{at}" for at in range(20)], curves=curves)
    assert {"c3", "c9"} < {lane.label for lane in choose_lanes(none).lanes}
    assert len(choose_lanes(none).lanes) == 4


@pytest.mark.parametrize(
    ("duration", "most", "recorded_at", "wanted"),
    [
        (10.0, 5, None, ["0:00", "0:02", "0:04", "0:06", "0:08", "0:10"]),
        (0.3, 4, None, ["0:00.0", "0:00.1", "0:00.2", "0:00.3"]),
        (7200.0, 4, None, ["0:00", "30:00", "1:00:00", "1:30:00", "2:00:00"]),
        (36_000.0, 4, None, ["0:00", "3:00:00", "6:00:00", "9:00:00"]),
        (600.0, 5, datetime(2026, 11, 20, 23, 56, tzinfo=UTC),
         ["23:56", "23:58", "21 Nov", "00:02", "00:04", "00:06"]),
        (45.0, 3, datetime(2026, 11, 20, 9, 0, 10, 500_000, tzinfo=UTC),
         ["09:00:15", "09:00:30", "09:00:45"]),
    ],
)  # fmt: skip
def test_rulers_have_round_times(duration, most, recorded_at, wanted):
    assert [tick.text for tick in ruler.ticks(duration, most, recorded_at)] == wanted


@settings(max_examples=80, deadline=None)
@given(duration=st.floats(0.01, 1e7), most=st.integers(1, 60))
def test_ticks_lie_in_the_video_and_are_not_too_many(duration, most):
    found = ruler.ticks(duration, most, None)
    assert 1 <= len(found) <= most + 2
    assert all(0 <= tick.seconds <= duration for tick in found)
    assert len({tick.text for tick in found}) == len(found)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(4.24, "4.2 s"), (60, "1 min"), (725, "12 min 5 s"), (3599.9, "1 h"), (36_180, "10 h 3 min")],
)
def test_lengths_are_said_as_people_say_them(seconds, wanted):
    assert ruler.length(seconds) == wanted


def test_thumbnails_stand_over_their_time():
    strip = strip_of()
    scene = scene_of(native_of([("a", 1, 50, 0.5)]), thumbnails=strip)
    drawing = lay_out(scene)
    tiles = [one for one in drawing.items if isinstance(one, Tile)]
    assert [tile.index for tile in tiles] == sorted(tile.index for tile in tiles)
    assert {tile.index for tile in tiles} == {0, 1, 2, 3}
    root = ET.fromstring(render_svg(drawing))  # noqa: S314 - drawn just now
    (image,) = root.iter(SVG + "image")
    assert image.get("href").startswith("data:image/jpeg;base64,")
    assert {one.get("href") for one in root.iter(SVG + "use")} == {f"#{image.get('id')}"}
    picture = Image.open(io.BytesIO(draw_png(drawing)))
    for tile in tiles:
        row, column = int(tile.y + tile.height / 2), int(tile.x + tile.width / 2)
        red, green, _ = np.asarray(picture, np.int64)[row, column].tolist()
        assert abs(red - 60 * tile.index) < 12
        assert abs(green - (255 - 60 * tile.index)) < 12


def test_light_svg_needs_no_style_and_dark_readers_get_dark_colours():
    drawing = lay_out(scene_of(native_of([("a", 1, 50, 0.5)])))
    plain, automatic = render_svg(drawing, "light"), render_svg(drawing, "auto")
    assert "<style" not in plain
    assert "class=" not in plain
    assert "prefers-color-scheme:dark" in automatic
    assert color_of("page", "dark") in automatic
    without = re.sub(r"<style>.*?</style>\n| class=\"[^\"]*\"", "", automatic)
    assert without == plain
    assert color_of("page", "light") not in render_svg(drawing, "dark")


def test_what_no_font_has_is_said():
    coverage = Coverage()
    assert not coverage.missing(["Gehen, marché 0.5 …·"])
    private = "\U0001f938\U000e0100"
    known, unknown = (
        Image.open(io.BytesIO(render_png(scene_of(native_of([(label, 1, 9, 0.5)])))))
        for label in ("a", private)
    )
    assert (unknown.height > known.height) == coverage.missing([private])
    assert "question marks" in MISSING_NOTE
    runs = coverage.runs("ab\ue000c d", 13)
    assert "".join(run.text for run in runs) == "ab?c d"


def test_colours_are_stable_and_up_to_twelve_differ():
    labels = [f"label {at}" for at in range(NUM_SLOTS)]
    slots = color_slots(labels)
    assert sorted(slots.values()) == list(range(NUM_SLOTS))
    assert color_slots(reversed(labels)) == slots
    assert color_slots([*labels, *labels]) == slots
    assert len(color_slots(map(str, range(100)))) == 100


@pytest.mark.parametrize("theme", THEMES)
def test_what_is_read_stands_out(theme):
    def luminance(color):
        shares = np.array(ImageColor.getrgb(color)) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one, two):
        high, low = sorted((luminance(one), luminance(two)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    inks = INKS[theme]
    for ground in (inks.page, inks.lane):
        assert contrast(inks.text, ground) >= 7
        assert contrast(inks.quiet, ground) >= 4.5
        assert min(contrast(color, ground) for color in CLASS_COLORS[theme]) >= 3
    assert min(contrast(color, inks.on_color) for color in CLASS_COLORS[theme]) >= 4.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: PictureChoice(MIN_WIDTH_PX - 1),
        lambda: PictureChoice(4097),
        lambda: PictureChoice(800, 20),
        lambda: scene_of(native_of(duration=0.0)),
        lambda: scene_of(native_of(duration=float("inf"))),
        lambda: scene_of(native_of(), classes=("a",), curves=curves_of(5, 2, 100.0)),
        lambda: render_png(scene_of(native_of()), PictureChoice(4096, 4096), scale=2),
        lambda: render_png(scene_of(native_of()), scale=9),
    ],
)
def test_impossible_pictures_are_refused(make):
    with pytest.raises(ContractViolation):
        make()


@pytest.mark.parametrize("kept_bytes", [0, 3, 200])
def test_damaged_thumbnails_cost_themselves_and_not_the_picture(kept_bytes):
    whole = strip_of(4)
    damaged = Strip(whole.jpeg[:kept_bytes], 16, 9, 4, whole.seconds)
    content = render_png(scene_of(native_of(), thumbnails=damaged))
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert picture.width == 1200
