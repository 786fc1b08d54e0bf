"""Makes the data, asks the questions, prints and writes the figures.

    python -m bench.search [--rows 1000000] [--database sqlite|postgresql|both] [--json PATH]

Times are those of whole requests inside one process: admission, validation, database, rendering,
but no network. PostgreSQL runs with the settings it is delivered with and, as its autovacuum does
by itself after a while, is vacuumed and analyzed before; SQLite is taken as it is.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from bench.report import BenchReport, Figure
from bench.search.making import World, add_job, drawn_job, drawn_result, make_segments
from bench.search.postgres import private_postgres
from bench.search.questions import DEEP, PAGES_DOWN, QUESTIONS, Words, address
from service.jobs.store import create_engine_for, migrate, transaction
from service.main import create_app
from service.settings import Settings

MILLISECONDS = 1000
GOAL_MS = 50.0
WARM_UPS = 2
JOB_SEGMENTS = 1000
JOBS_TIMED = 15
OK = 200


@dataclass(slots=True)
class Side:
    """One database with the service on it.

    Attributes:
        times_ms: of requests, by kind of question.
        short_pages: how many pages were cut short because much had to be looked through.
    """

    name: str
    client: TestClient
    engine: Engine
    times_ms: dict[str, list[float]] = field(default_factory=dict)
    short_pages: int = 0

    def ask(self, kind: str | None, words: Words, page_token: str | None = None) -> str | None:
        """Ask for one page, note how long it took, and return the token of the next one."""
        begin = time.perf_counter()
        answer = self.client.get(address(words, page_token))
        seconds = time.perf_counter() - begin
        if answer.status_code != OK:
            message = f"{address(words)}: {answer.text}"
            raise RuntimeError(message)
        page = answer.json()
        token: str | None = page["next_page_token"]
        if kind is not None:
            self.times_ms.setdefault(kind, []).append(seconds * MILLISECONDS)
            wanted = int(str(dict(words).get("page_size", 50)))
            self.short_pages += token is not None and len(page["segments"]) < wanted
        return token


@contextmanager
def prepared(name: str, folder: Path, rows: int) -> Iterator[Side]:
    """Make one kind of database with all its segments, and the service on it."""
    with ExitStack() as stack:
        url = stack.enter_context(private_postgres()) if name == "postgresql" else None
        settings = Settings(data_dir=folder / name, require_keys=False, database_url=url)
        settings.data_dir.mkdir(parents=True)
        engine = create_engine_for(settings.resolved_database_url)
        migrate(engine)
        begin = time.perf_counter()
        make_segments(engine, rows)
        print(f"{name}: {rows:,} segments in {time.perf_counter() - begin:.0f} s", flush=True)
        if name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        client = TestClient(create_app(settings), base_url="http://localhost")
        yield Side(name, stack.enter_context(client), engine)
        engine.dispose()


def ask_all(sides: Sequence[Side], repeats: int, seed: int = 11) -> None:
    """Ask every question of every side, one after the other, each time with other words."""
    for repeat in range(-WARM_UPS, repeats):
        random = np.random.default_rng(seed + repeat + WARM_UPS)
        for kind, draw in QUESTIONS.items():
            words = draw(random)
            for side in sides:
                side.ask(kind if repeat >= 0 else None, words)
        for kind in DEEP:
            words = QUESTIONS[kind](random)
            for side in sides:
                token = side.ask(None, words)
                for _ in range(PAGES_DOWN):
                    if token is None:
                        break
                    token = side.ask(f"{kind}, deep" if repeat >= 0 else None, words, token)


def facets_ms(side: Side, repeats: int) -> list[float]:
    """Return how long the facets take."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        side.client.get("/v1/segments/facets").raise_for_status()
        times.append((time.perf_counter() - begin) * MILLISECONDS)
    return times


def indexing_ms(side: Side) -> tuple[float, float]:
    """Return the median of ending a job of many segments without and with making them findable."""
    random = np.random.default_rng(3)
    world = World.drawn(random)
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * JOBS_TIMED):
        index = bool(number % 2)
        job = drawn_job(world, random, 500.0)
        result = drawn_result(world, random, job, JOB_SEGMENTS)
        begin = time.perf_counter()
        with transaction(side.engine) as session:
            add_job(session, job, result, index=index)
            session.add(result)
        times[index].append((time.perf_counter() - begin) * MILLISECONDS)
    return statistics.median(times[False]), statistics.median(times[True])


def figures_of(side: Side, repeats: int) -> dict[str, Figure]:
    """Return the figures of one side."""
    every = [one for times in side.times_ms.values() for one in times]
    without_ms, with_ms = indexing_ms(side)
    overall: dict[str, Figure] = {
        "requests": len(every),
        "kinds": len(side.times_ms),
        **_spread("all", every),
        "kinds_above_goal": [
            kind for kind, times in side.times_ms.items() if _percentile(times, 95) > GOAL_MS
        ],
        "short_pages": side.short_pages,
        **_spread("facets", facets_ms(side, repeats)),
        "job_end_without_index_ms": without_ms,
        "job_end_with_index_ms": with_ms,
        "job_segments": JOB_SEGMENTS,
    }
    return {f"{side.name}_{name}": value for name, value in overall.items()}


def print_kinds(sides: Sequence[Side]) -> None:
    """Print p50, p95 and worst of every kind of question, side by side, in milliseconds."""
    head = "".join(f"{side.name + ' p50':>16}{'p95':>8}{'worst':>8}" for side in sides)
    print(f"{'milliseconds':<36}{head}")
    for kind in sides[0].times_ms:
        cells = ""
        for side in sides:
            times = side.times_ms[kind]
            cells += f"{_percentile(times, 50):16.1f}{_percentile(times, 95):8.1f}{max(times):8.1f}"
        print(f"{kind:<36}{cells}")


def _spread(name: str, times: Sequence[float]) -> dict[str, Figure]:
    return {
        f"{name}_p50_ms": _percentile(times, 50),
        f"{name}_p95_ms": _percentile(times, 95),
        f"{name}_worst_ms": max(times),
    }


def _percentile(times: Sequence[float], percent: float) -> float:
    return float(np.percentile(np.asarray(times), percent))


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description="How long searches take.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--repeats", type=int, default=20, help="of every kind of question")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    names = ("sqlite", "postgresql") if options.database == "both" else (options.database,)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        sides = [stack.enter_context(prepared(one, Path(name), options.rows)) for one in names]
        ask_all(sides, options.repeats)
        print_kinds(sides)
        figures: dict[str, Figure] = {"rows": options.rows}
        for side in sides:
            figures.update(figures_of(side, options.repeats))
    source = f"{options.rows:,} segments of two tenants, 50 cameras, 40 labels, three years"
    BenchReport("search", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
