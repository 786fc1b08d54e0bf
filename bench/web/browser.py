"""A real Chromium that is watched: what it refuses, what it asks of whom, what goes wrong in it."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--autoplay-policy=no-user-gesture-required",
    # Pictures are the same on every machine.
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
)
CHECKS = Path(__file__).parents[2] / "api_tests" / "web"
INSTALL_SECONDS = 120
LOOPBACK = ("127.0.0.1", "localhost")
OWN_SCHEMES = ("http", "https", "ws", "wss")

STATUS_ERROR = re.compile("Failed to load resource: the server responded with a status of")
"""What the console says of every refusal; pages have to deal with those, tests look at that."""

TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  globalThis.kinetagViolation?.(
    `${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`,
  );
}, true);
"""
RUN_AXE = """async (tags) => {
  const found = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  return found.violations.map(({ id, impact, help, nodes }) => ({
    id, impact, help, where: nodes.map((node) => node.target.join(" ")).slice(0, 5),
  }));
}"""
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


class BrowserMissing(Exception):
    """There is no Chromium, or no npm, on this machine."""


@dataclass
class Watch:
    """What went on in the pages of one context.

    Attributes:
        violations: of content security policies, and of Trusted Types.
        errors: of the console, and uncaught ones; not that a request was refused.
        requests: methods and addresses.
    """

    violations: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def strangers(self, hosts: Iterable[str] = LOOPBACK) -> list[str]:
        """Return the addresses of requests that went elsewhere."""
        known = set(hosts)
        parts = ((url, urlsplit(url)) for _, url in self.requests)
        return [url for url, at in parts if at.scheme in OWN_SCHEMES and at.hostname not in known]

    def _note_violation(self, told: str) -> None:
        self.violations.append(told)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not STATUS_ERROR.match(message.text):
            self.errors.append(message.text)

    def attach(self, context: BrowserContext) -> None:
        """Listen to all pages, and their frames, of a context."""
        context.expose_function("kinetagViolation", self._note_violation)
        context.add_init_script(TELL_VIOLATIONS)
        context.on("console", self._note_message)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("request", lambda one: self.requests.append((one.method, one.url)))


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the system's Chromium, without a window, until the block ends.

    Raises:
        BrowserMissing: there is none.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        message = "There is no Chromium; on Debian and Ubuntu: apt install chromium."
        raise BrowserMissing(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched_context(browser: Browser, **options: Any) -> Iterator[tuple[BrowserContext, Watch]]:  # noqa: ANN401 - playwright's own
    """Open a context of its own, with nothing stored, and watch it; options are playwright's."""
    context = browser.new_context(**options)
    watch = Watch()
    watch.attach(context)
    try:
        yield context, watch
    finally:
        context.close()


def install_checks(cache: Path) -> Path:
    """Return the folder of axe-core and TypeScript, installed once per lock below a folder.

    No script of a package is run.

    Raises:
        BrowserMissing: there is no npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        message = "There is no npm; on Debian and Ubuntu: apt install npm."
        raise BrowserMissing(message)
    lock = (CHECKS / "package-lock.json").read_bytes()
    folder = cache / f"web-checks-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CHECKS / name, folder)
        subprocess.run(  # noqa: S603 - a command of our own
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
            env={**os.environ},  # noqa: TID251 - handed on, not read
        )
        (folder / "complete").touch()
    return folder / "node_modules"


def axe_violations(page: Page, modules: Path) -> list[dict[str, Any]]:
    """Return what axe-core finds wrong with a page as it is now, shadow trees and frames included.

    Args:
        page: to look at; its policy does not keep the debugger out.
        modules: as `install_checks` returns it.
    """
    source = (modules / "axe-core" / "axe.min.js").read_text()
    for frame in page.frames:
        if frame.url.startswith("http"):
            frame.evaluate(source)
    found: list[dict[str, Any]] = page.evaluate(RUN_AXE, list(RULES))
    return found
