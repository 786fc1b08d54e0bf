"""`kinetag batch --server --watch`: each new recording becomes a job as soon as it is complete.

One job per file rather than a batch: a recording of the last minute must not wait for those of the
last hour. The ledger knows every file's job, so that a run that was killed asks for nothing twice.
A server that is away is waited for.
"""

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from models.atomic import write_text_atomic
from models.errors import DiskFull
from service.errors import InvalidRequest
from workers.batch_client import AwayError, BatchClient, RefusedError
from workers.batch_files import FileItem, FileState, find_files, find_urls, result_path
from workers.batch_ledger import Done, Failed, Ledger
from workers.batch_local import (
    COMBINE_SECONDS,
    EXIT_ALL_DONE,
    EXIT_INTERRUPTED,
    EXIT_MACHINE,
    EXIT_SOME_FAILED,
    LOOKS_PER_SETTLING,
    MIN_LOOK_SECONDS,
)
from workers.batch_output import OutputFolder, remove_parts, write_combined
from workers.batch_remote import NEVER_PASS, RemoteOptions, check_model, place_of
from workers.batch_report import write_failures
from workers.batch_run import ItemStatus, Row, StoppedError
from workers.batch_sending import NOT_ALLOWED, NOT_FOUND, FileSender, NotSentError, state_looks
from workers.batch_watch import Settling

MAX_OPEN_JOBS = 20
"""The rest waits in the folder: a day's recordings do not fill the queue of everybody else."""

JOB_LOOK_SECONDS = 2.0
RETRY_SECONDS = 30.0
AWAY_PAUSE_SECONDS = 5.0
WATCH_PATIENCE_SECONDS = 30.0
"""With a server that does not answer, until people are told; it is waited for all the same."""
SUCCEEDED = "succeeded"
ENDED = frozenset({SUCCEEDED, "failed", "canceled"})
TOPIC = "watch:"
GONE_VIDEO = frozenset({"video_not_found", "invalid_request"})
"""What a job's request is answered whose video was deleted since it was sent."""


@dataclass(slots=True)
class _Open:
    """A file whose job has not ended."""

    item: FileItem
    state: FileState
    job: str


def watch_remote(
    options: RemoteOptions,
    settle_seconds: float,
    client: BatchClient,
    wait: Callable[[float], bool],
    console: Console,
) -> int:
    """Take files as they settle, until told to stop; return the exit status.

    Raises:
        FolderLockedError: another run writes to the output folder.
        InvalidRequest: the inputs cannot be used.
        RefusedError: the service refuses us, or the model.
    """
    if find_urls(options.files):
        message = "Addresses in a list cannot be watched; leave --watch out."
        raise InvalidRequest(message)
    folder = OutputFolder(options.output)
    with folder.locked(), contextlib.closing(Ledger(folder.state / "server.jsonl")) as ledger:
        remove_parts(folder)
        find_files(options.files)
        run = _RemoteWatch(options, folder, ledger, client, wait, console)
        try:
            check_model(client, options.request)
        except StoppedError:
            return EXIT_INTERRUPTED
        except AwayError as error:
            run.tell(f"{error} Start the same command again.")
            return EXIT_MACHINE
        return run.watch(settle_seconds)


