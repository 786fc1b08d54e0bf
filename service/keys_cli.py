"""The command line of API keys: `kinetag keys`. Works on the database itself.

So the first key can be made before anybody can reach the service.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from service.accounts.keys import NewKey, create_key, key_state, list_keys, revoke_key
from service.accounts.records import ApiKeyRecord
from service.accounts.scopes import DEFAULT_SCOPES, parse_scopes
from service.accounts.tenants import ensure_tenant, find_tenant, list_tenants
from service.errors import InvalidRequest, ServiceError
from service.jobs.commands import JobCore, open_core
from service.logs import configure_logs
from service.settings import load_settings

EXIT_USAGE = 2
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
UNIT_BYTES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNIT_BYTES |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", start=1)}
NO_LIMIT = "unlimited"

app = typer.Typer(no_args_is_help=True, add_completion=False)
keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys; set quotas.")
app.add_typer(keys_app, name="keys")

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder for everything stored.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
TenantOption = Annotated[str, typer.Option(help="Whose; made if there is no such tenant.")]
BytesOption = Annotated[
    str | None,
    typer.Option("--quota-bytes", help="What the tenant may store: 500G, 2Ti; or unlimited."),
]
JobsOption = Annotated[
    str | None, typer.Option("--quota-jobs", help="Unfinished jobs it may have; or unlimited.")
]
RateOption = Annotated[
    str | None,
    typer.Option("--quota-rate", help="Requests per second to one API process; or unlimited."),
]
UploadsOption = Annotated[
    str | None,
    typer.Option("--quota-uploads", help="Uploads at once to one API process; or unlimited."),
]


@dataclass(frozen=True, slots=True)
class _QuotaWords:
    stored_bytes: str | None
    queued_jobs: str | None
    requests_per_second: str | None
    uploads: str | None

    def document(self) -> dict[str, Any]:
        """Return what was given, as `service.accounts.tenants.ensure_tenant` takes it."""
        return {
            name: value
            for name, word, read in (
                ("stored_bytes", self.stored_bytes, parse_bytes),
                ("queued_jobs", self.queued_jobs, _parse_count),
                ("requests_per_second", self.requests_per_second, _parse_number),
                ("uploads", self.uploads, _parse_count),
            )
            if word is not None
            for value in (None if word == NO_LIMIT else read(word),)
        }


@keys_app.command("create")
def create(  # noqa: PLR0913 - each parameter is an option of the command line
    name: Annotated[str, typer.Option(help="What it is for; for people.")],
    tenant: TenantOption = "default",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do; repeat it. Default: all but admin and metrics:read."),
    ] = None,
    expires: Annotated[str, typer.Option(help="90d, 12h, 30m …, or never.")] = "never",
    quota_bytes: BytesOption = None,
    quota_jobs: JobsOption = None,
    quota_rate: RateOption = None,
    quota_uploads: UploadsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is printed now, alone on standard output, and never again."""
    with _core(data) as core:
        quotas = _QuotaWords(quota_bytes, quota_jobs, quota_rate, quota_uploads).document()
        scopes = parse_scopes(scope) if scope else DEFAULT_SCOPES
        wish = NewKey(name, scopes, parse_lifetime(expires))
        owner = ensure_tenant(core, tenant, quotas)
        record, text = create_key(core.for_tenant(owner.id), wish)
    if as_json:
        typer.echo(json.dumps({**_row(record, owner.name), "key": text.reveal()}))
        return
    until = (
        "for ever" if record.expires_at is None else f"until {record.expires_at:%Y-%m-%d %H:%M} UTC"
    )
    typer.echo(
        f"{record.id} of tenant {owner.name!r}, {until}: {', '.join(record.scopes)}", err=True
    )
    typer.echo("Keep it well, it is not shown again:", err=True)
    typer.echo(text.reveal())


