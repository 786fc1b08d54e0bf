"""TERM and INT as something a loop can wait for.

The handler only writes to a pipe: setting a `threading.Event` in it could deadlock with the very
wait that it interrupts.
"""

import os
import select
import signal

MILLISECONDS = 1000


class StopSignals:
    """Takes over TERM and INT of this process; main thread only."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._poll = select.poll()
        self._poll.register(self._reader, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def wait(self, seconds: float) -> bool:
        """Wait for a signal for at most ``seconds``; True as soon as one has ever come."""
        return bool(self._poll.poll(max(0.0, seconds) * MILLISECONDS))

    def _on_signal(self, _number: int, _frame: object) -> None:
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            return
