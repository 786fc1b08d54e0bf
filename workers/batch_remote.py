"""`kinetag batch --server`: the same files over REST. Uploads, one batch, combined results.

The output folder remembers which file became which video and under which key the batch was asked
for; a run that was killed finds both again, and the service makes nothing twice.
"""

import contextlib
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from models.atomic import write_text_atomic
from models.errors import InputError, PipelineError
from service.batches.combining import CombinedFormat
from workers.batch_client import AwayError, BatchClient, RefusedError
from workers.batch_files import (
    FileChoice,
    FileItem,
    find_files,
    find_urls,
    result_path,
)
from workers.batch_ledger import Ledger
from workers.batch_local import (
    EXIT_ALL_DONE,
    EXIT_INTERRUPTED,
    EXIT_MACHINE,
    EXIT_SOME_FAILED,
)
from workers.batch_output import OutputFolder, remove_parts
from workers.batch_places import NamePattern
from workers.batch_report import duration_for_people, show_failures, write_failures
from workers.batch_run import ItemStatus, Row, StoppedError
from workers.batch_sending import FileSender, NotSentError

LOOK_SECONDS = 2.0
SAY_SECONDS = 10.0
PAGE_SIZE = "1000"
MAX_SENT_NAME_CHARACTERS = 1000
ENDED = frozenset({"finished", "failed", "canceled"})


def _codes(kind: type[PipelineError]) -> set[str]:
    return {kind.code}.union(*map(_codes, kind.__subclasses__()))


NEVER_PASS = frozenset(_codes(InputError))
"""What a file itself is to blame for; the same bytes fail again."""


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """What the command line asks of a run over REST.

    Attributes:
        as_paths: files are named by their path, for a service that sees the same folders.
        request: of the batch: model, options, tag, queue.
        retry_failed: whether what failed in the batch before is tried again.
        names: say camera and moment of the files; None where they say nothing.
    """

    files: FileChoice
    output: Path
    request: Mapping[str, Any] = field(default_factory=dict)
    as_paths: bool = False
    retry_failed: bool = False
    as_json: bool = False
    names: NamePattern | None = None


def run_remote(
    options: RemoteOptions, client: BatchClient, wait: Callable[[float], bool], console: Console
) -> int:
    """Bring every file to an ending by way of a service; return the exit status.

    Raises:
        FolderLockedError: another run writes to the output folder.
        InvalidRequest: the inputs cannot be used.
        RefusedError: the service refuses the batch itself.
    """
    folder = OutputFolder(options.output)
    with folder.locked(), contextlib.closing(Ledger(folder.state / "server.jsonl")) as ledger:
        remove_parts(folder)
        job = _RemoteBatch(options, folder, ledger, client, wait, console)
        try:
            return job.run()
        except StoppedError:
            job.tell("stopped; the batch goes on at the server, and the same command finds it")
            return EXIT_INTERRUPTED
        except AwayError as error:
            job.tell(f"{error} The same command goes on from here.")
            return EXIT_MACHINE


def check_model(client: BatchClient, request: Mapping[str, Any]) -> None:
    """Refuse a model that is not there before hours are spent on uploads.

    Raises:
        RefusedError: the service does not have it.
    """
    wanted = request.get("model", "")
    models = client.call("GET", "/v1/models").json()["models"]
    known = {one[key] for one in models for key in ("id", "name")}
    if wanted and wanted.partition(":")[0] not in known:
        message = f"The server has no model {wanted}; it has {', '.join(sorted(known))}."
        raise RefusedError(422, "model_unknown", message)


def place_of(names: NamePattern, item: FileItem) -> dict[str, str]:
    """Return the fields of a job that a file's name gives."""
    return names.place(item.path).to_json()


