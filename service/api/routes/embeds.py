"""Embed tokens, and the page that frames show: /v1/embed-tokens, /embed/{job}.

The page knows nobody's data, so it is open; what it shows it asks for with the token that stands
in its address behind ``#``, where no server sees it.
"""

from typing import Annotated
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api.deps import ApiContext, EmbedMint, JobId, SecuredRoute, gate_of
from service.api.embed_bodies import EmbedTokenBody, EmbedTokenRequest, element_html, iframe_html
from service.api.jobbodies import Word
from service.api.routes.pages import web_file
from service.api.schemas import PROBLEMS
from service.api.webfiles import PAGE_POLICY
from service.embedding.frames import NOBODY, frame_ancestors, sign_frame
from service.embedding.origins import checked_origins
from service.embedding.signing import MAX_TEXT_CHARACTERS
from service.embedding.subjects import Subject
from service.embedding.tokens import Grant, expiry, sign_token
from service.jobs.commands import visible_job
from service.jobs.store import reading

PAGE = "embed/index.html"

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["embeds"], responses=PROBLEMS, route_class=SecuredRoute)

Frame = Annotated[str, Query(max_length=MAX_TEXT_CHARACTERS, description="Signed list of origins.")]


@router.post("/v1/embed-tokens", status_code=201)
def post_embed_token(
    context: EmbedMint, request: Request, asked: EmbedTokenRequest
) -> EmbedTokenBody:
    """Make a token with which pages of other origins show one job or camera for some minutes.

    It is worth nothing once the API key that made it is revoked, or the job is deleted. The page
    that shows it has its own server ask for the next one.
    """
    subject, origins = asked.subject(), checked_origins(asked.origins)
    grant = _grant(context, asked, subject, origins)
    signer = gate_of(request).viewers.signer
    token = sign_token(signer, grant)
    page, named = _page_of(subject)
    query = f"{named}frame={sign_frame(signer, subject, origins)}"
    url = f"{page}?{query}#{token}"
    base = f"{request.url.scheme}://{request.headers['host']}"
    _log.info(
        "embed_token_made",
        tenant_id=grant.tenant_id,
        key_id=grant.key_id,
        **subject.document(),
        origins=list(origins),
        expires_at=grant.expires_at.isoformat(),
    )
    return EmbedTokenBody(
        token=token,
        expires_at=grant.expires_at,
        url=url,
        iframe=iframe_html(base + url),
        element=element_html(base, subject, token),
    )


def _grant(
    context: ApiContext, asked: EmbedTokenRequest, subject: Subject, origins: tuple[str, ...]
) -> Grant:
    with reading(context.core.engine) as session:
        if subject.job_id is not None:
            visible_job(session, subject.job_id)
        expires_at = expiry(context.core.clock.now(session), asked.expires_in_seconds)
    caller = context.caller
    return Grant(caller.tenant_id, subject, origins, expires_at, caller.key_id)


def _page_of(subject: Subject) -> tuple[str, str]:
    """Return the path of a subject's page, and what its query begins with."""
    if subject.camera is not None:
        return "/embed/camera", f"camera={quote(subject.camera, safe='')}&"
    return f"/embed/{subject.job_id}", ""


@router.get("/embed/camera", include_in_schema=False)
async def get_camera_frame(request: Request, camera: Word, frame: Frame = "") -> Response:
    """Return the page of a frame that shows a camera's newest job."""
    return await _framed(request, Subject(camera=camera), frame)


@router.get("/embed/{job_id}", include_in_schema=False)
async def get_frame(request: Request, job_id: JobId, frame: Frame = "") -> Response:
    """Return the page of a frame that shows a job."""
    return await _framed(request, Subject(job_id), frame)


async def _framed(request: Request, subject: Subject, frame: str) -> Response:
    """Return the page, for those origins that a signed list of this very subject names."""
    ancestors = NOBODY
    if frame:
        signer = gate_of(request).viewers.signer
        ancestors = await run_in_threadpool(frame_ancestors, signer, subject, frame)
    headers = {
        "Content-Security-Policy": PAGE_POLICY + ancestors,
        # Pages that isolate themselves (COEP) may frame it too.
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return web_file(request, PAGE).response(request.headers, headers)
