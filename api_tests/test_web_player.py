"""The player of docs/bridges.md, as written, in Chromium: the WebVTT export drives a plain page."""

import http.server
import re
import threading
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from models.exports import to_webvtt

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "bridges.md").read_text()
HOSTILE = "</p><img src=x onerror=alert(1)> --> fall"
FPS, SECONDS = 10, 6


class Files(http.server.SimpleHTTPRequestHandler):
    """A plain web server that answers ranges, without which no browser seeks."""

    def do_GET(self):
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            super().do_GET()
            return
        content = Path(self.translate_path(self.path)).read_bytes()
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Type", self.guess_type(self.path))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path):
    """Returns a folder and the address it is served at."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Files, directory=str(tmp_path))
    )
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def draw(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(FPS * SECONDS):
            image = np.full((48, 64, 3), 4 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def segment(label, start, end):
    return {
        "label": label, "score": 0.83, "start": start, "end": end,
        "start_ms": round(1000 * start), "end_ms": round(1000 * end),
    }  # fmt: skip


def test_the_player_of_the_page_shows_segments_as_they_come(site, page_of):
    folder, address = site
    (html,) = re.findall(r"^```html\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    (folder / "index.html").write_text(html)
    draw(folder / "video.mp4")
    segments = [segment("wave", 1.0, 2.0), segment(HOSTILE, 3.0, 4.0)]
    (folder / "segments.vtt").write_text(to_webvtt({"segments": segments}))
    page = page_of(f"{address}/index.html")
    page.wait_for_function("document.getElementById('player').textTracks[0].cues?.length == 2")
    cues = page.evaluate(
        "[...document.getElementById('player').textTracks[0].cues].map((cue) => [cue.startTime, "
        "JSON.parse(cue.text).label])"
    )
    assert cues == [[1, "wave"], [3, HOSTILE]]
    page.wait_for_function("document.getElementById('player').readyState >= 2")
    for seconds, words in ((1.5, "wave 83 %"), (2.5, "nothing"), (3.5, f"{HOSTILE} 83 %")):
        page.evaluate(f"document.getElementById('player').currentTime = {seconds}")
        page.wait_for_function(
            "(words) => document.getElementById('now').textContent === words", arg=words
        )
    assert page.locator("img").count() == 0
