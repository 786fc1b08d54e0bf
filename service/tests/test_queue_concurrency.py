import subprocess
import sys
import threading

from service.jobs.commands import get_job
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue

CLAIMERS = 8

CLAIM_ALL = """
import sys
from service.jobs.queue import TaskQueue
from service.jobs.store import create_engine_for
queue = TaskQueue(create_engine_for(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while (task := queue.claim(owner=sys.argv[2], lease_seconds=60)) is not None:
    print(task.id, flush=True)
"""


def in_threads(count, act):
    barrier = threading.Barrier(count)
    results, failures = [], []

    def body(number):
        try:
            barrier.wait(30)
            results.append(act(number))
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    return results


def test_one_of_many_threads_wins_a_task(engine, add_job):
    add_job()
    queue = TaskQueue(engine)
    [task_id] = queue.due_hints(1)
    won = in_threads(
        CLAIMERS, lambda n: queue.claim(owner=f"w{n}", task_id=task_id, lease_seconds=60)
    )
    assert sum(task is not None for task in won) == 1
    assert next(task for task in won if task is not None).token == 1


def test_chunks_completed_at_once_make_one_join(engine, core, add_job):
    job_id = add_job()
    queue = TaskQueue(engine)
    task = queue.claim(owner="p", lease_seconds=60)
    queue.complete_plan(task.id, task.token, Plan(CLAIMERS, {}))

    def work(number):
        chunk = queue.claim(owner=f"w{number}", lease_seconds=60)
        assert chunk is not None, "every worker finds a chunk while there are as many"
        queue.heartbeat(chunk.id, chunk.token, lease_seconds=60, stage="flow", fraction=0.5)
        queue.complete_chunk(chunk.id, chunk.token, computed=True, computed_with={})
        return chunk.index

    assert sorted(in_threads(CLAIMERS, work)) == list(range(CLAIMERS))
    join = queue.claim(owner="j", lease_seconds=60)
    assert join.kind == "join"
    assert queue.claim(owner="k", lease_seconds=60) is None
    assert get_job(core, job_id).job.status == "processing"


def test_every_task_goes_to_one_of_several_processes(engine, database_url, add_job):
    job_ids = [add_job(bytes([number])) for number in range(20)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, database_url, f"process-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    claimed = []
    for worker in workers:
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        claimed.extend(output.split())
    assert len(claimed) == len(set(claimed)) == len(job_ids)
