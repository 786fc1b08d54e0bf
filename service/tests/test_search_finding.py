"""Finding segments: against a plain filter in Python, page by page, while rows come and go."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from service.errors import InvalidRequest
from service.jobs.records import JobRecord, ResultRecord, TenantRecord, VideoRecord
from service.jobs.removal import delete_job
from service.jobs.store import new_id, transaction
from service.search import finding
from service.search.filters import SegmentFilter
from service.search.finding import count_facets, find_many, find_segments, read_token, token_of
from service.search.indexing import index_result
from service.search.paths import Order, Place
from service.search.records import CountKind, SegmentRecord, word_key

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
LABELS = ("walk", "run", "fall", "wave", "rare")
CAMERAS = ("dock", "gate", "hall", None)
TAGS = ("a", "b", None)
SMALL_LIMITS = (3, 9, 27, 81)
"""So that a hundred rows are as many as a million."""


def drawing(seed):
    return Random(seed)  # noqa: S311 - test data


def drawn_segment(random):
    start = random.randrange(0, 20_000, 250) / 1000
    return {
        "label": random.choice(LABELS[:4] if random.random() < 0.97 else LABELS),
        "score": random.choice([0.0, 0.25, 0.5, 0.83, 0.99, 1.0, round(random.random(), 6)]),
        "raw_score": round(random.uniform(-1, 2), 6),
        "start": start,
        "end": start + random.choice([0.5, 1.0, 2.0, 7.25, 30.0]),
    }


def add_job(core, random, tenant="default", **fields):
    """A job that succeeded, with some segments; returns its id."""
    job_id, video_id = new_id("job"), new_id("vid")
    moment = BEGIN + timedelta(hours=random.randrange(0, 48))
    values = {
        "camera": random.choice(CAMERAS),
        "tag": random.choice(TAGS),
        "recorded_at": None if random.random() < 0.2 else moment,
        "created_at": moment + timedelta(days=random.randrange(3)),
        **fields,
    }
    segments = values.pop("segments", None)
    if segments is None:
        segments = [drawn_segment(random) for _ in range(random.randrange(0, 9))]
    with transaction(core.engine) as session:
        made = values["created_at"]
        session.add(
            VideoRecord(id=video_id, tenant_id=tenant, name="v.mp4", kept=True, created_at=made)
        )
        session.flush()
        job = JobRecord(
            id=job_id, tenant_id=tenant, video_id=video_id, status="succeeded", progress=1.0,
            model="m@1", options={}, started_at=made, completed_at=made, **values,
        )  # fmt: skip
        session.add(job)
        session.flush()
        document = {"segments": segments}
        result = ResultRecord(job_id=job_id, document=document, token=1, created_at=made)
        session.add(result)
        index_result(session, job, result)
    return job_id


def everything(core):
    """All rows with their jobs, for the plain filter."""
    with transaction(core.engine) as session:
        return session.execute(
            select(SegmentRecord, JobRecord).join(JobRecord, JobRecord.id == SegmentRecord.job_id)
        ).all()


def plainly(rows, wanted, order):
    """What a search has to find, in order: the row ids."""

    def fits(row, job):
        dated = job.recorded_at is not None
        start = job.recorded_at + timedelta(milliseconds=row.start_ms) if dated else None
        score, seconds = row.score / 1e6, row.duration_ms / 1000
        return all(
            (
                wanted.label is None or row.label in wanted.label,
                wanted.camera is None or job.camera in wanted.camera,
                wanted.tag is None or job.tag in wanted.tag,
                wanted.min_score is None or score >= wanted.min_score,
                wanted.max_score is None or score <= wanted.max_score,
                wanted.min_duration is None or seconds >= wanted.min_duration,
                wanted.max_duration is None or seconds <= wanted.max_duration,
                wanted.since is None or (dated and start >= wanted.since),
                wanted.until is None or (dated and start < wanted.until),
                wanted.job is None or job.id == wanted.job,
                wanted.video is None or job.video_id == wanted.video,
            )
        )

    def place(row, job):
        if order is Order.SCORE:
            return (row.score, row.id)
        if job.recorded_at is None:
            return (False, job.created_at, row.id)
        return (True, job.recorded_at + timedelta(milliseconds=row.start_ms), row.id)

    found = [(place(row, job), row.id) for row, job in rows if fits(row, job)]
    return [row_id for _, row_id in sorted(found, reverse=True)]


def all_pages(core, wanted, order, page_size, **limits):
    token, found = None, []
    for _ in range(2000):
        page = find_segments(
            core, wanted, order=order, page_size=page_size, page_token=token, **limits
        )
        assert len(page.segments) <= page_size
        found += [one.row.id for one in page.segments]
        token = page.next_page_token
        if token is None:
            return found
    raise AssertionError("the pages have no end")


def maybe(strategy):
    return st.none() | strategy


def words(values):
    return maybe(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(tuple))


moments = st.integers(-2, 60).map(lambda hours: BEGIN + timedelta(hours=hours))
scores = st.sampled_from([0.0, 0.25, 0.5, 0.83, 0.9, 0.99, 1.0]) | st.floats(0, 1).map(
    lambda score: round(score, 4)
)
durations = st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.25, 7.3, 30.0, 99.0])
filters = st.builds(
    SegmentFilter,
    label=words((*LABELS, "unknown")),
    camera=words(("dock", "gate", "hall")),
    tag=words(("a", "b")),
    min_score=maybe(scores),
    max_score=maybe(scores),
    since=maybe(moments),
    until=maybe(moments),
    min_duration=maybe(durations),
    max_duration=maybe(durations),
)


def test_a_search_finds_what_a_plain_filter_finds(core, monkeypatch):
    monkeypatch.setattr(finding, "LIMITS", SMALL_LIMITS)
    random = drawing(1)
    for _ in range(30):
        add_job(core, random)
    rows = everything(core)
    mine = core.for_tenant("default")

    @settings(
        max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(filters, st.sampled_from(list(Order)), st.sampled_from([7, 50, 200]), st.data())
    def check(wanted, order, page_size, data):
        if data.draw(st.integers(0, 5)) == 0:
            job = data.draw(st.sampled_from(rows))[1]
            field = data.draw(st.sampled_from(["job", "video"]))
            wanted = replace(wanted, **{field: job.id if field == "job" else job.video_id})
        expected = plainly(rows, wanted, order)
        assert all_pages(mine, wanted, order, page_size) == expected
        many, _ = find_many(mine, wanted, order=order, page_size=10_000)
        found = [one.row.id for one in many]
        assert found == expected[: len(found)]

    check()


@pytest.mark.parametrize("order", list(Order))
def test_pages_hold_on_while_jobs_come_and_go(core, monkeypatch, order):
    monkeypatch.setattr(finding, "LIMITS", SMALL_LIMITS)
    random = drawing(5)
    jobs = [add_job(core, random) for _ in range(30)]
    wanted = SegmentFilter(label=("walk", "run", "fall"))
    mine = core.for_tenant("default")
    before = plainly(everything(core), wanted, order)
    doomed = random.sample(jobs, 8)
    token, found = None, []
    while True:
        page = find_segments(mine, wanted, order=order, page_size=5, page_token=token)
        found += [one.row.id for one in page.segments]
        token = page.next_page_token
        if token is None:
            break
        if doomed:
            delete_job(mine, doomed.pop())
        if len(found) < 60:
            add_job(core, random)
    after = set(plainly(everything(core), wanted, order))
    stayed = [row_id for row_id in before if row_id in after]
    assert len(found) == len(set(found))
    assert [row_id for row_id in found if row_id in set(stayed)] == stayed


def test_a_page_is_bounded_and_says_where_to_go_on(core, monkeypatch):
    monkeypatch.setattr(finding, "LIMITS", (2, 4))
    random = drawing(3)
    quiet = {"label": "walk", "score": 0.5, "raw_score": 0.5, "start": 1.0, "end": 2.0}
    # Neither condition alone holds few, and both together none.
    for number in range(12):
        one = {**quiet, "score": 0.9} if number % 2 else {**quiet, "end": 60.0}
        add_job(core, random, segments=[one])
    wanted = SegmentFilter(min_score=0.8, min_duration=10.0)
    page = find_segments(core.for_tenant("default"), wanted, page_size=50)
    assert page.segments == []
    assert page.next_page_token is not None
    assert all_pages(core.for_tenant("default"), wanted, Order.TIME, 50) == []


def test_nobody_finds_what_others_have(core, monkeypatch):
    monkeypatch.setattr(finding, "LIMITS", SMALL_LIMITS)
    with transaction(core.engine) as session:
        session.add(TenantRecord(id="ten_b", name="b", created_at=BEGIN))
    random = drawing(9)
    mine = {add_job(core, random) for _ in range(8)}
    theirs = {add_job(core, random, tenant="ten_b") for _ in range(8)}
    for tenant, jobs, others in (("default", mine, theirs), ("ten_b", theirs, mine)):
        bound = core.for_tenant(tenant)
        for order in Order:
            page = find_segments(bound, SegmentFilter(), order=order, page_size=200)
            assert {one.job.id for one in page.segments} <= jobs
            assert page.segments
            for job_id in others:
                assert find_segments(bound, SegmentFilter(job=job_id), page_size=9).segments == []
        counted = sum(one.count for one in count_facets(bound)[CountKind.LABEL])
        assert counted == len(find_segments(bound, SegmentFilter(), page_size=200).segments)


def test_whoever_is_shown_one_camera_finds_that_alone(core):
    random = drawing(2)
    for _ in range(12):
        add_job(core, random)
    mine = core.for_tenant("default")
    dock = SegmentFilter(camera=("dock",))
    expected = plainly(everything(core), dock, Order.TIME)
    assert all_pages(mine, SegmentFilter(), Order.TIME, 7, camera="dock") == expected
    assert all_pages(mine, dock, Order.TIME, 7, camera="gate") == []
    both = SegmentFilter(camera=("dock", "gate"))
    assert all_pages(mine, both, Order.TIME, 200, camera="dock") == expected


def test_words_that_share_a_key_are_told_apart(core, monkeypatch):
    monkeypatch.setattr("service.search.indexing.word_key", lambda word: word and 7)
    monkeypatch.setattr("service.search.paths.word_key", lambda word: word and 7)
    random = drawing(4)
    for _ in range(10):
        add_job(core, random)
    mine = core.for_tenant("default")
    for wanted in (
        SegmentFilter(label=("run",)),
        SegmentFilter(camera=("dock",)),
        SegmentFilter(tag=("a",), label=("walk",)),
    ):
        expected = plainly(everything(core), wanted, Order.TIME)
        assert all_pages(mine, wanted, Order.TIME, 6) == expected


def test_segments_of_a_job_that_is_to_be_deleted_are_out_of_sight(core):
    random = drawing(6)
    jobs = [add_job(core, random, segments=[drawn_segment(random)] * 3) for _ in range(6)]
    with transaction(core.engine) as session:
        for job_id in jobs[:3]:
            session.get(JobRecord, job_id).delete_requested = True
    mine = core.for_tenant("default")
    assert len(all_pages(mine, SegmentFilter(), Order.TIME, 4)) == 9
    page = find_segments(mine, SegmentFilter(), order=Order.SCORE, page_size=9)
    assert {one.job.id for one in page.segments} == set(jobs[3:])


def test_page_tokens_are_ours(core):
    mine = core.for_tenant("default")
    token = token_of(Place(-5, 7), Order.TIME)
    assert read_token(token, Order.TIME) == Place(-5, 7)
    with pytest.raises(InvalidRequest):
        find_segments(mine, SegmentFilter(), order=Order.SCORE, page_size=1, page_token=token)
    big = token_of(Place(2**80, 1), Order.TIME)
    for foreign in ("", "x", "dGltZQ", "\u00e4", "=" * 40, big):
        with pytest.raises(InvalidRequest):
            find_segments(mine, SegmentFilter(), page_size=1, page_token=foreign)


def test_a_key_stands_for_a_word():
    assert word_key(None) is None
    keys = {word_key(word) for word in ("fall", "Fall", "", "\ud800", "sturz " * 50)}
    assert len(keys) == 5
    assert all(key is not None and 0 <= key < 2**31 for key in keys)


PLANS = {
    "ix_segments_time": SegmentFilter(min_duration=0.6),
    "ix_segments_label_time": SegmentFilter(label=("walk",)),
    "ix_segments_camera_time": SegmentFilter(camera=("dock",), min_score=0.2),
    "ix_segments_camera_label_time": SegmentFilter(camera=("dock",), label=("walk",)),
    "ix_segments_tag_time": SegmentFilter(tag=("a",)),
}
SCORE_PLANS = {
    "ix_segments_score": SegmentFilter(camera=("dock",)),
    "ix_segments_label_score": SegmentFilter(label=("walk",), min_score=0.3),
}


@pytest.mark.parametrize(
    ("index", "wanted", "order"),
    [
        *((index, wanted, Order.TIME) for index, wanted in PLANS.items()),
        *((index, wanted, Order.SCORE) for index, wanted in SCORE_PLANS.items()),
    ],
)
def test_a_walk_goes_by_its_index_alone(core, index, wanted, order):
    random = drawing(8)
    segments = [drawn_segment(random) for _ in range(60)]
    for _ in range(8):
        add_job(core, random, segments=segments)
    engine, statements = core.engine, []
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE segments")
    event.listen(
        engine,
        "before_cursor_execute",
        lambda _c, _r, statement, parameters, *_: statements.append((statement, parameters)),
    )
    find_segments(core.for_tenant("default"), wanted, order=order, page_size=5)
    walk = next(one for one in statements if "LIMIT 2000" in one[0])
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # Whoever has so few rows would rather sort them than follow an index.
            for method in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
                connection.exec_driver_sql(f"SET {method} = off")
        plan = str(connection.exec_driver_sql(f"{explain} {walk[0]}", walk[1]).all())
    assert f"{index} " in plan, plan
    assert "COVERING INDEX" in plan or "Index Only Scan" in plan, plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan
