"""The questions that are asked: each kind many times, with other words, times and bounds."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

from numpy.random import Generator

from bench.search.making import BEGIN, CAMERAS, DAYS, LABELS, TAGS

Words = list[tuple[str, object]]
COMMON = 3
RARE = 8
"""How many of the most, and of the least, frequent words are taken."""


def _window(random: Generator, days: float) -> Words:
    first = BEGIN + timedelta(days=float(random.random() * (DAYS - days)))
    until = first + timedelta(days=days)
    return [("since", first.isoformat()), ("until", until.isoformat())]


def _common(random: Generator, name: str, words: tuple[str, ...]) -> Words:
    return [(name, words[int(random.integers(COMMON))])]


def _rare(random: Generator, name: str, words: tuple[str, ...]) -> Words:
    return [(name, words[-1 - int(random.integers(RARE))])]


def _several(random: Generator, name: str, words: tuple[str, ...], count: int) -> Words:
    chosen = random.choice(len(words), count, replace=False)
    return [(name, words[int(index)]) for index in chosen]


BEST: Words = [("order", "score")]

QUESTIONS: dict[str, Callable[[Generator], Words]] = {
    "no filter": lambda _: [],
    "no filter, best first": lambda _: BEST,
    "common label": lambda r: _common(r, "label", LABELS),
    "rare label, all times": lambda r: _rare(r, "label", LABELS),
    "rare label, best first": lambda r: _rare(r, "label", LABELS) + BEST,
    "common label, high score": lambda r: [*_common(r, "label", LABELS), ("min_score", 0.97)],
    "common label, highest score": lambda r: [*_common(r, "label", LABELS), ("min_score", 0.995)],
    "common label, best first": lambda r: _common(r, "label", LABELS) + BEST,
    "rare label, one day": lambda r: _rare(r, "label", LABELS) + _window(r, 1),
    "common label, one year": lambda r: _common(r, "label", LABELS) + _window(r, 365),
    "camera, one day": lambda r: _common(r, "camera", CAMERAS) + _window(r, 1),
    "rare camera": lambda r: _rare(r, "camera", CAMERAS),
    "camera, label, month": lambda r: (
        _common(r, "camera", CAMERAS) + _common(r, "label", LABELS) + _window(r, 30)
    ),
    "rare camera, rare label": lambda r: _rare(r, "camera", CAMERAS) + _rare(r, "label", LABELS),
    "camera, best first": lambda r: _common(r, "camera", CAMERAS) + BEST,
    "rare camera, best first": lambda r: _rare(r, "camera", CAMERAS) + BEST,
    "tag": lambda r: _common(r, "tag", TAGS),
    "tag, label, high score": lambda r: [
        *_common(r, "tag", TAGS), *_rare(r, "label", LABELS), ("min_score", 0.9),
    ],
    "tag, best first, week": lambda r: _common(r, "tag", TAGS) + BEST + _window(r, 7),
    "long": lambda r: [("min_duration", round(10 + 20 * float(r.random()), 1))],
    "very long": lambda r: [("min_duration", round(60 + 60 * float(r.random()), 1))],
    "very long, best first": lambda _: [("min_duration", 45), *BEST],
    "very short": lambda r: [("max_duration", round(0.1 + 0.1 * float(r.random()), 3))],
    "long, high score, camera": lambda r: [
        ("min_duration", 12), ("min_score", 0.9), *_common(r, "camera", CAMERAS),
    ],
    "high score, one month": lambda r: [("min_score", 0.95), *_window(r, 30)],
    "scores between": lambda _: [("min_score", 0.3), ("max_score", 0.302)],
    "best of a day": lambda r: BEST + _window(r, 1),
    "best of a month": lambda r: BEST + _window(r, 30),
    "best of two years": lambda r: BEST + _window(r, 730),
    "best of a label, month": lambda r: _common(r, "label", LABELS) + BEST + _window(r, 30),
    "five labels": lambda r: _several(r, "label", LABELS, 5),
    "five labels, three cameras, month": lambda r: (
        _several(r, "label", LABELS, 5) + _several(r, "camera", CAMERAS, 3) + _window(r, 30)
    ),
    "ten rare labels": lambda r: [
        ("label", LABELS[-1 - int(index)]) for index in r.choice(15, 10, replace=False)
    ],
    "200 at once, common label": lambda r: [
        *_common(r, "label", LABELS), ("page_size", 200), ("min_score", 0.5),
    ],
    "nothing: unknown label": lambda _: [("label", "no such action")],
    "nothing: camera never sees it": lambda _: [("camera", CAMERAS[1]), ("label", LABELS[1])],
    "nothing: camera hangs elsewhere": lambda _: [("camera", CAMERAS[0]), ("tag", TAGS[1])],
    "nothing: before everything": lambda _: [("until", "2020-01-01T00:00:00Z")],
    "nothing: long, best, label": lambda r: [
        *_common(r, "label", LABELS), ("min_duration", 200), ("min_score", 0.98),
    ],
}  # fmt: skip
"""Kind -> what it asks for."""

DEEP = ("no filter", "common label", "camera, best first", "long", "best of two years")
"""Kinds whose later pages are asked for too."""

PAGES_DOWN = 12


def address(words: Words, page_token: str | None = None) -> str:
    """Return the address that asks a question."""
    asked = [*words, *([] if page_token is None else [("page_token", page_token)])]
    return f"/v1/segments?{urlencode(asked)}"
