"""The decode child: hostile inputs touch nothing, limits bind, no death of a child is a riddle."""

import contextlib
import http.server
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from models import decode
from models.decode import DecodeLimits, VideoSource, probe
from models.decode_child import tie_to_parent
from models.errors import (
    ContractViolation,
    DecoderCrashed,
    DecodeTimeout,
    InputError,
    OutOfMemory,
    UnreadableVideo,
    VideoTooLarge,
)
from models.tests.decode_clips import Clip, read_numbers, write_clip

ROOT = Path(decode.__file__).parent.parent


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", Clip(count=50))


@pytest.fixture
def server():
    """A local HTTP server that counts what reaches it."""
    hits = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            hits.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", hits
        httpd.shutdown()


def playlists(url, canary):
    """Inputs that make a trusting FFmpeg open something else."""
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
        "hls_file": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{canary}\n"
        "#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{canary}'\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        f'<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f"<BaseURL>{url}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    }


def was_read(path, before):
    return path.stat().st_atime_ns != before


@pytest.mark.parametrize("name", ["x.mp4", "x.m3u8", "x"])
def test_playlists_reach_neither_files_nor_ports(tmp_path, clip, server, name):
    url, hits = server
    canary = tmp_path / "canary.mp4"
    canary.write_bytes(clip.read_bytes())
    for kind, text in playlists(url, canary).items():
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / name
        path.write_text(text)
        with pytest.raises(InputError):
            probe(path)
    assert hits == []


def test_the_demuxers_themselves_are_closed_not_only_the_first_look(tmp_path, clip, server):
    """What the first bytes do not give away is refused by FFmpeg's own lists."""
    import av

    from models.decode_media import open_container

    url, hits = server
    for kind, text in playlists(url, clip).items():
        path = tmp_path / kind
        path.write_text(text)
        with path.open("rb") as file, pytest.raises((av.error.FFmpegError, OSError, ValueError)):
            open_container(file.fileno(), DecodeLimits())
    assert hits == []


def test_a_huge_picture_is_refused_before_decoding(tmp_path):
    path = write_clip(tmp_path / "bomb.avi", Clip("mjpeg", 1, size=(8000, 8000),
                                                  pix_fmt="yuvj420p"))  # fmt: skip
    with pytest.raises(VideoTooLarge, match="8000x8000"):
        probe(path)


def test_the_codec_context_itself_refuses_other_codecs_and_sizes(tmp_path, clip):
    import av

    from models.decode_media import prepare_codec

    other = write_clip(tmp_path / "a.mkv", Clip("ffv1", count=2))
    with av.open(str(other)) as container:
        prepare_codec(container.streams.video[0], DecodeLimits())
        with pytest.raises((av.error.FFmpegError, ValueError)):
            list(container.decode(video=0))
    with av.open(str(clip)) as container:
        prepare_codec(container.streams.video[0], DecodeLimits(max_pixels=100))
        with pytest.raises((av.error.FFmpegError, ValueError)):
            list(container.decode(video=0))


@contextlib.contextmanager
def opened(path, **limits):
    with VideoSource(path, fps=25, short_side_px=None, limits=DecodeLimits(**limits)) as source:
        yield source, source._child.process.pid


def test_a_child_that_segfaults_is_one_error_and_the_source_is_closed(clip):
    with opened(clip) as (source, pid):
        os.kill(pid, signal.SIGSEGV)
        with pytest.raises(DecoderCrashed, match="SIGSEGV"):
            source.read(0, 10)
        with pytest.raises(ContractViolation):
            source.read(0, 10)
        assert DecoderCrashed.retryable


def test_a_child_killed_from_outside_counts_as_out_of_memory(clip):
    with opened(clip) as (source, pid):
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(OutOfMemory):
            source.read(0, 10)


def test_a_child_that_stalls_is_ended(clip):
    with opened(clip, stall_timeout_seconds=0.5) as (source, pid):
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DecodeTimeout, match=r"0\.5 s"):
            source.read(0, 10)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_processor_time_is_bounded(clip):
    with opened(clip) as (source, pid):
        os.kill(pid, signal.SIGXCPU)
        with pytest.raises(DecodeTimeout, match="processor time"):
            source.read(0, 10)


def test_too_little_memory_is_an_error_of_the_machine(tmp_path):
    path = write_clip(tmp_path / "big.avi", Clip("mjpeg", 2, size=(4096, 4096),
                                                 pix_fmt="yuvj420p"))  # fmt: skip
    with pytest.raises(OutOfMemory), opened(path, memory_bytes=300 << 20):
        pass


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs /proc")
def test_the_child_is_bounded_bare_and_holds_no_other_file(clip, tmp_path):
    with (tmp_path / "secret").open("w") as secret, opened(clip) as (_, pid):
        os.set_inheritable(secret.fileno(), True)
        limits = Path(f"/proc/{pid}/limits").read_text()
        rows = {line[:25].strip(): line[26:].split()[:2] for line in limits.splitlines()}
        assert rows["Max file size"] == ["0", "0"]
        assert rows["Max core file size"] == ["0", "0"]
        assert int(rows["Max address space"][0]) == DecodeLimits().memory_bytes
        assert int(rows["Max open files"][0]) == DecodeLimits().max_open_files
        assert int(rows["Max cpu time"][0]) < 1000
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert clip.name.encode() not in command


