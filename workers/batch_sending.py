"""Makes files into videos of a service, each once: what was sent is remembered by its looks."""

from collections.abc import Callable
from dataclasses import dataclass

from service.errors import FileChanged, FileMissing, FileUnreadable
from workers.batch_client import BatchClient, RefusedError
from workers.batch_files import FileItem, FileState
from workers.batch_ledger import Ledger

NOT_ALLOWED = frozenset({401, 403})
NOT_FOUND = 404


class NotSentError(Exception):
    """A file cannot be sent; ``code`` and the message say why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class FileSender:
    """Sends files, or names them to a service that sees the same folders.

    Attributes:
        as_paths: whether files are named by their path instead.
        on_begin: told of a file before its bytes are sent.
        on_sent: told of a file and its video.
    """

    client: BatchClient
    ledger: Ledger
    as_paths: bool
    on_begin: Callable[[FileItem], None]
    on_sent: Callable[[FileItem, str], None]

    def reference(self, item: FileItem, *, look: bool = False) -> dict[str, str]:
        """Return what names a file's video in a request.

        Args:
            item: the file.
            look: whether to make sure that a video sent before is still there.

        Raises:
            NotSentError: the file cannot be sent.
            RefusedError: the service takes nothing from us.
            AwayError: the service is away.
            StoppedError: told to stop.
        """
        return self._path(item) if self.as_paths else self._sent(item, look=look)

    def forget(self, item: FileItem) -> None:
        """Have a file sent anew the next time."""
        self.ledger.add_note(_topic(item), {})

    def _path(self, item: FileItem) -> dict[str, str]:
        text = str(item.path.absolute())
        try:
            text.encode()
        except UnicodeEncodeError:
            message = "The file's name is no UTF-8; rename it, or leave out --as-paths."
            raise NotSentError(FileUnreadable.code, message) from None
        return {"path": text}

    def _sent(self, item: FileItem, *, look: bool) -> dict[str, str]:
        try:
            before = FileState.of(item.path)
            video_id = self._video(item, before, look=look)
            if FileState.of(item.path) != before:
                message = "The file changed while it was sent; the next run sends it anew."
                raise FileChanged(message)
        except FileNotFoundError as error:
            message = "The file is not there any more."
            raise NotSentError(FileMissing.code, message) from error
        except FileChanged as error:
            raise NotSentError(error.code, str(error)) from error
        except OSError as error:
            message = f"The file cannot be read: {error.strerror or error}."
            raise NotSentError(FileUnreadable.code, message) from error
        except RefusedError as error:
            if error.status in NOT_ALLOWED:
                raise
            raise NotSentError(error.code, str(error)) from error
        return {"video_id": video_id}

    def _video(self, item: FileItem, state: FileState, *, look: bool) -> str:
        topic = _topic(item)
        looks = state_looks(state)
        known = self.ledger.note(topic) or {}
        if known.get("looks") != looks:
            known = {}
        video_id = known.get("video_id")
        if video_id is not None and (not look or self._is_there(video_id)):
            return str(video_id)

        def on_begin(location: str) -> None:
            self.ledger.add_note(topic, {"looks": looks, "upload": location})

        self.on_begin(item)
        sent = self.client.upload(item.path, item.path.name, known.get("upload"), on_begin)
        self.ledger.add_note(topic, {"looks": looks, "video_id": sent})
        self.on_sent(item, sent)
        return sent

    def _is_there(self, video_id: str) -> bool:
        try:
            self.client.call("GET", f"/v1/videos/{video_id}")
        except RefusedError as error:
            if error.status == NOT_FOUND:
                return False
            raise
        return True


def state_looks(state: FileState) -> list[int]:
    """Return what tells a file from a later one, as the ledger remembers it."""
    return [state.size_bytes, state.mtime_ns, state.inode]


def _topic(item: FileItem) -> str:
    return f"file:{item.name}"