class _RemoteWatch:
    """One call of the command, its output folder locked."""

    def __init__(
        self,
        options: RemoteOptions,
        folder: OutputFolder,
        ledger: Ledger,
        client: BatchClient,
        wait: Callable[[float], bool],
        console: Console,
    ) -> None:
        self._options = options
        self._folder = folder
        self._ledger = ledger
        self._client = client
        self._wait = wait
        self._console = console
        self._sender = FileSender(client, ledger, options.as_paths, self._on_begin, self._on_sent)
        self._rows: dict[str, Row] = {}
        self._num_done = 0
        self._open: dict[str, _Open] = {}
        self._later: dict[str, float] = {}
        self._looked_at = 0.0
        self._away = False
        self._is_combined = False

    def watch(self, settle_seconds: float) -> int:
        """Go on until told to stop."""
        self._adopt()
        settling = Settling(settle_seconds)
        pause = max(MIN_LOOK_SECONDS, settle_seconds / LOOKS_PER_SETTLING)
        combined_at = -COMBINE_SECONDS
        status = EXIT_ALL_DONE
        while not self._wait(pause):
            try:
                self._round(settling)
                if time.monotonic() - combined_at >= COMBINE_SECONDS and not self._is_combined:
                    self._combine()
                    combined_at = time.monotonic()
            except StoppedError:
                break
            except AwayError as error:
                self._say_away(error)
                if self._wait(AWAY_PAUSE_SECONDS):
                    break
            except DiskFull as error:
                self.tell(f"{error} [{error.code}]")
                status = EXIT_MACHINE
                break
        self._combine()
        status = status or (EXIT_SOME_FAILED if self._rows else EXIT_ALL_DONE)
        self._conclude(status)
        return status

    def tell(self, text: str) -> None:
        """Say something to people."""
        if not self._options.as_json:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _adopt(self) -> None:
        """Take up the jobs of an earlier run that had not ended, whatever became of the files."""
        paths = {item.name: item for item in find_files(self._options.files)}
        for topic in self._ledger.topics(TOPIC):
            known = self._ledger.note(topic)
            name = topic.removeprefix(TOPIC)
            if known and "job" in known and name not in self._open:
                item = paths.get(name) or FileItem(name, self._folder.root / name)
                self._open[name] = _Open(item, FileState(*known["looks"]), known["job"])

    def _round(self, settling: Settling) -> None:
        ready = settling.ready(self._unsettled(), time.monotonic())
        for item in ready:
            if len(self._open) >= MAX_OPEN_JOBS:
                break
            if self._later.get(item.name, 0.0) <= time.monotonic():
                self._submit(item)
        if self._open and time.monotonic() - self._looked_at >= JOB_LOOK_SECONDS:
            for one in list(self._open.values()):
                self._look(one)
            self._looked_at = time.monotonic()
        if self._away:
            self.tell("the server is back")
            self._away = False

    def _unsettled(self) -> list[tuple[FileItem, FileState]]:
        """Return files that are there and have neither an ending nor a job, as they are now."""
        found = []
        for item in find_files(self._options.files):
            if item.name in self._open:
                continue
            with contextlib.suppress(OSError):
                state = FileState.of(item.path)
                if not self._has_ended(item, state):
                    found.append((item, state))
        return found

    def _has_ended(self, item: FileItem, state: FileState) -> bool:
        key = self._key(item, state)
        done = self._ledger.done(item.name)
        if done is not None and done.key == key:
            return result_path(self._folder.videos, item.name).exists()
        failed = self._ledger.failed(item.name)
        if failed is None or failed.key != key:
            return False
        # What failed before this run is tried again once, if asked for.
        again = self._options.retry_failed and item.name not in self._rows
        return not again

    def _key(self, item: FileItem, state: FileState) -> str:
        """Return what makes two requests the same: the file as it is, and what is asked."""
        return json.dumps([state_looks(state), self._request(item)], sort_keys=True)

    def _request(self, item: FileItem) -> dict[str, Any]:
        place = {} if self._options.names is None else place_of(self._options.names, item)
        return {**self._options.request, **place}

    def _submit(self, item: FileItem) -> None:
        """Send a file and make its job."""
        try:
            state = FileState.of(item.path)
        except OSError:
            return  # gone again: the next look sees what is there
        try:
            reference = self._sender.reference(item)
            job = self._job(item, state, reference)
        except NotSentError as error:
            self._fail(item, state, error.code, str(error))
        except RefusedError as error:
            if error.status in NOT_ALLOWED:
                raise
            if error.code in GONE_VIDEO and not self._options.as_paths:
                self._sender.forget(item)
            self._fail(item, state, error.code, str(error))
        else:
            self._open[item.name] = _Open(item, state, job)
            self._say({"event": "job", "file": item.name, "address": job})

    def _job(self, item: FileItem, state: FileState, reference: Mapping[str, str]) -> str:
        topic, looks = TOPIC + item.name, state_looks(state)
        request = {**self._request(item), **reference}
        for _ in range(2):
            known = self._ledger.note(topic) or {}
            if known.get("looks") != looks or known.get("request") != request:
                # Noted before it is used: who is killed in between asks with the same key again.
                known = {"looks": looks, "request": request, "key": secrets.token_hex(16)}
                self._ledger.add_note(topic, known)
            headers = {"Idempotency-Key": f"kinetag-watch-{known['key']}"}
            try:
                answer = self._client.call("POST", "/v1/jobs", headers=headers, document=request)
            except RefusedError as error:
                if error.code != "idempotency_conflict":
                    raise
                self._ledger.add_note(topic, {})  # that job was deleted meanwhile
            else:
                job: str = answer.headers["location"]
                self._ledger.add_note(topic, {**known, "job": job})
                return job
        message = "The server has another request under a fresh key; try again."
        raise AwayError(message)

    def _look(self, one: _Open) -> None:
        """Ask how a job is, and take what it brought."""
        try:
            job = self._client.call("GET", one.job).json()
            if job["status"] not in ENDED:
                return
            if job["status"] == SUCCEEDED:
                answer = self._client.call("GET", f"{one.job}/result")
                self._finish(one, answer.json())
                return
        except RefusedError as error:
            if error.status != NOT_FOUND:
                raise
            # Deleted at the server before we had it: asked for again, if the file is there.
            self._close(one)
            return
        reason = job["error"] or {"code": "canceled", "message": "It was canceled."}
        self._fail(one.item, one.state, reason["code"], reason["message"])

    def _finish(self, one: _Open, native: Mapping[str, Any]) -> None:
        text = json.dumps(native, ensure_ascii=False, allow_nan=False) + "\n"
        write_text_atomic(result_path(self._folder.videos, one.item.name), text)
        num_segments = len(native["segments"])
        key = self._key(one.item, one.state)
        self._ledger.finish(one.item.name, Done(key, len(text.encode()), num_segments))
        self._close(one)
        self._rows.pop(one.item.name, None)
        self._num_done += 1
        self._is_combined = False
        self._say({"event": "end", "file": one.item.name, "num_segments": num_segments})
        self.tell(f"{one.item.name}: {num_segments} segments")

    def _close(self, one: _Open) -> None:
        self._open.pop(one.item.name, None)
        self._ledger.add_note(TOPIC + one.item.name, {})

    def _fail(self, item: FileItem, state: FileState, code: str, message: str) -> None:
        """Note a failure: for good, or to be tried again when something may have changed."""
        final = code in NEVER_PASS or item.name in self._open
        if final:
            failed = Failed(self._key(item, state), code, message, 1, final=True)
            self._ledger.fail(item.name, failed)
        else:
            self._later[item.name] = time.monotonic() + RETRY_SECONDS
        self._open.pop(item.name, None)
        self._ledger.add_note(TOPIC + item.name, {})
        row = Row(item.name, ItemStatus.FAILED, code, message, 1, retryable=not final)
        if self._rows.get(item.name) != row:
            self.tell(f"{item.name}: {message} [{code}]")
            self._say({"event": "failed", "file": item.name, "code": code, "message": message})
        self._rows[item.name] = row
        write_failures(self._folder.failures, self._sorted_rows())

    def _sorted_rows(self) -> list[Row]:
        return [self._rows[name] for name in sorted(self._rows)]

    def _combine(self) -> None:
        timed = self._options.names is not None
        write_combined(self._folder, self._ledger, self._ledger.names_done(), timed=timed)
        write_failures(self._folder.failures, self._sorted_rows())
        self._is_combined = True

    def _conclude(self, status: int) -> None:
        counts = {"succeeded": self._num_done, "failed": len(self._rows), "open": len(self._open)}
        self._say({"event": "finished", **counts, "exit_status": status})
        under_way = f", {len(self._open)} under way at the server" if self._open else ""
        self.tell(f"{self._num_done} done, {len(self._rows)} failed{under_way}")

    def _say_away(self, error: AwayError) -> None:
        if not self._away:
            self.tell(f"{error} It is waited for.")
        self._away = True

    def _on_begin(self, item: FileItem) -> None:
        self.tell(f"sending {item.name}")

    def _on_sent(self, item: FileItem, video_id: str) -> None:
        self._say({"event": "sent", "file": item.name, "video_id": video_id})

    def _say(self, document: Mapping[str, Any]) -> None:
        if self._options.as_json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()
