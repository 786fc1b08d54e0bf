"""The embedded broker's chain: the wheel's server, the system's, none; each forced by name."""

import stat
from pathlib import Path

import pytest

from workers import broker as broker_module
from workers.broker import BrokerServer, BrokerUnavailableError, find_servers, start_broker
from workers.celery_app import BrokerAddress, build_app
from workers.tasks import publish_hints


@pytest.mark.parametrize("choice", ["valkey", "system"])
def test_forced_broker_carries_hints_and_leaves_nothing(choice: str, tmp_path: Path):
    if not find_servers(choice):
        pytest.skip(f"no {choice} broker is installed on this machine")
    broker = start_broker(choice, tmp_path)
    assert broker is not None
    socket_path = tmp_path / "broker.sock"
    try:
        assert broker.kind == choice
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o700
        command_line = Path(f"/proc/{broker.process.pid}/cmdline").read_bytes()
        assert broker.url.split(":")[2].split("@")[0].encode() not in command_line
        app = build_app(BrokerAddress(broker.url, "test:"))
        publish_hints(app, ["task_1", "task_2"])
        with app.connection_for_read() as connection:
            assert connection.default_channel.client.llen("interactive") == 2
    finally:
        broker.stop()
    assert not socket_path.exists()
    assert broker.process.pid is None


def test_none_starts_nothing(tmp_path: Path):
    assert start_broker("none", tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_auto_falls_through_servers_that_do_not_start(tmp_path: Path, monkeypatch):
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    servers = [BrokerServer("valkey", broken), BrokerServer("system", tmp_path / "absent")]
    monkeypatch.setattr(broker_module, "find_servers", lambda choice: servers)
    assert start_broker("auto", tmp_path) is None


def test_auto_prefers_the_wheel():
    kinds = [server.kind for server in find_servers("auto")]
    assert kinds == sorted(kinds, key=["valkey", "system"].index)


@pytest.mark.parametrize("choice", ["valkey", "system", "kafka"])
def test_broker_asked_for_by_name_is_not_silently_replaced(choice, tmp_path, monkeypatch):
    monkeypatch.setattr(broker_module, "find_servers", lambda choice: [])
    with pytest.raises(BrokerUnavailableError, match=choice):
        start_broker(choice, tmp_path)


def test_long_data_folder_gets_a_socket_elsewhere(tmp_path: Path):
    if not find_servers("auto"):
        pytest.skip("no broker is installed on this machine")
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    broker = start_broker("auto", deep)
    assert broker is not None
    try:
        assert broker.answers()
        assert list(deep.iterdir()) == []
    finally:
        broker.stop()
