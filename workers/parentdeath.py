"""Ties a process's life to its parent's: no orphan outlives a killed supervisor.

Run as a script, it asks the kernel for SIGKILL at the parent's death and then becomes the
command given, so that programs that know nothing of it (a database server) are tied too.
Standard library only: it must start in a few milliseconds, isolated from the environment.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Source: prctl(2); the setting survives execve, not fork."""

ORPHANED_STATUS = 79
USAGE_STATUS = 64


def die_with_parent(parent_pid: int) -> None:
    """Ask for SIGKILL when the parent's spawning thread ends; a no-op outside Linux.

    Args:
        parent_pid: who is expected to be the parent; if it died before the request, this exits.

    Raises:
        OSError: the kernel refused the request.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(ORPHANED_STATUS)


def tied_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command line that runs ``command`` tied to the calling process.

    The caller must spawn it from its main thread: the kernel watches the spawning thread.
    """
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *command)


def main(arguments: list[str]) -> None:
    """Become ``arguments[1:]``, tied to the process ``arguments[0]``."""
    if not arguments[1:]:
        sys.exit(USAGE_STATUS)
    die_with_parent(int(arguments[0]))
    os.execvp(arguments[1], arguments[1:])  # noqa: S606 - the command is our own supervisor's


if __name__ == "__main__":
    main(sys.argv[1:])
