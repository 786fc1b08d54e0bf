"""Binds every query to one tenant, so that none can forget it.

A bound engine carries the tenant in its execution options. Whatever a session on it selects,
updates or deletes by the ORM is limited to that tenant's rows of every `TenantOwned` table.
Tables without a tenant (tasks, results) are reached through a job that was found this way.
Workers and the sweeper use the engine unbound: they serve all tenants.
"""

from sqlalchemy import Engine, event
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from service.jobs.records import TenantOwned

TENANT_OPTION = "kinetag_tenant"
ALL_TENANTS = {"kinetag_all_tenants": True}
"""Execution options of the few statements that must see everybody's rows, such as "does any video
have these bytes?"; their results never reach a user."""


def bound(engine: Engine, tenant_id: str) -> Engine:
    """Return the engine, sharing its connections, for the eyes of one tenant."""
    return engine.execution_options(**{TENANT_OPTION: tenant_id})


def bound_tenant(engine: Engine) -> str | None:
    """Return the tenant that an engine is bound to; None for one that sees all."""
    tenant: str | None = engine.get_execution_options().get(TENANT_OPTION)
    return tenant


@event.listens_for(Session, "do_orm_execute")
def _limit_to_tenant(state: ORMExecuteState) -> None:
    bind = state.session.bind
    tenant = bound_tenant(bind) if isinstance(bind, Engine) else None
    if tenant is None or state.is_insert or "kinetag_all_tenants" in state.execution_options:
        return
    # The lambda is cached by its code; tracking makes its closure's value a parameter.
    state.statement = state.statement.options(
        with_loader_criteria(
            TenantOwned,
            lambda owned: owned.tenant_id == tenant,
            include_aliases=True,
            track_closure_variables=True,
        )
    )
