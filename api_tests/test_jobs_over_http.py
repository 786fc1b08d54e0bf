"""From upload to segments over HTTP, with real processes, under each of the three brokers."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

FORMAT = {"format": "activitynet"}
HEAVY_LIBRARIES = ("libtorch", "libavcodec", "cv2")


def _loads_heavy_libraries(pid: int) -> bool:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return any(name in maps for name in HEAVY_LIBRARIES)


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    "broker", ["valkey", pytest.param("system", marks=pytest.mark.redis), "none"]
)
def test_video_in_segments_out(broker, start_service, draw_video):
    if broker == "system" and not (shutil.which("redis-server") or shutil.which("valkey-server")):
        pytest.skip("no redis-server or valkey-server on this machine")
    service = start_service("--broker", broker, "--device", "cpu")
    assert service.ready["broker"] == broker
    video = draw_video(4)

    location = service.submit(video, tag="first")
    job = service.wait(location)
    assert job["status"] == "succeeded", (job, service.read_log())
    assert (job["progress"], job["tag"], job["model"]) == (1.0, "first", "tiny@1")

    result = service.client.get(f"{location}/result").raise_for_status().json()
    assert result["video"]["name"] == video.name
    assert result["video"]["sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
    assert result["video"]["duration"] == pytest.approx(4.0, abs=0.05)
    assert set(result["labels_seen"]) == {"alpha", "beta"}
    for segment in result["segments"]:
        assert 0 <= segment["start"] < segment["end"] <= result["video"]["duration"]
    other = service.client.get(f"{location}/result", params=FORMAT).raise_for_status().json()
    assert len(other["results"]["square-4"]) == len(result["segments"])

    # The same video again finds its features stored: nothing is computed twice.
    again = service.submit(video)
    assert service.wait(again)["status"] == "succeeded"
    assert [one["computed"] for one in service.events(location, "chunk.done")] == [True]
    assert not any(one["computed"] for one in service.events(again, "chunk.done"))

    _assert_only_children_compute(service, broker)
    _assert_second_up_is_refused(service)
    for address in (location, again):
        assert service.client.delete(address).status_code in {200, 202, 204}
        assert service.client.get(address).status_code == 404
    assert not list((service.folder / "features").rglob("*.safetensors"))

    assert service.stop() == 0, service.read_log()
    assert service.survivors() == []
    assert not (service.folder / "run" / "up.json").exists()
    assert not (service.folder / "run" / "broker.sock").exists()
    assert "Traceback" not in service.read_log()


def _assert_only_children_compute(service, broker):
    worker = service.pids()["worker"]
    family = service.family()
    parents = [worker]
    parents += [p.pid for p in family if "worker-celery" in p.command and p.parent == worker]
    assert len(parents) == (1 if broker == "none" else 2)
    computing = {p.pid for p in family if p.session == worker and _loads_heavy_libraries(p.pid)}
    assert computing, "the tasks ran somewhere"
    assert computing.isdisjoint(parents)


def _assert_second_up_is_refused(service):
    second = subprocess.run(
        service.command(), check=False, capture_output=True, text=True, timeout=120
    )
    assert second.returncode == 1
    assert str(service.folder) in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    assert service.client.get("/healthz").status_code == 200


@pytest.mark.timeout(300)
def test_file_that_is_no_video_fails_with_its_code(start_service, tmp_path):
    service = start_service("--broker", "none", "--device", "cpu")
    path = tmp_path / "notes.mp4"
    path.write_text("no video at all\n" * 100)
    location = service.submit(path)
    job = service.wait(location)
    assert job["status"] == "failed"
    assert job["error"]["code"] in {"unreadable_video", "container_unsupported"}
    assert len(service.events(location, "task.claimed")) == 1, "the same file fails the same way"
    assert service.client.get(f"{location}/result").status_code == 404
