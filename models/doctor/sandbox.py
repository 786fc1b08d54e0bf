"""Probe of the decode child's sandbox: starts a real one and reads what the kernel says of it."""

import ctypes
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.decode_process import DecodeChild, start_child
from models.decode_protocol import DecodeLimits, receive_message, send_message
from models.doctor.processes import STEP_KEY

Facts = dict[str, Any]
ANSWER_SECONDS = 20.0
# Source: linux/landlock.h and the system call tables: one number on every architecture.
SYS_LANDLOCK_CREATE_RULESET = 444
LANDLOCK_CREATE_RULESET_VERSION = 1
CLONE_NEWUSER = 0x10000000  # Source: linux/sched.h
# Rows of /proc/PID/limits and what we call them.
LIMIT_ROWS = {
    "Max address space": "memory_bytes",
    "Max cpu time": "cpu_seconds",
    "Max open files": "open_files",
    "Max file size": "file_bytes",
    "Max core file size": "core_bytes",
}


def probe_sandbox(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    """Report limits and privileges of a living decode child, then what the system would offer."""
    del arguments
    yield {STEP_KEY: "the decode child"}
    yield _examine_child()
    yield {STEP_KEY: "landlock"}
    # Whether the child restricts itself by Landlock cannot be read from outside; it does not yet.
    yield {"landlock_abi": landlock_abi(), "landlock_used": False}
    yield {STEP_KEY: "user namespaces"}
    # Last, because it changes this very process.
    yield {"user_namespaces": user_namespaces(), "user_namespaces_used": False}


def _examine_child() -> Facts:
    """Start the child over a file that is no video: limits bind before the file is looked at."""
    limits = DecodeLimits()
    with tempfile.TemporaryFile() as file:
        file.write(b"no video")
        file.flush()
        child = start_child(file.fileno(), limits)
    try:
        question = {"ask": "open", "fps": 25.0, "short_side_px": None, "limits": asdict(limits)}
        child.channel.settimeout(ANSWER_SECONDS)
        send_message(child.channel, question)
        while "beat" in (answer := receive_message(child.channel)):
            pass
        return {"decode_child": "error" in answer, **_kernel_facts(child)}
    finally:
        child.end()


def _kernel_facts(child: DecodeChild) -> Facts:
    folder = Path("/proc", str(child.process.pid))
    return {
        "limits": parse_limits(_read(folder / "limits")),
        **parse_status(_read(folder / "status")),
    }


def parse_limits(text: str) -> dict[str, int | None]:
    """Return the hard limits of /proc/PID/limits; None is unlimited, an absent row unknown."""
    found: dict[str, int | None] = {}
    for line in text.splitlines():
        for row, name in LIMIT_ROWS.items():
            if line.startswith(row):
                hard = line[len(row) :].split()[1]
                found[name] = int(hard) if hard.isdigit() else None
    return found


def parse_status(text: str) -> dict[str, bool | None]:
    """Return what /proc/PID/status says of privileges; None where it says nothing."""
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    names = {"NoNewPrivs": "no_new_privs", "Seccomp": "seccomp"}
    return {
        name: (rows[row].strip() != "0" if row in rows else None) for row, name in names.items()
    }


def landlock_abi() -> int | None:
    """Return the version of Landlock the kernel offers; None where it offers none."""
    if sys.platform != "linux":
        return None
    version = ctypes.CDLL(None, use_errno=True).syscall(
        ctypes.c_long(SYS_LANDLOCK_CREATE_RULESET),
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(LANDLOCK_CREATE_RULESET_VERSION),
    )
    return int(version) if version > 0 else None


def user_namespaces() -> bool | None:
    """Try to enter a user namespace; None where the system has no such thing."""
    if sys.platform != "linux":
        return None
    return bool(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) == 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
