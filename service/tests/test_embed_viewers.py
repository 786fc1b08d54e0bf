"""Whether a signed token or ticket is still worth anything: clocks, keys, jobs, videos."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from fastapi import Request

from service.accounts.keyring import MEMORY_SECONDS
from service.accounts.keys import NewKey, create_key, revoke_key
from service.accounts.limits import Quotas
from service.accounts.scopes import Scope
from service.api.access import Gate
from service.api.embeds import Shown
from service.embedding.subjects import Subject
from service.embedding.tickets import Ticket, sign_ticket
from service.embedding.tokens import Grant, expiry, read_token, sign_token
from service.embedding.viewers import Viewers
from service.errors import JobNotFound, TokenExpired, Unauthorized, VideoNotFound
from service.jobs.commands import get_job
from service.jobs.removal import delete_job

PAGE = "https://dash.example"


@pytest.fixture
def viewers(core):
    class Setup:
        moment = 0.0

        def __init__(self):
            self.core = core
            self.seen = self.made(keys_required=True)
            self.record, _ = create_key(core.for_tenant("default"), NewKey("k"))

        def made(self, keys_required):
            return Viewers(
                core, Quotas(), keys_required=keys_required, monotonic=lambda: self.moment
            )

        def grant(self, job_id, seconds=60, **changes):
            ends = expiry(core.clock.now(None), seconds)
            made = Grant("default", Subject(job_id=job_id), (PAGE,), ends, self.record.id)
            return replace(made, **changes)

        def token(self, job_id, **changes):
            return sign_token(self.seen.signer, self.grant(job_id, **changes))

    return Setup()


def test_a_token_holds_to_the_second_and_no_longer(viewers, add_job, clock):
    token = viewers.token(add_job(), seconds=60)
    clock.advance(59)
    assert viewers.seen.look_up(token).grant == read_token(viewers.seen.signer, token)
    clock.advance(1)
    with pytest.raises(TokenExpired):
        viewers.seen.look_up(token)


def test_what_is_remembered_does_not_outlive_the_token(viewers, add_job, clock):
    token = viewers.token(add_job(), seconds=60)
    clock.advance(59.9)
    assert viewers.seen.look_up(token)
    viewers.moment += 0.05
    assert viewers.seen.remembered(token)
    viewers.moment += 0.06
    assert viewers.seen.remembered(token) is None


def test_a_clock_that_is_set_back_makes_no_token_last(viewers, add_job, clock):
    token = viewers.token(add_job(), seconds=900)
    assert viewers.seen.look_up(token)
    clock.advance(-1)
    with pytest.raises(Unauthorized):
        viewers.seen.look_up(token)


def test_a_token_dies_with_its_key(viewers, add_job, clock, core):
    job_id = add_job()
    record, _ = create_key(core.for_tenant("default"), NewKey("k", lifetime=timedelta(seconds=30)))
    token = viewers.token(job_id, key_id=record.id)
    assert viewers.seen.look_up(token)
    clock.advance(30)
    with pytest.raises(Unauthorized, match="expired"):
        viewers.seen.look_up(token)
    token = viewers.token(job_id)
    revoke_key(core.for_tenant("default"), viewers.record.id)
    with pytest.raises(Unauthorized, match="revoked"):
        viewers.seen.look_up(token)
    with pytest.raises(Unauthorized, match="gone"):
        viewers.seen.look_up(viewers.token(job_id, key_id="key_none"))


def test_a_token_made_without_a_key_is_worth_nothing_where_keys_are_needed(viewers, add_job):
    token = viewers.token(add_job(), key_id=None)
    assert viewers.made(keys_required=False).look_up(token)
    with pytest.raises(Unauthorized):
        viewers.seen.look_up(token)


def test_a_token_dies_with_its_job(viewers, add_job, core, run_job):
    job_id = add_job()
    run_job()
    token = viewers.token(job_id)
    viewer = viewers.seen.look_up(token)
    assert viewer.holder.scopes == {Scope.JOBS_READ, Scope.VIDEOS_READ}
    assert viewers.seen.remembered(token) == viewer
    assert delete_job(core, job_id)
    viewers.moment += MEMORY_SECONDS
    assert viewers.seen.remembered(token) is None
    with pytest.raises(JobNotFound):
        viewers.seen.look_up(token)


def test_a_ticket_dies_with_its_video_and_with_its_job(viewers, add_job, core, run_job):
    job_id = add_job()
    run_job()
    video_id = get_job(core, job_id).video.id
    signer = viewers.seen.signer
    through_job = sign_ticket(signer, Ticket(video_id, viewers.grant(job_id)))
    by_key = sign_ticket(signer, Ticket(video_id, viewers.grant(job_id, subject=None)))
    other = sign_ticket(signer, Ticket(video_id, viewers.grant("job_other")))
    for ticket in (through_job, by_key):
        assert viewers.seen.look_up(ticket).video_id == video_id
    with pytest.raises(VideoNotFound):
        viewers.seen.look_up(other)
    assert delete_job(core, job_id)
    for ticket in (through_job, by_key):
        with pytest.raises(VideoNotFound):
            viewers.seen.look_up(ticket)


@pytest.fixture
def finished_job(core, add_job, run_job):
    """Id of a job that has ended, and of its video."""
    job_id = add_job()
    run_job()
    return job_id, get_job(core, job_id).video.id


@pytest.mark.parametrize("end", ["key", "job", "time"])
def test_what_is_open_is_cut_off(viewers, finished_job, settings, clock, end):
    """A download or a stream of events that goes on, when what let it in is gone."""
    core = viewers.core
    job_id, video_id = finished_job
    gate = Gate(settings.model_copy(update={"require_keys": True}), core)
    grant = viewers.grant(job_id)
    token = sign_token(gate.viewers.signer, grant)
    ticket = sign_ticket(gate.viewers.signer, Ticket(video_id, grant))

    def request(headers, query=""):
        scope = {"type": "http", "method": "GET", "path": "/", "path_params": {
            "job_id": job_id, "video_id": video_id}, "query_string": query.encode(),
            "headers": headers, "client": None}  # fmt: skip
        return Request(scope)

    async def scenario():
        header = (b"authorization", f"Bearer {token}".encode())
        stream = await gate.admit(request([header]), Scope.JOBS_READ, Shown.JOB)
        download = await gate.admit(request([], f"ticket={ticket}"), Scope.VIDEOS_READ, Shown.BYTES)
        for admission in (stream, download):
            admission.checked_at -= 1
            assert await gate.still_holds(admission)
        if end == "key":
            revoke_key(core.for_tenant("default"), viewers.record.id)
        elif end == "job":
            assert delete_job(core, job_id)
        else:
            clock.advance(60)
        await asyncio.sleep(MEMORY_SECONDS)
        for admission in (stream, download):
            admission.checked_at -= 1
            assert not await gate.still_holds(admission)

    asyncio.run(scenario())