class _RemoteBatch:
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
        self._rows: list[Row] = []
        self._names: dict[str, str] = {}
        self._count = ""
        self._sender = FileSender(client, ledger, options.as_paths, self._on_begin, self._on_sent)

    def run(self) -> int:
        """Send, follow, fetch."""
        check_model(self._client, self._options.request)
        summary: Mapping[str, Any] = {"status": "finished", "counts": {}}
        here = self._sent_batch()
        if here is not None:
            summary = self._follow(here)
            if self._options.retry_failed and summary["links"]["retry"] is not None:
                self._client.call("POST", f"{here}/retry")
                summary = self._follow(here)
            self._fetch(here)
        write_failures(self._folder.failures, self._rows)
        status = EXIT_SOME_FAILED if self._rows else EXIT_ALL_DONE
        if summary["status"] != "finished":
            status = EXIT_SOME_FAILED
        self._conclude(summary, status)
        return status

    def tell(self, text: str) -> None:
        """Say something to people."""
        if not self._options.as_json:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _sent_batch(self) -> str | None:
        """Send the files and make the batch; None where there is nothing to make it of."""
        items = self._references()
        try:
            return self._batch(items) if items else None
        except RefusedError as error:
            if error.code != "invalid_request" or self._options.as_paths:
                raise
            # A video that was sent before may have been deleted since.
            self._rows.clear()
            items = self._references(look=True)
            return self._batch(items)

    def _references(self, *, look: bool = False) -> list[dict[str, Any]]:
        """Return the items of the batch, files uploaded where they are to be.

        Args:
            look: whether to make sure that videos sent before are still there.
        """
        files = find_files(self._options.files)
        items = []
        for number, item in enumerate(files, start=1):
            self._count = f"[{number}/{len(files)}]"
            try:
                reference = self._sender.reference(item, look=look)
            except NotSentError as error:
                self._fail(item.name, error.code, str(error))
            else:
                place = {} if self._options.names is None else place_of(self._options.names, item)
                items.append({"name": self._sent_name(item.name), **reference, **place})
        for name, url in find_urls(self._options.files):
            items.append({"name": self._sent_name(name), "url": url})
        return items

    def _sent_name(self, name: str) -> str:
        sent = name
        if len(name) > MAX_SENT_NAME_CHARACTERS:
            sent = hashlib.sha256(name.encode()).hexdigest()
        self._names[sent] = name
        return sent

    def _on_begin(self, item: FileItem) -> None:
        self.tell(f"{self._count} sending {item.name}")

    def _on_sent(self, item: FileItem, video_id: str) -> None:
        self._say({"event": "sent", "file": item.name, "video_id": video_id})

    def _batch(self, items: Sequence[Mapping[str, Any]]) -> str:
        """Return the address of the batch: the one made before for the same, or a new one."""
        request = {**self._options.request, "items": list(items)}
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        known = self._ledger.note("batch")
        for _ in range(2):
            if known is None or known["digest"] != digest:
                # Noted before it is used: who is killed in between asks with the same key again.
                known = {"digest": digest, "key": f"kinetag-batch-{secrets.token_hex(16)}"}
                self._ledger.add_note("batch", known)
            try:
                answer = self._client.call(
                    "POST",
                    "/v1/batches",
                    headers={"Idempotency-Key": known["key"]},
                    document=request,
                )
            except RefusedError as error:
                if error.code != "idempotency_conflict":
                    raise
                known = None  # that batch was deleted meanwhile
            else:
                here: str = answer.headers["location"]
                self.tell(f"{len(items)} items in {here}")
                self._say({"event": "batch", "address": here})
                return here
        message = "The server has another request under a fresh key; try again."
        raise AwayError(message)

    def _follow(self, here: str) -> Mapping[str, Any]:
        """Look at a batch until it has ended; return it."""
        said_at = -SAY_SECONDS
        while True:
            batch: dict[str, Any] = self._client.call("GET", here).json()
            ended = batch["status"] in ENDED
            if ended or time.monotonic() - said_at >= SAY_SECONDS:
                said_at = time.monotonic()
                self._show(batch)
            if ended:
                return batch
            if self._wait(LOOK_SECONDS):
                raise StoppedError

    def _show(self, batch: Mapping[str, Any]) -> None:
        counts = batch["counts"]
        self._say(
            {
                "event": "progress",
                "status": batch["status"],
                "fraction": batch["progress"],
                "eta_seconds": batch["eta_seconds"],
                **counts,
            }
        )
        done = counts["succeeded"] + counts["failed"] + counts["canceled"]
        left = duration_for_people(batch["eta_seconds"])
        self.tell(
            f"{batch['status']}: {done}/{batch['num_items']} ended, {counts['failed']} failed, "
            f"{batch['progress']:.0%}; {left} left"
        )

    def _fetch(self, here: str) -> None:
        """Fetch what is there: results, files over all of them, reasons of failures."""
        parameters = {"format": CombinedFormat.NATIVE.value}
        for line in self._client.lines(f"{here}/result", parameters):
            if line:
                document = json.loads(line)
                name = self._names.get(document["name"], document["name"])
                text = json.dumps(document["result"], ensure_ascii=False, allow_nan=False) + "\n"
                target = result_path(self._folder.videos, name)
                if not _holds(target, text):
                    write_text_atomic(target, text)
        for kind, path in self._folder.combined.items():
            self._client.download(f"{here}/result", {"format": kind.value}, path)
        for status in ("failed", "canceled"):
            self._fetch_failures(here, status)
        self._rows.sort(key=lambda row: row.name)

    def _fetch_failures(self, here: str, status: str) -> None:
        parameters = {"status": status, "page_size": PAGE_SIZE}
        while True:
            page = self._client.call("GET", f"{here}/items", parameters=parameters).json()
            for item in page["items"]:
                error = item["error"] or {"code": "canceled", "message": "It was canceled."}
                name = self._names.get(item["name"], item["name"])
                self._fail(name, error["code"], error["message"], item["attempts"])
            if page["next_page_token"] is None:
                return
            parameters = {**parameters, "page_token": page["next_page_token"]}

    def _fail(self, name: str, code: str, message: str, attempts: int = 1) -> None:
        retryable = code not in NEVER_PASS
        self._rows.append(Row(name, ItemStatus.FAILED, code, message, attempts, retryable))

    def _conclude(self, batch: Mapping[str, Any], status: int) -> None:
        done = batch["counts"].get("succeeded", 0)
        self._say(
            {
                "event": "finished",
                "succeeded": done,
                "failed": len(self._rows),
                "exit_status": status,
            }
        )
        if self._rows and not self._options.as_json:
            show_failures(self._rows, self._folder.failures, self._console)
        if batch.get("error"):
            self.tell(f"{batch['error']['message']} [{batch['error']['code']}]")
        self.tell(f"{done} done, {len(self._rows)} failed")

    def _say(self, document: Mapping[str, Any]) -> None:
        if self._options.as_json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text("utf-8") == text
    except OSError:
        return False
