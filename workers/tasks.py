"""The Celery tasks: ten lines each, all of them a hint that ends in `workers.runtime`."""

from collections.abc import Callable, Iterable

from celery import Celery

from service.jobs.messages import HINT_EXPIRES_SECONDS, HINT_NAME, TaskHint
from workers.celery_app import DEFAULT_QUEUE


def register_tasks(app: Celery, run_hint: Callable[[str], object]) -> None:
    """Register the one task; ``run_hint`` gets the task id of each message."""

    def run(**document: object) -> None:
        run_hint(TaskHint.from_json(document).task_id)

    app.task(run, name=HINT_NAME, ignore_result=True)


def publish_hints(app: Celery, task_ids: Iterable[str]) -> None:
    """Publish one message per task id.

    Raises:
        kombu.exceptions.OperationalError: the broker is away.
    """
    with app.connection_for_write() as connection:
        for task_id in task_ids:
            app.send_task(
                HINT_NAME,
                kwargs=TaskHint(task_id).to_json(),
                queue=DEFAULT_QUEUE,
                expires=HINT_EXPIRES_SECONDS,
                ignore_result=True,
                connection=connection,
                retry=False,
            )
