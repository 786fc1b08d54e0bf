"""The interface as one page of HTML, from its OpenAPI document and the worked examples.

No script, no font, no picture: nothing is loaded from anywhere but one style sheet of our own.
Whatever comes from the document is escaped.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from service.api.examples import EXAMPLES, Example
from service.api.openapi import METHODS

Document = Mapping[str, Any]

STYLE_ADDRESS = "/docs/style.css"
SUCCESS = ("1", "2", "3")
FASTAPI_SUCCESS = "Successful Response"
MAX_ENUM = 12

# In the order in which somebody new needs them.
TITLES = {
    "videos": "Videos",
    "jobs": "Jobs",
    "results": "Results",
    "segments": "Search",
    "searches": "Saved searches",
    "events": "Events",
    "batches": "Batches",
    "uploads": "Resumable uploads",
    "webhooks": "Webhooks",
    "embeds": "Embedding",
    "models": "Models",
    "keys": "Keys",
    "metrics": "Metrics",
    "health": "Health",
}

INTRODUCTION = """
<p>The examples take the service's address from a variable, and, where it wants one, a key:</p>
<pre tabindex="0"><code>KINETAG=http://127.0.0.1:8000
curl -H "Authorization: Bearer $KINETAG_KEY" "$KINETAG/v1/jobs"</code></pre>
<p>Times are seconds of the video as decimal numbers, moments are RFC 3339. Lists come in pages:
<code>page_size</code> and <code>page_token</code> in, <code>next_page_token</code> out, null after
the last. Every refusal is an <code>application/problem+json</code> document with a stable
<code>code</code> and a sentence in <code>detail</code> that says what to do.</p>
"""


def render_reference(document: Document, answers: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        document: OpenAPI 3.1, as the service gives it at /openapi.json.
        answers: command of an example -> what it returned.
    """
    groups = _groups(document)
    title = escape(document["info"]["title"])
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{title}: REST interface</title><link rel="stylesheet" href="{STYLE_ADDRESS}">',
        '</head><body><div class="layout">',
        '<main><p class="jump"><a href="#addresses">All addresses</a></p>',
        f"<h1>{title}: REST interface</h1>",
        f"<p>{escape(document['info']['description'])} The same for programs is at ",
        '<a href="/openapi.json">/openapi.json</a>.</p>',
        INTRODUCTION,
    ]
    for tag, operations in groups.items():
        parts.append(f'<section id="{escape(tag)}"><h2>{escape(TITLES.get(tag, tag))}</h2>')
        parts += [_operation(*one, answers) for one in operations]
        parts.append("</section>")
    # Last, so that a reader of a narrow page has the text first.
    parts += [_schemas(document), "</main>", _navigation(groups), "</div></body></html>", ""]
    return "\n".join(parts)


Operation = tuple[str, str, Document]
"""Method in capitals, path, description."""


def _groups(document: Document) -> dict[str, list[Operation]]:
    groups: dict[str, list[Operation]] = {tag: [] for tag in TITLES}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method in METHODS:
                tag = operation.get("tags", ["others"])[0]
                groups.setdefault(tag, []).append((method.upper(), path, operation))
    return {tag: operations for tag, operations in groups.items() if operations}


def _navigation(groups: Mapping[str, list[Operation]]) -> str:
    parts = ['<nav id="addresses" aria-label="Addresses">']
    for tag, operations in groups.items():
        parts.append(f'<p><a href="#{escape(tag)}">{escape(TITLES.get(tag, tag))}</a></p><ul>')
        for method, path, _ in operations:
            link = f'<a href="#{_anchor(method, path)}">{_method(method)} {escape(path)}</a>'
            parts.append(f"<li>{link}</li>")
        parts.append("</ul>")
    return "\n".join([*parts, '<p><a href="#bodies">Bodies</a></p></nav>'])


def _operation(method: str, path: str, operation: Document, answers: Mapping[str, Any]) -> str:
    anchor = _anchor(method, path)
    address = f"{_method(method)} <code>{escape(path)}</code>"
    parts = [
        f'<article id="{anchor}"><h3><a href="#{anchor}">{address}</a></h3>',
        *(f"<p>{_prose(text)}</p>" for text in operation.get("description", "").split("\n\n")),
        _parameters(operation.get("parameters", [])),
        _request(operation.get("requestBody", {})),
        _responses(operation["responses"]),
    ]
    own = [one for one in EXAMPLES if one.address == f"{method} {path}"]
    parts += [_example(one, answers) for one in own]
    return "\n".join([*(part for part in parts if part), "</article>"])


