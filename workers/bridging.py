"""Tells dashboards of finished segments: one thread per bridge, each behind a cursor of its own.

A bridge that cannot get through waits, asks again less and less often, and holds up nobody: no
webhook, no duty of the sweeper, no other bridge. Nothing is kept meanwhile but a number, because
the events are in the database. After any failure it goes on from its cursor, so that something may
be told twice, under the same id, and nothing is left out.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from service.bridges.cursors import BridgeCursor
from service.bridges.segments import (
    BridgeFilter,
    BridgeSegment,
    camera_of,
    find_tenant,
    told_segments,
)
from service.errors import LeaseLost, OutageError
from service.jobs.commands import JobCore
from service.jobs.events import Event, EventTail
from service.jobs.store import reading

QUEUED, SUCCEEDED = "job.queued", "job.succeeded"
MAX_STUMBLES = 3
"""So often may a bug of ours trip over one event, before that is left out for those behind it."""

_log = structlog.get_logger(__name__)


class OutsideAwayError(Exception):
    """The other side does not take anything at present; the message says why."""


class Outlet(Protocol):
    """One kind of outside; used by one thread.

    Attributes:
        name: of the bridge.
        part: segments told before the lease is looked after; one job may have thousands, and to
            tell these must take much less than the lease lasts, however slow the outside is.
    """

    name: str
    part: int

    def open(self, memory: Mapping[str, Any], remember: "Remember", tenant_id: str) -> None:
        """Connect.

        Args:
            memory: what was remembered last.
            remember: writes down what the outlet may have to take back later.
            tenant_id: whose segments are told.

        Raises:
            OutsideAwayError: it cannot be done now.
        """
        ...

    def expect(self, camera: str) -> None:
        """A job of this camera was made: its segments may follow.

        Raises:
            OutsideAwayError: the connection broke.
        """
        ...

    def tell(self, segments: Sequence[BridgeSegment]) -> None:
        """Tell segments and wait until the outside has confirmed them.

        Raises:
            OutsideAwayError: it has not; some of them may have arrived.
        """
        ...

    def idle(self) -> None:
        """There is nothing to tell at the moment.

        Raises:
            OutsideAwayError: the connection broke.
        """
        ...

    def close(self, *, stopping: bool) -> None:
        """Disconnect; ``stopping`` when the sweeper ends as it should."""
        ...


Remember = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """How a bridge goes about it.

    Attributes:
        look_seconds: how often new events are looked for.
        keep_seconds: how often lease and position are written down while nothing is told.
        first_pause_seconds, max_pause_seconds: between attempts while the outside is away.
        stop_seconds: how long the end of the sweeper waits for one.
    """

    look_seconds: float = 0.5
    keep_seconds: float = 10.0
    first_pause_seconds: float = 1.0
    max_pause_seconds: float = 60.0
    stop_seconds: float = 1.0


class BridgeService:
    """A service of the sweeper: carries segments from the database to one outlet."""

    def __init__(
        self,
        core: JobCore,
        outlet: Outlet,
        wanted: BridgeFilter,
        owner: str,
        settings: BridgeSettings = BridgeSettings(),
    ) -> None:
        self._core = core
        self._outlet = outlet
        self._wanted = wanted
        self._cursor = BridgeCursor(core, outlet.name, owner)
        self._settings = settings
        self._stopping = threading.Event()
        self._pause_seconds = settings.first_pause_seconds
        self._trouble = ""
        self._kept_at = 0.0
        self._position: int | None = None
        self._stumbled = (0, 0)
        self._thread = threading.Thread(target=self._run, name=f"bridge {outlet.name}", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Take up nothing more, and wait a moment for what is under way."""
        self._stopping.set()
        self._thread.join(self._settings.stop_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._serve()
            except (OutsideAwayError, OutageError, LeaseLost) as error:
                self._complain(str(error))
            except Exception:  # noqa: BLE001 - the last net: a bug must not end all telling
                _log.exception("unexpected_error", bridge=self._outlet.name)
            self._close()
            self._stopping.wait(self._pause_seconds)
            self._pause_seconds = min(2 * self._pause_seconds, self._settings.max_pause_seconds)

    def _complain(self, trouble: str) -> None:
        # Said once: hours of the same trouble are one line.
        if trouble != self._trouble:
            _log.warning("bridge_waits", bridge=self._outlet.name, error=trouble)
        self._trouble = trouble

    def _close(self) -> None:
        try:
            self._outlet.close(stopping=self._stopping.is_set())
            if self._stopping.is_set():
                self._cursor.release()
        except OutageError as error:
            _log.info("bridge_not_released", bridge=self._outlet.name, error=str(error))
        except Exception:  # noqa: BLE001 - the last net, as above
            _log.exception("unexpected_error", bridge=self._outlet.name)

    def _serve(self) -> None:
        """Tell until stopped, or until something fails."""
        held = self._cursor.take()
        if held is None:
            self._complain("Another sweeper serves this bridge.")
            return
        tenant_id = self._tenant_id()
        self._outlet.open(held.memory, self._remember, tenant_id)
        _log.info("bridge_open", bridge=self._outlet.name, position=held.position)
        self._position, self._kept_at = held.position, time.monotonic()
        tail = EventTail(self._core, after=held.position)
        while not self._stopping.is_set():
            for event in tail.read():
                if self._stopping.is_set():
                    return
                if event.tenant_id == tenant_id:
                    self._pass_on_or_skip(event)
            self._keep_up(tail)
            if not tail.more:
                self._outlet.idle()
                self._stopping.wait(self._settings.look_seconds)

    def _keep_up(self, tail: EventTail) -> None:
        """Write down how far the tail is: at once where the bridge is new, else now and then."""
        is_new = self._position is None and tail.position is not None
        if is_new or time.monotonic() - self._kept_at >= self._settings.keep_seconds:
            self._keep(tail.position)

    def _tenant_id(self) -> str:
        with reading(self._core.engine) as session:
            found = find_tenant(session, self._wanted.tenant)
        if found is None:
            message = f"There is no tenant {self._wanted.tenant}; check KINETAG_BRIDGE_TENANT."
            raise OutsideAwayError(message)
        return found

    def _pass_on_or_skip(self, event: Event) -> None:
        """Pass an event on; one that trips us again and again holds up nobody for ever."""
        try:
            self._pass_on(event)
        except (OutsideAwayError, OutageError, LeaseLost):
            raise
        except Exception:
            event_id, count = self._stumbled
            count = count + 1 if event_id == event.id else 1
            self._stumbled = (event.id, count)
            if count < MAX_STUMBLES:
                raise  # with a fresh connection it may pass
            _log.exception("event_not_told", bridge=self._outlet.name, job_id=event.job_id)
            self._keep(event.id)

    def _pass_on(self, event: Event) -> None:
        if event.job_id is None:
            return
        if event.type == QUEUED:
            camera = camera_of(self._core, event.job_id)
            if camera is not None:
                self._outlet.expect(camera)
        elif event.type == SUCCEEDED:
            segments = told_segments(self._core, event.job_id, self._wanted)
            part = self._outlet.part
            for begin in range(0, len(segments), part):
                self._outlet.tell(segments[begin : begin + part])
                if time.monotonic() - self._kept_at >= self._settings.keep_seconds:
                    self._keep(None)
            if segments:
                self._keep(event.id)
                _log.info(
                    "segments_told",
                    bridge=self._outlet.name,
                    job_id=event.job_id,
                    num_segments=len(segments),
                )

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._cursor.keep(memory=memory)

    def _keep(self, position: int | None) -> None:
        self._cursor.keep(position)
        self._position = position if position is not None else self._position
        self._kept_at = time.monotonic()
        # Only now: who lets us in and then takes nothing is asked less and less often, too.
        self._trouble, self._pause_seconds = "", self._settings.first_pause_seconds


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, and those of a file.

    Raises:
        OutsideAwayError: the file cannot be used; it may be put right while we wait.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one
            message = "KINETAG_BRIDGE_CA_FILE cannot be read; name a PEM file of certificates."
            raise OutsideAwayError(message) from error
    return context
