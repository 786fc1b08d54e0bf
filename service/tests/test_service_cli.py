import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from service.cli import app

COMMAND = [sys.executable, "-c", "from service.cli import app; app()", "api"]


@contextmanager
def running(*options, **keywords):
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **keywords,
    )
    guard = threading.Timer(90, process.kill)
    guard.start()
    try:
        yield process
    finally:
        guard.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_says_where_it_listens_answers_and_ends_with_status_0_on_term(tmp_path):
    with running("--port", "0", "--data", str(tmp_path)) as process:
        line = process.stdout.readline().strip()
        assert line.startswith("Kinetag API: http://127.0.0.1:")
        url = line.removeprefix("Kinetag API: ") + "/healthz"
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_it_takes_over_a_listening_socket(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = ("--fd", str(listener.fileno()), "--data", str(tmp_path))
        with running(*options, pass_fds=(listener.fileno(),)) as process:
            port = listener.getsockname()[1]
            url = f"http://127.0.0.1:{port}/healthz"
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--host", "0.0.0.0"), "without API keys"),  # noqa: S104
        (("--fd", "77"), "no open socket"),
        (("--host", "127.0.0.1", "--port", "99999"), "KINETAG_PORT"),
    ],
)
def test_wrong_use_is_one_sentence(tmp_path, monkeypatch, options, sentence):
    monkeypatch.setattr("service.logs.configure_logs", lambda *_: None)
    monkeypatch.setenv("KINETAG_REQUIRE_KEYS", "0")
    result = CliRunner().invoke(app, ["api", *options, "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