def test_the_child_starts_with_an_empty_environment_and_few_modules(monkeypatch):
    seen = {}
    real = subprocess.Popen

    def spy(arguments, **options):
        seen.update(options)
        return real(arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    with contextlib.suppress(InputError):
        probe(Path(__file__))
    assert seen["env"] == {}
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import models.decode_child, models.decode_frames;"
        "print([m for m in ('torch', 'cv2', 'scipy', 'multiprocessing') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_the_child_dies_with_its_parent(clip):
    code = (
        "import sys; from pathlib import Path; from models.decode import VideoSource\n"
        "source = VideoSource(Path(sys.argv[1]), fps=25, short_side_px=None)\n"
        "source.__enter__(); print(source._child.process.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(clip)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
    ) as parent:  # fmt: skip
        pid = int(parent.stdout.readline())
        watch = os.pidfd_open(pid)
        # Frozen, it cannot notice the closed channel: only the kernel can end it.
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
        try:
            assert select.select([watch], [], [], 10.0)[0]
        finally:
            os.close(watch)


def test_an_orphan_never_starts():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from models.decode_child import tie_to_parent; tie_to_parent(1 << 22); print('alive')"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (1, "")
    assert callable(tie_to_parent)


def test_nothing_leaks(clip, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"junk" * 100)

    def use():
        with VideoSource(clip, fps=25, short_side_px=None) as source:
            source.read(0, 5)
        with pytest.raises(UnreadableVideo):
            probe(broken)

    use()
    before = sorted(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        use()
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def _read_in_daemon(path, answer):
    with VideoSource(path, fps=25, short_side_px=None) as source:
        answer.send(read_numbers(source.read(0, 5)))


def test_it_works_inside_a_daemonic_process(clip):
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_read_in_daemon, args=(clip, send), daemon=True)
    process.start()
    assert receive.poll(60)
    assert receive.recv() == [0, 1, 2, 3, 4]
    process.join(10)


@pytest.mark.parametrize(
    "lie",
    [
        {"count": 10**9, "problems": []},
        {"count": 0, "problems": []},
        {"count": True},
        {"count": 5, "problems": [["frames_lost", -1]]},
        {"count": 5, "problems": [["rm", 1]]},
        {"nothing": 1},
    ],
)
def test_a_lying_child_is_not_believed(clip, monkeypatch, lie):
    with VideoSource(clip, fps=25, short_side_px=None) as source:
        monkeypatch.setattr(decode, "receive_message", lambda _: json.loads(json.dumps(lie)))
        with pytest.raises(DecoderCrashed, match="senseless"):
            source.read(0, 5)


@pytest.mark.parametrize(
    ("answer", "ticks"),
    [
        ({"count": 10**9, "time_base": [1, 25]}, [0, 1, 2, 3, 4]),
        ({"count": 0, "time_base": [1, 25]}, [0, 1, 2, 3, 4]),
        ({"count": 5, "time_base": [1, 0]}, [0, 1, 2, 3, 4]),
        ({"count": 5, "time_base": [1]}, [0, 1, 2, 3, 4]),
        ({"count": 5}, [0, 1, 2, 3, 4]),
        ({"count": 5, "time_base": [1, 25]}, [1, 2, 3, 4, 5]),
        ({"count": 5, "time_base": [1, 25]}, [0, 2, 1, 3, 4]),
        ({"count": 5, "time_base": [1, 25]}, [0, 1, 2, 3, 10**12]),
    ],
)
def test_senseless_presentation_times_are_not_believed(tmp_path, monkeypatch, answer, ticks):
    clip = write_clip(tmp_path / "five.mp4", Clip(count=5))
    with VideoSource(clip, fps=25, short_side_px=None) as source:
        child = source._child.shared
        child[: 8 * len(ticks)] = np.array(ticks, np.int64).tobytes()
        monkeypatch.setattr(decode, "receive_message", lambda _: json.loads(json.dumps(answer)))
        with pytest.raises(DecoderCrashed, match="senseless"):
            source.presentation_times()


def test_presentation_times_come_in_as_many_answers_as_they_need(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "a.mp4", Clip(count=30))
    with VideoSource(clip, fps=25, short_side_px=None) as source:
        whole = source.presentation_times()
    assert (whole.ticks * float(whole.time_base)).tolist() == pytest.approx(
        [index / 25 for index in range(30)]
    )
    with VideoSource(clip, fps=25, short_side_px=None) as source:
        times, asked = whole.ticks, []

        def seven_at_once(question):
            asked.append(question["start"])
            part = times[question["start"] :][:7]
            source._child.shared[: part.nbytes] = part.tobytes()
            base = whole.time_base
            return {"count": len(part), "time_base": [base.numerator, base.denominator]}

        monkeypatch.setattr(source, "_ask", seven_at_once)
        assert source.presentation_times().ticks.tolist() == times.tolist()
    assert asked == [0, 7, 14, 21, 28]


def test_seeking_is_really_used(clip, tmp_path):
    """Otherwise every chunk of a long video would decode all before it."""
    from models.decode_frames import PictureStream
    from models.decode_media import scan

    options = {"g": "10", "bf": "2", "x264-params": "scenecut=0"}
    for name in ["a.mp4", "a.mkv", "a.ts"]:
        path = write_clip(tmp_path / name, Clip(count=60, options=options))
        with path.open("rb") as file:
            medium = scan(file.fileno(), DecodeLimits(), lambda: None)
            stream = PictureStream(medium, lambda: None)
            assert len(medium.log.key_index) == 6
            assert stream.seek(4), name
            assert stream.next().rank >= 10
            stream.close()


def test_the_hash_is_of_the_bytes(clip):
    import hashlib

    facts = probe(clip, name="../../evil\n.mp4")
    assert facts.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert facts.name == "../../evil.mp4"
    with VideoSource(clip, fps=25, short_side_px=None, sha256="ab" * 32) as source:
        assert source.facts.sha256 == "ab" * 32
        assert np.array_equal(source.read(3, 4), source.read(3, 4))
