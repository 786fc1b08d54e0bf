"""The table of how far each bridge has come. Shape, no behaviour."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import NAME_LENGTH, Record

BRIDGE_NAME_LENGTH = 32


class BridgeRecord(Record):
    """One bridge of the deployment.

    Attributes:
        name: ``mqtt``, ``grafana`` or ``frigate``.
        position: id of the last event that was told, or passed over; None until it is known where
            the present is.
        memory: what the bridge left behind outside and may have to take back.
        owner: the sweeper that serves it; None for none.
        lease_until: when another sweeper may take it.
    """

    __tablename__ = "bridges"
    __table_args__ = (
        CheckConstraint("(owner IS NULL) = (lease_until IS NULL)", name="lease"),
        CheckConstraint("position >= 0", name="position"),
    )

    name: Mapped[str] = mapped_column(String(BRIDGE_NAME_LENGTH), primary_key=True)
    position: Mapped[int | None] = mapped_column(BigInteger)
    memory: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    owner: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
