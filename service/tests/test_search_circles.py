"""Who deletes jobs while counts are summed up waits for others, and never in a circle."""

import random
import threading

import pytest

from service.jobs.lifecycle import Plan
from service.jobs.removal import delete_job
from service.search import indexing
from service.search.finding import count_facets
from service.search.indexing import sum_up_counts

LABELS = [f"label {number}" for number in range(30)]
FACTS = {"duration": 90.0, "nominal_fps": 25.0, "vfr": False, "width": 64, "height": 48}
NUM_JOBS = 18


@pytest.fixture
def jobs(core, queue, add_job, native):
    draw = random.Random(7)  # noqa: S311 - drawn the same every time
    made = []
    for number in range(NUM_JOBS):
        made.append(add_job(bytes([number]), camera=f"cam {number % 3}", tag=f"tag {number % 5}"))
        plan = queue.claim(owner="w", lease_seconds=60)
        queue.complete_plan(plan.id, plan.token, Plan(1, FACTS, {0}))
        segments = [
            {**native["segments"][0], "label": label}
            for label in draw.sample(LABELS, draw.randint(5, 30))
        ]
        join = queue.claim(owner="w", lease_seconds=60)
        queue.complete_join(join.id, join.token, result={**native, "segments": segments})
    return made


def test_deleting_and_summing_up_never_wait_in_a_circle(core, jobs, monkeypatch):
    monkeypatch.setattr(indexing, "MANY_COUNTS", 1)
    failures = []
    deleted = threading.Event()

    def delete(some):
        try:
            for job in some:
                delete_job(core.for_tenant("default"), job)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    def sum_up():
        try:
            while not deleted.wait(0.05):
                sum_up_counts(core.engine)
        except Exception as error:  # noqa: BLE001 - as above
            failures.append(error)

    deleting = [threading.Thread(target=delete, args=(jobs[start::6],)) for start in range(6)]
    summing = [threading.Thread(target=sum_up) for _ in range(2)]
    for thread in deleting + summing:
        thread.start()
    for thread in deleting:
        thread.join()
    deleted.set()
    for thread in summing:
        thread.join()
    assert [repr(one.__cause__ or one)[:300] for one in failures] == []
    assert not any(count_facets(core.for_tenant("default")).values())
