"""What a database holds: documents and envelopes of others, packed; and packed bytes that were damaged."""

import json

import httpx

from deltareg.client.follow.vllm_refusals import refusal
from deltareg.client.follow.vllm_server import read_models
from deltareg.db.sql.document import pack_document, pack_map, unpack_document, unpack_map
from deltareg.db.sql.envelope import pack_envelope, unpack_envelope
from deltareg.db.sql.known_text import is_packed, pack_known, unpack_known
from deltareg.db.sql.packed_json import pack_object
from deltareg.documents.json_values import parse_json
from deltareg.signing.envelopes import seal
from tests.fuzz.target import Target
from tests.signers import key_of

_DOCUMENT = json.dumps(
    {"schema": "deltareg.manifest/1", "kind": "lora", "files": [{"digest": "sha256:" + "ab" * 32}] * 4}
).encode()
_ENVELOPE = seal(b'{"a": 1}', key_of("the server"), payload_type="application/vnd.in-toto+json")
_CHECKS = [{"name": "perplexity", "verdict": "pass", "value": 1.5, "detail": "d" * 40}] * 5


def _document(data: bytes) -> object:
    half = len(data) // 2
    assert unpack_document(pack_document(data)) == data
    assert unpack_map(pack_map(data[:half], data[half:]), data[half:]) == data[:half]
    return None


def _envelope(data: bytes) -> object:
    assert unpack_envelope(pack_envelope(data)) == data
    return None


def _object(data: bytes) -> object:
    value = parse_json(data)
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        pack_object({"checks": value})
    return None


def _models(data: bytes) -> object:
    answer = httpx.Response(200, content=data, request=httpx.Request("GET", "http://vllm.example/v1/models"))
    refusal("loading", "http://vllm.example", answer)
    return read_models(answer, "it is no vLLM")


TARGETS = (
    Target("row-document", _document, ("db.sql.document",), seeds=(_DOCUMENT, pack_document(_DOCUMENT))),
    Target("row-document-damaged", unpack_document, ("db.sql.document",), seeds=(pack_document(_DOCUMENT),)),
    Target("row-envelope", _envelope, ("db.sql.envelope",), seeds=(_ENVELOPE, pack_envelope(_ENVELOPE))),
    Target(
        "row-known-damaged",
        lambda data: is_packed(data) and unpack_known(data),
        ("db.sql.known_text",),
        seeds=(pack_known(_DOCUMENT),),
    ),
    Target(
        "row-object", _object, ("db.sql.packed_json",), seeds=(json.dumps(_CHECKS).encode(),), allowed=(ValueError,)
    ),
    Target(
        "vllm-models",
        _models,
        ("client.follow.vllm_server", "client.follow.vllm_refusals"),
        seeds=(b'{"data": [{"id": "a", "root": "/x", "parent": "b"}, {"id": "b"}]}', b'{"error": {"message": "no"}}'),
    ),
)
