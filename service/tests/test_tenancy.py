"""Attacks on the binding of queries to tenants: nothing another tenant has is seen or touched."""

import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, exists, func, insert, or_, select, text, true, union_all, update
from sqlalchemy.orm import aliased

import service
from service.jobs.records import JobRecord, Record, TenantOwned, TenantRecord, VideoRecord
from service.jobs.store import reading, transaction
from service.jobs.tenancy import ALL_TENANTS, UnboundQuery, bound, tenant_wanted

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
Twin = aliased(JobRecord)
Inner = select(JobRecord.tenant_id).subquery()
Common = select(JobRecord.tenant_id).cte()

SELECTS: dict[str, Any] = {
    "column": select(JobRecord.tenant_id),
    "alias": select(Twin.tenant_id),
    "either": select(JobRecord.tenant_id).where(or_(JobRecord.tenant_id == "b", true())),
    "product": select(JobRecord.tenant_id).join(VideoRecord, true()),
    "other side": select(VideoRecord.tenant_id).join(JobRecord, true()),
    "outer": select(VideoRecord.tenant_id).outerjoin(Twin, true()),
    "by tenant": select(JobRecord.tenant_id)
    .select_from(TenantRecord)
    .join(JobRecord, JobRecord.tenant_id == TenantRecord.id),
    "subquery": select(Inner.c.tenant_id),
    "cte": select(Common.c.tenant_id),
    "in": select(TenantRecord.id).where(TenantRecord.id.in_(select(JobRecord.tenant_id))),
    "exists": select(TenantRecord.id).where(exists().where(JobRecord.tenant_id == TenantRecord.id)),
    "exists of": select(TenantRecord.id).where(
        select(JobRecord.id).where(JobRecord.tenant_id == TenantRecord.id).exists()
    ),
    "maximum": select(func.max(JobRecord.tenant_id)),
    "union": union_all(select(JobRecord.tenant_id), select(VideoRecord.tenant_id)),
    "union inside": select(
        union_all(select(JobRecord.tenant_id), select(Twin.tenant_id)).subquery().c.tenant_id
    ),
}


@pytest.fixture
def rows(engine):
    """One video and one job of each of the tenants a and b."""
    with transaction(engine) as session:
        for name in "ab":
            session.add(TenantRecord(id=name, name=name, created_at=MOMENT))
        session.flush()
        for name in "ab":
            session.add(video(f"vid_{name}", name))
            session.flush()
            session.add(job(f"job_{name}", name))
    return engine


def video(video_id, tenant_id=None):
    return VideoRecord(id=video_id, tenant_id=tenant_id, name="x", created_at=MOMENT)


def job(job_id, tenant_id):
    return JobRecord(
        id=job_id,
        tenant_id=tenant_id,
        video_id=f"vid_{tenant_id}",
        status="queued",
        model="m",
        options={},
        created_at=MOMENT,
    )


@pytest.mark.parametrize("name", SELECTS)
def test_no_way_of_asking_sees_another_tenant(rows, name):
    for tenant in "ab":
        with reading(bound(rows, tenant)) as session:
            assert set(session.execute(SELECTS[name]).scalars()) == {tenant}


@pytest.mark.parametrize("name", SELECTS)
def test_in_a_request_nothing_is_asked_without_a_tenant(rows, name):
    with reading(rows) as session:
        assert {"a", "b"} & set(session.execute(SELECTS[name]).scalars())
        with tenant_wanted(), pytest.raises(UnboundQuery):
            session.execute(SELECTS[name])
        with tenant_wanted():
            everybody = SELECTS[name].execution_options(**ALL_TENANTS)
            assert {"a", "b"} & set(session.execute(everybody).scalars())
            assert len(session.execute(select(TenantRecord.id)).all()) == 3