def _parameters(parameters: Iterable[Document]) -> str:
    rows = [
        (
            f"<code>{escape(one['name'])}</code>",
            f"{escape(one['in'])}{', required' if one.get('required') else ''}",
            _type(_given(one.get("schema", {}))),
            _prose(one.get("description") or one.get("schema", {}).get("description", "")),
        )
        for one in parameters
    ]
    return _table("Parameters", ("name", "where", "type", ""), rows)


def _request(body: Document) -> str:
    parts = []
    for media_type, content in body.get("content", {}).items():
        schema = content.get("schema", {})
        heading = f"Body: {media_type}"
        if "properties" in schema:
            parts.append(_fields(heading, schema))
        else:
            parts.append(f"<h4>{escape(heading)}</h4><p>{_type(schema)}</p>")
    return "\n".join(parts)


def _responses(responses: Document) -> str:
    rows = []
    for status, response in responses.items():
        if status.startswith(SUCCESS):
            kinds = "<br>".join(
                f"{escape(media_type)}: {_type(content.get('schema', {}))}"
                for media_type, content in response.get("content", {}).items()
            )
            described = response.get("description", "")
            text = "" if described == FASTAPI_SUCCESS else _prose(described)
            rows.append((f"<code>{escape(status)}</code>", kinds or "no body", text))
    return _table("Answers", ("status", "body", ""), rows)


def _example(example: Example, answers: Mapping[str, Any]) -> str:
    heading = f"Example: {example.title}" if example.title else "Example"
    command = escape(example.command)
    parts = [f'<h4>{escape(heading)}</h4><pre tabindex="0"><code>{command}</code></pre>']
    answer = answers.get(example.command)
    if answer is not None:
        text = answer if isinstance(answer, str) else json.dumps(answer, indent=2)
        parts.append(f'<pre tabindex="0"><code>{escape(text)}</code></pre>')
    return "\n".join(parts)


def _schemas(document: Document) -> str:
    parts = ['<section id="bodies"><h2>Bodies</h2>']
    for name, schema in document.get("components", {}).get("schemas", {}).items():
        parts.append(f'<article id="{_schema_anchor(name)}"><h3>{escape(name)}</h3>')
        if schema.get("description"):
            parts.append(f"<p>{_prose(schema['description'])}</p>")
        parts.append(_fields(None, schema) if "properties" in schema else f"<p>{_type(schema)}</p>")
        parts.append("</article>")
    return "\n".join([*parts, "</section>"])


def _fields(heading: str | None, schema: Document) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (
            f"<code>{escape(name)}</code>",
            _type(field) + (", required" if name in required else ""),
            _prose(field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    ]
    return _table(heading, ("field", "type", ""), rows)


def _table(heading: str | None, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    title = f"<h4>{escape(heading)}</h4>" if heading else ""
    return f'{title}<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _type(schema: Document) -> str:
    """Return a schema in a few words, with links to bodies that have names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_schema_anchor(name)}">{escape(name)}</a>'
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])[:MAX_ENUM]
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        return " or ".join(_type(choice) for choice in choices)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = str(schema.get("type", "any"))
    return escape(f"{kind} ({', '.join(_limits(schema))})" if any(_limits(schema)) else kind)


def _given(schema: Document) -> Document:
    """Return what a parameter is where it is given: leaving it out is no value of it."""
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _limits(schema: Document) -> Iterator[str]:
    if schema.get("format"):
        yield str(schema["format"])
    for key, word in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤")):
        if key in schema:
            yield f"{word} {schema[key]:g}"
    if "maxLength" in schema:
        yield f"up to {schema['maxLength']} characters"
    if schema.get("default") is not None:
        yield f"default {json.dumps(schema['default'])}"


def _prose(text: str) -> str:
    """Return text whose marks for code, `so` or ``so``, are rendered."""
    return re.sub(r"``?([^`]+)``?", r"<code>\1</code>", escape(text, quote=False))


def _method(method: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span>'


def _anchor(method: str, path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{method} {path}".lower()).strip("-")


def _schema_anchor(name: str) -> str:
    return "body-" + re.sub(r"[^A-Za-z0-9]+", "-", name)
