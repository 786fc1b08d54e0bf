"""`kinetag keys`: what it prints, where, and what it refuses."""

import json
from datetime import datetime, timedelta

import pytest
from typer.testing import CliRunner

from service.accounts.keyring import Keyring
from service.accounts.limits import Quotas
from service.accounts.secrets import KEY_PATTERN
from service.errors import InvalidRequest, Unauthorized
from service.jobs.commands import open_core
from service.keys_cli import app, parse_bytes, parse_lifetime


@pytest.fixture
def kinetag(settings, monkeypatch):
    monkeypatch.setattr("service.keys_cli.configure_logs", lambda *_: None)
    monkeypatch.setenv("KINETAG_DATA_DIR", str(settings.data_dir))

    def run(*words, status=0):
        result = CliRunner().invoke(app, ["keys", *words])
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def ring(settings):
    core = open_core(settings)
    yield Keyring(core, Quotas.of(settings))
    core.engine.dispose()


def test_a_key_is_alone_on_standard_output_and_opens_the_door(kinetag, ring):
    result = kinetag("create", "--name", "gate", "--tenant", "acme", "--expires", "90d")
    key = result.stdout.strip()
    assert KEY_PATTERN.fullmatch(key)
    assert "not shown again" in result.stderr
    assert key not in result.stderr
    holder = ring.look_up(key)
    assert holder.key_id in result.stderr
    assert sorted(holder.scopes) == [
        "embed:mint", "jobs:read", "jobs:write", "videos:read", "videos:write", "webhooks:manage"
    ]  # fmt: skip


def test_list_and_revoke(kinetag, ring):
    made = json.loads(kinetag("create", "--name", "x", "--scope", "admin", "--json").stdout)
    kinetag("create", "--name", "y", "--tenant", "acme")
    listed = json.loads(kinetag("list", "--json").stdout)
    assert [(row["tenant"], row["name"], row["status"]) for row in listed] == [
        ("default", "x", "active"),
        ("acme", "y", "active"),
    ]
    assert made.pop("key") not in json.dumps(listed)
    assert listed[0] == made
    text = kinetag("list", "--tenant", "acme").stdout
    assert listed[1]["id"] in text
    assert listed[0]["id"] not in text
    assert "revoked" in kinetag("revoke", made["id"]).stdout
    assert json.loads(kinetag("list", "--json").stdout)[0]["status"] == "revoked"
    with pytest.raises(Unauthorized):
        ring.look_up(f"kinetag_{made['id'].removeprefix('key_')}_{'0' * 64}")


def test_an_end_is_set(kinetag):
    made = json.loads(kinetag("create", "--name", "x", "--expires", "12h", "--json").stdout)
    ends = datetime.fromisoformat(made["expires_at"])
    assert ends - datetime.fromisoformat(made["created_at"]) == timedelta(hours=12)


def test_quotas_are_set_shown_and_lifted(kinetag):
    kinetag("create", "--name", "x", "--tenant", "acme", "--quota-bytes", "500G",
            "--quota-rate", "2.5")  # fmt: skip
    changed = kinetag("quotas", "--tenant", "acme", "--quota-jobs", "7", "--json").stdout
    assert json.loads(changed)["quotas"] == {
        "stored_bytes": 500 * 10**9,
        "queued_jobs": 7,
        "requests_per_second": 2.5,
        "uploads": None,
    }
    shown = kinetag("quotas", "--tenant", "acme", "--quota-bytes", "unlimited").stdout
    assert "stored_bytes: unlimited" in shown
    assert "queued_jobs: 7" in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "--name", ""), "printable"),
        (("create", "--name", "x", "--scope", "everything"), "no scope 'everything'"),
        (("create", "--name", "x", "--expires", "soon"), "90d"),
        (("create", "--name", "x", "--expires", "0d"), "more than 0"),
        (("create", "--name", "x", "--tenant", "a\nb"), "tenant's name"),
        (("create", "--name", "x", "--quota-bytes", "much"), "no size"),
        (("create", "--name", "x", "--quota-bytes", "0"), "above 0"),
        (("create", "--name", "x", "--quota-jobs", "1.5"), "whole number"),
        (("create", "--name", "x", "--quota-rate", "-1"), "no rate"),
        (("revoke", "key_nobodys"), "no key key_nobodys"),
        (("quotas", "--tenant", "nobody"), "no tenant 'nobody'"),
    ],
)
def test_wrong_use_is_one_sentence_and_makes_nothing(kinetag, words, sentence):
    result = kinetag(*words, status=2)
    assert sentence in result.stderr
    assert result.stdout == ""
    assert json.loads(kinetag("list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("123", 123), ("500G", 500 * 10**9), ("2Ti", 2 * 1024**4), ("1.5K", 1500),
     ("10MB", 10**7), ("1GiB", 1024**3)],
)  # fmt: skip
def test_sizes(text, size_bytes):
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "G", "5P", "5i", "-5", "5 G", "5e9", "\u0665", "1_000"])
def test_no_sizes(text):
    with pytest.raises(InvalidRequest):
        parse_bytes(text)


def test_lifetimes():
    assert parse_lifetime("never") is None
    assert parse_lifetime("90d") == timedelta(days=90)
    assert parse_lifetime("2w") == timedelta(weeks=2)
    for text in ("", "90", "d", "-1d", "1.5d", "1y", "\u0669d"):
        with pytest.raises(InvalidRequest):
            parse_lifetime(text)
