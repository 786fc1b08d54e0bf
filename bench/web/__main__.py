"""Measures what people wait for on the page: 10 hours of video with 1,000 segments, in Chromium.

    python -m bench.web [--hours 10] [--segments 1000] [--rounds 9] [--json PATH] [--videos DIR]

A real `kinetag api` on a planted archive, a fresh browser context without cache in each round.
Interactive: the timeline has drawn its segments and takes input. Slider: from the moment of the
input event to the frame after which the timeline is drawn with the new threshold.
"""

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from bench.report import BenchReport, Figure
from bench.web.archive import Archive, draw_long
from bench.web.browser import open_browser, watched_context
from bench.web.serving import served_archive

WAIT_SECONDS = 60.0
LOOK_MS = 20
SLIDER_STEPS = 40
TURN = 10
"""After so many steps the other way: the ends are never reached."""

DESKTOP = {"width": 1440, "height": 900}
PAGE_GOAL_MS = 1000.0
SLIDER_GOAL_MS = 50.0
READY_EVENT = "kinetag-ready"
EXACT_EVENT = "resegment"

PROBE = """
globalThis.kinetagTimes = { ready: null, inputs: [], exact: [], begun: null };
const painted = (done) => requestAnimationFrame(() => {
  // After the frame's own work comes the first task of the next turn: then it is drawn.
  const channel = new MessageChannel();
  channel.port1.onmessage = () => done(performance.now());
  channel.port2.postMessage(null);
});
addEventListener("kinetag-ready", () => {
  painted((now) => { kinetagTimes.ready ??= now; });
}, true);
addEventListener("input", (event) => {
  const begun = event.timeStamp;
  kinetagTimes.begun = begun;
  painted((now) => kinetagTimes.inputs.push(now - begun));
}, true);
addEventListener("resegment", () => {
  const begun = kinetagTimes.begun;
  if (begun !== null) painted((now) => kinetagTimes.exact.push(now - begun));
  kinetagTimes.begun = null;
}, true);
"""
READY = "kinetagTimes.ready !== null"
THRESHOLD = re.compile("threshold", re.IGNORECASE)


@contextmanager
def _player(browser: Browser, address: str) -> Iterator[Page]:
    """Open the player of a job in a context of its own, and wait until it can be used."""
    with watched_context(browser, viewport=DESKTOP) as (context, _):
        context.add_init_script(PROBE)
        page = context.new_page()
        page.goto(address)
        _wait_for(page, READY)
        yield page


def _wait_for(page: Page, expression: str) -> None:
    # The page's policy forbids what playwright's own waiting does.
    deadline = time.monotonic() + WAIT_SECONDS
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            message = f"{expression} did not come true on {page.url}."
            raise TimeoutError(message)
        page.wait_for_timeout(LOOK_MS)


def measure(browser: Browser, address: str, rounds: int) -> dict[str, Figure]:
    """Open the player again and again, and move its slider in the last round.

    Args:
        browser: open.
        address: of a job's player.
        rounds: fresh contexts, each of which loads everything anew.
    """
    ready: list[float] = []
    slider: dict[str, Any] = {}
    for number in range(rounds):
        with _player(browser, address) as page:
            ready.append(float(page.evaluate("kinetagTimes.ready")))
            if number == rounds - 1:
                slider = _move_slider(page)
    return {
        "interactive_ms_median": round(statistics.median(ready), 1),
        "interactive_ms_worst": round(max(ready), 1),
        "interactive_goal_ms": PAGE_GOAL_MS,
        **slider,
        "slider_goal_ms": SLIDER_GOAL_MS,
    }


def _move_slider(page: Page) -> dict[str, Figure]:
    """Press the arrow keys on the threshold's slider, as fast as frames come."""
    handle = page.get_by_role("slider", name=THRESHOLD).first
    handle.focus()
    for number in range(SLIDER_STEPS):
        handle.press("ArrowLeft" if number // TURN % 2 else "ArrowRight")
        _wait_for(page, f"kinetagTimes.inputs.length > {number}")
    _wait_for(page, "kinetagTimes.begun === null && kinetagTimes.exact.length > 0")
    found: dict[str, list[float]] = page.evaluate("kinetagTimes")
    inputs = sorted(found["inputs"])
    return {
        "slider_redraw_ms_median": round(statistics.median(inputs), 1),
        "slider_redraw_ms_p95": round(inputs[int(len(inputs) * 0.95)], 1),
        "slider_redraw_ms_worst": round(inputs[-1], 1),
        # The answer of the service to the last position, which takes the preview's place.
        "exact_segments_ms": round(found["exact"][-1], 1) if found["exact"] else None,
    }


def main() -> None:
    """Measure, print, and write the report where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--segments", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--videos", type=Path, help="where drawn videos are kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        archive = Archive(folder / "data")
        videos = options.videos or folder
        job_id = archive.add(draw_long(videos, options.hours, options.segments))
        with served_archive(archive) as served, open_browser() as browser:
            figures = measure(browser, f"{served.url}/#/jobs/{job_id}", options.rounds)
        archive.close()
    source = f"{options.hours:g} hours, {options.segments} planted actions"
    BenchReport("web", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
