"""What happens to jobs when processes die or are told to go, in the middle of optical flow."""

import os
import signal

import pytest

QUICK_LEASES = {
    "KINETAG_LEASE_SECONDS": "8",
    "KINETAG_HEARTBEAT_SECONDS": "0.5",
    "KINETAG_POLL_SECONDS": "2",
    "KINETAG_SWEEP_SECONDS": "1",
}
LONG_SECONDS = 190.0  # three chunks of about 64 s
NUM_CHUNKS = 3
PAST_FIRST_CHUNK = 0.36  # the plan and a third of the chunks make up 0.337
# The second chunk ends at 0.64; it must not end between the look and the signal.
INSIDE_SECOND_CHUNK = 0.53
DRAIN_SECONDS = 25.0


def _in_the_middle(service, location):
    """Wait until a job computes flow well inside the second of three chunks."""

    def look():
        job = service.job(location)
        assert job["status"] in {"queued", "processing"}, "it ended before it could be disturbed"
        done = service.events(location, "chunk.done")
        under_way = len(service.events(location, "task.claimed")) - 1 > len(done)
        flowing = job["stage"] in {"decoding", "flow", "features"}
        return (
            flowing
            and PAST_FIRST_CHUNK < job["progress"] < INSIDE_SECOND_CHUNK
            and done
            and under_way
        )

    service.until(look, 300, "being in the middle")


def _stored_chunks(service):
    paths = (service.folder / "features").rglob("chunk-*.safetensors")
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.timeout(600)
def test_killed_worker_group_is_taken_up_again_without_computing_twice(start_service, draw_video):
    service = start_service(
        "--broker", "valkey", "--device", "cpu", "--threads", "1", **QUICK_LEASES
    )
    long = service.submit(draw_video(LONG_SECONDS))
    beside = service.submit(draw_video(4))
    unwanted = service.submit(draw_video(6))
    service.client.post(f"{unwanted}/cancel").raise_for_status()
    _in_the_middle(service, long)

    stored = _stored_chunks(service)
    worker = service.pids()["worker"]
    group = {p.pid for p in service.family() if p.session == worker}
    assert len(group) >= 3, "supervisor, Celery's two processes, and the decoder"
    os.killpg(worker, signal.SIGKILL)
    service.until(
        lambda: group.isdisjoint(p.pid for p in service.survivors()), 10, "the group's end"
    )

    job = service.wait(long)
    assert job["status"] == "succeeded", (job, service.read_log())
    claims = service.events(long, "task.claimed")
    chunks = {
        index: [one["token"] for one in claims if (one["kind"], one["index"]) == ("chunk", index)]
        for index in range(NUM_CHUNKS)
    }
    assert sorted(chunks.values()) == [[1], [1], [1, 2]], chunks
    (interrupted,) = [index for index, tokens in chunks.items() if tokens == [1, 2]]
    done = service.events(long, "chunk.done")
    assert sorted(one["index"] for one in done) == list(range(NUM_CHUNKS))
    assert {one["index"]: one["token"] for one in done}[interrupted] == 2
    assert stored.items() <= _stored_chunks(service).items(), "a finished chunk was written again"
    assert service.count_results(long) == 1
    assert len(service.events(long, "job.succeeded")) == 1

    assert service.wait(beside)["status"] == "succeeded"
    assert service.count_results(beside) == 1
    assert service.wait(unwanted)["status"] == "canceled"
    assert service.count_results(unwanted) == 0
    assert service.pids()["worker"] != worker


@pytest.mark.timeout(600)
def test_drain_spends_no_attempt_and_running_job_can_be_canceled(start_service, draw_video):
    service = start_service("--broker", "none", "--device", "cpu", "--threads", "1", **QUICK_LEASES)
    location = service.submit(draw_video(LONG_SECONDS))
    _in_the_middle(service, location)
    worker = service.pids()["worker"]
    os.kill(worker, signal.SIGTERM)
    service.until(
        lambda: not [p for p in service.family() if p.session == worker],
        DRAIN_SECONDS,
        "the drain, with nothing left running,",
    )

    def taken_up_again():
        return [one for one in service.events(location, "task.claimed") if one["token"] == 2]

    (again,) = service.until(taken_up_again, 120, "being taken up again")
    assert (again["kind"], again["attempt"]) == ("chunk", 1)

    service.client.post(f"{location}/cancel").raise_for_status()
    assert service.wait(location)["status"] == "canceled"
    assert service.count_results(location) == 0

    # Even a killed supervisor of everything takes all of it along.
    service.family()
    service.process.kill()
    service.process.wait()
    service.until(lambda: not service.survivors(), 10, "the end of all its processes")
