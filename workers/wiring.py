"""Puts worker processes together from the settings: the composition root of this package.

Nothing here is imported by the modules it wires. Importing it loads no numpy, torch or decoder,
because Celery's parent process does, and forks; those come with `build_runtime`.
"""

import os
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from service.errors import LeaseLost, OutageError
from service.ingest.library import sweep_videos
from service.ingest.sweeping import sweep_uploads
from service.ingest.uploads import UploadDesk
from service.jobs.claims import note_worker
from service.jobs.commands import JobCore, open_core
from service.jobs.queue import TaskQueue
from service.jobs.removal import purge_job, sweep_orphans
from service.jobs.store import transaction
from service.metrics.counting import sum_up, write_counts
from service.search.indexing import index_earlier_results, sum_up_counts
from service.settings import Settings
from service.tracing import start_tracing
from service.webhooks.delivery import purge_deliveries
from service.webhooks.fanout import relay_events
from workers.celery_app import BrokerAddress, build_app
from workers.devicelock import DeviceLock
from workers.queue_views import has_claimable_task, is_unwanted
from workers.supervisor import Look, SupervisorSettings, WorkerSupervisor
from workers.sweeper import Duty, HintRelay, Service, Sweeper, remove_stale_temporaries
from workers.tasks import publish_hints
from workers.watchdog import Watchdog

if TYPE_CHECKING:
    from models.feature_store import FeatureStore
    from workers.runtime import Runtime

POLL_WITHOUT_BROKER_SECONDS = 1.0
"""One indexed query a second; with no hints this is the whole delay before a job starts."""

MAX_WORKERS = 64
"""Per host; more of them would only wait for the one database file."""

RELAY_SECONDS = 0.5
LIBRARY_SECONDS = 60.0
"""A turn deletes a hundred videos at most: an hour between two would not keep up with uploads."""

HOUSEKEEPING_SECONDS = 3600.0
COUNT_SECONDS = 60.0
INDEX_SECONDS = 1.0
"""From one turn to the next while results of an earlier release are made searchable."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What `kinetag worker` was asked for.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        num_threads: for flow and network together; 0 is every core.
        slot: tells workers apart that share one device of one host.
    """

    device: str
    num_threads: int = 0
    slot: int = 0

    @property
    def name(self) -> str:
        """Device and slot as part of file and node names."""
        name = self.device.replace(":", "-")
        return f"{name}-slot{self.slot}" if self.slot else name

    @property
    def owner(self) -> str:
        """What leases call this worker: the same after a restart."""
        return f"{socket.gethostname()}/{self.name}"

    @property
    def file_name(self) -> str:
        """The worker's part in the names of its files; hosts may share the folder they lie in."""
        return f"{socket.gethostname()}-{self.name}"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The same options on a command line."""
        slot = ("--slot", str(self.slot)) if self.slot else ()
        return ("--device", self.device, "--threads", str(self.num_threads), *slot)

    def command(self, name: str) -> tuple[str, ...]:
        """Command line of one of our own children on this device."""
        return (sys.executable, "-m", "workers.cli", name, *self.arguments)


def share_device(device: str, num_threads: int, num_workers: int) -> list[WorkerOptions]:
    """Return the options of workers that share one device of this host.

    Args:
        device: of all of them.
        num_threads: of each; 0 divides the cores among them, and leaves one worker all.
        num_workers: at least 1.
    """
    if num_threads == 0 and num_workers > 1:
        num_threads = max(1, num_processors() // num_workers)
    return [WorkerOptions(device, num_threads, slot) for slot in range(num_workers)]


def num_processors() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def child_environment(settings: Settings, options: WorkerOptions) -> dict[str, str]:
    """Return variables for a worker's children: the same data, and one GPU as their first."""
    kind, _, number = options.device.partition(":")
    one_gpu = {"CUDA_VISIBLE_DEVICES": number} if kind == "cuda" and number else {}
    return {"KINETAG_DATA_DIR": str(settings.data_dir), **one_gpu}


def run_folder(settings: Settings) -> Path:
    """Return the folder of locks and sockets."""
    return settings.data_dir / "run"


def drain_flag(settings: Settings, options: WorkerOptions) -> Path:
    """Return the file whose existence tells this worker's children to finish."""
    return run_folder(settings) / f"worker-{options.file_name}.draining"


def worker_lock(settings: Settings, options: WorkerOptions) -> Path:
    """Return the file that the one worker of this host, device and slot keeps locked."""
    return run_folder(settings) / f"worker-{options.file_name}.lock"


def broker_address(settings: Settings) -> BrokerAddress | None:
    """Return where hints travel, or None where there is no broker."""
    if settings.broker_url is None:
        return None
    url = settings.broker_url.get_secret_value()
    return BrokerAddress.of_installation(url, settings.resolved_database_url)


