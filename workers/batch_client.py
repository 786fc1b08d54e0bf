"""The REST interface as a batch's client sees it: uploads by tus, batches, results.

Waits out what may pass: a server that restarts, answers 5xx or asks for patience. Whatever else it
says is the answer.
"""

import base64
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from models.atomic import atomic_file
from service.errors import FileChanged
from workers.batch_run import StoppedError

TUS_VERSION = "1.0.0"
SEND_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 120.0
PATIENCE_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 15.0
TOO_MANY, NOT_FOUND, GONE = 429, 404, 410
LOOK_AGAIN = frozenset({404, 409, 410, 423})
"""What a PATCH is answered when the upload is elsewhere than was thought, or gone, or busy."""

SERVER_ERRORS = 500
DISK_FULL = 507

Wait = Callable[[float], bool]


class RefusedError(Exception):
    """The server's last word on a request: ``code``, and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class AwayError(Exception):
    """The server did not answer for a long time; the message says so."""


class BatchClient:
    """Talks to one service.

    Args:
        server: its address.
        key: API key; None where none is needed.
        wait: seconds -> True as soon as the run is to stop.
        patience_seconds: how long an outage may last.
    """

    def __init__(
        self, server: str, key: str | None, wait: Wait, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(
            base_url=server.rstrip("/"), headers=headers, timeout=TIMEOUT_SECONDS
        )
        self._wait = wait
        self._patience_seconds = patience_seconds

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def call(
        self,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        document: object = None,
        parameters: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a request that may be repeated, until there is an answer.

        Raises:
            RefusedError: the answer is no success.
            AwayError: there is none.
            StoppedError: told to stop.
        """

        def send() -> httpx2.Response:
            if document is None:
                return self._client.request(method, address, headers=headers, params=parameters)
            return self._client.request(method, address, headers=headers, json=document)

        return self._patiently(send)

    def upload(
        self, path: Path, name: str, known: str | None, on_begin: Callable[[str], None]
    ) -> str:
        """Upload a file by tus, going on with an upload that was begun; return the video's id.

        Args:
            path: of the file.
            name: to call the video.
            known: address of an upload of it that was begun; None for none.
            on_begin: told the address of a new one.

        Raises:
            RefusedError: the server does not take it.
            AwayError: the server is away.
            StoppedError: told to stop.
            FileChanged: the file grew or shrank meanwhile.
            OSError: the file cannot be read.
        """
        size_bytes = path.stat().st_size
        location = known
        furthest, deadline = -1, 0.0
        while True:
            offset, video_id = self._progress(location, size_bytes)
            if video_id is not None:
                return video_id
            if offset is None or location is None:
                location = self._begin(size_bytes, name)
                on_begin(location)
                offset = 0
            if offset > furthest:
                furthest, deadline = offset, time.monotonic() + self._patience_seconds
            elif time.monotonic() > deadline:
                message = f"The upload of {name} does not get on."
                raise AwayError(message)
            video_id = self._send_rest(location, path, offset, size_bytes)
            if video_id is not None:
                return video_id
            if path.stat().st_size != size_bytes:
                message = "The file changed while it was sent; the next run sends it anew."
                raise FileChanged(message)

    def download(self, address: str, parameters: Mapping[str, str], target: Path) -> None:
        """Stream an answer into a file that appears whole or not at all.

        Raises:
            RefusedError: the answer is no success.
            AwayError: there is none.
            StoppedError: told to stop.
        """

        def fetch() -> httpx2.Response:
            with self._client.stream("GET", address, params=dict(parameters)) as answer:
                if answer.is_success:
                    with atomic_file(target) as file:
                        for part in answer.iter_bytes(SEND_BYTES):
                            file.write(part)
                else:
                    answer.read()
                return answer

        self._patiently(fetch)

    def lines(self, address: str, parameters: Mapping[str, str]) -> Iterator[str]:
        """Yield the lines of an answer as they come; broken off, it raises `AwayError`."""
        try:
            with self._client.stream("GET", address, params=dict(parameters)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refused(answer)
                yield from answer.iter_lines()
        except httpx2.TransportError as error:
            message = f"The results broke off ({error}); run the same command again."
            raise AwayError(message) from error

    def _begin(self, size_bytes: int, name: str) -> str:
        metadata = base64.b64encode(name.encode(errors="replace")).decode()
        headers = {
            "Tus-Resumable": TUS_VERSION,
            "Upload-Length": str(size_bytes),
            "Upload-Metadata": f"filename {metadata}",
        }
        location: str = self.call("POST", "/v1/uploads", headers=headers).headers["location"]
        return location

    def _progress(self, location: str | None, size_bytes: int) -> tuple[int | None, str | None]:
        """Return how far an upload is, and its video; (None, None) where there is no such."""
        if location is None:
            return None, None
        try:
            answer = self.call("HEAD", location, headers={"Tus-Resumable": TUS_VERSION})
        except RefusedError as error:
            if error.status in {NOT_FOUND, GONE}:
                return None, None
            raise
        if int(answer.headers["upload-length"]) != size_bytes:
            return None, None
        return int(answer.headers["upload-offset"]), answer.headers.get("kinetag-video")

    def _send_rest(self, location: str, path: Path, offset: int, size_bytes: int) -> str | None:
        """Send what is missing; None where it broke off and is to be looked at anew."""
        headers = {
            "Tus-Resumable": TUS_VERSION,
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size_bytes - offset),
        }
        try:
            answer = self._client.request(
                "PATCH",
                location,
                headers=headers,
                content=self._content(path, offset, size_bytes - offset),
            )
        except httpx2.TransportError:
            self._pause(FIRST_PAUSE_SECONDS)
            return None
        if answer.is_success:
            return answer.headers.get("kinetag-video")
        if answer.status_code not in LOOK_AGAIN and not _may_pass(answer):
            raise _refused(answer)
        self._pause(_advised_seconds(answer, FIRST_PAUSE_SECONDS))
        return None

    def _content(self, path: Path, offset: int, num_bytes: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(offset)
            while block := file.read(min(SEND_BYTES, num_bytes)):
                if self._wait(0):
                    raise StoppedError
                num_bytes -= len(block)
                yield block

    def _pause(self, seconds: float) -> None:
        if self._wait(seconds):
            raise StoppedError

    def _patiently(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        deadline = time.monotonic() + self._patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = send()
            except httpx2.TransportError as error:
                reason, advised = str(error) or type(error).__name__, pause
            else:
                if answer.is_success:
                    return answer
                if not _may_pass(answer):
                    raise _refused(answer)
                reason, advised = str(_refused(answer)), _advised_seconds(answer, pause)
            if time.monotonic() + advised > deadline:
                message = f"The server at {self._client.base_url} does not answer: {reason}"
                raise AwayError(message)
            self._pause(advised)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)


def _may_pass(answer: httpx2.Response) -> bool:
    status = answer.status_code
    return status == TOO_MANY or (status >= SERVER_ERRORS and status != DISK_FULL)


def _advised_seconds(answer: httpx2.Response, otherwise: float) -> float:
    text = answer.headers.get("retry-after", "")
    advised = float(text) if text.isascii() and text.isdigit() else otherwise
    return min(advised, MAX_PAUSE_SECONDS)


def _refused(answer: httpx2.Response) -> RefusedError:
    document: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        found = answer.json()
        document = found if isinstance(found, dict) else {}
    code = str(document.get("code", f"http_{answer.status_code}"))
    message = str(document.get("detail") or f"The server answered {answer.status_code}.")
    return RefusedError(answer.status_code, code, message)
