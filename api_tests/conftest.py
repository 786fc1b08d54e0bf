"""Black-box equipment: a real `kinetag up` per test, drawn videos, a tiny model, process census."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sqlalchemy import select as sql_select

from bench.web.archive import Archive, draw_short
from bench.web.browser import (
    BrowserMissing,
    axe_violations,
    install_checks,
    open_browser,
    watched_context,
)
from bench.web.serving import ServedArchive, served_archive
from service.jobs.records import EventRecord, ResultRecord
from service.jobs.store import create_engine_for, reading

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120.0
STOP_SECONDS = 45.0
JOB_SECONDS = 240.0
LOOK_SECONDS = 0.05
MODEL = "tiny@1"
WIDTH_PX, HEIGHT_PX, FPS = 128, 96, 25
ENDED = {"succeeded", "failed", "canceled"}
SCREENS = ROOT / "docs" / "screens"
DESKTOP = {"width": 1440, "height": 900}
HOSTILE_NAME = "<img src=x onerror=alert(1)> \N{RIGHT-TO-LEFT OVERRIDE}4pm.\N{VIDEO CAMERA}.mp4"


def pause(seconds: float = LOOK_SECONDS) -> None:
    """Give way between two looks at a condition with a deadline."""
    select.select([], [], [], seconds)


def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """Look again and again until something true comes back; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause()
    pytest.fail(f"{what} did not happen within {seconds:g} s")


@dataclass(frozen=True)
class Process:
    """One row of the process table; ``started`` tells a reused pid apart."""

    pid: int
    parent: int
    session: int
    started: int
    command: str


def process_table() -> list[Process]:
    """Read all processes but zombies, which run nothing any more."""
    table = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            numbers = (int(fields[1]), int(fields[3]), int(fields[19]))
            table.append(Process(int(folder.name), *numbers, command.strip()))
    return table


