"""The table of API keys. A key's secret is in no table: only its hash is."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import ID_LENGTH, NAME_LENGTH, SHA256_LENGTH, Record, TenantOwned


class ApiKeyRecord(TenantOwned, Record):
    """One key of one tenant.

    Attributes:
        name: in the words of whoever made it; for people.
        digest: SHA-256 of the key's text.
        scopes: names of what it may do, sorted.
        expires_at: worth nothing from then on; None for never.
        revoked_at: worth nothing since then; the row stays, so that the log's key ids have a name.
        last_used_at: exact to a minute.
    """

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint(f"length(digest) = {SHA256_LENGTH}", name="digest"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    digest: Mapped[str] = mapped_column(String(SHA256_LENGTH))
    scopes: Mapped[list[Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
