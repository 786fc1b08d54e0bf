"""Celery's prefork worker as a program of its own: receives hints, one process child per device.

The parent never builds a runtime; its one child does, on its first task.
"""

import functools

from workers.celery_app import QUEUES, BrokerAddress, build_app
from workers.tasks import register_tasks
from workers.wiring import build_runtime, load_worker_settings, run_and_log


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
        "--without-heartbeat",
        "--loglevel=WARNING",
        f"--hostname={name}@%h",
    ]


def main() -> None:
    """Run until TERM; then finish the running task's current block and exit."""
    settings = load_worker_settings()

    @functools.lru_cache(maxsize=1)
    def runtime_of_this_process() -> object:
        return build_runtime(settings)

    app = build_app(BrokerAddress.of_installation(settings.broker_url or "", settings.database_url))
    register_tasks(app, lambda task_id: run_and_log(runtime_of_this_process(), task_id))
    app.worker_main(worker_arguments(settings.worker_name))


if __name__ == "__main__":
    main()