def build_runtime(settings: Settings, options: WorkerOptions) -> "Runtime":
    """Build what a process needs to run tasks; called in a child only, on its first task."""
    from workers.engine import EngineSettings, LocalizerEngine
    from workers.lease import LeaseSettings
    from workers.metering import TaskMeter
    from workers.runtime import Runtime

    start_tracing(settings.otlp_endpoint, "worker")
    core = open_core(settings)
    engine = EngineSettings(
        model_folders=settings.model_folders,
        feature_folder=settings.features_folder,
        device=options.device.partition(":")[0],
        num_threads=options.num_threads,
    )
    return Runtime(
        queue=TaskQueue(core.engine),
        engine=LocalizerEngine(engine, _shared_features(settings, core)),
        lock=DeviceLock(run_folder(settings), options.file_name),
        blobs=core.blobs,
        draining=drain_flag(settings, options).exists,
        owner=options.owner,
        path_roots=settings.path_roots,
        lease=LeaseSettings(
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.stall_seconds,
        ),
        meter=TaskMeter(lambda counts: write_counts(core.engine, counts)),
    )


def _shared_features(settings: Settings, core: JobCore) -> "FeatureStore | None":
    """Return where features lie that all hosts share; None where they lie in the data folder."""
    from workers.shared_features import SharedFeatureStore

    return None if settings.storage_url is None else SharedFeatureStore(core.blobs)


def build_supervisor(settings: Settings, options: WorkerOptions) -> WorkerSupervisor:
    """Build the supervisor of one device."""
    core = open_core(settings)
    queue = TaskQueue(core.engine)
    lock = DeviceLock(run_folder(settings), options.file_name)
    has_broker = settings.broker_url is not None

    def end_canceled(task_id: str, token: int) -> None:
        # Still leased to it and unwanted means canceled; a lost lease is refused, and fine.
        try:
            queue.cancel_now(task_id, token)
        except (LeaseLost, OutageError) as error:
            _log.info("left_to_the_sweeper", task_id=task_id, reason=str(error))

    def sign_of_life() -> None:
        with transaction(core.engine) as session:
            note_worker(session, options.owner, core.clock.now(session))

    watchdog = Watchdog(
        lock,
        lambda task_id, token: is_unwanted(core.engine, task_id, token),
        end_canceled,
    )
    poll_seconds = settings.poll_seconds
    if not has_broker:
        poll_seconds = min(poll_seconds, POLL_WITHOUT_BROKER_SECONDS)
    return WorkerSupervisor(
        SupervisorSettings(
            drain_flag=drain_flag(settings, options),
            executor_command=options.command("worker-executor"),
            celery_command=options.command("worker-celery") if has_broker else None,
            environment=child_environment(settings, options),
            poll_seconds=poll_seconds,
        ),
        lock,
        lambda: has_claimable_task(core.engine, core.clock, options.owner),
        [Look(1.0, watchdog.look), Look(settings.heartbeat_seconds, sign_of_life)],
    )


def build_sweeper(settings: Settings) -> Sweeper:
    """Build the sweeper with all its duties and services."""
    from service.outbound import Outbound, OutboundPolicy
    from workers.bridging_wiring import build_bridges
    from workers.delivering import DeliverySender, DeliverySettings
    from workers.feeding import BatchService
    from workers.fetching import FetchingSettings, FetchService

    core = open_core(settings)
    queue = TaskQueue(core.engine)
    duties = [
        Duty("leases", settings.sweep_seconds, queue.expire_leases),
        Duty("webhooks", RELAY_SECONDS, lambda: relay_events(core)),
        Duty("retention", settings.sweep_seconds, lambda: _purge_expired(core, queue, settings)),
        Duty("counts", COUNT_SECONDS, lambda: sum_up(core.engine)),
        Duty("segment_counts", COUNT_SECONDS, lambda: sum_up_counts(core.engine)),
        Duty("index", INDEX_SECONDS, lambda: index_earlier_results(core.engine)),
        Duty("orphans", HOUSEKEEPING_SECONDS, lambda: sweep_orphans(core)),
        Duty("uploads", LIBRARY_SECONDS, lambda: sweep_uploads(UploadDesk.of(core, settings))),
        Duty("videos", LIBRARY_SECONDS, lambda: sweep_videos(core, settings.retention_days)),
        Duty(
            "temporaries",
            HOUSEKEEPING_SECONDS,
            lambda: remove_stale_temporaries(settings.temporary_folder, time.time()),
        ),
        Duty(
            "deliveries",
            HOUSEKEEPING_SECONDS,
            lambda: purge_deliveries(core, settings.retention_days),
        ),
    ]
    address = broker_address(settings)
    if address is not None:
        app = build_app(address)

        def publish(task_ids: Iterable[str]) -> None:
            publish_hints(app, task_ids)

        relay = HintRelay(queue.due_hints, publish, queue.mark_hinted)
        duties.insert(0, Duty("hints", RELAY_SECONDS, relay.relay))
    outbound = Outbound(OutboundPolicy.of(settings))
    fetching = FetchingSettings.of(settings, f"{socket.gethostname()}/fetch")
    services: tuple[Service, ...] = (
        FetchService(core, outbound, fetching),
        DeliverySender(core, outbound, DeliverySettings.of(settings)),
        BatchService(core, settings),
        *build_bridges(settings, core),
    )
    return Sweeper(duties, services=services)


def _purge_expired(core: JobCore, queue: TaskQueue, settings: Settings) -> None:
    for job_id in queue.expired_jobs(older_than_days=settings.retention_days):
        gone = purge_job(core, job_id)
        _log.info("job_purged" if gone else "job_purge_waits", job_id=job_id)
