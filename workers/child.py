"""The polled executor: a process that runs tasks whose ids its supervisor writes to it.

One line on standard input is one request: a task id, or ``*`` for whatever is next in line. The
end of the input ends the process. Like Celery's prefork child it loads torch only when the first
task needs it, and it ends in `workers.runtime.run_available`.
"""

import signal
import sys
from collections.abc import Callable
from typing import TextIO

NEXT_IN_LINE = "*"


def serve(requests: TextIO, run: Callable[[str | None], object]) -> None:
    """Run one request after the other until the input ends."""
    for line in requests:
        request = line.strip()
        if request:
            run(None if request == NEXT_IN_LINE else request)


def main() -> None:
    """Serve standard input with this installation's runtime."""
    from workers.wiring import build_runtime, load_worker_settings, run_and_log  # noqa: PLC0415

    # A terminal's Ctrl-C is meant for the supervisor, which then drains and closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    runtime = build_runtime(load_worker_settings())
    serve(sys.stdin, lambda task_id: run_and_log(runtime, task_id))


if __name__ == "__main__":
    main()