@dataclass
class Service:
    """A running `kinetag up` and a client of it."""

    folder: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    seen: dict[tuple[int, int], Process] = field(default_factory=dict)

    def start(self) -> None:
        """Start it and wait until it says where it is."""
        self.log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            start_new_session=True,
        )
        self.ready = until(self._read_ready, START_SECONDS, f"the start ({self.log.name})")
        self.client = httpx2.Client(base_url=self.ready["url"], timeout=60)

    def command(self) -> list[str]:
        """The command line."""
        up = [sys.executable, "-m", "kinetag", "up", "--data", str(self.folder), "--port", "0"]
        return [*up, *self.options]

    def _read_ready(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, f"it ended at its start: {self.read_log()}"
        path = self.folder / "run" / "up.json"
        if not path.exists():
            return None
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def read_log(self) -> str:
        """What all its processes wrote, without the lines about single requests."""
        lines = Path(self.log.name).read_text(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if "service.api.guards" not in line)

    @staticmethod
    def until(look: Callable[[], Any], seconds: float, what: str) -> Any:
        """As the function of that name, for tests."""
        return until(look, seconds, what)

    def pids(self) -> dict[str, int]:
        """Present process ids of its direct children by name."""
        document = self._read_ready()
        assert document is not None
        pids: dict[str, int] = document["pids"]
        return pids

    def family(self) -> list[Process]:
        """Everything that belongs to it now, by session or descent; remembered for later."""
        table = process_table()
        sessions = {self.process.pid, *self.ready["pids"].values()}
        sessions |= {process.session for process in self.seen.values()}
        pids = {process.pid for process in table if process.session in sessions}
        grown = True
        while grown:
            more = {process.pid for process in table if process.parent in pids} - pids
            grown = bool(more)
            pids |= more
        found = [process for process in table if process.pid in pids]
        self.seen.update({(process.pid, process.started): process for process in found})
        return found

    def survivors(self) -> list[Process]:
        """Whatever of the family, or of its sessions, still runs."""
        sessions = {self.process.pid, *(process.session for process in self.seen.values())}
        return [
            process
            for process in process_table()
            if (process.pid, process.started) in self.seen or process.session in sessions
        ]

    def stop(self) -> int:
        """TERM, as an operator would; return the exit status."""
        self.family()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            self.family()
            self.process.kill()
            self.process.wait()
        until(lambda: not self.survivors(), 20, "the end of all processes")
        self.client.close()
        self.log.close()

    def submit(self, video: Path, **form: str) -> str:
        """Upload a video; return the job's address."""
        with video.open("rb") as file:
            answer = self.client.post(
                "/v1/jobs", files={"video": (video.name, file)}, data={"model": MODEL, **form}
            )
        assert answer.status_code == 202, answer.text
        location: str = answer.headers["location"]
        return location

    def job(self, location: str) -> dict[str, Any]:
        """The job as users see it."""
        document: dict[str, Any] = self.client.get(location).raise_for_status().json()
        return document

    def wait(self, location: str) -> dict[str, Any]:
        """Wait until a job has ended."""

        def look() -> dict[str, Any] | None:
            answer = self.client.get(location, params={"wait": 2}).raise_for_status()
            job: dict[str, Any] = answer.json()
            return job if job["status"] in ENDED else None

        return until(look, JOB_SECONDS, f"the end of {location} ({self.log.name})")

    def events(self, location: str, kind: str) -> list[dict[str, Any]]:
        """Details of a job's events of one type, in order, straight from the database."""
        engine = create_engine_for(f"sqlite:///{self.folder / 'kinetag.db'}")
        try:
            with reading(engine) as session:
                statement = (
                    sql_select(EventRecord.details)
                    .where(EventRecord.job_id == location.rpartition("/")[2])
                    .where(EventRecord.type == kind)
                    .order_by(EventRecord.id)
                )
                return list(session.execute(statement).scalars())
        finally:
            engine.dispose()

    def count_results(self, location: str) -> int:
        """Rows of results of a job."""
        engine = create_engine_for(f"sqlite:///{self.folder / 'kinetag.db'}")
        try:
            with reading(engine) as session:
                statement = sql_select(ResultRecord).where(
                    ResultRecord.job_id == location.rpartition("/")[2]
                )
                return len(session.execute(statement).all())
        finally:
            engine.dispose()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random narrow weights: right in every shape, knowing nothing."""
    import safetensors.torch
    import torch

    from models.backbones.registry import build_backbone
    from models.config import settings_to_json
    from models.heads.aicl import AiclSettings
    from models.heads.base import HeadSpec
    from models.heads.registry import build_head
    from models.modelcard import ModelCard, save_model
    from models.recipe import FeatureRecipe

    folder = tmp_path_factory.mktemp("models") / MODEL
    folder.mkdir()
    torch.manual_seed(7)
    narrow = {
        # Large enough that a chunk takes seconds: tests interrupt it in the middle.
        "short_side_px": 80,
        "crop_px": 64,
        "width": 0.125,
        "stream_width": 128,
    }
    recipe = FeatureRecipe(name="tiny", **narrow)
    digests = []
    for stream in recipe.streams:
        network = build_backbone(recipe, stream, num_classes=4)
        content = safetensors.torch.save(network.state_dict())
        (folder / f"{stream}.safetensors").write_bytes(content)
        digests.append((stream, _sha256(content)))
    recipe = FeatureRecipe(name="tiny", **narrow, weights=tuple(digests))
    settings = AiclSettings(width=32)
    classes = ("alpha", "beta")
    head = build_head("aicl", HeadSpec.for_recipe(classes, recipe), settings)
    card = ModelCard(
        name="tiny",
        version="1",
        method="aicl",
        classes=classes,
        recipe=recipe,
        head_settings=settings_to_json(settings),
    )
    save_model(folder, card, _Untrained(head, recipe.feature_width))
    return folder


@dataclass
class _Untrained:
    head: Any
    width: int

    @property
    def standardize_mean(self) -> Any:
        return np.zeros(self.width, np.float32)

    @property
    def standardize_std(self) -> Any:
        return np.ones(self.width, np.float32)


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="session")
def draw_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """Returns (seconds) -> path of an encoded video of a moving texture; each length once."""
    import av

    folder = tmp_path_factory.mktemp("videos")
    coarse = np.random.default_rng(5).integers(0, 256, (HEIGHT_PX // 8, WIDTH_PX // 8, 3))
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)

    def draw(seconds: float) -> Path:
        path = folder / f"square-{seconds:g}.mp4"
        if path.exists():
            return path
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
            for index in range(round(seconds * FPS)):
                image = np.roll(texture, (index, 2 * index), axis=(0, 1))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path

    return draw


@pytest.fixture
def start_service(tmp_path: Path, tiny_model: Path) -> Iterator[Callable[..., Service]]:
    """Returns (*options, **environment) -> a running service with the tiny model installed."""
    started: list[Service] = []

    def start(*options: str, **environment: str) -> Service:
        folder = tmp_path / f"data-{len(started)}"
        shutil.copytree(tiny_model, folder / "models" / tiny_model.name)
        service = Service(folder, options, environment)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.close()


def _without_equipment(error: BrowserMissing) -> None:
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(f"{error} REQUIRE_BROWSER is set.")
    pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium.

    Of each module anew: while it runs, its event loop is this thread's, and nobody else's can be.
    """
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(open_browser())
        except BrowserMissing as error:
            _without_equipment(error)
        yield browser


@pytest.fixture
def page_of(browser: Any) -> Iterator[Callable[..., Any]]:
    """Returns (address?, allowed_errors?, **options of a context) -> a page with nothing stored.

    The page has its `Watch` as ``watch``. At the end of the test nothing may have broken a policy,
    no error may have been logged but those that match ``allowed_errors``, and no request may have
    left this machine.
    """
    with ExitStack() as stack:
        opened = []

        def open_page(
            address: str | None = None, allowed_errors: str = "$^", **options: Any
        ) -> Any:
            options = {"viewport": DESKTOP, "color_scheme": "light", **options}
            context, watch = stack.enter_context(watched_context(browser, **options))
            opened.append((watch, re.compile(allowed_errors)))
            page = context.new_page()
            page.watch = watch
            page.set_default_timeout(20_000)
            if address is not None:
                page.goto(address)
            return page

        yield open_page
        for watch, allowed in opened:
            assert watch.violations == []
            assert [error for error in watch.errors if not allowed.search(error)] == []
            assert watch.strangers() == []


@pytest.fixture(scope="session")
def web_modules(pytestconfig: pytest.Config) -> Path:
    """node_modules with axe-core and TypeScript."""
    try:
        return install_checks(pytestconfig.cache.mkdir("web"))
    except BrowserMissing as error:
        _without_equipment(error)
        raise


@pytest.fixture
def axe(web_modules: Path) -> Callable[[Any], list[dict[str, Any]]]:
    """Returns (page) -> what axe-core finds wrong with it; to be compared with []."""
    return lambda page: axe_violations(page, web_modules)


@pytest.fixture
def screen(tmp_path: Path) -> Callable[..., Path]:
    """Returns (page, name, **options) -> path of a picture of it.

    With RECORD_SCREENS set it is put into docs/screens, where the documents show it.
    """
    folder = SCREENS if os.environ.get("RECORD_SCREENS") else tmp_path

    def take(page: Any, name: str, **options: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        page.screenshot(path=path, **options)
        return path

    return take


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where videos for archives are drawn, each once; see `bench.web.archive`."""
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def archive_service(
    tmp_path_factory: pytest.TempPathFactory, drawn_folder: Path
) -> Iterator[ServedArchive]:
    """`kinetag api` on an archive of six jobs, one of a hostile name; ``jobs`` has their ids."""
    archive = Archive(tmp_path_factory.mktemp("archive") / "data")
    looks = {"width_px": 320, "height_px": 240}
    drawn = [
        draw_short(drawn_folder, 1, 20, labels=("wave", "fall"), **looks),
        draw_short(drawn_folder, 2, 20, labels=("jump", "kick"), **looks),
        draw_short(drawn_folder, 3, 12, labels=(), **looks),
    ]
    morning = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    planted = [
        replace(
            drawn[0], name="entrance.mp4", camera="entrance", recorded_at=morning, tag="monday"
        ),
        replace(drawn[1], name="dock.mp4", camera="dock", recorded_at=morning, tag="monday"),
        replace(drawn[2], name="nothing.mp4", camera="dock", tag="tuesday"),
        replace(drawn[1], name=HOSTILE_NAME, camera="<b>yard</b>", tag="<i>tag</i>"),
    ]
    jobs = [archive.add(recording) for recording in planted]
    jobs.append(
        archive.add_failed(
            replace(drawn[2], name="broken.mp4"),
            "unreadable_video",
            "The file is a text, not a video.",
        )
    )
    jobs.append(archive.add_queued(replace(drawn[0], name="waiting.mp4")))
    with served_archive(archive) as served:
        served.jobs = jobs
        yield served
    archive.close()
