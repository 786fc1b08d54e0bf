"""The files that browsers load: read once, held in memory, plain and compressed."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

from service.api.webmodules import joined, without_comments

FOLDER = Path(__file__).parents[1] / "web"
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Nothing else of the folder is served."""

ENTRIES = ("timeline/kinetag-timeline.js",)
"""Modules that are sent with all they import."""

ETAG_DIGITS = 32
NOT_MODIFIED = 304
# Asked for anew each time, and mostly answered 304: after an update nobody runs the old page.
CACHE_CONTROL = "no-cache"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors "
)
"""Of our pages, without who may frame them: no inline script or style, nothing from elsewhere, and
no text becomes markup (Source: W3C Trusted Types)."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file as it is sent; ``path`` as in addresses, from the folder on."""

    path: str
    media_type: str
    content: bytes
    compressed: bytes
    etag: str

    def response(self, request_headers: Headers, headers: Mapping[str, str]) -> Response:
        """Return the answer to a request: compressed where that is understood, 304 where known.

        Args:
            request_headers: of the request.
            headers: to be added to the answer.
        """
        all_headers = {
            "ETag": self.etag,
            "Cache-Control": CACHE_CONTROL,
            "Vary": "Accept-Encoding",
            **headers,
        }
        if self.etag in request_headers.get("if-none-match", ""):
            return Response(status_code=NOT_MODIFIED, headers=all_headers)
        content = self.content
        if "gzip" in request_headers.get("accept-encoding", ""):
            content = self.compressed
            all_headers["Content-Encoding"] = "gzip"
        return Response(content, media_type=self.media_type, headers=all_headers)


def read_web_files(folder: Path = FOLDER) -> dict[str, WebFile]:
    """Read all files of a folder that may be served, by their paths in it."""
    files = {}
    for path in sorted(folder.rglob("*")):
        media_type = MEDIA_TYPES.get(path.suffix)
        if media_type is None or not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        content = _sent(name, folder)
        digest = hashlib.sha256(content).hexdigest()[:ETAG_DIGITS]
        # Without a moment in it, the same file is always compressed to the same bytes.
        compressed = gzip.compress(content, mtime=0)
        files[name] = WebFile(name, media_type, content, compressed, f'W/"{digest}"')
    return files


def _sent(name: str, folder: Path) -> bytes:
    def read(path: str) -> str:
        return (folder / path).read_text(encoding="utf-8")

    if name in ENTRIES:
        return joined(name, read).encode()
    if name.endswith(".js"):
        return without_comments(read(name)).encode()
    return (folder / name).read_bytes()
