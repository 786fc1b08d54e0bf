"""/v1/uploads: resumable uploads by tus 1.0."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api import tus_requests
from service.api.deps import Unbound, VideosWrite
from service.api.schemas import PROBLEMS, Body
from service.api.tus_requests import CHUNK_DOCUMENTATION, TusRoute, UploadId
from service.ingest import uploads
from service.ingest.uploads import UploadView

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], responses=PROBLEMS, route_class=TusRoute)

Version = Annotated[str | None, Header(alias="Tus-Resumable", description="1.0.0.")]
Checksum = Annotated[
    str | None,
    Header(
        alias="Upload-Checksum",
        description="sha1, sha256 or md5, a space, and the chunk's digest in Base64.",
    ),
]


class UploadLinks(Body):
    """Addresses belonging to an upload."""

    self: str  # the name users know
    video: str | None


class UploadBody(Body):
    """A resumable upload."""

    id: str
    status: Literal["uploading", "complete"]
    name: str
    offset_bytes: int = Field(description="Where the next byte goes.")
    length_bytes: int
    video_id: str | None = Field(description="The video that it became.")
    created_at: datetime
    expires_at: datetime
    completed_at: datetime | None
    links: UploadLinks

    @classmethod
    def of(cls, view: UploadView) -> "UploadBody":
        """Render one upload."""
        upload = view.upload
        video_id = upload.video_id if upload.completed_at is not None else None
        return cls(
            id=upload.id,
            status="uploading" if video_id is None else "complete",
            name=upload.name,
            offset_bytes=view.offset_bytes,
            length_bytes=upload.length_bytes,
            video_id=video_id,
            created_at=upload.created_at,
            expires_at=upload.expires_at,
            completed_at=upload.completed_at,
            links=UploadLinks(
                self=f"/v1/uploads/{upload.id}",
                video=None if video_id is None else f"/v1/videos/{video_id}",
            ),
        )


@router.options("", status_code=204)
def get_abilities(context: Unbound) -> Response:
    """Say which tus is spoken, with which extensions and limits."""
    return Response(status_code=204, headers=tus_requests.abilities(context.settings))


@router.post("", status_code=201, response_class=Response, openapi_extra=CHUNK_DOCUMENTATION)
async def begin_upload(
    request: Request,
    context: VideosWrite,
    tus_resumable: Version = None,
    upload_length: Annotated[str | None, Header(description="Bytes, at least 1.")] = None,
    upload_metadata: Annotated[
        str | None,
        Header(description="filename, camera, recorded_at: each a key and its value in Base64."),
    ] = None,
    upload_checksum: Checksum = None,
) -> Response:
    """Begin an upload, if wanted with its first bytes. ``Location`` is where it goes on."""
    del tus_resumable, upload_length, upload_metadata, upload_checksum  # read where they are meant
    return await tus_requests.begin(context, request)


@router.head("/{upload_id}", response_class=Response)
def head_upload(
    context: VideosWrite, upload_id: UploadId, tus_resumable: Version = None
) -> Response:
    """Say how far an upload is, and when complete, which video it became."""
    del tus_resumable
    view = tus_requests.look(context, upload_id)
    headers = {
        **tus_requests.upload_headers(view.upload, view.offset_bytes),
        "Upload-Length": str(view.upload.length_bytes),
    }
    if view.upload.said:
        headers["Upload-Metadata"] = view.upload.said
    return Response(status_code=200, headers=headers)


@router.get("/{upload_id}")
def get_upload(context: VideosWrite, upload_id: UploadId) -> UploadBody:
    """Say the same as JSON; this needs no header of tus."""
    return UploadBody.of(tus_requests.look(context, upload_id))


@router.patch(
    "/{upload_id}", status_code=204, response_class=Response, openapi_extra=CHUNK_DOCUMENTATION
)
async def continue_upload(
    request: Request,
    context: VideosWrite,
    upload_id: UploadId,
    tus_resumable: Version = None,
    upload_offset: Annotated[str | None, Header(description="As HEAD returns it.")] = None,
    upload_checksum: Checksum = None,
) -> Response:
    """Bring the next bytes. With the last ones, ``Kinetag-Video`` names the video."""
    del tus_resumable, upload_offset, upload_checksum
    return await tus_requests.go_on(context, request, upload_id)


@router.delete("/{upload_id}", status_code=204, response_class=Response)
def end_upload(
    context: VideosWrite, upload_id: UploadId, tus_resumable: Version = None
) -> Response:
    """End an upload and delete its bytes; a video that it became stays."""
    del tus_resumable
    uploads.end_upload(tus_requests.desk_of(context), upload_id)
    return Response(status_code=204)


@router.options("/{upload_id}", status_code=204, include_in_schema=False)
def get_upload_abilities(context: Unbound, upload_id: UploadId) -> Response:
    """Say the same as at /v1/uploads."""
    del upload_id
    return Response(status_code=204, headers=tus_requests.abilities(context.settings))


@router.post("/{upload_id}", include_in_schema=False)
async def overridden(request: Request, context: VideosWrite, upload_id: UploadId) -> Response:
    """Serve clients whose proxies let only GET and POST through (X-HTTP-Method-Override)."""
    if tus_requests.overridden(request) == "PATCH":
        return await tus_requests.go_on(context, request, upload_id)
    await run_in_threadpool(uploads.end_upload, tus_requests.desk_of(context), upload_id)
    return Response(status_code=204)
