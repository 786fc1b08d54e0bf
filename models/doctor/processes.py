"""Asks probes in child processes, so that a crash or a hang becomes a finding.

A child writes one JSON object per line on a channel of its own; what it wrote before it died or
ran out of time counts.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from models.errors import ContractViolation

# -P keeps the working directory off the path: a folder named "models" there must not be ours.
BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from models.doctor.child import main; main()"
)
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
STEP_KEY = "step"
FAILURE_KEY = "failure"
MAX_SENTENCE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What became of one probe.

    Attributes:
        facts: everything it found, also what it found before it failed.
        failure: why it did not end well, as part of a sentence; None where it did.
        step: what it was at when it failed.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None
    step: str = ""


class ProbeProcess:
    """One probe under way.

    Args:
        name: one of `models.doctor.child.PROBES`.
        arguments: given to the probe; JSON values.
        command: takes the place of our own child, in tests.
    """

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by outcome
        chosen = command or (sys.executable, "-P", "-c", BOOTSTRAP, str(PACKAGE_PARENT))
        self._failure: str | None = None
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603 - ours
                [*chosen, name, json.dumps(dict(arguments or {}))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._process = None
            self._failure = f"its process could not be started ({error.strerror})"

    def outcome(self, timeout_seconds: float) -> ProbeOutcome:
        """Wait, at most so long, and return what was found; ends the child in any case."""
        with self._errors:
            if self._process is None:
                return ProbeOutcome(failure=self._failure)
            try:
                output, _ = self._process.communicate(timeout=timeout_seconds)
                failure = _explain(self._process.returncode, self._last_words())
            except subprocess.TimeoutExpired:
                self._process.kill()
                output, _ = self._process.communicate()
                failure = f"it did not answer within {timeout_seconds:g} s"
            except BaseException:
                self._process.kill()
                self._process.communicate()
                raise
        return _read(output, failure)

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _explain(status: int, last_words: str) -> str | None:
    if status == 0:
        return None
    if status < 0:
        try:
            return f"it crashed ({signal.Signals(-status).name})"
        except ValueError:
            return f"it crashed (signal {-status})"
    return _shortened(last_words) or f"it ended with status {status}"


def _read(output: bytes, failure: str | None) -> ProbeOutcome:
    """Join the child's lines; the last line of a child that was killed may be cut."""
    facts: dict[str, Any] = {}
    step = ""
    for line in output.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if not isinstance(document, dict):
            message = f"a probe wrote {line[:80]!r}, which is no object"
            raise ContractViolation(message)
        step = str(document.pop(STEP_KEY, step))
        if FAILURE_KEY in document:
            failure = _shortened(str(document.pop(FAILURE_KEY)))
        facts.update(document)
    return ProbeOutcome(facts, failure, step if failure is not None else "")


def _shortened(text: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= MAX_SENTENCE_LENGTH else plain[: MAX_SENTENCE_LENGTH - 1] + "…"
