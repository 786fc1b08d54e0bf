import re
from html.parser import HTMLParser
from pathlib import Path

from service.api.examples import EXAMPLES
from service.api.reference import TITLES, render_reference
from service.operations.openapi import openapi_document, openapi_text

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


class Page(HTMLParser):
    """What a page holds: its elements, anchors, links, and whether every element is closed."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.anchors, self.links, self.open, self.words = [], [], [], [], []
        self.attributes = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(given)
        if "id" in given:
            self.anchors.append(given["id"])
        if "href" in given:
            self.links.append(given["href"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(client):
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page = Page(answer.text)
    assert page.open == []
    assert not {"script", "style", "img", "iframe", "form", "object"} & set(page.tags)
    assert not {"style", "onclick", "onload", "src", "action"} & page.attributes
    assert {link for link in page.links if not link.startswith("#")} == {
        "/docs/style.css",
        "/openapi.json",
    }
    for link in page.links:
        if not link.startswith("#"):
            assert client.get(link).status_code == 200
    style = client.get("/docs/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert not re.search(r"url\(|@import|expression", style.text)


def test_every_link_inside_leads_somewhere_and_every_anchor_is_one(client):
    page = Page(client.get("/docs").text)
    assert len(page.anchors) == len(set(page.anchors))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.anchors)


def test_every_address_parameter_and_example_is_shown(client):
    page = Page(client.get("/docs").text)
    words = " ".join(page.words)
    document = openapi_document()
    for path, operations in document["paths"].items():
        assert path in words
        for operation in operations.values():
            assert operation["tags"][0] in TITLES
            assert all(one["name"] in words for one in operation.get("parameters", ()))
    assert all(example.command in words for example in EXAMPLES)


def test_whatever_the_document_holds_is_escaped():
    evil = '<script>alert("x")</script>`<b>`'
    document = {
        "info": {"title": evil, "description": evil},
        "paths": {
            f"/{evil}": {
                "get": {
                    "tags": [evil],
                    "description": evil,
                    "parameters": [
                        {"name": evil, "in": evil, "schema": {"enum": [evil]}, "description": evil}
                    ],
                    "requestBody": {"content": {evil: {"schema": {"type": evil}}}},
                    "responses": {"200": {"description": evil, "content": {evil: {}}}},
                }
            }
        },
        "components": {
            "schemas": {evil: {"description": evil, "properties": {evil: {"$ref": f"#/{evil}"}}}}
        },
    }
    page = Page(render_reference(document, {}))
    assert not {"script", "b"} & set(page.tags)


def test_the_committed_description_is_the_present_one():
    assert COMMITTED.read_text() == openapi_text(), (
        "the interface changed: python -m service.operations.openapi docs/openapi.json"
    )


def test_no_setting_changes_the_description(monkeypatch):
    for name, value in (("REQUIRE_KEYS", "1"), ("HOST", "0.0.0.0"), ("PORT", "1")):  # noqa: S104
        monkeypatch.setenv(f"KINETAG_{name}", value)
    assert COMMITTED.read_text() == openapi_text()
