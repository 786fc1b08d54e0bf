import re
from pathlib import Path

import pytest

from service.errors import ConfigurationError
from service.settings import Settings, keys_required, load_settings, settled_for_host

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_environment_is_read_and_overrides_win(monkeypatch, tmp_path):
    monkeypatch.setenv("KINETAG_DATA_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("KINETAG_PORT", "9000")
    monkeypatch.setenv("KINETAG_ALLOWED_HOSTS", "one.example, two.example")
    monkeypatch.setenv("KINETAG_BROKER_URL", "")
    settings = load_settings(port=9001, host=None)
    assert settings.data_dir == tmp_path / "env"
    assert (settings.port, settings.host) == (9001, "127.0.0.1")
    assert settings.allowed_hosts == ("one.example", "two.example")
    assert settings.broker_url is None
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/env/kinetag.db"


def test_the_command_line_home_is_the_data_folder_too(monkeypatch, tmp_path):
    monkeypatch.setenv("KINETAG_HOME", str(tmp_path / "home"))
    assert load_settings().data_dir == tmp_path / "home"
    assert load_settings(data_dir=tmp_path / "given").data_dir == tmp_path / "given"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KINETAG_PORT", "70000"),
        ("KINETAG_PORT", "http"),
        ("KINETAG_RETENTION_DAYS", "0"),
        ("KINETAG_HEARTBEAT_SECONDS", "60"),
        ("KINETAG_LOG_FORMAT", "xml"),
    ],
)
def test_bad_values_are_one_sentence(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert name in str(caught.value) or "heartbeat_seconds" in str(caught.value)


def test_secrets_do_not_show():
    settings = load_settings(
        broker_url="redis://:secret@x", database_url="postgresql://a:secret@b/c"
    )
    assert "secret" not in repr(settings)
    assert "secret" in settings.resolved_database_url


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_keys_unless_asked_for(host):
    assert not keys_required(settled_for_host(load_settings(), host))
    assert keys_required(settled_for_host(load_settings(require_keys=True), host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])  # noqa: S104
def test_a_public_address_needs_keys_or_a_permission(host):
    assert keys_required(settled_for_host(load_settings(), host))
    assert keys_required(settled_for_host(load_settings(allow_public_bind=True), host))
    keyless = load_settings(require_keys=False)
    with pytest.raises(ConfigurationError, match="without API keys"):
        settled_for_host(keyless, host)
    permitted = keyless.model_copy(update={"allow_public_bind": True})
    assert not keys_required(settled_for_host(permitted, host))


def test_every_setting_is_documented():
    documented = set(re.findall(r"KINETAG_[A-Z_]+", DOCUMENT.read_text()))
    wanted = {f"KINETAG_{name.upper()}" for name in Settings.model_fields}
    assert wanted - documented == set()
    assert all(field.description for field in Settings.model_fields.values())
