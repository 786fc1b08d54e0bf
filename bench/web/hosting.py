"""Pages that hold the element, as those of a dashboard do, under the policy of our own pages."""

import html
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route

from service.api.webfiles import PAGE_POLICY

POLICY = PAGE_POLICY + "'none'"
SHEET = (
    "body { margin: 12px; background: #f4f6f5; } h1 { position: absolute; clip-path: inset(50%); } "
    "@media (prefers-color-scheme: dark) { body { background: #0b1011; } }"
)
WAIT_MS, PATIENCE_MS = 25, 10_000
NOTE = """
const timeline = document.querySelector("kinetag-timeline");
globalThis.told = [];
for (const name of ["kinetag-ready", "segment-select", "time", "resegment", "kinetag-error"]) {
  document.addEventListener(name, (event) => {
    told.push([name, structuredClone(event.detail)]);
    if (name === "kinetag-ready") timeline.dataset.ready = "yes";
  });
}
"""


def host(page: Page, origin: str, **attributes: object) -> Any:  # noqa: ANN401 - a Locator
    """Open a page of an origin that holds the element; return the element's locator.

    Its events are noted in ``told`` of the page.

    Args:
        page: to be used; its policy is that of our own pages.
        origin: of the service; the page lies below it.
        attributes: of the element; ``_`` stands for ``-``.
    """
    written = " ".join(
        f'{name.replace("_", "-")}="{html.escape(str(value))}"'
        for name, value in attributes.items()
    )
    document = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Host</title>'
        '<meta name="viewport" content="width=device-width">'
        '<link rel="stylesheet" href="/host.css"><script src="/host.js" type="module"></script>'
        '<script src="/web/timeline/kinetag-timeline.js" type="module"></script>'
        f"<main><h1>Host</h1><kinetag-timeline {written}></kinetag-timeline></main></html>"
    )
    answers = {"/host": ("text/html", document), "/host.css": ("text/css", SHEET)}
    answers["/host.js"] = ("text/javascript", NOTE)

    def answer(route: Route) -> None:
        media_type, body = answers[route.request.url.removeprefix(origin).partition("?")[0]]
        headers = {"Content-Type": media_type, "Content-Security-Policy": POLICY}
        route.fulfill(body=body, headers=headers)

    for path in answers:
        page.route(origin + path, answer)
    page.goto(f"{origin}/host")
    return page.locator("kinetag-timeline")


def host_ready(page: Page, origin: str, **attributes: object) -> Any:  # noqa: ANN401 - a Locator
    """Open such a page and wait until the element shows a timeline."""
    timeline = host(page, origin, **attributes)
    page.locator("kinetag-timeline[data-ready]").wait_for()
    # Two frames: one to lay out, one to draw.
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    return timeline


def until(page: Page, probe: Callable[[], Any]) -> None:
    """Look again and again until something holds; the page's policy forbids it to look itself.

    Raises:
        AssertionError: it never did.
    """
    for _ in range(PATIENCE_MS // WAIT_MS):
        if probe():
            return
        page.wait_for_timeout(WAIT_MS)
    message = "It did not come about."
    raise AssertionError(message)
