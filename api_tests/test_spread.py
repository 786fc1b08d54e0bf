"""One long video on two workers at once: both take part, and the result is one and the same."""

import json

import pytest
import safetensors

NUM_CHUNKS = 5
CHUNK_SECONDS = 64


@pytest.mark.timeout(600)
def test_two_workers_share_one_video_and_join_it(start_service, draw_video):
    service = start_service(
        "--broker", "none", "--device", "cpu", "--workers", "2", "--threads", "1"
    )
    assert {"worker", "worker-1"} <= service.pids().keys()
    location = service.submit(draw_video(NUM_CHUNKS * CHUNK_SECONDS))
    job = service.wait(location)
    assert job["status"] == "succeeded", (job, service.read_log())

    claims = service.events(location, "task.claimed")
    chunks = [one for one in claims if one["kind"] == "chunk"]
    assert sorted(one["index"] for one in chunks) == list(range(NUM_CHUNKS)), "each of them once"
    assert len({one["owner"] for one in chunks}) == 2, chunks
    assert service.count_results(location) == 1

    stored = sorted((service.folder / "features").rglob("chunk-*.safetensors"))
    assert len(stored) == NUM_CHUNKS
    made = set()
    for path in stored:
        with safetensors.safe_open(path, "np") as file:
            made.add(file.metadata()["computed_with"])
    (computed_with,) = made
    result = service.client.get(f"{location}/result").raise_for_status().json()
    assert result["computed_with"] == json.loads(computed_with)

    service.family()
    assert service.stop() == 0
    service.until(lambda: not service.survivors(), 10, "the end of both workers and decoders")
