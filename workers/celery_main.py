"""Celery's prefork worker as a program of its own: receives hints, one process child per device.

The parent never builds a runtime; its one child does, on its first hint.
"""

import functools
import logging
import warnings
from typing import TYPE_CHECKING

from celery.exceptions import SecurityWarning
from celery.signals import setup_logging

from service.settings import Settings
from workers.celery_app import QUEUES, build_app
from workers.tasks import register_tasks
from workers.wiring import WorkerOptions, broker_address, build_runtime

if TYPE_CHECKING:
    from workers.runtime import Runtime


def worker_arguments(name: str) -> list[str]:
    """Return Celery's command line.

    Source: reliability notes A2; gossip and mingle are what leaves workers deaf after a reconnect.
    """
    return [
        "--quiet",
        "worker",
        "--pool=prefork",
        "--concurrency=1",
        f"--queues={','.join(QUEUES)}",
        "--without-gossip",
        "--without-mingle",
        "--loglevel=WARNING",
        f"--hostname={name}@%h",
    ]


def run_celery(settings: Settings, options: WorkerOptions) -> None:
    """Receive hints until TERM; the running task is given back at its next block."""
    address = broker_address(settings)
    if address is None:
        return

    @functools.lru_cache(maxsize=1)
    def runtime_of_this_process() -> "Runtime":
        return build_runtime(settings, options)

    def run_hint(task_id: str) -> None:
        # Only in the forked child: this import brings numpy, and the first task torch.
        from workers.runtime import run_available

        run_available(runtime_of_this_process(), task_id)

    setup_logging.connect(_keep_logging, weak=False)
    # It warns of pickled messages to a root worker; messages are JSON ids only, and containers
    # and this product's own tests run as they run.
    warnings.simplefilter("ignore", SecurityWarning)
    app = build_app(address)
    register_tasks(app, run_hint)
    app.worker_main(worker_arguments(options.name))


def _keep_logging(**_settings: object) -> None:
    """Leave logging as `service.logs` set it up: that somebody answers is all Celery asks for.

    Otherwise its own level becomes everybody's, and lines about tasks are lost.
    """
    for name in ("celery", "kombu", "amqp"):
        logging.getLogger(name).setLevel(logging.WARNING)