@keys_app.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys, without their secrets, oldest first."""
    with _core(data) as core:
        names = {one.id: one.name for one in list_tenants(core)}
        rows = [_row(record, names[record.tenant_id]) for record in list_keys(core)]
    rows = [row for row in rows if tenant in {None, row["tenant"]}]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        used = row["last_used_at"] or "never used"
        typer.echo(
            f"{row['id']}  {row['status']:8}  {row['tenant']}  {row['name']}  "
            f"{','.join(row['scopes'])}  {used}"
        )


@keys_app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="key_…, as list shows it.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key worthless: within a second nobody is let in with it."""
    with _core(data) as core:
        record = revoke_key(core, key_id)
        names = {one.id: one.name for one in list_tenants(core)}
    if as_json:
        typer.echo(json.dumps(_row(record, names[record.tenant_id])))
    else:
        typer.echo(f"{record.id} ({record.name}) is revoked.")


@keys_app.command("quotas")
def quotas(  # noqa: PLR0913 - each parameter is an option of the command line
    tenant: Annotated[str, typer.Option(help="Whose.")] = "default",
    quota_bytes: BytesOption = None,
    quota_jobs: JobsOption = None,
    quota_rate: RateOption = None,
    quota_uploads: UploadsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a tenant's quotas, with those changed that are given."""
    with _core(data) as core:
        if find_tenant(core, tenant) is None:
            message = f"There is no tenant {tenant!r}; kinetag keys create --tenant makes one."
            raise InvalidRequest(message)
        words = _QuotaWords(quota_bytes, quota_jobs, quota_rate, quota_uploads)
        owner = ensure_tenant(core, tenant, words.document())
        allowed = core.quotas.changed_by(owner.quotas).document()
    if as_json:
        typer.echo(json.dumps({"tenant": owner.name, "tenant_id": owner.id, "quotas": allowed}))
        return
    for name, value in allowed.items():
        typer.echo(f"{name}: {NO_LIMIT if value is None else value}")


def parse_lifetime(text: str) -> timedelta | None:
    """Return how long ``90d``, ``12h``, ``30m``, ``45s``, ``2w`` is; None for ``never``.

    Raises:
        InvalidRequest: it is none of these.
    """
    if text == "never":
        return None
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if match is None:
        message = f"A key cannot expire in {text!r}; give 90d, 12h, 30m, 45s, 2w or never."
        raise InvalidRequest(message)
    return timedelta(seconds=int(match[1]) * UNIT_SECONDS[match[2]])


def parse_bytes(text: str) -> int:
    """Return how many bytes ``500G`` (10^9) or ``2Ti`` (2^40) are.

    Raises:
        InvalidRequest: it is no such size.
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?i?)B?", text)
    if match is None or match[2] not in UNIT_BYTES:
        message = f"{text!r} is no size; give bytes, or 500M, 500G, 2T, 2Ti."
        raise InvalidRequest(message)
    return round(float(match[1]) * UNIT_BYTES[match[2]])


def _parse_count(text: str) -> int:

    if not re.fullmatch(r"[0-9]{1,15}", text):
        message = f"{text!r} is no count; give a whole number, or {NO_LIMIT}."
        raise InvalidRequest(message)
    return int(text)


def _parse_number(text: str) -> float:

    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        message = f"{text!r} is no rate; give requests per second, or {NO_LIMIT}."
        raise InvalidRequest(message)
    return float(text)


def _row(record: ApiKeyRecord, tenant: str) -> dict[str, Any]:

    def text(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "id": record.id,
        "tenant": tenant,
        "tenant_id": record.tenant_id,
        "name": record.name,
        "scopes": record.scopes,
        "status": key_state(record, datetime.now(UTC)),
        "created_at": text(record.created_at),
        "expires_at": text(record.expires_at),
        "revoked_at": text(record.revoked_at),
        "last_used_at": text(record.last_used_at),
    }


@contextmanager
def _core(data: Path | None) -> Iterator[JobCore]:
    """Open the job core; an error is one sentence and status 2."""
    try:
        settings = load_settings(data_dir=data)
        # What is printed is for people and scripts; only trouble is logged beside it.
        configure_logs(settings.log_format, "warning")
        core = open_core(settings)
        try:
            yield core
        finally:
            core.engine.dispose()
    except ServiceError as error:
        typer.echo(f"{error} [{error.code}]", err=True)
        raise typer.Exit(EXIT_USAGE) from error
