"""Texts that are signed: only what was signed here, for this purpose, is read back."""

import base64
import hmac
import json
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from service.embedding import signing
from service.embedding.frames import NOBODY, frame_ancestors, sign_frame
from service.embedding.origins import MAX_CHARACTERS, MAX_ORIGINS, checked_origin, checked_origins
from service.embedding.records import SigningKeyRecord
from service.embedding.signing import MEMORY_SECONDS, Audience, Signer
from service.embedding.subjects import Subject
from service.embedding.tickets import Ticket, read_ticket, sign_ticket
from service.embedding.tokens import Grant, read_token, sign_token
from service.errors import InvalidRequest
from service.jobs.commands import JobCore
from service.jobs.store import create_engine_for, reading, transaction

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
GRANT = Grant("default", Subject(job_id="job_1"), ("https://a.example",), MOMENT, "key_1")


@pytest.fixture
def signer(core):
    return Signer(core)


class _Fixed(Signer):
    """A signer that needs no database, for many examples."""

    def __init__(self):
        super().__init__(None)  # type: ignore[arg-type]  # it is not asked

    def _secret(self):
        return b"k" * 32


def test_what_was_signed_is_read_back_by_every_process(core, signer):
    token = sign_token(signer, GRANT)
    assert read_token(Signer(core), token) == GRANT
    ticket = Ticket("vid_1", GRANT)
    assert read_ticket(Signer(core), sign_ticket(signer, ticket)) == ticket


def test_processes_that_start_at_once_agree_on_one_secret(engine, database_url, core):
    cores = [
        JobCore(create_engine_for(database_url), core.clock, core.blobs, core.features_folder)
        for _ in range(6)
    ]
    together = threading.Barrier(len(cores))
    texts, wrong = [], []

    def sign(one):
        together.wait()
        try:
            texts.append(Signer(one).sign(Audience.TOKEN, {"a": 1}))
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            wrong.append(error)

    threads = [threading.Thread(target=sign, args=(one,)) for one in cores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for one in cores:
        one.engine.dispose()
    assert wrong == []
    assert len(texts) == len(cores)
    assert len(set(texts)) == 1
    with reading(engine) as session:
        secret, count = session.execute(
            select(func.max(SigningKeyRecord.secret), func.count())
        ).one()
    assert count == 1
    assert len(bytes.fromhex(secret)) == 32


def test_a_secret_that_is_deleted_is_replaced_everywhere(engine, core):
    moment = [0.0]
    signers = [Signer(core, lambda: moment[0]) for _ in range(2)]
    old = signers[0].sign(Audience.TOKEN, {})
    assert signers[1].read(Audience.TOKEN, old) == {}
    with transaction(engine) as session:
        session.execute(delete(SigningKeyRecord))
    moment[0] += MEMORY_SECONDS
    assert signers[1].read(Audience.TOKEN, old) is None
    new = signers[1].sign(Audience.TOKEN, {})
    assert signers[0].read(Audience.TOKEN, new) == {}


def test_no_letter_can_be_changed_left_out_or_added():
    signer = _Fixed()
    token = sign_token(signer, GRANT)
    for index, letter in enumerate(token):
        for other in {ALPHABET[(ALPHABET.find(letter) + 1) % 64], ALPHABET[0], ".", "=", " "}:
            if other != letter:
                changed = token[:index] + other + token[index + 1 :]
                assert signer.read(Audience.TOKEN, changed) is None, (index, other)
        assert signer.read(Audience.TOKEN, token[:index]) is None
        assert signer.read(Audience.TOKEN, token[:index] + token[index + 1 :]) is None
    for tail in ("=", "A", "\n", " ", "\0", ".", f".{token}"):
        assert signer.read(Audience.TOKEN, token + tail) is None
        assert signer.read(Audience.TOKEN, tail + token) is None


def test_there_is_one_way_to_write_a_token():
    """Base64 leaves bits unused at the end: letters that mean the same are another text."""
    signer = _Fixed()
    for length in range(6):
        token = signer.sign(Audience.TOKEN, {"a": "x" * length})
        head, signature = token.split(".")
        # 43 letters carry 258 bits, of which 256 count.
        last = ALPHABET.index(signature[-1])
        same = [ALPHABET[(last & ~3) | bits] for bits in range(4)]
        readable = [
            letter
            for letter in same
            if signer.read(Audience.TOKEN, f"{head}.{signature[:-1]}{letter}") is not None
        ]
        assert readable == [signature[-1]]
        padded = base64.b64encode(base64.urlsafe_b64decode(signature + "=")).decode()
        if padded.rstrip("=") != signature:
            assert signer.read(Audience.TOKEN, f"{head}.{padded.rstrip('=')}") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "other"},
        {"job": "job_2"},
        {"camera": "dock"},
        {"origins": ["https://evil.example"]},
        {"origins": []},
        {"expires": 4_000_000_000},
        {"key": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_no_field_can_be_changed(changes):
    signer = _Fixed()
    signature = sign_token(signer, GRANT).rpartition(".")[2]
    document = {**GRANT.document(), **changes}
    written = json.dumps(document, separators=(",", ":")).encode()
    payload = base64.urlsafe_b64encode(written).rstrip(b"=").decode()
    assert read_token(signer, f"kte_{payload}.{signature}") is None


def test_nothing_serves_another_purpose():
    signer = _Fixed()
    texts = {
        Audience.TOKEN: sign_token(signer, GRANT),
        Audience.TICKET: sign_ticket(signer, Ticket("vid_1", GRANT)),
        Audience.FRAME: sign_frame(signer, Subject(job_id="job_1"), ["https://a.example"]),
    }
    for made_for, text in texts.items():
        for audience in Audience:
            assert (signer.read(audience, text) is not None) == (audience is made_for)
            # Nor under another name.
            renamed = f"{audience}{text[3:]}"
            assert (signer.read(audience, renamed) is not None) == (audience is made_for)


def test_another_deployments_token_is_none_of_ours():
    class Other(_Fixed):
        def _secret(self):
            return b"j" * 32

    assert read_token(_Fixed(), sign_token(Other(), GRANT)) is None


def test_signatures_are_compared_in_constant_time(monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Spied:
        new = staticmethod(hmac.new)
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(signing, "hmac", Spied)
    signer = _Fixed()
    token = sign_token(signer, GRANT)
    assert read_token(signer, token) == GRANT
    assert read_token(signer, token[:-1] + ("A" if token[-1] != "A" else "B")) is None
    assert len(compared) == 2
    assert {len(one) for pair in compared for one in pair} == {43}


@given(st.text() | st.from_regex(signing.SIGNED, fullmatch=True))
def test_no_text_is_read_and_none_breaks_the_reader(text):
    for audience in Audience:
        assert _Fixed().read(audience, text) is None


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@given(
    st.builds(
        Grant,
        tenant_id=names,
        subject=st.builds(Subject, job_id=names)
        | st.builds(Subject, job_id=st.none(), camera=names)
        | st.none(),
        origins=st.lists(names, max_size=4).map(tuple),
        expires_at=st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC)),
        key_id=st.none() | names,
    )
)
def test_every_grant_survives_its_text(grant):
    signer = _Fixed()
    text = sign_token(signer, grant)
    assert read_token(signer, text) == grant
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set("\"'<>&#?%+/= ")


