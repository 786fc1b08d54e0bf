"""The bench of search asks what it says, of data that are as skewed as it says."""

from collections import Counter

import numpy as np
from sqlalchemy import select

from bench.search.__main__ import ask_all, figures_of, prepared
from bench.search.making import CAMERAS, LABELS, World
from bench.search.questions import DEEP, QUESTIONS
from service.jobs.store import reading
from service.search.records import SegmentRecord


def test_every_kind_of_question_is_asked_and_timed(tmp_path):
    with prepared("sqlite", tmp_path, 1500) as side:
        with reading(side.engine) as session:
            labels = Counter(session.execute(select(SegmentRecord.label)).scalars())
        ask_all([side], repeats=1)
        assert set(QUESTIONS) <= set(side.times_ms)
        assert f"{DEEP[0]}, deep" in side.times_ms
        assert side.short_pages == 0
        figures = figures_of(side, repeats=1)
    assert abs(sum(labels.values()) - 1500) < 150
    assert labels[LABELS[0]] > 5 * labels[LABELS[-1]]
    assert figures["sqlite_kinds"] == len(side.times_ms)
    assert figures["sqlite_short_pages"] == 0
    assert {f"sqlite_job_end_{way}_index_ms" for way in ("with", "without")} <= set(figures)


def test_frequent_words_that_never_meet_are_there():
    world = World.drawn(np.random.default_rng(7))
    assert world.labels.shape == (len(CAMERAS), len(LABELS))
    assert world.labels[1, 1] == 0
    assert np.allclose(world.labels.sum(axis=1), 1)
