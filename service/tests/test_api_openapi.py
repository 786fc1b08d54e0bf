"""What the interface says of itself holds for every address."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.api.problems import PROBLEM_TYPE
from service.main import create_app
from service.settings import Settings

OVERVIEW = Path(__file__).resolve().parents[2] / "docs" / "api.md"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}


@pytest.fixture
def document(tmp_path):
    return create_app(Settings(data_dir=tmp_path, require_keys=False)).openapi()


def _operations(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                yield f"{method} {path}", operation


def test_every_error_is_said_to_be_a_problem_document(document):
    for name, operation in _operations(document):
        if "/v1/" not in name:
            continue
        for status in ("4XX", "5XX"):
            assert list(operation["responses"][status]["content"]) == [PROBLEM_TYPE], name
        assert "HTTPValidationError" not in str(operation), name


def test_keys_are_optional_only_where_they_are(document, tmp_path):
    closed = create_app(Settings(data_dir=tmp_path, require_keys=True)).openapi()
    secured = [name for name, operation in _operations(closed) if operation.get("security")]
    assert len(secured) > 20
    for name, operation in _operations(closed):
        assert {} not in operation.get("security", []), name
    for name, operation in _operations(document):
        assert (name not in secured) or {} in operation["security"], name


def test_event_streams_are_not_described_as_json(document):
    content = document["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]
    assert content["text/event-stream"].get("schema") is None


def test_allow_names_all_methods_of_an_address(tmp_path):
    with TestClient(
        create_app(Settings(data_dir=tmp_path, require_keys=False)), base_url="http://localhost"
    ) as client:
        answer = client.put("/v1/jobs/job_01J00000000000000000000000")
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) >= {"GET", "DELETE"}
        assert answer.json()["code"] == "method_not_allowed"
        assert client.put("/v1/jobs").headers["allow"] == "GET, POST"


def test_every_address_stands_in_the_overview(document):
    text = OVERVIEW.read_text()
    for path in document["paths"]:
        assert f"{path}`" in text, path
