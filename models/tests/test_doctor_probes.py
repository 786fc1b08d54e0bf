"""Probes in children: crashes, hangs and noise become findings; real probes answer."""

import sys
import textwrap
import time

import pytest

from models.doctor import sandbox
from models.doctor.processes import ProbeProcess


def fake(script: str, seconds: float = 20.0):
    command = (sys.executable, "-c", textwrap.dedent(script))
    return ProbeProcess("torch", {"folders": []}, command=command).outcome(seconds)


def test_what_a_child_found_before_it_crashed_counts():
    outcome = fake(
        """
        import json, os, signal
        print(json.dumps({"torch": "9.9"}), flush=True)
        print(json.dumps({"step": "the GPU"}), flush=True)
        os.kill(os.getpid(), signal.SIGILL)
        """
    )
    assert outcome.facts == {"torch": "9.9"}
    assert outcome.failure == "it crashed (SIGILL)"
    assert outcome.step == "the GPU"


def test_a_hanging_child_is_ended_in_time():
    started = time.monotonic()
    outcome = fake(
        """
        import json, time
        print(json.dumps({"torch": "9.9"}), flush=True)
        time.sleep(60)
        """,
        seconds=1.0,
    )
    assert time.monotonic() - started < 10
    assert outcome.facts == {"torch": "9.9"}
    assert outcome.failure == "it did not answer within 1 s"


def test_a_broken_import_is_one_short_line():
    outcome = fake("raise ImportError('libcudart.so.13: cannot open ' + 'x' * 1000)")
    assert outcome.failure.startswith("ImportError: libcudart.so.13: cannot open")
    assert len(outcome.failure) <= 300
    assert "\n" not in outcome.failure


def test_a_program_that_does_not_exist():
    outcome = ProbeProcess("torch", command=("/nonexistent/python",)).outcome(5)
    assert outcome.facts == {}
    assert "could not be started" in str(outcome.failure)


def test_noise_and_a_line_cut_short_do_no_harm():
    outcome = fake(
        """
        import sys
        sys.stdout.write('warming up\\n{"torch": "9.9"}\\n{"gpu": {"dev')
        """
    )
    assert outcome.facts == {"torch": "9.9"}
    assert outcome.failure is None


@pytest.mark.parametrize("name", ["media", "flow", "sandbox"])
def test_real_probes_answer(name):
    outcome = ProbeProcess(name).outcome(60)
    assert outcome.failure is None
    expected = {
        "media": {"opencv", "pyav", "ffmpeg", "ffmpeg_libraries"},
        "flow": {"implementation", "version", "targets", "works"},
        "sandbox": {
            "decode_child", "limits", "no_new_privs", "seccomp", "landlock_abi", "landlock_used",
            "user_namespaces", "user_namespaces_used",
        },
    }  # fmt: skip
    assert set(outcome.facts) == expected[name]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines the child")
def test_the_sandbox_is_the_one_decoding_has():
    from models.decode_protocol import DecodeLimits

    facts = ProbeProcess("sandbox").outcome(60).facts
    limits = DecodeLimits()
    assert facts["decode_child"] is True
    assert facts["no_new_privs"] is True
    assert facts["limits"]["memory_bytes"] == limits.memory_bytes
    assert facts["limits"]["open_files"] == limits.max_open_files
    assert facts["limits"]["file_bytes"] == 0
    assert facts["landlock_used"] is False


def test_an_exception_inside_a_probe_is_a_finding_with_its_step():
    # Without its argument the probe of torch fails after torch has loaded.
    outcome = ProbeProcess("torch", {}).outcome(120)
    assert outcome.facts["torch"]
    assert outcome.failure == "KeyError: 'folders'"
    assert outcome.step == "models"


def test_limits_of_the_kernel_are_parsed():
    text = (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              300                  2610300              seconds   \n"
        "Max file size             0                    0                    bytes     \n"
        "Max address space         unlimited            unlimited            bytes     \n"
    )
    assert sandbox.parse_limits(text) == {
        "cpu_seconds": 2610300,
        "file_bytes": 0,
        "memory_bytes": None,
    }
    assert sandbox.parse_limits("") == {}


@pytest.mark.parametrize(
    ("text", "privileges", "filtered"),
    [
        ("Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t0\n", True, False),
        ("NoNewPrivs:\t0\nSeccomp:\t2\n", False, True),
        ("", None, None),
    ],
)
def test_status_of_the_kernel_is_parsed(text, privileges, filtered):
    assert sandbox.parse_status(text) == {"no_new_privs": privileges, "seccomp": filtered}
