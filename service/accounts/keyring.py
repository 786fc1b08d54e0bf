"""Tells at the door whose key a request has, without asking the database each time.

A process remembers a key for half a second, so that polling costs no query and a revoked key is
worthless in less than one. When the database does not answer, nobody comes in.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import or_, select, update

from service.accounts.keys import key_state
from service.accounts.limits import Quotas
from service.accounts.records import ApiKeyRecord
from service.accounts.scopes import ALL_SCOPES, Scope
from service.accounts.secrets import KeyText, parse_key
from service.errors import DatabaseUnavailable, Unauthorized
from service.jobs.commands import JobCore
from service.jobs.records import DEFAULT_TENANT, TenantRecord
from service.jobs.store import reading, transaction
from service.jobs.tenancy import ALL_TENANTS

MEMORY_SECONDS = 0.5
"""Together with the time of a query this stays below the second a revocation may take."""

MAX_REMEMBERED = 10_000
USE_NOTED_EVERY = timedelta(minutes=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks.

    Attributes:
        key_id: None for who needs no key.
        quotas: of the tenant.
    """

    tenant_id: str
    scopes: frozenset[Scope]
    key_id: str | None
    quotas: Quotas


@dataclass(frozen=True, slots=True)
class _Remembered:
    holder: Holder
    digest: str
    until: float


class Keyring:
    """Checks keys for one API process.

    Args:
        core: unbound, with the deployment's quotas.
        monotonic: clock, in seconds.
    """

    def __init__(
        self, core: JobCore, quotas: Quotas, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._quotas = quotas
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._remembered: dict[str, _Remembered] = {}

    def remembered(self, text: str | None) -> Holder | None:
        """Return the holder of a key checked a moment ago, at once; None if it must be looked up.

        Args:
            text: the key as it was sent; None stands for who has none.
        """
        key = None if text is None else parse_key(text)
        if text is not None and key is None:
            return None
        known = self._remembered.get("" if key is None else key.key_id)
        if known is None or known.until <= self._monotonic():
            return None
        if key is not None and not key.matches(known.digest):
            return None
        return known.holder

    def look_up(self, text: str | None) -> Holder:
        """Return who has this key, from the database.

        Args:
            text: as for `remembered`; without a key, the default tenant asks.

        Raises:
            Unauthorized: it is no key, or it is not worth anything (any longer).
            DatabaseUnavailable: the database did not answer.
        """
        if text is None:
            return self._look_up_default()
        key = parse_key(text)
        if key is None:
            message = "The key is not of the form kinetag_ID_SECRET; send it as it was made."
            raise Unauthorized(message)
        return self._look_up_key(key)

    def forget(self, key_id: str) -> None:
        """Let this process ask the database about a key again."""
        with self._lock:
            self._remembered.pop(key_id, None)

    def _look_up_default(self) -> Holder:
        asked_at = self._monotonic()
        with reading(self._core.engine) as session:
            tenant = session.get_one(TenantRecord, DEFAULT_TENANT)
        quotas = self._quotas.changed_by(tenant.quotas)
        holder = Holder(tenant.id, ALL_SCOPES, None, quotas)
        self._remember("", holder, "", asked_at)
        return holder

    def _look_up_key(self, key: KeyText) -> Holder:
        # Taken before the query: what is revoked during it is forgotten in time.
        asked_at = self._monotonic()
        with reading(self._core.engine) as session:
            row = session.execute(
                select(ApiKeyRecord, TenantRecord.quotas)
                .join(TenantRecord, TenantRecord.id == ApiKeyRecord.tenant_id)
                .where(ApiKeyRecord.id == key.key_id)
                .execution_options(**ALL_TENANTS)
            ).one_or_none()
            now = self._core.clock.now(session)
        if row is None or not key.matches(row[0].digest):
            message = "The key is unknown here; send another, or make one with kinetag keys create."
            raise Unauthorized(message)
        record, quotas = row
        state = key_state(record, now)
        if state != "active":
            message = f"The key {record.id} is {state}; ask for another one."
            raise Unauthorized(message)
        holder = Holder(
            record.tenant_id,
            frozenset(scope for scope in Scope if scope in record.scopes),
            record.id,
            self._quotas.changed_by(quotas),
        )
        self._remember(record.id, holder, record.digest, asked_at)
        self._note_use(record, now)
        return holder

    def _remember(self, name: str, holder: Holder, digest: str, asked_at: float) -> None:
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[name] = _Remembered(holder, digest, asked_at + MEMORY_SECONDS)

    def _note_use(self, record: ApiKeyRecord, now: datetime) -> None:
        long_ago = now - USE_NOTED_EVERY
        if record.last_used_at is not None and record.last_used_at > long_ago:
            return
        unnoted = or_(ApiKeyRecord.last_used_at.is_(None), ApiKeyRecord.last_used_at <= long_ago)
        try:
            with transaction(self._core.engine) as session:
                session.execute(
                    update(ApiKeyRecord)
                    .where(ApiKeyRecord.id == record.id, unnoted)
                    .values(last_used_at=now)
                    .execution_options(**ALL_TENANTS)
                )
        except DatabaseUnavailable:
            # A key works also while the database cannot be written to.
            _log.warning("key_use_not_noted", key_id=record.id)
