"""Writes the HTTP interface as a page, from docs/openapi.json."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
_HEAD = """# The HTTP interface

What the command line and the Python client speak, and what anything else may speak to a registry.
This page is written from the OpenAPI document, [openapi.json](openapi.json), which generators of
clients read.

A request carries `Authorization: Bearer TOKEN`. An answer that is no success is a problem document
(`application/problem+json`, RFC 9457) with a `code` that [has its page](problems/index.md).
"""
Fields = Mapping[str, Any]


def http_page(document: Path = DOCUMENT) -> str:
    """Give the page as Markdown: operations by subject, then the objects that they speak of."""
    read: Fields = json.loads(document.read_text(encoding="utf-8"))
    by_tag: dict[str, list[str]] = {}
    for path, methods in read["paths"].items():
        for method, operation in methods.items():
            words = "\n".join(_operation(path, method, operation))
            by_tag.setdefault(operation.get("tags", ["other"])[0], []).append(words)
    parts = [_HEAD]
    for tag, operations in sorted(by_tag.items()):
        parts += [f"## {tag.capitalize()}\n", *operations]
    parts.append("## Objects\n")
    parts += ["\n".join(_object(n, s)) for n, s in sorted(read["components"]["schemas"].items())]
    return "\n".join(parts)


def _operation(path: str, method: str, operation: Fields) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    yield f"{_prose(operation.get('description') or operation['summary'])}\n"
    parameters = operation.get("parameters", ())
    if parameters:
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for one in parameters:
            needed = "needed" if one.get("required") else _default(one["schema"])
            words = "; ".join(filter(None, [needed, _cell(one.get("description", ""))]))
            yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {words} |"
        yield ""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Takes {_content(kind, content)}.\n"
    for status, answer in sorted(operation["responses"].items()):
        told = [_content(kind, content) for kind, content in answer.get("content", {}).items()]
        if status != "422":  # the same everywhere, and named at the top
            yield f"Answers **{status}**{': ' if told else ''}{' or '.join(told)}.\n"


def _content(kind: str, content: Fields) -> str:
    schema = content.get("schema", {})
    return _type(schema) if schema and kind == "application/json" else f"`{kind}`"


def _object(name: str, schema: Fields) -> Iterator[str]:
    yield f"### {name} {{ #{_anchor(name)} }}\n"
    if schema.get("description"):
        yield f"{_prose(schema['description'])}\n"
    if "enum" in schema:
        yield f"{_type(schema)}\n"
    needed = set(schema.get("required", ()))
    if schema.get("properties"):
        yield "| field | type | |\n|---|---|---|"
        for field, one in schema["properties"].items():
            told = "needed" if field in needed else _default(one)
            words = "; ".join(filter(None, [told, _cell(one.get("description", ""))]))
            yield f"| `{field}` | {_type(one)} | {words} |"
        yield ""


def _type(schema: Fields) -> str:
    """Say what a schema takes in a few words, other objects as links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    for many in ("anyOf", "oneOf", "allOf"):
        if many in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[many]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _default(schema: Fields) -> str:
    value = schema.get("default")
    return "" if value is None or value in ("", [], {}) else f"default `{json.dumps(value)}`"


def _anchor(name: str) -> str:
    return f"object-{name.lower()}"


def _prose(text: str) -> str:
    """Keep paragraphs and code; nothing is read as HTML."""
    return re.sub(r"`[^`]*`|[^`]+", lambda m: m[0] if m[0][0] == "`" else escape(m[0]), text)


def _cell(text: str) -> str:
    return _prose(" ".join(text.split())).replace("|", "&#124;")
