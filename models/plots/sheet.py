"""Contact sheets: one self-contained HTML page over many videos, without script.

A card per video with moments of it, its segments by class on a timeline, and a list of them;
before them what could not be done and why, and the totals.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape

from models.plots.lanes import Lane, bars, choose_lanes
from models.plots.lettering import clean
from models.plots.palette import color_slots
from models.plots.primitives import Strip
from models.plots.ruler import clock, length, time_of_day
from models.plots.scene import Scene
from models.plots.sheet_style import SHEET_POLICY, SHEET_STYLE
from models.plots.wording import counted

LANES_PER_CARD = 6
LISTED_SEGMENTS = 40
LISTED_FAILURES = 200
LISTED_LABELS = 40
LANE_UNITS, LANE_HEIGHT_UNITS = 400, 10
SAID_SEGMENTS = 5
FINE_SECONDS = 120.0
"""Shorter videos have tenths of a second in their times."""


@dataclass(frozen=True, slots=True)
class Card:
    """One video with a result.

    Attributes:
        name: under which it stands in the batch.
        scene: what was found.
        link: a trusted address of more about it; None for none.
    """

    name: str
    scene: Scene
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One video without a result, and why: a stable code and a sentence."""

    name: str
    code: str
    message: str
    link: str | None = None


