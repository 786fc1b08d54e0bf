"""The polled executor: a process that runs tasks when its supervisor writes to it.

One line on standard input is one request: a task id, or ``*`` for whatever is next in line. The
end of the input ends the process. Like Celery's prefork child it ends in
`workers.runtime.run_available`, and the first task loads torch.
"""

import signal
import sys
from collections.abc import Callable
from typing import TextIO

from service.settings import Settings
from workers.supervisor import NEXT_IN_LINE
from workers.wiring import WorkerOptions, build_runtime


def serve(requests: TextIO, run: Callable[[str | None], object]) -> None:
    """Run one request after the other until the input ends."""
    for line in requests:
        request = line.strip()
        if request:
            run(None if request == NEXT_IN_LINE else request)


def run_executor(settings: Settings, options: WorkerOptions) -> None:
    """Serve standard input with this installation's runtime."""
    from workers.runtime import run_available

    # A terminal's Ctrl-C is meant for the supervisor, which then drains and closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    runtime = build_runtime(settings, options)
    serve(sys.stdin, lambda task_id: run_available(runtime, task_id))
