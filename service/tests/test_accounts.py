"""Keys, tenants and quotas below HTTP."""

import re
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.accounts.keyring import MEMORY_SECONDS, Keyring
from service.accounts.keys import NewKey, create_key, list_keys, revoke_key
from service.accounts.limits import Quotas, checked_quotas
from service.accounts.quotas import (
    check_quota_bytes,
    check_quota_jobs,
    hold_quota_bytes,
    hold_quota_jobs,
    usage_of,
)
from service.accounts.rates import BURST_SECONDS, RequestRates, UploadSlots
from service.accounts.records import ApiKeyRecord
from service.accounts.scopes import ALL_SCOPES, DEFAULT_SCOPES, Scope, allows, parse_scopes
from service.accounts.secrets import KEY_PATTERN, KeyText, new_key_text, parse_key
from service.accounts.tenants import ensure_tenant, find_tenant
from service.errors import (
    BytesQuotaExceeded,
    InvalidRequest,
    JobQuotaExceeded,
    KeyNotFound,
    Unauthorized,
)
from service.jobs.commands import NewJob, create_job, request_cancel
from service.jobs.records import TenantRecord, VideoRecord
from service.jobs.store import new_id, reading, transaction
from service.jobs.videos import NewContent, NewVideo, insert_video


class Seconds:
    """A monotonic clock that is moved by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def made(core, tenant="default", **wish):
    bound = core.for_tenant(ensure_tenant(core, tenant).id)
    record, text = create_key(bound, NewKey("test", **wish))
    return record, text.reveal()


def test_a_key_has_256_random_bits_and_is_stored_as_a_hash_only(core):
    record, text = made(core)
    assert KEY_PATTERN.fullmatch(text)
    secret = text.rpartition("_")[2]
    assert len(bytes.fromhex(secret)) * 8 == 256
    assert secret not in repr(KeyText("key_1", secret))
    with reading(core.engine) as session:
        row = session.execute(select(ApiKeyRecord.__table__)).one()
    stored = " ".join(map(str, row))
    assert secret not in stored
    assert record.digest in stored
    assert len({new_key_text("key_1").secret for _ in range(100)}) == 100


@given(st.text())
def test_any_text_is_parsed_or_is_no_key(text):
    found = parse_key(text)
    assert found is None or found.reveal() == text


def test_a_key_survives_being_written_and_read():
    text = new_key_text(new_id("key"))
    assert parse_key(text.reveal()) == text
    assert text.matches(text.digest())
    assert not text.matches(new_key_text(text.key_id).digest())


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 256, "\x1b[31m"])
def test_names_are_printable(core, name):
    with pytest.raises(InvalidRequest):
        create_key(core, NewKey(name))
    with pytest.raises(InvalidRequest):
        ensure_tenant(core, name)


@pytest.mark.parametrize(
    "wish", [{"scopes": []}, {"lifetime": timedelta(0)}, {"lifetime": timedelta(days=40_000)}]
)
def test_useless_keys_are_not_made(core, wish):
    with pytest.raises(InvalidRequest):
        create_key(core, NewKey("test", **wish))
    assert list_keys(core) == []


def test_scopes():
    assert parse_scopes(["jobs:read", "admin"]) == {Scope.JOBS_READ, Scope.ADMIN}
    with pytest.raises(InvalidRequest, match="jobs:write"):
        parse_scopes(["jobs:wrote"])
    admin = frozenset({Scope.ADMIN})
    assert {scope for scope in ALL_SCOPES if allows(admin, scope)} == ALL_SCOPES - {Scope.METRICS}
    assert Scope.ADMIN not in DEFAULT_SCOPES


def test_a_keyring_lets_in_who_has_a_key(core):
    record, text = made(core, "acme", scopes=frozenset({Scope.JOBS_READ}))
    ring = Keyring(core, Quotas(queued_jobs=5))
    holder = ring.look_up(text)
    assert holder.key_id == record.id
    assert holder.tenant_id == find_tenant(core, "acme").id
    assert holder.scopes == {Scope.JOBS_READ}
    assert holder.quotas == Quotas(queued_jobs=5)
    assert ring.look_up(None).tenant_id == "default"


def test_a_revoked_key_is_worthless_within_a_second_everywhere(core):
    record, text = made(core)
    seconds = Seconds()
    here, elsewhere = (Keyring(core, Quotas(), seconds) for _ in range(2))
    for ring in (here, elsewhere):
        ring.look_up(text)
    revoke_key(core, record.id)
    here.forget(record.id)
    assert here.remembered(text) is None
    assert elsewhere.remembered(text) is not None
    seconds.now += MEMORY_SECONDS
    assert MEMORY_SECONDS < 1
    assert elsewhere.remembered(text) is None
    for ring in (here, elsewhere):
        with pytest.raises(Unauthorized, match="revoked"):
            ring.look_up(text)


def test_what_is_remembered_is_the_whole_key(core):
    _, text = made(core)
    ring = Keyring(core, Quotas())
    ring.look_up(text)
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert ring.remembered(text).key_id is not None
    assert ring.remembered(wrong) is None
    assert ring.remembered("nonsense") is None
    assert ring.remembered(None) is None
    with pytest.raises(Unauthorized):
        ring.look_up(wrong)


def test_a_key_expires(core, clock):
    _, text = made(core, lifetime=timedelta(days=1))
    clock.advance(86_399)
    assert Keyring(core, Quotas()).look_up(text).key_id is not None
    clock.advance(1)
    with pytest.raises(Unauthorized, match="expired"):
        Keyring(core, Quotas()).look_up(text)


def test_the_use_of_a_key_is_noted_once_a_minute(core, clock):
    record, text = made(core)
    ring = Keyring(core, Quotas())
    noted = []
    for _ in range(5):
        clock.advance(25)
        ring.look_up(text)
        noted.append(list_keys(core)[0].last_used_at)
    assert len(set(noted)) == 2
    assert noted[-1] > record.created_at


def test_revoking_again_changes_nothing_and_others_keys_are_out_of_reach(core, clock):
    record, _ = made(core, "acme")
    mine = core.for_tenant(record.tenant_id)
    first = revoke_key(mine, record.id).revoked_at
    clock.advance(5)
    assert revoke_key(mine, record.id).revoked_at == first
    with pytest.raises(KeyNotFound):
        revoke_key(core.for_tenant("default"), record.id)
    assert list_keys(core.for_tenant("default")) == []


def test_a_tenant_is_made_once_however_many_want_it(core):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_tenant(core, "acme").id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_quotas_are_merged(core):
    ensure_tenant(core, "acme", {"stored_bytes": 5, "uploads": None})
    ensure_tenant(core, "acme", {"queued_jobs": 2})
    tenant = find_tenant(core, "acme")
    standard = Quotas(stored_bytes=1, queued_jobs=1, requests_per_second=3.5, uploads=1)
    assert standard.changed_by(tenant.quotas) == Quotas(5, 2, 3.5, None)
    assert standard.changed_by(None) == standard


@pytest.mark.parametrize(
    "document",
    [{"bytes": 1}, {"uploads": 0}, {"uploads": -1}, {"uploads": 1.5}, {"uploads": True},
     {"queued_jobs": "5"}, {"stored_bytes": 2**63}, {"requests_per_second": float("nan")}],
)  # fmt: skip
def test_unusable_quotas_are_refused(document):
    with pytest.raises(InvalidRequest):
        checked_quotas(document)


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 5), max_size=60))
def test_nobody_asks_faster_than_allowed(per_second, pauses):
    seconds = Seconds()
    rates = RequestRates(seconds)
    started, granted = seconds.now, 0
    for pause in pauses:
        seconds.now += pause
        allowance = rates.spend("a", per_second)
        granted += allowance.granted
        most = max(1, per_second * BURST_SECONDS) + (seconds.now - started) * per_second
        assert granted <= most + 1e-6
        assert 0 <= allowance.remaining <= allowance.limit
        if not allowance.granted:
            assert allowance.wait_seconds > 0


def test_who_waits_as_told_is_let_in_and_tenants_do_not_share():
    seconds = Seconds()
    rates = RequestRates(seconds)
    while (allowance := rates.spend("a", 0.5)).granted:
        pass
    assert rates.spend("b", 0.5).granted
    seconds.now += allowance.wait_seconds + 1e-9
    assert rates.spend("a", 0.5).granted
    assert not rates.spend("a", 0.5).granted


def test_upload_slots():
    slots = UploadSlots()
    assert [slots.take("a", 2) for _ in range(3)] == [True, True, False]
    assert slots.take("b", 2)
    slots.give_back("a")
    assert slots.take("a", 2)


def add_video(core, session, sha256, size_bytes):
    content = NewContent(sha256.rjust(64, "0"), size_bytes, f"videos/{new_id('vid')}")
    video = NewVideo("a.mp4", content=content, kept=True)
    return insert_video(session, core.tenant_id, video, core.clock.now(session))[0]


def limited(core, **quotas):
    return core.for_tenant(ensure_tenant(core, "acme", quotas).id)


def test_bytes_count_once_per_content_and_tenant(core):
    acme = limited(core, stored_bytes=100)
    other = core.for_tenant(ensure_tenant(core, "other").id)
    for bound, sha256, size_bytes in ((acme, "a", 30), (acme, "a", 30), (other, "b", 1000)):
        with transaction(bound.engine) as session:
            add_video(bound, session, sha256, size_bytes)
    with transaction(acme.engine) as session:
        path = NewVideo("p", source="path", source_ref="/p")
        insert_video(session, acme.tenant_id, path, core.clock.now(session))
    usage = usage_of(acme)
    assert (usage.stored_bytes, usage.quotas.stored_bytes) == (30, 100)
    check_quota_bytes(acme, 70)
    with pytest.raises(BytesQuotaExceeded, match="30 bytes of the 100"):
        check_quota_bytes(acme, 71)
    check_quota_bytes(other, 10**15)


def test_stored_bytes_are_held_exactly_by_many_at_once(core):
    acme = limited(core, stored_bytes=100)
    refused = []

    def store(index):
        try:
            with transaction(acme.engine) as session:
                hold_quota_bytes(session, acme)
                add_video(acme, session, str(index), 30)
                hold_quota_bytes(session, acme)
        except BytesQuotaExceeded:
            refused.append(index)

    threads = [threading.Thread(target=store, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage_of(acme).stored_bytes == 90
    assert len(refused) == 5


def test_unfinished_jobs_are_held_exactly_by_many_at_once(core):
    acme = limited(core, queued_jobs=3)
    refused = []

    def submit(index):
        request = NewJob(NewVideo("p", source="path", source_ref=f"/{index}"), "m@1")
        try:
            create_job(acme, request, hold_quota_jobs)
        except JobQuotaExceeded:
            refused.append(index)

    threads = [threading.Thread(target=submit, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage_of(acme).queued_jobs == 3
    assert len(refused) == 5
    with pytest.raises(JobQuotaExceeded, match="may have 3"):
        check_quota_jobs(acme)
    with reading(acme.engine) as session:
        assert len(session.execute(select(VideoRecord.id)).all()) == 3


def test_an_ended_job_makes_room(core):
    acme = limited(core, queued_jobs=1)
    request = NewJob(NewVideo("p", source="path", source_ref="/p"), "m@1")
    view, _ = create_job(acme, request, hold_quota_jobs)
    with pytest.raises(JobQuotaExceeded):
        check_quota_jobs(acme)
    request_cancel(acme, view.job.id)
    check_quota_jobs(acme)


def test_without_quotas_nothing_is_counted(core, monkeypatch):
    def count(*_):
        pytest.fail("it counted")

    monkeypatch.setattr("service.accounts.quotas._stored_bytes", count)
    monkeypatch.setattr("service.accounts.quotas._unfinished_jobs", count)
    check_quota_bytes(core, 10**18)
    check_quota_jobs(core, 10**9)


def test_the_default_tenant_is_there(core):
    with reading(core.engine) as session:
        assert session.get(TenantRecord, "default").name == "default"
    assert re.fullmatch(r"ten_[0-9A-Z]{26}", ensure_tenant(core, "acme").id)