@pytest.mark.parametrize(
    ("given_text", "origin"),
    [
        ("https://dash.example", "https://dash.example"),
        ("HTTPS://Dash.Example", "https://dash.example"),
        ("https://dash.example:443", "https://dash.example"),
        ("http://dash.example:80", "http://dash.example"),
        ("http://dash.example:443", "http://dash.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://192.168.1.20", "http://192.168.1.20"),
        ("http://home_assistant:8123", "http://home_assistant:8123"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://a.b-c.d2.example:65535", "https://a.b-c.d2.example:65535"),
    ],
)
def test_origins_become_what_browsers_send(given_text, origin):
    assert checked_origin(given_text) == origin
    assert checked_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "null", "https://", "https://*", "https://*.example", "dash.example",
        "//a.example",
        "https://a.example/", "https://a.example/path", "https://a.example?x", "https://a.example#x",
        "https://user@a.example", "https://user:pw@a.example", "ftp://a.example", "file://",
        "data:",
        "javascript:alert(1)", "ws://a.example", "https://a.example:", "https://a.example:0",
        "https://a.example:70000", "https://a.example:+1", "https://a.example:08", "https://a..b",
        "https://.a", "https://a.", "https://-a.example", "https://a-.example", "https://[::1]:80",
        "https://[::1]", "http://127.1", "http://0x7f.0.0.1", "http://2130706433", "http://1.2.3.256",
        "http://1.2.3.04", "https://a.example https://b.example", "https://a.example;script-src *",
        "https://a.example,https://b.example", "https://a.example\n", "\thttps://a.example",
        "https://a.example 'self'", "https://bücher.example", "https://a%2eexample",
        "https://" + "a" * 64 + ".example", "https://" + "a." * 130 + "b", "https:///a.example",
        "https:\\\\a.example", "blob:https://a.example", "https://\uff41.example", "https://a\u3002b",
    ],
)  # fmt: skip
def test_what_is_no_single_origin_is_refused(text):
    with pytest.raises(InvalidRequest):
        checked_origin(text)


@given(st.text(max_size=60) | st.from_regex(r"https?://[\x20-\x7e]{1,40}", fullmatch=True))
def test_no_origin_can_break_out_of_a_policy(text):
    try:
        origin = checked_origin(text)
    except InvalidRequest:
        return
    assert set(origin) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.:/")
    assert checked_origin(origin) == origin


def test_origins_are_few_and_short():
    assert checked_origins(["https://a", "HTTPS://A:443", "https://b"]) == (
        "https://a",
        "https://b",
    )
    many = [f"https://a{n}.example" for n in range(MAX_ORIGINS)]
    assert len(checked_origins(many)) == MAX_ORIGINS
    for wrong in ([], [*many, "https://b"]):
        with pytest.raises(InvalidRequest):
            checked_origins(wrong)
    label = "a" * 60
    with pytest.raises(InvalidRequest, match=str(MAX_CHARACTERS)):
        checked_origins([f"https://{label}.{label}.{label}.a{n}" for n in range(MAX_ORIGINS)])


def test_a_frame_is_for_its_subject_and_its_origins_alone():
    signer = _Fixed()
    job = Subject(job_id="job_1")
    frame = sign_frame(signer, job, ["https://a.example", "http://localhost:3000"])
    assert frame_ancestors(signer, job, frame) == "https://a.example http://localhost:3000"
    for other in (Subject(job_id="job_2"), Subject(camera="job_1")):
        assert frame_ancestors(signer, other, frame) == NOBODY
    for text in ("", "x", frame[:-1], sign_token(signer, GRANT)):
        assert frame_ancestors(signer, job, text) == NOBODY
