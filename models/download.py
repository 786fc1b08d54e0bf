"""Fetches published files: resumable, verified, never trusted before verification.

Speaks plain HTTP(S) to the record's own address and nowhere else. Proxies of the environment are
not used: the science reads no environment.
"""

import contextlib
import errno
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from models.catalog import StreamFile
from models.errors import DiskFull, WeightsInvalid, WeightsMissing
from models.weights import git_blob_id

DownloadCallback = Callable[[str, int, int], None]

BLOCK_BYTES = 1 << 18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
# A published file's size is known roughly; a body far beyond it is not that file.
SIZE_MARGIN = 4
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416


def download_file(
    file: StreamFile, target: Path, on_progress: DownloadCallback | None = None
) -> None:
    """Fetch a published file to ``target``; a file that is there and right is kept.

    An interrupted download leaves ``<target>.part`` and is resumed by the next call.

    Args:
        file: what to fetch.
        target: where to put it.
        on_progress: called with the file's name, bytes so far and bytes in all.

    Raises:
        WeightsMissing: the address cannot be reached or has no such file.
        WeightsInvalid: its publisher names no hash, or what came is not the published file.
        DiskFull: no space is left.
    """
    if file.git_blob is None:
        message = (
            f"The publisher of {file.url} names no hash, so the file cannot be verified and is "
            "not downloaded."
        )
        raise WeightsInvalid(message)
    if target.is_file() and git_blob_id(target) == file.git_blob:
        return
    partial = target.with_name(target.name + ".part")
    with _disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(file, partial, on_progress)
        if git_blob_id(partial) != file.git_blob:
            partial.unlink()
            message = (
                f"What came from {file.url} is not the published file (its git blob id is not "
                f"{file.git_blob}); it was removed. Try again, or report the changed file."
            )
            raise WeightsInvalid(message)
        partial.replace(target)


def _fetch(file: StreamFile, partial: Path, on_progress: DownloadCallback | None) -> None:
    """Append to ``partial`` until the server's body is complete."""
    for attempt in range(1, ATTEMPTS + 1):
        before = partial.stat().st_size if partial.is_file() else 0
        try:
            if _fetch_once(file, partial, on_progress):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == RANGE_NOT_SATISFIABLE and before > 0:
                # Complete already, or the file has changed: the hash will tell.
                return
            message = f"{file.url} answered {error.code} {error.reason}; is it still published?"
            raise WeightsMissing(message) from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            _give_up(file, error, last=attempt == ATTEMPTS or not _grew(partial, before))
        except ConnectionError as error:
            _give_up(file, error, last=attempt == ATTEMPTS or not _grew(partial, before))
    message = f"The download of {file.url} broke off again and again; repeat to go on with it."
    raise WeightsMissing(message)


def _grew(partial: Path, before: int) -> bool:
    return partial.is_file() and partial.stat().st_size > before


def _give_up(file: StreamFile, error: Exception, *, last: bool) -> None:
    if last:
        reason = getattr(error, "reason", error)
        message = (
            f"Cannot reach {file.url} ({reason}). Connect this machine to the internet and repeat "
            "the command; what has been downloaded is kept."
        )
        raise WeightsMissing(message) from error


def _fetch_once(file: StreamFile, partial: Path, on_progress: DownloadCallback | None) -> bool:
    """Fetch what is missing in one request; return whether the body came whole."""
    start = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(file.url)  # noqa: S310 - checked just below
    if request.type not in {"http", "https"}:
        message = f"Only http and https addresses are fetched, not {file.url}."
        raise WeightsInvalid(message)
    if start > 0:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        resumed = answer.status == PARTIAL_CONTENT
        done = start if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length is not None else file.approximate_bytes
        limit = SIZE_MARGIN * file.approximate_bytes
        with partial.open("ab" if resumed else "wb") as sink:
            while block := answer.read(BLOCK_BYTES):
                done += len(block)
                if done > limit:
                    message = f"{file.url} is far larger than the published file; stopped."
                    raise WeightsInvalid(message)
                sink.write(block)
                if on_progress is not None:
                    on_progress(file.url.rpartition("/")[2], done, total)
    return length is None or done == total


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        message = f"The disk holding {folder} is full; free some space and try again."
        raise DiskFull(message) from error