def test_rows_are_got_by_key_only_from_their_tenant(rows):
    with reading(bound(rows, "a")) as session:
        assert session.get(JobRecord, "job_b") is None
        assert session.get(JobRecord, "job_a").id == "job_a"
        assert session.query(JobRecord.id).all() == [("job_a",)]
    with tenant_wanted(), reading(rows) as session, pytest.raises(UnboundQuery):
        session.get(JobRecord, "job_a")


def test_nobody_changes_or_deletes_rows_of_others(rows):
    with transaction(bound(rows, "a")) as session:
        session.execute(update(JobRecord).where(JobRecord.id == "job_b").values(tag="x"))
        session.execute(update(JobRecord).values(tag="mine"))
        session.execute(delete(JobRecord).where(JobRecord.id == "job_b"))
        with pytest.raises(UnboundQuery):
            session.execute(update(JobRecord), [{"id": "job_b", "tag": "x"}])
        with pytest.raises(UnboundQuery):
            session.execute(text("SELECT id FROM jobs"))
    with reading(rows) as session:
        tags = dict(session.execute(select(JobRecord.id, JobRecord.tag)).all())
    assert tags == {"job_a": "mine", "job_b": None}


def test_what_a_bound_session_makes_is_its_tenants(rows):
    with transaction(bound(rows, "b")) as session:
        session.add(video("vid_new"))
    with reading(rows) as session:
        assert session.get(VideoRecord, "vid_new").tenant_id == "b"


VALUES = {"id": "vid_x", "name": "x", "created_at": MOMENT}


def add_for_another(session):
    session.add(video("vid_x", "b"))
    session.flush()


def give_away(session):
    session.get(VideoRecord, "vid_a").tenant_id = "b"
    session.flush()


@pytest.mark.parametrize(
    "smuggle",
    [
        add_for_another,
        give_away,
        lambda session: session.execute(insert(VideoRecord).values(**VALUES, tenant_id="b")),
        lambda session: session.execute(insert(VideoRecord), [{**VALUES, "tenant_id": "b"}]),
        lambda session: session.execute(insert(VideoRecord), {**VALUES, "tenant_id": "b"}),
        # Would become the default tenant's.
        lambda session: session.execute(insert(VideoRecord), [VALUES]),
    ],
)
def test_nothing_is_smuggled_to_another_tenant(rows, smuggle):
    with pytest.raises(UnboundQuery), transaction(bound(rows, "a")) as session:
        smuggle(session)
    with reading(rows) as session:
        assert sorted(session.execute(select(VideoRecord.id)).scalars()) == ["vid_a", "vid_b"]
        assert session.get(VideoRecord, "vid_a").tenant_id == "a"


def test_cached_statements_keep_tenants_apart(rows):
    wrong = []

    def ask(tenant):
        engine = bound(rows, tenant)
        for _ in range(60):
            with reading(engine) as session:
                seen = set(session.execute(select(JobRecord.tenant_id)).scalars())
                if seen != {tenant}:
                    wrong.append((tenant, seen))

    threads = [threading.Thread(target=ask, args=(tenant,)) for tenant in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_tables_with_a_tenant_are_owned():
    mappers = Record.registry.mappers
    owned = {str(one.local_table) for one in mappers if issubclass(one.class_, TenantOwned)}
    with_tenant = {t.name for t in Record.metadata.tables.values() if "tenant_id" in t.columns}
    # A task repeats its job's tenant, for the order in which workers take tasks.
    assert with_tenant - owned <= {"tasks"}
    assert {"jobs", "videos", "api_keys"} <= owned


# What opens databases, and what copies, migrates or checks them whole.
PAST_THE_ORM = {"jobs/store.py", "jobs/schema.py", "operations", "migrations"}


def test_nobody_goes_past_the_orm():
    root = Path(service.__file__).parent
    detours = re.compile(
        r"__table__|\.connection\(\)|exec_driver_sql|raw_connection|\bexecute\(\s*(sa\.)?text\("
    )
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "tests" not in path.parts and detours.search(path.read_text())
    }
    assert {name for name in found if not name.startswith(tuple(PAST_THE_ORM))} == set()
