import json
import subprocess
import sys

import pytest
from sqlalchemy import text

from service.accounts.secrets import new_key_text
from service.errors import DatabaseUnavailable
from service.jobs.store import create_engine_for, new_id, transaction
from service.logs import BLOT, blotted, escape_values

PROGRAM = """
import logging, sys
import structlog
from service.logs import configure_logs

configure_logs(sys.argv[1], "info")
log = structlog.get_logger("service.tests")
with structlog.contextvars.bound_contextvars(request_id="req_1", job_id="job_1"):
    log.info("named", name=sys.argv[2], listed=[sys.argv[2]], nested={sys.argv[2]: sys.argv[2]})
    log.info("with_secret", password="hunter2", note=sys.argv[3])
    logging.getLogger("foreign").warning("said %s and %s", sys.argv[2], sys.argv[3])
    try:
        raise ValueError(sys.argv[3])
    except ValueError:
        log.exception("failed")
"""

FORGED = 'x\n2026-01-01 [info] forged\r\u2028\x1b[31m{"event": "forged"}'
SPOKEN = "see https://user:hunter2@host.example/path?token=hunter2#hunter2 and whsec_aHVudGVyMg=="


@pytest.fixture(params=["json", "plain"])
def lines(request):
    command = [sys.executable, "-c", PROGRAM, request.param, FORGED, SPOKEN]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return request.param, done.stderr.splitlines()


def test_nobody_forges_a_line_and_no_secret_is_shown(lines):
    form, found = lines
    assert not any("hunter2" in line or "aHVud" in line for line in found), found
    if form == "json":
        documents = [json.loads(line) for line in found]
        events = [document["event"] for document in documents]
        assert events[:2] == ["named", "with_secret"]
        assert len(events) == 4
        assert all(one["job_id"] == "job_1" for one in documents)
        assert all(one["request_id"] == "req_1" for one in documents)
        assert documents[0]["name"].startswith("x\\n2026-01-01 [info] forged")
        assert "ValueError" in documents[3]["exception"]
    else:
        assert not any(line.startswith("2026-01-01") for line in found)
        assert not any("\x1b" in line or "\u2028" in line for line in found)
        assert sum("job_id=job_1" in line for line in found) == 4


SECRETS = {
    "an API key": new_key_text(new_id("key")).reveal(),
    "a webhook's secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "a bearer": "Authorization: Bearer abcdefgh.ijkl",
    "a password in an address": "postgresql://kinetag:abcdefgh.ijkl@db/kinetag",
    "a query": "https://host/video.mp4?X-Amz-Signature=abcdefgh.ijkl",
    "a fragment": "https://host/video.mp4#abcdefgh.ijkl",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secrets_are_blotted_out_wherever_they_stand(secret):
    render = blotted(lambda *_: f'{{"event": "x", "error": "before {secret} after"}}')
    line = render(None, "info", {})
    assert BLOT in line
    assert secret not in line
    assert "ijkl" not in line
    assert json.loads(line)["error"].startswith("before ")
    assert json.loads(line)["error"].endswith(" after")


def test_harmless_text_stays_as_it_is():
    for harmless in ("GET /v1/jobs/job_01J9", "http://127.0.0.1:8000/healthz", "a?b#c", "12:30"):
        assert blotted(lambda *_, one=harmless: one)(None, "info", {}) == harmless
        assert escape_values(None, "info", {"a": harmless, "n": 1}) == {"a": harmless, "n": 1}


def test_errors_of_the_database_do_not_repeat_what_users_gave(tmp_path):
    engine = create_engine_for(f"sqlite:///{tmp_path / 'x.db'}")

    def ask():
        with transaction(engine) as session:
            session.execute(text("SELECT * FROM missing WHERE a = :a"), {"a": "hunter2"})

    with pytest.raises(DatabaseUnavailable) as failure:
        ask()
    assert "hunter2" not in str(failure.value.__cause__)
    engine.dispose()
