"""Binds every query to one tenant, so that none can forget it.

A bound engine carries the tenant in its execution options. Whatever a session on it selects,
updates or deletes by the ORM is limited to that tenant's rows of every `TenantOwned` table, and
whatever it inserts becomes that tenant's. Tables without a tenant (tasks, results) are reached
through a job that was found this way.

Workers and the sweeper use the engine unbound: they serve all tenants. While a request is served
(`tenant_wanted`), a statement about owned rows on an unbound engine is an error instead. What goes
past the ORM's classes (bare tables, a session's connection) is not limited; a test keeps that out
of the service.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from sqlalchemy import ClauseElement, Engine, Table, TextClause, event
from sqlalchemy.orm import ORMExecuteState, Session, UOWTransaction, with_loader_criteria
from sqlalchemy.sql import Executable, visitors

from service.jobs.records import Record, TenantOwned

TENANT_OPTION = "kinetag_tenant"
ALL_TENANTS = {"kinetag_all_tenants": True}
"""Execution options of the few statements that must see everybody's rows, such as "does any video
have these bytes?"; their results never reach a user."""

_tenant_wanted: ContextVar[bool] = ContextVar("kinetag_tenant_wanted", default=False)


class UnboundQuery(RuntimeError):
    """A bug of ours: a statement would see, or make, rows of another tenant than it should."""


def bound(engine: Engine, tenant_id: str) -> Engine:
    """Return the engine, sharing its connections, for the eyes of one tenant."""
    return engine.execution_options(**{TENANT_OPTION: tenant_id})


def bound_tenant(engine: Engine) -> str | None:
    """Return the tenant that an engine is bound to; None for one that sees all."""
    tenant: str | None = engine.get_execution_options().get(TENANT_OPTION)
    return tenant


@contextmanager
def tenant_wanted(wanted: bool = True) -> Iterator[None]:
    """Refuse statements about owned rows on an unbound engine, in this thread or task."""
    token = _tenant_wanted.set(wanted)
    try:
        yield
    finally:
        _tenant_wanted.reset(token)


@event.listens_for(Session, "do_orm_execute")
def _limit_to_tenant(state: ORMExecuteState) -> None:
    if "kinetag_all_tenants" in state.execution_options:
        return
    tenant = _tenant_of(state.session)
    if tenant is None:
        if _tenant_wanted.get() and _names_owned_rows(state.statement):
            message = "A request asked for owned rows without saying whose."
            raise UnboundQuery(message)
        return
    if isinstance(state.statement, TextClause):
        message = "Text cannot be limited to a tenant; ask for rows by their classes."
        raise UnboundQuery(message)
    if state.is_insert:
        _require_own(tenant, _parameters(state))
        return
    if state.is_update and isinstance(state.parameters, list):
        # Updates by primary key take no further conditions.
        message = "Rows are updated by a condition here, not by a list of keys."
        raise UnboundQuery(message)
    # The lambda is cached by its code; tracking makes its closure's value a parameter.
    state.statement = state.statement.options(
        with_loader_criteria(
            TenantOwned,
            lambda owned: owned.tenant_id == tenant,
            include_aliases=True,
            track_closure_variables=True,
        )
    )


@event.listens_for(Session, "before_flush")
def _own(session: Session, _context: UOWTransaction, _instances: object) -> None:
    tenant = _tenant_of(session)
    if tenant is None:
        return
    for row in (*session.new, *session.dirty):
        if isinstance(row, TenantOwned):
            # A row that says nothing would become the default tenant's when it is written.
            owner: str | None = row.tenant_id
            if owner is None:
                row.tenant_id = tenant
            else:
                _require_own(tenant, [{"tenant_id": owner}])


def _tenant_of(session: Session) -> str | None:
    bind = session.bind
    return bound_tenant(bind) if isinstance(bind, Engine) else None


def _parameters(state: ORMExecuteState) -> list[dict[str, Any]]:
    mapper = state.bind_mapper
    if mapper is None or not issubclass(mapper.class_, TenantOwned):
        return []
    given = state.parameters
    if given is None:
        compiled = cast(ClauseElement, state.statement).compile()
        return [cast(dict[str, Any], compiled.params)]
    return list(given) if isinstance(given, list) else [cast(dict[str, Any], given)]


def _require_own(tenant: str, rows: list[dict[str, Any]]) -> None:
    if any(row.get("tenant_id") != tenant for row in rows):
        message = "A row was to be made for another tenant than the one that asks."
        raise UnboundQuery(message)


def _names_owned_rows(statement: Executable) -> bool:
    owned = {
        mapper.local_table
        for mapper in Record.registry.mappers
        if issubclass(mapper.class_, TenantOwned)
    }
    parts = visitors.iterate(statement) if isinstance(statement, ClauseElement) else ()
    return any(part in owned for part in parts if isinstance(part, Table))
