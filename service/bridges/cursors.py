"""How far each bridge has come, and which sweeper serves it.

One sweeper at a time holds a bridge, by a lease: two would tell everything twice. An owner is the
same after a restart, so that whoever was killed goes on at once. The position moves only after
the outside has confirmed what came before it: at least once, in order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError

from service.bridges.records import BridgeRecord
from service.errors import LeaseLost
from service.jobs.commands import JobCore
from service.jobs.store import transaction


@dataclass(frozen=True, slots=True)
class Held:
    """A bridge while it is ours; see `BridgeRecord` for position and memory."""

    position: int | None
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BridgeCursor:
    """One bridge in the hands of one sweeper.

    Attributes:
        core: of all tenants.
        name: of the bridge.
        owner: the sweeper; the same after its restart.
        lease_seconds: how long a silent sweeper keeps it.
    """

    core: JobCore
    name: str
    owner: str
    lease_seconds: float = 60.0

    def take(self) -> Held | None:
        """Take the bridge; None while another sweeper holds it."""
        try:
            return self._take()
        except IntegrityError:
            return None  # two made the row at the same moment; the other one has it

    def keep(self, position: int | None = None, memory: Mapping[str, Any] | None = None) -> None:
        """Renew the lease, and write down what is given.

        Args:
            position: the last event that the outside has confirmed.
            memory: in the place of the earlier one.

        Raises:
            LeaseLost: it is somebody else's.
        """
        with transaction(self.core.engine) as session:
            row = session.get(BridgeRecord, self.name, with_for_update=True)
            if row is None or row.owner != self.owner:
                message = f"Another sweeper serves the bridge {self.name}."
                raise LeaseLost(message)
            row.lease_until = self.core.clock.now(session) + timedelta(seconds=self.lease_seconds)
            if position is not None:
                row.position = position
            if memory is not None:
                row.memory = dict(memory)

    def release(self) -> None:
        """Let the next sweeper take it at once."""
        with transaction(self.core.engine) as session:
            row = session.get(BridgeRecord, self.name, with_for_update=True)
            if row is not None and row.owner == self.owner:
                row.owner = row.lease_until = None

    def _take(self) -> Held | None:
        with transaction(self.core.engine) as session:
            now = self.core.clock.now(session)
            row = session.get(BridgeRecord, self.name, with_for_update=True)
            if row is None:
                row = BridgeRecord(name=self.name, memory={}, created_at=now)
                session.add(row)
            elif row.owner not in {None, self.owner} and (row.lease_until or now) > now:
                return None
            row.owner = self.owner
            row.lease_until = now + timedelta(seconds=self.lease_seconds)
            return Held(row.position, dict(row.memory))
