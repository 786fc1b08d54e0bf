"""Tenants: found by name, made by the operator, each with quotas of its own where it has any."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.accounts.limits import checked_quotas
from service.errors import InvalidRequest
from service.jobs.commands import JobCore
from service.jobs.records import NAME_LENGTH, TenantRecord
from service.jobs.store import new_id, reading, transaction


def ensure_tenant(
    core: JobCore, name: str, quotas: Mapping[str, Any] | None = None
) -> TenantRecord:
    """Return the tenant of this name, made if there is none, with these quotas put in.

    Args:
        core: unbound.
        name: in the operator's words.
        quotas: names of `service.accounts.limits.Quotas`; those not named stay as they are.

    Raises:
        InvalidRequest: name or quotas cannot be used.
    """
    checked_name(name, "tenant's name")
    changes = checked_quotas(quotas or {})
    try:
        return _ensure(core, name, changes)
    except IntegrityError:
        # Somebody else made it at the same moment.
        return _ensure(core, name, changes)


def _ensure(core: JobCore, name: str, changes: dict[str, Any]) -> TenantRecord:
    with transaction(core.engine) as session:
        tenant = session.execute(
            select(TenantRecord).where(TenantRecord.name == name).with_for_update(key_share=True)
        ).scalar_one_or_none()
        if tenant is None:
            now = core.clock.now(session)
            tenant = TenantRecord(id=new_id("ten"), name=name, quotas=None, created_at=now)
            session.add(tenant)
        if changes:
            # A new object, because a changed one would not be noticed.
            tenant.quotas = {**(tenant.quotas or {}), **changes}
        return tenant


def find_tenant(core: JobCore, name: str) -> TenantRecord | None:
    """Return the tenant of this name; None if there is none."""
    with reading(core.engine) as session:
        return session.execute(
            select(TenantRecord).where(TenantRecord.name == name)
        ).scalar_one_or_none()


def list_tenants(core: JobCore) -> list[TenantRecord]:
    """Return all tenants, oldest first."""
    with reading(core.engine) as session:
        statement = select(TenantRecord).order_by(TenantRecord.created_at, TenantRecord.id)
        return list(session.execute(statement).scalars())


def lock_tenant(session: Session, tenant_id: str) -> TenantRecord:
    """Return a tenant whose row nobody else changes or locks until the transaction ends.

    Rows that refer to it may be made meanwhile: whoever has made one holds a share of the key
    already, and two of those would wait for each other.
    """
    return session.execute(
        select(TenantRecord)
        .where(TenantRecord.id == tenant_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).scalar_one()


def checked_name(name: str, what: str) -> str:
    """Return a name that people can read.

    Args:
        name: to be checked.
        what: how an error calls it.

    Raises:
        InvalidRequest: it is empty, too long, or cannot be printed.
    """
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        message = f"The {what} must be 1 to {NAME_LENGTH} printable characters."
        raise InvalidRequest(message)
    return name
