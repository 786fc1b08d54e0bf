"""What the doctor says of a deployment: its broker and its data folder; nothing is started."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.doctor.problems import Problem
from models.doctor.wording import Line
from service.settings import Settings
from workers.broker import BrokerServer, find_servers

SERVER_SECONDS = 5.0
CONNECT_SECONDS = 2.0
GIB = 1024**3
DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "valkey": 6379, "valkeys": 6379}
# SQLite's locks and shared memory do not hold on these. Source: sqlite.org, "Write-Ahead Logging".
REMOTE_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3", "smbfs"}
)
MOUNTS = Path("/proc/self/mounts")

Document = dict[str, Any]


def examine_broker(settings: Settings) -> Document:
    """Say which broker a deployment would use.

    Returns:
        ``kind`` (configured, valkey, system, none), ``program``, ``version``, ``host``,
        ``reachable``; None where it does not apply.
    """
    found: Document = {
        "kind": "none", "program": None, "version": None, "host": None, "reachable": None,
    }  # fmt: skip
    if settings.broker_url is not None:
        return {**found, "kind": "configured", **_reach(settings.broker_url.get_secret_value())}
    for server in find_servers("auto"):
        answer = _server_version(server)
        if answer is not None:
            program = str(server.program)
            return {**found, "kind": server.kind, "program": program, "version": answer}
    return found


def examine_data_folder(settings: Settings) -> Document:
    """Say whether the data folder can be used and how much space it has.

    Returns:
        ``path``, ``exists``, ``writable``, ``free_bytes``, ``floor_bytes`` (uploads are refused
        below it), ``one_file_system`` (of the folder and all below it), ``file_system`` (its type).
    """
    path = settings.data_dir
    nearest = next(one for one in (path, *path.parents) if one.exists())
    try:
        free = shutil.disk_usage(nearest).free
    except OSError:
        free = None
    return {
        "path": str(path),
        "exists": path.is_dir(),
        "writable": _writable(path) if path.is_dir() else os.access(nearest, os.W_OK | os.X_OK),
        "free_bytes": free,
        "floor_bytes": _floor(settings, nearest),
        "one_file_system": _one_file_system(path),
        "file_system": file_system_type(nearest, _mounts()),
        "holds_database": settings.database_url is None,
    }


def _floor(settings: Settings, folder: Path) -> int | None:
    # Imported here because it loads the database layer, which takes as long as the probes.
    from service.storage import free_floor_bytes

    try:
        return free_floor_bytes(settings.model_copy(update={"data_dir": folder}))
    except OSError:
        return None


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _one_file_system(folder: Path) -> bool | None:
    """Whether what lies directly below is on the folder's own file system; None without folder."""
    try:
        own = folder.stat().st_dev
        return all(one.stat().st_dev == own for one in folder.iterdir())
    except OSError:
        return None


def _mounts() -> str:
    try:
        return MOUNTS.read_text()
    except OSError:
        return ""


def file_system_type(path: Path, mounts: str) -> str | None:
    """Return the type of the file system that holds a path, from the text of /proc/self/mounts."""
    best: tuple[int, str | None] = (-1, None)
    for line in mounts.splitlines():
        words = line.split()
        if len(words) < len(("device", "folder", "type")):
            continue
        # Source: proc_pid_mounts(5): blanks in names are written in octal.
        folder = Path(words[1].replace("\\040", " "))
        if path.resolve().is_relative_to(folder):
            best = max(best, (len(folder.parts), words[2]), key=lambda one: one[0])
    return best[1]


def _server_version(server: BrokerServer) -> str | None:
    """Return what a server program says of itself; None where it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - the program that `kinetag up` would start
            [server.program, "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=SERVER_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    words = dict(word.split("=", 1) for word in answer.stdout.split() if "=" in word)
    return words.get("v", answer.stdout.strip()[:40])


def _reach(url: str) -> Document:
    """Try to connect, without a word of the protocol; the address is told without its password."""
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if parts.hostname is None or port is None:
        return {"host": None, "reachable": None}
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return {"host": f"{parts.hostname}:{port}", "reachable": False}
    return {"host": f"{parts.hostname}:{port}", "reachable": True}


def deployment_problems(document: Document) -> list[Problem]:
    """Return the problems of a document's ``broker`` and ``data_folder``."""
    return [*_broker_problems(document["broker"]), *_folder_problems(document["data_folder"])]


def _broker_problems(broker: Document) -> Iterator[Problem]:
    if broker["reachable"] is False:
        message = (
            f"The broker at {broker['host']} does not answer; start it, or unset "
            "KINETAG_BROKER_URL (until then workers ask the database, which only takes longer)."
        )
        yield Problem("broker_unreachable", "warning", message)


def _folder_problems(folder: Document) -> Iterator[Problem]:
    path, free, floor = folder["path"], folder["free_bytes"], folder["floor_bytes"]
    if not folder["writable"]:
        message = (
            f"The data folder {path} cannot be written; give this user the right to, or set "
            "KINETAG_DATA_DIR to another one."
        )
        yield Problem("data_folder_unwritable", "error", message)
    if free is not None and floor is not None and free < floor:
        message = (
            f"The disk of {path} has {free / GIB:.1f} GiB left and uploads are refused below "
            f"{floor / GIB:.1f} GiB; free some space."
        )
        yield Problem("disk_low", "warning", message)
    if folder["one_file_system"] is False:
        message = (
            f"Parts of the data folder {path} lie on other file systems, so that finished files "
            "must be copied; keep it on one."
        )
        yield Problem("data_folder_split", "warning", message)
    if folder["holds_database"] and folder["file_system"] in REMOTE_FILE_SYSTEMS:
        message = (
            f"The data folder {path} with its SQLite database lies on {folder['file_system']}, "
            "where locks cannot be trusted; use a local disk or KINETAG_DATABASE_URL."
        )
        yield Problem("data_folder_remote", "warning", message)


def deployment_lines(document: Document) -> Iterator[Line]:
    """Yield (topic, sentence) of a document's ``broker`` and ``data_folder``."""
    broker, folder = document["broker"], document["data_folder"]
    names = {"valkey": "bundled Valkey", "system": "the system's server"}
    if broker["kind"] == "configured":
        answers = {True: "answers", False: "does not answer", None: "was not tried"}
        yield "broker", f"configured: {broker['host'] or 'a server'} {answers[broker['reachable']]}"
    elif broker["kind"] == "none":
        yield "broker", "none: workers ask the database, which costs up to a second per job"
    else:
        yield "broker", f"{names[broker['kind']]} {broker['version']}"
    state = "" if folder["exists"] else ", made on first use"
    state += ", writable" if folder["writable"] else ", not writable"
    if folder["free_bytes"] is not None:
        state += f", {folder['free_bytes'] / GIB:.0f} GiB free"
    if folder["one_file_system"] is False:
        state += ", on several file systems"
    yield "data folder", f"{folder['path']}{state}"
