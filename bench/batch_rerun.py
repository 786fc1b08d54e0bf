"""What `kinetag batch` costs where everything is done: `python -m bench.batch_rerun [--files N]`.

Lays out an archive and the output folder as a finished run leaves it, then runs again: the folder
is walked, every file looked at and none read. No model is loaded.
"""

import argparse
import contextlib
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console

from models.types import ProgressCallback, StopCallback
from workers.batch_files import FileChoice, FileItem, FileState
from workers.batch_ledger import Done, Ledger
from workers.batch_local import LocalOptions, run_local
from workers.batch_output import OutputFolder
from workers.batch_run import BatchRun

FILES_PER_FOLDER = 1000
OLD_SECONDS = 1_700_000_000
RESULT = (
    '{"video":{"name":"x.mp4","sha256":""},"model":"m@1","recipe":"r","segments":'
    '[{"label":"a","score":0.5,"start":0.0,"end":1.0}]}\n'
)


class _Idle:
    """An engine that must never be asked for anything."""

    model, recipe = "m@1", "r"
    options: Mapping[str, Any] = {}

    def localize(
        self, path: Path, _sha256: str, _on_progress: ProgressCallback, _should_stop: StopCallback
    ) -> dict[str, Any]:
        """See `BatchEngine`."""
        raise AssertionError(path)

    def rename(self, _native: dict[str, Any], path: Path) -> dict[str, Any]:
        """See `BatchEngine`."""
        raise AssertionError(path)

    def forget(self, _sha256: str) -> None:
        """See `BatchEngine`."""

    def settle(self, _sha256: str) -> None:
        """See `BatchEngine`."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _lay_out(root, count)
        for what in ("files over all results written", "all as it should be"):
            began = time.perf_counter()
            status = _run(root)
            seconds = time.perf_counter() - began
            print(f"{count} files, {what}: {seconds:.2f} s, exit status {status}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the process: {peak_mib:.0f} MiB")


def _lay_out(root: Path, count: int) -> None:
    out = OutputFolder(root / "out")
    run_key = BatchRun(out.videos, _Idle(), Ledger(root / "unused"), wait=lambda _: False).key
    ledger = Ledger(out.ledger)
    with contextlib.closing(ledger), patch("os.fsync"):
        for index in range(count):
            name = f"cam{index // FILES_PER_FOLDER:04}/{index:07}.mp4"
            video, result = root / "in" / name, out.videos / f"{name}.json"
            for path, text in ((video, f"{index}"), (result, RESULT)):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            os.utime(video, (OLD_SECONDS, OLD_SECONDS))
            sha256 = hashlib.sha256(f"{index}".encode()).hexdigest()
            ledger.add_hash(name, FileState.of(video), sha256)
            ledger.finish(name, Done(run_key(FileItem(name, video), sha256), len(RESULT), 1))


def _run(root: Path) -> int:
    choice = FileChoice((str(root / "in"),))
    options = LocalOptions(choice, root / "out")
    console = Console(quiet=True, force_terminal=True)
    reading = AssertionError("a file was read")
    with patch("workers.batch_run.hash_file", side_effect=reading):
        return run_local(options, lambda _folder: _Idle(), lambda _seconds: False, console)


if __name__ == "__main__":
    main()
