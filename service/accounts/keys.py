"""API keys: made, listed, revoked. Checking one at the door is `service.accounts.keyring`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from service.accounts.records import ApiKeyRecord
from service.accounts.scopes import DEFAULT_SCOPES, Scope
from service.accounts.secrets import KeyText, new_key_text
from service.accounts.tenants import checked_name
from service.errors import InvalidRequest, KeyNotFound
from service.jobs.commands import JobCore
from service.jobs.store import new_id, reading, transaction

MAX_LIFETIME = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A wish for a key.

    Attributes:
        name: for people.
        scopes: what it may do.
        lifetime: from now on; None for ever.
    """

    name: str
    scopes: Iterable[Scope] = DEFAULT_SCOPES
    lifetime: timedelta | None = None


def create_key(core: JobCore, wish: NewKey) -> tuple[ApiKeyRecord, KeyText]:
    """Make a key of the tenant that the core is bound to.

    Returns:
        What is stored, and the key itself, which is never to be had again.

    Raises:
        InvalidRequest: the name cannot be used, it may do nothing, or its lifetime is over.
    """
    checked_name(wish.name, "key's name")
    scopes = sorted(set(wish.scopes))
    if not scopes:
        message = "A key needs at least one scope."
        raise InvalidRequest(message)
    if wish.lifetime is not None and not timedelta(0) < wish.lifetime <= MAX_LIFETIME:
        message = f"A key must live for more than 0 and at most {MAX_LIFETIME.days} days."
        raise InvalidRequest(message)
    text = new_key_text(new_id("key"))
    with transaction(core.engine) as session:
        now = core.clock.now(session)
        record = ApiKeyRecord(
            id=text.key_id,
            tenant_id=core.tenant_id,
            name=wish.name,
            digest=text.digest(),
            scopes=[str(scope) for scope in scopes],
            created_at=now,
            expires_at=None if wish.lifetime is None else now + wish.lifetime,
        )
        session.add(record)
    return record, text


def list_keys(core: JobCore) -> list[ApiKeyRecord]:
    """Return the keys of the tenant that the core is bound to, of all if of none; oldest first."""
    with reading(core.engine) as session:
        statement = select(ApiKeyRecord).order_by(ApiKeyRecord.id)
        return list(session.execute(statement).scalars())


def get_key(core: JobCore, key_id: str) -> ApiKeyRecord:
    """Return a key.

    Raises:
        KeyNotFound: the tenant has none of this id.
    """
    with reading(core.engine) as session:
        record = session.get(ApiKeyRecord, key_id)
    if record is None:
        raise _not_found(key_id)
    return record


def revoke_key(core: JobCore, key_id: str) -> ApiKeyRecord:
    """Make a key worthless; revoking it again changes nothing.

    Raises:
        KeyNotFound: the tenant has none of this id.
    """
    with transaction(core.engine) as session:
        record = session.get(ApiKeyRecord, key_id, with_for_update=True)
        if record is None:
            raise _not_found(key_id)
        if record.revoked_at is None:
            record.revoked_at = core.clock.now(session)
        return record


def key_state(record: ApiKeyRecord, now: datetime) -> str:
    """Return ``active``, ``expired`` or ``revoked``."""
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is not None and record.expires_at <= now:
        return "expired"
    return "active"


def _not_found(key_id: str) -> KeyNotFound:
    return KeyNotFound(f"There is no key {key_id}; GET /v1/keys and `kinetag keys list` show all.")
