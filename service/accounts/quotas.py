"""Refuses what would exceed a tenant's quotas, and tells how much of them is used.

`check_quota_bytes` and `check_quota_jobs` ask before anything is received or made, so that a
client learns of it early; requests at the same moment may both pass. Where the rows are written,
`hold_quota_bytes` and `hold_quota_jobs` count again in that transaction, with the tenant's row
locked: those are exact.
"""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.accounts.limits import Quotas
from service.accounts.tenants import lock_tenant
from service.errors import BytesQuotaExceeded, JobQuotaExceeded
from service.ingest.records import UploadRecord
from service.jobs.commands import JobCore
from service.jobs.records import JobRecord, TenantRecord, VideoRecord
from service.jobs.states import JobKind, JobStatus
from service.jobs.store import reading

UNFINISHED = (JobStatus.QUEUED, JobStatus.PROCESSING)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one tenant uses.

    Attributes:
        stored_bytes: of uploads that are videos by now, the same bytes counted once.
        reserved_bytes: of resumable uploads that are not complete, at their full length.
        queued_jobs: jobs that have not ended.
        quotas: how much it may use.
    """

    stored_bytes: int
    reserved_bytes: int
    queued_jobs: int
    quotas: Quotas


def usage_of(core: JobCore) -> Usage:
    """Return what the tenant that the core is bound to uses."""
    with reading(core.engine) as session:
        tenant = session.get_one(TenantRecord, core.tenant_id)
        return Usage(
            stored_bytes=_stored_bytes(session, tenant.id),
            reserved_bytes=_reserved_bytes(session, tenant.id),
            queued_jobs=_unfinished_jobs(session, tenant.id),
            quotas=core.quotas.changed_by(tenant.quotas),
        )


def check_quota_bytes(core: JobCore, more_bytes: int) -> None:
    """Make sure that the tenant may store so many bytes more.

    Raises:
        BytesQuotaExceeded: it may not.
    """
    with reading(core.engine) as session:
        _require_bytes(session, core, session.get_one(TenantRecord, core.tenant_id), more_bytes)


def hold_quota_bytes(session: Session, core: JobCore, more_bytes: int = 0) -> None:
    """Do as `check_quota_bytes`, in the transaction that stores them, one at a time per tenant.

    Args:
        session: what it flushed counts.
        core: bound to the tenant.
        more_bytes: those of which no row tells yet.

    Raises:
        BytesQuotaExceeded: roll back.
    """
    _require_bytes(session, core, lock_tenant(session, core.tenant_id), more_bytes)


def check_quota_jobs(core: JobCore, more: int = 1) -> None:
    """Make sure that the tenant may queue so many jobs more.

    Raises:
        JobQuotaExceeded: it may not.
    """
    with reading(core.engine) as session:
        _require_jobs(session, core, session.get_one(TenantRecord, core.tenant_id), more)


def hold_quota_jobs(session: Session, core: JobCore, more: int = 0) -> None:
    """Do as `check_quota_jobs`, in the transaction that makes them, one at a time per tenant.

    Args:
        session: what it flushed counts.
        core: bound to the tenant.
        more: those of which no row tells yet.

    Raises:
        JobQuotaExceeded: roll back.
    """
    _require_jobs(session, core, lock_tenant(session, core.tenant_id), more)


def _require_bytes(session: Session, core: JobCore, tenant: TenantRecord, more_bytes: int) -> None:
    allowed = core.quotas.changed_by(tenant.quotas).stored_bytes
    if allowed is None:
        return
    used = _stored_bytes(session, tenant.id) + _reserved_bytes(session, tenant.id)
    if used + more_bytes > allowed:
        message = (
            f"Your videos take {used} bytes of the {allowed} you may store, and this needs "
            f"{more_bytes} more; delete videos or jobs that are no longer needed."
        )
        raise BytesQuotaExceeded(message)


def _require_jobs(session: Session, core: JobCore, tenant: TenantRecord, more: int) -> None:
    allowed = core.quotas.changed_by(tenant.quotas).queued_jobs
    if allowed is None:
        return
    used = _unfinished_jobs(session, tenant.id)
    if used + more > allowed:
        message = (
            f"You have {used} unfinished jobs and may have {allowed}; come back when some have "
            "ended, or cancel those that are no longer needed."
        )
        raise JobQuotaExceeded(message)


def _stored_bytes(session: Session, tenant_id: str) -> int:
    contents = (
        select(VideoRecord.blob_key, func.max(VideoRecord.size_bytes).label("size_bytes"))
        .where(VideoRecord.tenant_id == tenant_id, VideoRecord.blob_key.is_not(None))
        .group_by(VideoRecord.blob_key)
        .subquery()
    )
    total = session.execute(select(func.coalesce(func.sum(contents.c.size_bytes), 0))).scalar_one()
    # PostgreSQL sums big integers as decimals.
    return int(total)


def _reserved_bytes(session: Session, tenant_id: str) -> int:
    total = session.execute(
        select(func.coalesce(func.sum(UploadRecord.length_bytes), 0)).where(
            UploadRecord.tenant_id == tenant_id, UploadRecord.completed_at.is_(None)
        )
    ).scalar_one()
    return int(total)


def _unfinished_jobs(session: Session, tenant_id: str) -> int:
    return session.execute(
        select(func.count())
        .select_from(JobRecord)
        .where(
            JobRecord.tenant_id == tenant_id,
            JobRecord.status.in_(UNFINISHED),
            JobRecord.kind == JobKind.LOCALIZE,
        )
    ).scalar_one()
