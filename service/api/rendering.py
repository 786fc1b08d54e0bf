"""Results in the format a client wants: by ``?format=`` or by the Accept header."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar, get_args
from urllib.parse import quote

from starlette.responses import Response

from models.exports import EXPORTS, selected, stamped
from models.overrides import LocalizeOverrides
from service.errors import NotAcceptable
from service.jobs.commands import JobView

ResultFormat = Literal["native", "activitynet", "csv", "jsonl", "webvtt", "labelstudio", "fiftyone"]
CurveFormat = Literal["json", "npy", "npz"]
Choice = TypeVar("Choice", bound=str)

RESULT_TYPES: dict[ResultFormat, tuple[str, ...]] = {
    name: (EXPORTS[name].media_type,) for name in get_args(ResultFormat)
} | {"jsonl": (EXPORTS["jsonl"].media_type, "application/jsonl")}
"""Format -> the media type it is sent as, and others under which it can be asked for."""

CURVE_TYPES: dict[CurveFormat, tuple[str, ...]] = {
    "json": ("application/json",),
    "npy": ("application/x-npy",),
    "npz": ("application/x-npz",),
}
ETAG_DIGITS = 32
NOT_MODIFIED = 304
SAFE_PUNCTUATION = frozenset("._- ")
MAX_FILE_NAME = 100


def choose_format(accept: str | None, offered: Mapping[Choice, Sequence[str]]) -> Choice:
    """Return the format an Accept header asks for; the first when it leaves the choice to us.

    Source: RFC 9110, 12.5.1: the most specific range that matches decides a type's quality.

    Raises:
        NotAcceptable: it excludes every format there is.
    """
    ranges = _media_ranges(accept) if accept else {"*/*": 1.0}
    qualities = {
        name: max(_quality(media_type, ranges) for media_type in media_types)
        for name, media_types in offered.items()
    }
    best = max(qualities, key=lambda name: qualities[name])
    if qualities[best] <= 0:
        listed = ", ".join(media_types[0] for media_types in offered.values())
        message = f"This is offered as {listed}; accept one of them, or name one by ?format=."
        raise NotAcceptable(message)
    return best


def _media_ranges(accept: str) -> dict[str, float]:
    ranges = {}
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        ranges[name] = quality
    return ranges


def _quality(media_type: str, ranges: Mapping[str, float]) -> float:
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0


def finished_native(view: JobView, native: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's native result as its client sees it.

    Only the labels and scores asked for, which results of earlier releases still hold all of, and
    with absolute times where the recording's moment is known.
    """
    return placed_native(view, selected(native, LocalizeOverrides.from_json(view.job.options)))


def placed_native(view: JobView, native: Mapping[str, Any]) -> dict[str, Any]:
    """Return a native result with the job's camera, and absolute times if its moment is known."""
    return stamped(native, view.job.recorded_at, view.job.camera)


def render_result(
    native: Mapping[str, Any], result_format: ResultFormat, if_none_match: str | None = None
) -> Response:
    """Render a native result in a format, or say that the client has it already."""
    export = EXPORTS[result_format]
    content = export.render(native).encode(errors="backslashreplace")
    name = native["video"]["name"]
    return file_response(
        content,
        media_type=export.media_type,
        file_name=PurePosixPath(name).stem + export.ending,
        if_none_match=if_none_match,
    )


def file_response(
    content: bytes, *, media_type: str, file_name: str, if_none_match: str | None = None
) -> Response:
    """Return content under a name to save it by; 304 where the client's copy is the same.

    Args:
        content: the body.
        media_type: of it; text is sent as UTF-8.
        file_name: as a user gave it; whatever could harm a header or a file system is replaced.
        if_none_match: the request's header.
    """
    etag = f'"{hashlib.sha256(content).hexdigest()[:ETAG_DIGITS]}"'
    headers = {"ETag": etag, "Vary": "Accept", "Cache-Control": "private, no-cache"}
    if if_none_match is not None and _matches(if_none_match, etag):
        return Response(status_code=NOT_MODIFIED, headers=headers)
    headers["Content-Disposition"] = _disposition(file_name)
    return Response(content, media_type=media_type, headers=headers)


def _matches(if_none_match: str, etag: str) -> bool:
    known = (one.strip().removeprefix("W/") for one in if_none_match.split(","))
    return any(one in {etag, "*"} for one in known)


def _disposition(file_name: str) -> str:
    """Return the header under which a browser shows the content and saves it by this name.

    Source: RFC 6266 and RFC 8187: an ASCII name for everybody, the true one beside it.
    """
    shown = "".join(one if one.isalnum() or one in SAFE_PUNCTUATION else "_" for one in file_name)
    shown = shown[-MAX_FILE_NAME:].lstrip(". ") or "result"
    plain = "".join(one if one.isascii() else "_" for one in shown)
    beside = "" if plain == shown else f"; filename*=UTF-8''{quote(shown, safe='')}"
    return f'inline; filename="{plain}"{beside}'
