"""/v1/keys and /v1/usage: a tenant's keys, and how much of its quotas it uses."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.accounts import keys
from service.accounts.limits import Quotas
from service.accounts.quotas import usage_of
from service.accounts.records import ApiKeyRecord
from service.accounts.scopes import DEFAULT_SCOPES, Scope, allows
from service.api.deps import ID_BODY, Admin, JobsRead, SecuredRoute, gate_of
from service.api.schemas import PROBLEMS
from service.errors import Forbidden, KeyNotFound

MAX_LIFETIME_SECONDS = int(keys.MAX_LIFETIME.total_seconds())

router = APIRouter(prefix="/v1", tags=["keys"], responses=PROBLEMS, route_class=SecuredRoute)

KEY_ID = re.compile("key" + ID_BODY)


def known_key_id(key_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a key id that can exist.

    Raises:
        KeyNotFound: no key can have it.
    """
    if not KEY_ID.fullmatch(key_id):
        message = "There is no key of this id; ids look like key_01J9…, as GET /v1/keys lists them."
        raise KeyNotFound(message)
    return key_id


KeyId = Annotated[str, Depends(known_key_id)]


class KeyRequest(BaseModel):
    """What a new key is to be."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=255, description="For people.")
    scopes: list[Scope] = Field(
        sorted(DEFAULT_SCOPES), min_length=1, max_length=len(Scope), description="What it may do."
    )
    expires_in_seconds: int | None = Field(
        None, ge=1, le=MAX_LIFETIME_SECONDS, description="How long it holds; null: for ever."
    )


class KeyBody(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    status: str = Field(description="active, expired or revoked.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Exact to a minute.")

    @classmethod
    def of(cls, record: ApiKeyRecord) -> "KeyBody":
        """Describe a key."""
        return cls(
            id=record.id,
            name=record.name,
            scopes=record.scopes,
            status=keys.key_state(record, datetime.now(UTC)),
            created_at=record.created_at,
            expires_at=record.expires_at,
            revoked_at=record.revoked_at,
            last_used_at=record.last_used_at,
        )


class NewKeyBody(KeyBody):
    """A key that was made this moment."""

    key: str = Field(description="The key itself: shown now and never again.")


class KeyList(BaseModel):
    """All keys of a tenant, oldest first."""

    keys: list[KeyBody]


class UsageBody(BaseModel):
    """How much a tenant uses, and may use."""

    tenant_id: str
    key_id: str | None = Field(description="Of the key that asks; null without one.")
    scopes: list[str] = Field(description="Of the key that asks.")
    stored_bytes: int = Field(description="Of all uploads, the same bytes counted once.")
    reserved_bytes: int = Field(description="Of resumable uploads that are not complete.")
    queued_jobs: int = Field(description="Jobs that have not ended.")
    quotas: Quotas = Field(description="null: no limit.")


@router.post("/keys", status_code=201)
def post_key(context: Admin, request: Request, response: Response, asked: KeyRequest) -> NewKeyBody:
    """Make a key of the own tenant. The answer is the only one that ever shows it."""
    foreign = sorted(scope for scope in asked.scopes if not allows(context.caller.scopes, scope))
    if foreign:
        message = f"This API key lacks the scope {foreign[0]}, so it cannot hand it on."
        raise Forbidden(message)
    lifetime = asked.expires_in_seconds
    wish = keys.NewKey(
        asked.name,
        frozenset(asked.scopes),
        None if lifetime is None else timedelta(seconds=lifetime),
    )
    record, text = keys.create_key(context.core, wish)
    response.headers["Location"] = f"{request.url.path}/{record.id}"
    return NewKeyBody(**KeyBody.of(record).model_dump(), key=text.reveal())


@router.get("/keys")
def get_keys(context: Admin) -> KeyList:
    """List the own tenant's keys, the expired and the revoked included."""
    return KeyList(keys=[KeyBody.of(record) for record in keys.list_keys(context.core)])


@router.get("/keys/{key_id}")
def get_key(context: Admin, key_id: KeyId) -> KeyBody:
    """Look at a key that was not revoked; the list has the others too."""
    record = keys.get_key(context.core, key_id)
    if record.revoked_at is not None:
        message = f"The key {key_id} was revoked; GET /v1/keys says when."
        raise KeyNotFound(message)
    return KeyBody.of(record)


@router.delete("/keys/{key_id}", status_code=204)
def delete_key(context: Admin, request: Request, key_id: KeyId) -> None:
    """Revoke a key: within a second it is worthless everywhere, streams it opened included."""
    keys.revoke_key(context.core, key_id)
    gate_of(request).keyring.forget(key_id)


@router.get("/usage")
def get_usage(context: JobsRead) -> UsageBody:
    """Tell how much of its quotas the tenant uses, and who asks."""
    usage = usage_of(context.core)
    return UsageBody(
        tenant_id=context.caller.tenant_id,
        key_id=context.caller.key_id,
        scopes=sorted(context.caller.scopes),
        stored_bytes=usage.stored_bytes,
        reserved_bytes=usage.reserved_bytes,
        queued_jobs=usage.queued_jobs,
        quotas=usage.quotas,
    )
