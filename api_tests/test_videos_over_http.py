"""Videos with a real worker behind them: facts, thumbnails, refusals, deletion."""

import numpy as np
import pytest

LOOK_SECONDS = 120


def post(service, content, name):
    answer = service.client.post(
        "/v1/videos",
        content=content,
        params={"name": name},
        headers={"Content-Type": "application/octet-stream"},
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def looked_at(service, where):
    """Wait until a worker has looked at the video."""

    def look():
        video = service.client.get(where).json()
        return video if video["status"] != "pending" else None

    return service.until(look, LOOK_SECONDS, f"the look at {where} ({service.log.name})")


def sound_only(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def files_below(service, name):
    return [path for path in (service.folder / name).rglob("*") if path.is_file()]


@pytest.mark.slow
def test_videos_are_looked_at_shown_and_deleted(start_service, draw_video, tmp_path):
    film = draw_video(2.0)
    service = start_service(KINETAG_PATH_ROOTS=str(film.parent))
    where = post(service, film.read_bytes(), "cam3.mp4")
    named = service.client.post("/v1/videos", json={"path": str(film)}).headers["location"]
    noise = post(service, b"this is no video" * 100, "noise.mp4")
    sound = post(service, sound_only(tmp_path / "sound.mp4").read_bytes(), "sound.mp4")

    video = looked_at(service, where)
    assert video["status"] == "ready"
    assert abs(video["duration"] - 2.0) < 0.1
    assert (video["width"], video["height"], video["codec"]) == (128, 96, "mpeg4")
    assert (video["nominal_fps"], video["vfr"], video["num_frames"]) == (25.0, False, 50)
    assert "mp4" in video["container"]

    content = service.client.get(f"{where}/content")
    assert content.content == film.read_bytes()
    assert content.headers["content-type"] == "video/mp4"
    strip = service.client.get(f"{where}/thumbnails")
    assert strip.content.startswith(b"\xff\xd8\xff")
    assert service.client.get(f"{where}/thumbnails", params={"info": "true"}).json()

    by_path = looked_at(service, named)
    assert (by_path["status"], by_path["sha256"]) == ("ready", video["sha256"])
    part = service.client.get(f"{named}/content", headers={"Range": "bytes=4-7"})
    assert part.content == b"ftyp"

    assert looked_at(service, noise)["error"]["code"] in {
        "unreadable_video",
        "container_unsupported",
    }
    assert looked_at(service, sound)["error"]["code"] == "no_video_stream"

    for address in (where, named, noise, sound):
        assert service.client.delete(address).status_code == 204
        assert service.client.get(address).status_code == 404
    assert files_below(service, "videos") == files_below(service, "thumbnails") == []
    assert film.exists()
