"""Random walks over the queue: whatever workers, users and clocks do, the rules hold."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from sqlalchemy import func, select

from service.errors import InvalidTransition, LeaseLost
from service.jobs.commands import JobCore, NewJob, create_job, request_cancel
from service.jobs.lifecycle import Plan
from service.jobs.queue import MAX_ATTEMPTS, TaskQueue
from service.jobs.records import JobRecord, ResultRecord, TaskRecord
from service.jobs.states import ENDED
from service.jobs.store import create_engine_for, new_id, reading
from service.jobs.videos import NewContent, NewVideo
from service.storage import LocalBlobStore

LEASE = 60.0
ABLE = {"a": ("x",), "b": ("y",), "c": ("x", "y"), "last": ("z",)}
"""Who computes how; the first is what one does unasked. Nobody else computes like the last."""


class Clock:
    def __init__(self):
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self, session):
        return self.moment


class QueueMachine(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    claims = Bundle("claims")

    def __init__(self):
        super().__init__()
        # In memory where that is possible: the rules are tested here, not the disk.
        memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
        place = memory if memory.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="kinetag-queue-", dir=place))
        shutil.copy(TEMPLATE[0], self.folder / "jobs.db")
        self.clock = Clock()
        self.engine = create_engine_for(f"sqlite:///{self.folder / 'jobs.db'}")
        self.queue = TaskQueue(self.engine, self.clock)
        blobs = LocalBlobStore(self.folder / "data")
        self.core = JobCore(self.engine, self.clock, blobs, self.folder / "features")
        self.tokens = {}
        self.ended = {}
        self.accepted = {}
        self.owners = {}
        self.made = {}
        self.declined = {}

    def teardown(self):
        # Left to one worker, who computes like none before, everything accepted comes to an end:
        # nothing is lost, and nothing waits for ever for those who have gone.
        for _ in range(400):
            task = self._claim("last")
            if task is not None:
                self._complete(task)
                continue
            self.clock.moment += timedelta(seconds=50)
            self.queue.expire_leases()
            if all(job.status in ENDED for job in self._jobs()):
                break
        assert all(job.status in ENDED for job in self._jobs())
        self.rules_hold()
        self.engine.dispose()
        shutil.rmtree(self.folder)

    @rule(target=jobs)
    def submit(self):
        content = NewContent("0" * 64, 1, f"videos/{new_id('vid')}")
        request = NewJob(video=NewVideo(name="a", content=content), model="m@1")
        return create_job(self.core, request)[0].job.id

    @rule(target=claims, owner=st.sampled_from("abc"))
    def claim(self, owner):
        return self._claim(owner)

    def _claim(self, owner):
        task = self.queue.claim(owner=owner, lease_seconds=LEASE)
        if task is not None:
            assert task.token > self.tokens.get(task.id, 0), "a token was given out twice"
            assert task.attempt <= MAX_ATTEMPTS
            self.tokens[task.id] = task.token
            self.owners[task.id, task.token] = owner
            if task.kind == "chunk":
                declined = self.declined.get((owner, task.job_id))
                assert declined != (self.clock.moment, task.computed_with), "it spins"
        return task

    def _report(self, task, act):
        """Do something with a claim; only the newest claim of an open task may get through."""
        if task is None:
            return
        newest = self.tokens[task.id] == task.token
        try:
            act()
        except LeaseLost:
            return
        assert newest, "a replaced owner wrote"

    @rule(task=claims, fraction=st.floats(0, 1))
    def heartbeat(self, task, fraction):
        self._report(
            task,
            lambda: self.queue.heartbeat(
                task.id, task.token, lease_seconds=LEASE, stage="flow", fraction=fraction
            ),
        )

    @rule(task=claims)
    def complete(self, task):
        self._report(task, lambda: self._complete(task))

    def _complete(self, task):
        own = ABLE[self.owners[task.id, task.token]]
        if task.kind == "plan":
            self.queue.complete_plan(task.id, task.token, Plan(3, {}, {0}, {"kind": own[0]}))
            self.made[task.job_id, 0] = {"kind": own[0]}
        elif task.kind == "chunk":
            self._complete_chunk(task, own)
        else:
            self.queue.complete_join(task.id, task.token, result={"token": task.token})
            self.accepted[task.job_id] = task.token

    def _complete_chunk(self, task, own):
        """As a worker does it: compute as asked, or decline and compute only if told to."""
        made = task.computed_with
        if made["kind"] not in own:
            made = {"kind": own[0]}
            if not self.queue.decline(task.id, task.token, computed_with=made):
                key = (self.owners[task.id, task.token], task.job_id)
                self.declined[key] = (self.clock.moment, task.computed_with)
                return
        if self.queue.complete_chunk(task.id, task.token, computed=True, computed_with=made):
            self.made[task.job_id, task.index] = made

    @rule(task=claims, retryable=st.booleans(), code=st.sampled_from(["x", "disk_full"]))
    def fail(self, task, retryable, code):
        self._report(
            task,
            lambda: self.queue.fail(
                task.id, task.token, code=code, message="It failed.", retryable=retryable
            ),
        )

    @rule(task=consumes(claims))
    def release(self, task):
        self._report(task, lambda: self.queue.release(task.id, task.token))

    @rule(job_id=jobs)
    def cancel(self, job_id):
        try:
            request_cancel(self.core, job_id)
        except InvalidTransition:
            return

    @rule(seconds=st.sampled_from([1, 30, 61, 400]))
    def pass_time(self, seconds):
        self.clock.moment += timedelta(seconds=seconds)

    @rule()
    def sweep(self):
        self.queue.expire_leases()
        self.queue.mark_hinted(self.queue.due_hints(10))

    def _jobs(self):
        with reading(self.engine) as session:
            return list(session.execute(select(JobRecord)).scalars())

    @invariant()
    def rules_hold(self):
        jobs = self._jobs()
        with reading(self.engine) as session:
            results = {row.job_id: row for row in session.execute(select(ResultRecord)).scalars()}
            unfinished = dict(
                session.execute(
                    select(TaskRecord.job_id, func.count())
                    .where(TaskRecord.status.in_(("ready", "leased")))
                    .group_by(TaskRecord.job_id)
                ).all()
            )
            chunks = session.execute(
                select(TaskRecord.job_id, TaskRecord.index).where(
                    TaskRecord.kind == "chunk", TaskRecord.status == "done"
                )
            )
            done = {(job_id, index) for job_id, index in chunks}
            joined = set(
                session.execute(
                    select(TaskRecord.job_id).where(TaskRecord.kind == "join")
                ).scalars()
            )
        for job in jobs:
            asked = {
                index: self.made[job.id, index] for index in range(3) if (job.id, index) in done
            }
            assert all(made == job.computed_with for made in asked.values()), "two were mixed"
            assert job.id not in joined or len(asked) == 3, "joined before all was there"
            before = self.ended.get(job.id)
            assert before is None or before == job.status, "an ended job changed"
            if job.status in ENDED:
                self.ended[job.id] = job.status
            assert (job.id in unfinished) == (job.status not in ENDED), "a job lost its tasks"
            assert (job.id in results) == (job.status == "succeeded")
        assert {job_id: row.token for job_id, row in results.items()} == self.accepted


TEMPLATE = []


@pytest.fixture(autouse=True)
def _template(migrated_sqlite):
    TEMPLATE[:] = [migrated_sqlite]


QueueMachine.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestQueueMachine = QueueMachine.TestCase