@dataclass(slots=True)
class Totals:
    """Figures over all videos of the batch, also those on other pages.

    Attributes:
        num_done, num_failed: videos with and without a result.
        num_waiting: neither yet.
        num_empty: videos in which nothing was found.
        seconds: of video that was looked at.
        labels: class -> number of segments.
        partial: ``num_empty``, ``seconds`` and ``labels`` are of the videos on this page alone.
    """

    num_done: int = 0
    num_failed: int = 0
    num_waiting: int = 0
    num_empty: int = 0
    seconds: float = 0.0
    labels: dict[str, int] = field(default_factory=dict)
    partial: bool = False

    def add(self, duration_seconds: float, labels: Sequence[str]) -> None:
        """Count a video and the labels of its segments."""
        self.num_done += 1
        self.num_empty += not labels
        self.seconds += duration_seconds
        for label in labels:
            self.labels[label] = self.labels.get(label, 0) + 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page.

    Attributes:
        title: of the batch.
        about: one line below it.
        totals: of the whole batch.
        failures: of the whole batch, or of this page.
        classes: every label there may be, so that pages agree on colours; the totals' are added.
        pages: other pages, text -> trusted address.
        note: one line at the end.
    """

    title: str
    about: str
    totals: Totals
    failures: Sequence[Failure] = ()
    classes: Sequence[str] = ()
    pages: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def render_sheet(sheet: Sheet, cards: Iterator[Card]) -> Iterator[str]:
    """Yield a page in parts; cards are taken one by one, so that memory does not grow with them."""
    slots = color_slots((*sheet.classes, *sheet.totals.labels))
    yield _head(sheet, slots)
    if sheet.failures:
        yield _failures(sheet)
    yield '<section aria-labelledby="videos"><h2 id="videos">Videos</h2>\n<ol class="cards">\n'
    number = 0
    for number, card in enumerate(cards, 1):
        yield _card(card, slots, number)
    yield "</ol>\n" if number else "</ol>\n<p>No video has a result on this page.</p>\n"
    yield "</section>\n</main>\n"
    yield _foot(sheet)


def _head(sheet: Sheet, slots: Mapping[str, int]) -> str:
    totals = sheet.totals
    here = " on this page" if totals.partial else ""
    figures = {
        "Videos": f"{totals.num_done + totals.num_failed + totals.num_waiting:,}",
        "Failed": f"{totals.num_failed:,}",
        f"Segments{here}": f"{sum(totals.labels.values()):,}",
        f"Nothing found{here}": f"{totals.num_empty:,}",
        f"Looked at{here}": length(totals.seconds),
    }
    if totals.num_waiting:
        figures["Not done yet"] = f"{totals.num_waiting:,}"
    shown = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in figures.items())
    title = escape(clean(sheet.title))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{SHEET_POLICY}">\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}: contact sheet</title>\n'
        f"<style>{SHEET_STYLE}</style>\n</head>\n<body>\n<header>\n<h1><bdi>{title}</bdi></h1>\n"
        f'<p class="quiet"><bdi>{escape(clean(sheet.about))}</bdi></p>\n'
        f'<dl class="totals">{shown}</dl>\n{_labels(totals, slots)}</header>\n<main>\n'
    )


def _labels(totals: Totals, slots: Mapping[str, int]) -> str:
    if not totals.labels:
        return ""
    ordered = sorted(totals.labels.items(), key=lambda item: (-item[1], item[0]))
    items = [
        f'<li>{_dot(slots[label])}<bdi>{escape(clean(label))}</bdi> <span class="quiet">{count:,}'
        "</span></li>"
        for label, count in ordered[:LISTED_LABELS]
    ]
    if len(ordered) > LISTED_LABELS:
        items.append(f'<li class="quiet">and {len(ordered) - LISTED_LABELS:,} more classes</li>')
    return f'<ul class="labels" aria-label="Segments by class">{"".join(items)}</ul>\n'


def _failures(sheet: Sheet) -> str:
    rows = "".join(
        f"<tr><td>{_named(one.name, one.link)}</td><td>{escape(clean(one.message))} "
        f"<code>{escape(clean(one.code))}</code></td></tr>\n"
        for one in sheet.failures[:LISTED_FAILURES]
    )
    rest = sheet.totals.num_failed - min(len(sheet.failures), LISTED_FAILURES)
    more = f'<p class="note">And {rest:,} more.</p>' if rest > 0 else ""
    return (
        '<section aria-labelledby="failed"><h2 id="failed">Without a result</h2>\n'
        '<div class="failures"><table><thead><tr><th scope="col">video</th>'
        f'<th scope="col">why</th></tr></thead><tbody>\n{rows}</tbody></table>{more}</div>'
        "</section>\n"
    )


def _card(card: Card, slots: Mapping[str, int], number: int) -> str:
    scene = card.scene
    return (
        f'<li class="card">{_posters(card)}<div class="in"><div class="top">'
        f"<h3>{_named(card.name, card.link)}</h3>"
        f'<p class="facts">{escape(_facts(scene))}</p></div>\n'
        f"{_lanes(scene, slots)}{_listed(scene, slots, number)}</div></li>\n"
    )


def _facts(scene: Scene) -> str:
    parts = [length(scene.duration_seconds)]
    if scene.camera is not None:
        parts.append(scene.camera)
    if scene.recorded_at is not None:
        parts.append(f"{scene.recorded_at:%Y-%m-%d %H:%M:%S} UTC")
    return " · ".join(parts)


def _posters(card: Card) -> str:
    strip: Strip | None = card.scene.thumbnails
    if strip is None:
        return ""
    count = len(strip.seconds)
    address = base64.b64encode(strip.jpeg).decode()
    alt = f"{count} moments of {clean(card.name)}"
    return (
        f'<img class="posters" alt="{escape(alt)}" width="{count * strip.tile_width_px}" '
        f'height="{strip.tile_height_px}" src="data:image/jpeg;base64,{address}">'
    )


def _lanes(scene: Scene, slots: Mapping[str, int]) -> str:
    found = [label for label, marks in scene.marks.items() if marks]
    if not found:
        return '<p class="none">Nothing found.</p>\n'
    choice = choose_lanes(scene, found, LANES_PER_CARD)
    rows = "".join(_lane(lane, scene, slots) for lane in choice.lanes)
    ends = [_instant(scene, seconds) for seconds in (0.0, scene.duration_seconds)]
    more = ""
    if choice.left_out:
        noun = "class" if len(choice.left_out) == 1 else "classes"
        more = f'<p class="note">And {len(choice.left_out):,} more {noun} with lower scores.</p>\n'
    return (
        f'<div class="lanes">{rows}<span class="ends"><span>{ends[0]}</span>'
        f"<span>{ends[1]}</span></span></div>\n{more}"
    )


def _lane(lane: Lane, scene: Scene, slots: Mapping[str, int]) -> str:
    per_second = LANE_UNITS / scene.duration_seconds
    rects = "".join(
        f'<rect x="{bar.x:.1f}" width="{bar.width:.1f}" height="{LANE_HEIGHT_UNITS}"/>'
        for bar in bars(lane.marks, per_second, LANE_UNITS)
    )
    label = escape(clean(lane.label))
    best = sorted(lane.marks, key=lambda mark: -mark.score)[:SAID_SEGMENTS]
    said = ", ".join(
        _instant(scene, mark.start) for mark in sorted(best, key=lambda mark: mark.start)
    )
    alt = f"{label}: {counted(len(lane.marks), 'segment')}, at {said}"
    total = length(sum(mark.end - mark.start for mark in lane.marks))
    slot = slots.get(lane.label, lane.slot)
    return (
        f'<div class="lane"><span class="of">{_dot(slot)}<bdi>{label}</bdi></span>'
        f'<svg class="bars k{slot}" viewBox="0 0 {LANE_UNITS} {LANE_HEIGHT_UNITS}" '
        f'preserveAspectRatio="none" role="img" aria-label="{alt}">{rects}</svg>'
        f'<span class="sum">{len(lane.marks):,} · {total}</span></div>'
    )


def _listed(scene: Scene, slots: Mapping[str, int], number: int) -> str:
    marks = [(mark, label) for label, ones in scene.marks.items() for mark in ones]
    if not marks:
        return _notes(scene)
    kept = sorted(marks, key=lambda item: -item[0].score)[:LISTED_SEGMENTS]
    rows = "".join(
        f'<tr><td class="time">{_instant(scene, mark.start)} to {_instant(scene, mark.end)}</td>'
        f"<td>{_dot(slots.get(label, 0))} <bdi>{escape(clean(label))}</bdi></td>"
        f'<td class="number">{mark.score:.2f}</td></tr>'
        for mark, label in sorted(kept, key=lambda item: (item[0].start, item[1]))
    )
    rest = len(marks) - len(kept)
    more = f'<p class="note">And {rest:,} more with lower scores.</p>' if rest else ""
    return (
        f"<details><summary>{counted(len(marks), 'segment')}</summary>"
        f'<table aria-label="Segments of video {number}"><thead><tr><th scope="col">time</th>'
        f'<th scope="col">class</th><th scope="col" class="number">score</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{more}</details>\n{_notes(scene)}"
    )


def _notes(scene: Scene) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>' for note in scene.notes)


def _foot(sheet: Sheet) -> str:
    pages = "".join(
        f'<a href="{escape(address)}">{escape(text)}</a>' for text, address in sheet.pages.items()
    )
    shown = f'<nav class="pages" aria-label="Other pages">{pages}</nav>\n' if pages else ""
    note = f"<footer>{escape(clean(sheet.note))}</footer>\n" if sheet.note else ""
    return f"{shown}{note}</body>\n</html>\n"


def _named(name: str, link: str | None) -> str:
    shown = f"<bdi>{escape(clean(name))}</bdi>"
    return shown if link is None else f'<a href="{escape(link)}">{shown}</a>'


def _dot(slot: int) -> str:
    return f'<span class="dot k{slot}" aria-hidden="true"></span>'


def _instant(scene: Scene, seconds: float) -> str:
    moment: datetime | None = scene.recorded_at
    if moment is not None:
        return time_of_day(moment + timedelta(seconds=seconds), 1.0)
    return clock(seconds, 0.1 if scene.duration_seconds < FINE_SECONDS else 1.0)
