"""What the database and the disk say at the moment of a scrape, as Prometheus metrics.

`METRICS` describes every one; docs/operations.md has the same list, and a test compares them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.jobs.commands import JobCore
from service.jobs.records import ContentRecord, JobRecord, TaskRecord, VideoRecord, WorkerRecord
from service.jobs.states import JobKind, JobQueue, JobStatus, TaskStatus
from service.jobs.store import reading
from service.metrics.counting import Counter, Labels, read_counts
from service.settings import Settings
from service.storage import free_bytes, free_floor_bytes
from service.webhooks.records import DeliveryRecord, DeliveryStatus


@dataclass(frozen=True, slots=True)
class Described:
    """A metric: its public name without ``_total``, what it says, its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


GAUGES = {
    "info": Described("kinetag_info", "Always 1; the label says which version runs.", ("version",)),
    "jobs": Described("kinetag_jobs", "Jobs there are, by state.", ("status",)),
    "waiting": Described("kinetag_queue_tasks", "Tasks that wait for a worker.", ("queue",)),
    "oldest": Described(
        "kinetag_queue_oldest_seconds", "How long the first of them has waited.", ("queue",)
    ),
    "leased": Described("kinetag_tasks_leased", "Tasks that workers hold."),
    "workers": Described("kinetag_workers", "Workers that were seen lately."),
    "videos": Described("kinetag_videos", "Videos there are."),
    "stored": Described("kinetag_stored_bytes", "Bytes of stored videos, each content once."),
    "deliveries": Described(
        "kinetag_webhook_deliveries", "Webhook messages in the delivery log.", ("status",)
    ),
    "free": Described("kinetag_disk_free_bytes", "Free space on the data folder's disk."),
    "floor": Described("kinetag_disk_floor_bytes", "Uploads are refused below this."),
}

COUNTERS = {
    Counter.TASKS: Described(
        "kinetag_tasks", "Tasks that workers ended, by how.", ("kind", "ending")
    ),
    Counter.TASK_SECONDS: Described(
        "kinetag_task_seconds", "Time that workers spent on tasks.", ("kind",)
    ),
    Counter.STAGE_SECONDS: Described(
        "kinetag_stage_seconds", "Time that workers were in a stage.", ("stage",)
    ),
    Counter.CHUNKS: Described(
        "kinetag_chunks", "Chunks whose features were computed, or found stored.", ("features",)
    ),
    Counter.FRAMES: Described("kinetag_frames", "Frames whose features were computed."),
    Counter.JOBS_ENDED: Described(
        "kinetag_jobs_ended", "Jobs that ended, by state and code of failure.", ("status", "code")
    ),
    Counter.DELIVERY_ATTEMPTS: Described(
        "kinetag_webhook_attempts", "Webhook messages sent, by what became of it.", ("result",)
    ),
}


class ServiceCollector(Collector):
    """Looks at database and disk whenever it is asked.

    Args:
        core: of no tenant: the figures are those of the whole service.
        settings: of the deployment.
    """

    def __init__(self, core: JobCore, settings: Settings) -> None:
        self._core = core
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; one reading transaction for all.

        Raises:
            DatabaseUnavailable: the database did not answer.
        """
        folder = self._settings.data_dir
        yield _gauge("info", [((_version(),), 1.0)])
        yield _gauge("free", [((), free_bytes(folder))])
        yield _gauge("floor", [((), free_floor_bytes(self._settings))])
        with reading(self._core.engine) as session:
            now = self._core.clock.now(session)
            yield _jobs(session)
            yield from _queue(session, now)
            yield _workers(session, now, self._settings.worker_silence_seconds)
            yield from _videos(session)
            yield _deliveries(session)
            counts = read_counts(session)
        yield from _counters(counts)


def _version() -> str:
    try:
        return version("kinetag")
    except PackageNotFoundError:
        return "not installed"


def _gauge(key: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    described = GAUGES[key]
    family = GaugeMetricFamily(described.name, described.text, labels=described.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _jobs(session: Session) -> Metric:
    rows = session.execute(
        select(JobRecord.status, func.count())
        .where(JobRecord.kind == JobKind.LOCALIZE, JobRecord.delete_requested.is_(False))
        .group_by(JobRecord.status)
    )
    found = dict(rows.all())
    return _gauge("jobs", [((status,), found.get(status, 0)) for status in JobStatus])


def _queue(session: Session, now: datetime) -> Iterator[Metric]:
    rows = session.execute(
        select(TaskRecord.queue, func.count(), func.min(TaskRecord.run_after))
        .where(TaskRecord.status == TaskStatus.READY)
        .group_by(TaskRecord.queue)
    )
    found = {queue: (number, since) for queue, number, since in rows}
    waiting, oldest = [], []
    for queue in JobQueue:
        number, since = found.get(queue, (0, None))
        waiting.append(((queue,), number))
        waited_seconds = 0.0 if since is None else (now - since).total_seconds()
        oldest.append(((queue,), max(0.0, waited_seconds)))
    yield _gauge("waiting", waiting)
    yield _gauge("oldest", oldest)
    leased = select(func.count()).where(TaskRecord.status == TaskStatus.LEASED)
    yield _gauge("leased", [((), session.execute(leased).scalar_one())])


def _workers(session: Session, now: datetime, silence_seconds: float) -> Metric:
    horizon = now - timedelta(seconds=silence_seconds)
    seen = select(func.count()).where(WorkerRecord.seen_at >= horizon)
    return _gauge("workers", [((), session.execute(seen).scalar_one())])


def _videos(session: Session) -> Iterator[Metric]:
    number = session.execute(select(func.count()).select_from(VideoRecord)).scalar_one()
    stored = session.execute(select(func.sum(ContentRecord.size_bytes))).scalar_one()
    yield _gauge("videos", [((), number)])
    yield _gauge("stored", [((), float(stored or 0))])


def _deliveries(session: Session) -> Metric:
    statement = select(DeliveryRecord.status, func.count()).group_by(DeliveryRecord.status)
    found = dict(session.execute(statement).all())
    return _gauge("deliveries", [((status,), found.get(status, 0)) for status in DeliveryStatus])


def _counters(counts: dict[tuple[str, Labels], float]) -> Iterator[Metric]:
    for counter, described in COUNTERS.items():
        family = CounterMetricFamily(described.name, described.text, labels=described.labels)
        for (name, labels), total in counts.items():
            if name == counter:
                given = dict(labels)
                family.add_metric([given.get(label, "") for label in described.labels], total)
        yield family
