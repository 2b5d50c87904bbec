"""Trusts, and what needs no token: the exchange of an assertion for one, and pods that become workers."""

import json
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import json_answer
from deltareg.api.parameters import Number
from deltareg.api.problems import MEDIA_TYPE, request_id_of
from deltareg.errors import AssertionRefused
from deltareg.service.access.exchange import trusts as service
from deltareg.service.access.exchange import worker_trusts
from deltareg.service.access.exchange.exchange import ACCESS_TOKEN, GRANT_TYPE, SUBJECT_TYPES, ExchangeRequest, exchange
from deltareg.service.access.exchange.pods import enrol_pod
from deltareg.wire import (
    API,
    Page,
    PodEnrol,
    PodEnrolled,
    TokenExchanged,
    TrustAdd,
    TrustInfo,
    WorkerTrustAdd,
    WorkerTrustInfo,
    describe_problem,
)
from deltareg.words import SCOPES

router = closed_router("access")
open_router = APIRouter(prefix=API, tags=["access"])
_FORM = "application/x-www-form-urlencoded"
_MOST_BYTES = 32 << 10
_MOST_FIELDS = 16
_PRIVATE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_TEXT = {"type": "string"}
_BODY = {
    "required": True,
    "content": {
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["grant_type", "subject_token", "subject_token_type"],
                "properties": {
                    "grant_type": {"const": GRANT_TYPE},
                    "subject_token": _TEXT,
                    "subject_token_type": {"enum": list(SUBJECT_TYPES)},
                    "requested_token_type": {"const": ACCESS_TOKEN},
                    "scope": _TEXT,
                    "trust": {"type": "integer"},
                },
            }
        }
    },
}


@router.get("/trusts")
def list_trusts(
    registry: InRegistry, by: By, namespace: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[TrustInfo]:
    """List the trusts of a namespace; for an admin all there are."""
    namespace = None if namespace is None else by.current_namespace(namespace)
    return service.list_trusts(registry, by, namespace, cursor=cursor, limit=limit)


@router.post("/trusts", status_code=201)
def add_trust(registry: InRegistry, by: By, body: TrustAdd) -> TrustInfo:
    """Let workflows of a repository, a project or another issuer have tokens without a stored secret."""
    now = body.model_copy(update={"namespace": by.current_namespace(body.namespace)})
    return service.add_trust(registry, by, now)


@router.delete("/trusts/{trust_id}")
def end_trust(registry: InRegistry, by: By, trust_id: Number) -> TrustInfo:
    """End a trust, and every token that came of it, at once."""
    return service.end_trust(registry, by, trust_id)


@router.get("/worker-trusts")
def list_worker_trusts(registry: InRegistry, by: By) -> Page[WorkerTrustInfo]:
    """List the service accounts of clusters whose pods are workers."""
    return worker_trusts.list_worker_trusts(registry, by)


@router.post("/worker-trusts", status_code=201)
def add_worker_trust(registry: InRegistry, by: By, body: WorkerTrustAdd) -> WorkerTrustInfo:
    """Let the pods of a service account be workers."""
    return worker_trusts.add_worker_trust(registry, by, body)


@router.delete("/worker-trusts/{trust_id}")
def end_worker_trust(registry: InRegistry, by: By, trust_id: Number) -> WorkerTrustInfo:
    """End such a trust, and the tokens of its workers, at once."""
    return worker_trusts.end_worker_trust(registry, by, trust_id)


@open_router.post("/workers:enrol")
def enrol_worker_pod(request: Request, registry: InRegistry, body: PodEnrol) -> PodEnrolled:
    """Enrol a pod with its key by what its cluster says of it, and give it a token for an hour."""
    return enrol_pod(registry, body, request_id=request_id_of(request))


@open_router.post("/tokens:exchange", response_model=TokenExchanged, openapi_extra={"requestBody": _BODY})
async def exchange_token(request: Request, registry: InRegistry) -> Response:
    """Exchange what a CI says of a workflow for a token, once (RFC 8693)."""
    request_id = request_id_of(request)
    try:
        asked = _read(request.headers.get("Content-Type", ""), await request.body())
        given = await run_in_threadpool(exchange, registry, asked, request_id=request_id)
    except AssertionRefused as error:
        problem = describe_problem(error, request_id=request_id).model_dump()
        body = json.dumps({**problem, "error": error.reason, "error_description": _printable(error.message)})
        return Response(body, problem["status"], _PRIVATE, MEDIA_TYPE)
    return json_answer(given, 200, _PRIVATE)


def _read(kind: str, body: bytes) -> ExchangeRequest:
    """Read the form of a request.

    Raises:
        AssertionRefused: It is no form, or not one of a token exchange.
    """
    fields = _fields(kind, body)
    if fields.get("grant_type") != GRANT_TYPE:
        raise AssertionRefused(f"the grant type is {GRANT_TYPE}", reason="unsupported_grant_type")
    if fields.get("subject_token_type") not in SUBJECT_TYPES or "subject_token" not in fields:
        raise AssertionRefused(f"the form has a subject_token of the type {SUBJECT_TYPES[0]}")
    if fields.get("requested_token_type", ACCESS_TOKEN) != ACCESS_TOKEN or "actor_token" in fields:
        raise AssertionRefused("an access token is given, and nobody acts for anybody else")
    scopes = fields.get("scope", "").split()
    if set(scopes) - set(SCOPES):
        raise AssertionRefused("there is no such scope", reason="invalid_scope", fix=f"scopes: {' '.join(SCOPES)}")
    trust = fields.get("trust", "")
    if trust and not (trust.isascii() and trust.isdecimal() and len(trust) < 16):
        raise AssertionRefused("trust is the number of one", fix="deltareg trust ls NS")
    return ExchangeRequest(fields["subject_token"], tuple(scopes), int(trust) if trust else None)


def _fields(kind: str, body: bytes) -> dict[str, str]:
    """Parse a form, in which no field stands twice; one without a value is as if it were not there."""
    if kind.partition(";")[0].strip().lower() != _FORM or len(body) > _MOST_BYTES:
        raise AssertionRefused(f"the body is a form of at most {_MOST_BYTES} bytes", fix=f"Content-Type: {_FORM}")
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise AssertionRefused("the form cannot be read") from error
    if len({name for name, _ in pairs}) != len(pairs):
        raise AssertionRefused("a field stands in the form twice")
    return {name: value for name, value in pairs if value}


def _printable(text: str) -> str:
    """Write a message in the characters that RFC 6749 allows in a description."""
    allowed = (character if " " <= character <= "~" and character not in '"\\' else "'" for character in text)
    return "".join(allowed)
