"""The Celery application: settings only. A message is a hint that carries a task's id.

Nothing is read when this module is imported, and nothing heavy is loaded: the prefork parent
must stay free of torch, PyAV and OpenCV, because CUDA and native threads do not survive a fork.
"""

import hashlib
from dataclasses import dataclass

from celery import Celery

QUEUES = ("interactive", "batch", "train")
DEFAULT_QUEUE = "interactive"
MAX_TASKS_PER_CHILD = 200

TRANSPORT_OPTIONS = {
    "socket_timeout": 10,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "visibility_timeout": 3600,
}
"""Source: reliability notes A2; a half-open socket must not block a publisher for ever."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, and which installation's messages are meant.

    Attributes:
        url: Celery broker URL.
        key_prefix: keeps installations that share one Redis apart.
    """

    url: str
    key_prefix: str

    @classmethod
    def of_installation(cls, url: str, database_url: str) -> "BrokerAddress":
        """Derive the prefix from the database: whoever shares the rows shares the hints."""
        digest = hashlib.sha256(database_url.encode()).hexdigest()
        return cls(url, f"kinetag-{digest[:12]}:")


def build_app(address: BrokerAddress) -> Celery:
    """Return an application with the product's settings and no tasks.

    Source: reliability notes A2 (early ack, no result backend, JSON only, prefetch of one).
    """
    app = Celery("kinetag", broker=address.url, set_as_current=False)
    app.conf.update(
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_ignore_result=True,
        result_backend=None,
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        # Concerns late acknowledgement only, which no task here has; set, it is not warned about.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_publish_retry=False,
        broker_pool_acquire_timeout=5,
        broker_transport_options={**TRANSPORT_OPTIONS, "global_keyprefix": address.key_prefix},
        task_default_queue=DEFAULT_QUEUE,
        worker_max_tasks_per_child=MAX_TASKS_PER_CHILD,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    return app
