"""Starting and ending the decode child: descriptors, sealed memory, exec. Standard library only."""

import contextlib
import fcntl
import mmap
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from models.decode_protocol import BATCH_BYTES, BYTES_PER_PIXEL, DecodeLimits

# The child runs isolated (-I): no environment, no working directory on its path, no site of ours.
BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv[1]); from models.decode_child import main; main()"
)


@dataclass(slots=True)
class DecodeChild:
    """The process, our end of its channel and the memory it writes pictures into."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    shared: mmap.mmap

    def end(self) -> int:
        """Kill the process if it still runs, free everything, return its exit status."""
        self.channel.close()
        try:
            status = self.process.wait(timeout=0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with contextlib.suppress(BufferError):
            self.shared.close()
        return status


def _create_shared_memory(size_bytes: int) -> int:
    """Return a descriptor of anonymous memory that the child cannot shrink under us."""
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            os.truncate(file.fileno(), size_bytes)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.truncate(descriptor, size_bytes)
    fcntl.fcntl(
        descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    )
    return descriptor


def start_child(video: int, limits: DecodeLimits) -> DecodeChild:
    """Start the decode child over an open descriptor."""
    ours, theirs = socket.socketpair()
    with theirs:
        shared = _create_shared_memory(max(BATCH_BYTES, limits.max_pixels * BYTES_PER_PIXEL))
        try:
            memory = mmap.mmap(shared, 0)
            process = subprocess.Popen(  # noqa: S603 - fixed words and numbers only
                [
                    sys.executable, "-I", "-B", "-c", BOOTSTRAP,
                    str(Path(__file__).resolve().parent.parent),
                    str(theirs.fileno()), str(video), str(shared), str(os.getpid()),
                ],
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), video, shared),
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
        finally:
            os.close(shared)
    return DecodeChild(process, ours, memory)
