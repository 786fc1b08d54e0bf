"""Who is next: queues, tenants in turn, joins before chunks before plans, no bytes twice."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import IntegrityError

from service.jobs.commands import NewJob, create_job, request_cancel
from service.jobs.lifecycle import Plan
from service.jobs.line import ClaimRequest, anything_waits
from service.jobs.queue import MAX_ATTEMPTS, TaskQueue
from service.jobs.records import JobRecord, TaskRecord, TenantRecord, VideoRecord
from service.jobs.states import JobQueue, TaskKind
from service.jobs.store import new_id, reading, transaction
from service.jobs.videos import NewVideo

LEASE = 60.0
SHA256 = "ab" * 32
FETCHES = (TaskKind.FETCH,)


@pytest.fixture
def tenants(engine, clock):
    """Tenants a, b and c beside the default one."""
    with transaction(engine) as session:
        for name in "abc":
            session.add(TenantRecord(id=name, name=name, created_at=clock.moment))


@pytest.fixture
def submit(core, clock):
    """Queue a job for a tenant; its video is a path, so that no bytes are needed."""

    def act(tenant="default", queue=JobQueue.INTERACTIVE, source="path"):
        clock.advance(1)
        video = NewVideo("v", source=source, source_ref="/v" if source == "path" else "http://v/")
        request = NewJob(video, "m@1", queue=queue)
        return create_job(core.for_tenant(tenant), request)[0].job.id

    return act


def claim(queue, owner="w", **given):
    return queue.claim(owner=owner, lease_seconds=LEASE, **given)


def plan(queue, task, num_chunks=2, **given):
    facts = {"sha256": given.pop("sha256", SHA256)}
    recipe = given.pop("recipe", "r")
    queue.complete_plan(task.id, task.token, Plan(num_chunks, facts, recipe=recipe, **given))


def finish_chunk(queue, task, computed=True):
    queue.complete_chunk(task.id, task.token, computed=computed, computed_with={})


def test_interactive_jobs_go_before_batches(queue, submit):
    batch, interactive = submit(queue=JobQueue.BATCH), submit()
    assert [claim(queue).job_id, claim(queue).job_id] == [interactive, batch]


def test_started_jobs_go_before_new_ones_and_joins_first(queue, submit):
    first, second = submit(), submit()
    begun = [claim(queue), claim(queue)]
    assert [task.job_id for task in begun] == [first, second]
    for task in begun:
        plan(queue, task, num_chunks=1, recipe=task.job_id)
    third = submit()
    for chunk in [claim(queue, "a"), claim(queue, "b")]:
        finish_chunk(queue, chunk)
    seen = [(task.kind, task.job_id) for task in (claim(queue), claim(queue), claim(queue))]
    assert seen == [("join", first), ("join", second), ("plan", third)]


@pytest.mark.parametrize("workers", [1, 3])
def test_many_jobs_of_one_delay_anothers_by_a_task(tenants, engine, clock, submit, workers):
    for _ in range(10):
        submit("a", JobQueue.BATCH)
    queues = [TaskQueue(engine, clock) for _ in range(workers)]
    busy = [claim(queue, f"w{number}") for number, queue in enumerate(queues)]
    assert {task.tenant_id for task in busy} == {"a"}
    submit("b", JobQueue.BATCH)
    # The very next worker to become free serves the other.
    plan(queues[0], busy[0])
    assert claim(queues[0], "w0").tenant_id == "b"


def test_tenants_take_turns(tenants, queue, submit):
    for tenant in "aaaabbbcc":
        submit(tenant)
    served = []
    for _ in range(9):
        task = claim(queue)
        served.append(task.tenant_id)
        queue.fail(task.id, task.token, code="x", message="x", retryable=False)
    assert "".join(served) == "abcabcaba"


def test_whoever_has_less_in_work_goes_first(tenants, engine, clock, submit):
    for tenant in "aaaaccc":
        submit(tenant)
    # Every worker is a process of its own, and knows of no other's turns.
    served = [claim(TaskQueue(engine, clock), f"w{n}").tenant_id for n in range(6)]
    assert served == ["a", "c", "a", "c", "a", "c"]


def test_fetches_have_a_line_of_their_own(tenants, engine, clock, queue, submit):
    fetched = [submit(tenant, source="url") for tenant in "aab"]
    computed = submit("a")
    assert [claim(queue).job_id, claim(queue)] == [computed, None]
    fetcher = TaskQueue(engine, clock)
    seen = [claim(fetcher, "sweeper", kinds=FETCHES) for _ in range(4)]
    assert [task.job_id if task else None for task in seen] == [
        fetched[0], fetched[2], fetched[1], None
    ]  # fmt: skip
    assert {task.kind for task in seen[:3]} == {"fetch"}


def test_what_nobody_may_take_does_not_wait(engine, queue, clock, submit):
    def waits():
        with reading(engine) as session:
            now = clock.now(session)
            return anything_waits(session, ClaimRequest("w", None, now, now, MAX_ATTEMPTS))

    assert not waits()
    submit(source="url")
    assert not waits(), "a fetch is nothing for a worker"
    submit()
    assert waits()
    task = claim(queue)
    assert not waits()
    queue.fail(task.id, task.token, code="x", message="x", retryable=True)
    assert not waits(), "it is tried again later"
    clock.advance(10)
    assert waits()
    task = claim(queue)
    clock.advance(LEASE + 1)
    assert waits(), "its worker is gone"


def test_tasks_of_a_job_to_be_canceled_are_passed_over(core, queue, submit):
    first, second = submit(), submit()
    task = claim(queue)
    plan(queue, task, num_chunks=3)
    held = claim(queue, "a")
    assert held.job_id == first
    request_cancel(core, first)
    assert claim(queue, "b").job_id == second


def test_a_dead_workers_task_is_taken_over_before_anything_is_begun(queue, clock, submit):
    first, _ = submit(), submit()
    assert claim(queue, "dead").job_id == first
    clock.advance(LEASE + 1)
    again = claim(queue, "alive")
    assert (again.job_id, again.attempt) == (first, 2)


def test_the_same_chunk_is_not_extracted_for_two_jobs_at_once(queue, submit):
    first, second = submit(), submit()
    for number in range(2):
        plan(queue, claim(queue, f"planner{number}", task_id=queue.due_hints(10)[-1]), num_chunks=2)
    tasks = [claim(queue, f"w{number}") for number in range(3)]
    assert tasks[2] is None, "what is left is being extracted for the other job"
    assert {task.index for task in tasks[:2]} == {0, 1}
    finish_chunk(queue, tasks[0])
    after = claim(queue, "w2")
    assert after.index == tasks[0].index
    assert after.job_id in {first, second} - {tasks[0].job_id}


@pytest.mark.parametrize("other", [{"recipe": "other"}, {"sha256": "cd" * 32}, {"recipe": None}])
def test_other_bytes_and_other_recipes_do_not_wait(queue, submit, other):
    submit(), submit()
    plan(queue, claim(queue, task_id=queue.due_hints(10)[-1]), num_chunks=1, **other)
    plan(queue, claim(queue, task_id=queue.due_hints(10)[-1]), num_chunks=1)
    assert [claim(queue, "a").kind, claim(queue, "b").kind] == ["chunk", "chunk"]


def test_a_lease_that_runs_out_frees_the_bytes(queue, clock, submit):
    submit(), submit()
    for _ in range(2):
        plan(queue, claim(queue, task_id=queue.due_hints(10)[-1]), num_chunks=1)
    dead = claim(queue, "dead")
    assert claim(queue, "b") is None
    clock.advance(LEASE + 1)
    assert queue.expire_leases() == 1
    assert claim(queue, "b").index == dead.index


def test_the_database_refuses_the_same_bytes_twice(engine, queue, submit):
    submit(), submit()
    for _ in range(2):
        plan(queue, claim(queue, task_id=queue.due_hints(10)[-1]), num_chunks=1)
    claim(queue)
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.execute(
            text(
                "UPDATE tasks SET status = 'leased', owner = 'x', lease_until = created_at,"
                " token = 1 WHERE kind = 'chunk' AND status = 'ready'"
            )
        )


class Race:
    """Workers in threads over jobs of the same bytes, and a feature store that counts."""

    def __init__(self, engine, num_chunks):
        self.engine, self.num_chunks = engine, num_chunks
        self.stored, self.at_work, self.extracted = set(), Counter(), Counter()
        self.lock, self.ended, self.failures = threading.Lock(), threading.Event(), []

    def work(self, number):
        queue = TaskQueue(self.engine)
        try:
            while not self.ended.is_set():
                self.step(queue, claim(queue, f"w{number}"))
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            self.failures.append(error)

    def step(self, queue, task):
        if task is None:
            self.ended.wait(0.002)
        elif task.kind == "plan":
            plan(queue, task, self.num_chunks)
        elif task.kind == "join":
            queue.complete_join(task.id, task.token, result={})
        else:
            self.extract(queue, task)

    def extract(self, queue, task):
        with self.lock:
            found = task.index in self.stored
            self.at_work[task.index] += not found
            assert self.at_work[task.index] <= 1, "two extract the same"
        self.ended.wait(0.003)
        with self.lock:
            self.extracted[task.index] += not found
            self.at_work[task.index] -= not found
            self.stored.add(task.index)
        finish_chunk(queue, task, computed=not found)

    def all_succeeded(self):
        with reading(self.engine) as session:
            return set(session.execute(select(JobRecord.status)).scalars()) == {"succeeded"}


def test_workers_in_a_race_extract_every_chunk_once(engine, core, submit):
    """Three jobs of the same bytes, four workers: what one extracts the others find."""
    race = Race(engine, num_chunks=6)
    for _ in range(3):
        submit()
    workers = [threading.Thread(target=race.work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    waiter = threading.Event()
    for _ in range(3000):
        if race.failures or race.all_succeeded():
            break
        waiter.wait(0.01)
    race.ended.set()
    for worker in workers:
        worker.join(30)
    assert not race.failures
    assert race.extracted == dict.fromkeys(range(6), 1)
    with reading(engine) as session:
        statement = select(TaskRecord.computed).where(TaskRecord.kind == "chunk")
        assert Counter(session.execute(statement).scalars()) == {True: 6, False: 12}


def test_a_long_line_is_not_walked(engine, core, clock, queue, submit):
    """With ten thousand in line a claim looks at no more rows than with ten."""
    now = clock.moment - timedelta(days=1)
    rows = [(new_id("vid"), new_id("job")) for _ in range(10_000)]
    common = {"tenant_id": "default", "created_at": now}
    with transaction(engine) as session:
        session.execute(
            insert(VideoRecord),
            [
                {"id": v, "name": "v", "source": "path", "source_ref": "/v", **common}
                for v, _ in rows
            ],
        )
        session.execute(
            insert(JobRecord),
            [
                {"id": j, "video_id": v, "status": "queued", "model": "m@1", "options": {},
                 "queue": "batch", **common}
                for v, j in rows
            ],
        )  # fmt: skip
        session.execute(
            insert(TaskRecord),
            [
                {"id": new_id("task"), "job_id": j, "kind": "plan", "status": "ready",
                 "queue": "batch", "run_after": now, **common}
                for _, j in rows
            ],
        )  # fmt: skip
    statements = []
    event.listen(
        engine,
        "before_cursor_execute",
        lambda _c, _r, statement, parameters, *_: statements.append((statement, parameters)),
    )
    assert claim(queue) is not None
    looks = [one for one in statements if one[0].lstrip().startswith(("SELECT", "WITH"))]
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            plans = [
                str(row[3])
                for statement, parameters in looks
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            assert not [one for one in plans if one.startswith("SCAN tasks")], plans
            assert any("ix_tasks_line" in one for one in plans)
        else:
            connection.exec_driver_sql("ANALYZE tasks")
            plans = [
                str(row[0])
                for statement, parameters in looks
                for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            ]
            assert not [one for one in plans if "Seq Scan on tasks" in one], plans
