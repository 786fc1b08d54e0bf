"""The Celery tasks: ten lines each, all of them a hint that ends in `workers.runtime`."""

from collections.abc import Callable, Iterable

from celery import Celery

from workers.celery_app import DEFAULT_QUEUE, HINT_EXPIRES_SECONDS, HINT_TASK


def register_tasks(app: Celery, run_hint: Callable[[str], object]) -> None:
    """Register the one task; ``run_hint`` gets the task id of each message."""

    def run(task_id: str) -> None:
        run_hint(task_id)

    app.task(run, name=HINT_TASK, ignore_result=True)


def publish_hints(app: Celery, task_ids: Iterable[str]) -> list[str]:
    """Publish one message per task id.

    Returns:
        The ids that were sent.

    Raises:
        kombu.exceptions.OperationalError: the broker is away.
    """
    sent = []
    with app.connection_for_write() as connection:
        for task_id in task_ids:
            app.send_task(
                HINT_TASK,
                args=[task_id],
                queue=DEFAULT_QUEUE,
                expires=HINT_EXPIRES_SECONDS,
                ignore_result=True,
                connection=connection,
                retry=False,
            )
            sent.append(task_id)
    return sent
