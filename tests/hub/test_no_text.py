"""What is no text, and what is nested without end, in everything that clients of the hub send."""

import base64
import json
import re

import pytest

from tests.fixtures.registries import SCOPES
from tests.hub.conftest import LORA

NO_TEXT = ["\0", "a\0b", "\ud800", "a\udfff.json"]
DEEP = [b"[" * 50_000, b'{"a":' * 50_000, b"[" * 50_000 + b"]" * 50_000]
SHARD = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"


def inline(path, raw):
    content = base64.b64encode(raw).decode()
    return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}


def header(message="m"):
    return {"key": "header", "value": {"summary": message, "description": ""}}


@pytest.fixture
def sent(hub):
    """Give what sends a body to a path of a registry with a base, and a commit to a line."""
    hub.line("lora")
    http = hub.http(hub.token(*SCOPES))

    def send(path, raw, kind="application/json"):
        return http.post(f"{hub.url}{path}", content=raw, headers={"Content-Type": kind})

    def commit(line, *operations):
        raw = "\n".join(json.dumps(one) for one in operations).encode()
        return send(f"/api/models/{line}/commit/main", raw, "application/x-ndjson")

    return send, commit


def test_no_text_in_a_commit_is_refused_with_a_sentence(sent):
    _, commit = sent
    files = [inline(name, (LORA / name).read_bytes()) for name in ("adapter_config.json", "adapter_model.safetensors")]
    for text in NO_TEXT:
        told = [
            commit("team/told", header(text), *files),
            commit("team/told", header(), {"key": "deletedFile", "value": {"path": text}}),
            commit("team/told", header(), inline(text, b"{}")),
            commit("team/told", header(), {"key": text, "value": {}}),
        ]
        assert [one.status_code for one in told] == [422] * 4, (text, [one.text for one in told])
        assert re.search(r"no text|no path|no operation", told[0].json()["error"])


def test_what_is_nested_without_end_is_no_fault_of_the_server(sent):
    send, commit = sent
    commit("team/deep", header(), inline("README.md", b"---\ndeltareg: {base: tinyllama}\n---\n"))
    wrong: list[object] = []
    for raw in DEEP:
        for path in (
            "/api/repos/create",
            "/api/models/team/deep/paths-info/main",
            "/api/models/team/deep/preupload/main",
        ):
            wrong += [(path, raw[:5])] if send(path, raw).status_code >= 500 else []
        wrong += [raw[:5]] if send("/api/models/team/deep/commit/main", raw + b"\n").status_code != 422 else []
    names = ("model.safetensors.index.json", "adapter_config.json", "config.json")
    for name, raw in zip(names, DEEP, strict=True):
        answer = commit("team/deep", header(), inline(name, raw), inline("model-00001-of-00002.safetensors", SHARD))
        wrong += [(name, raw[:5], answer.text)] if answer.status_code >= 500 else []
    assert wrong == []


def test_names_in_files_that_are_no_text_are_none(sent):
    _, commit = sent
    for name, raw in {
        "model.safetensors.index.json": b'{"weight_map":{"a":"x\\u0000"}}',
        "README.md": b'---\nbase_model: "\\ud800"\n---\n',
        "adapter_config.json": b'{"base_model_name_or_path":"a\\ud800","peft_type":"LORA"}',
    }.items():
        answer = commit("team/names", header(), inline(name, raw), inline("model-00001-of-00002.safetensors", SHARD))
        assert answer.status_code < 500, (name, answer.text)
        assert answer.headers.get("X-HF-Warning", "").isprintable()
