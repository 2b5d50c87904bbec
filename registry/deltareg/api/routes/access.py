"""The caller, the server, tokens, sessions, keys, and the audit trail."""

from typing import Annotated

from fastapi import Depends, Request, Response

from deltareg import __version__
from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import json_answer
from deltareg.api.parameters import Number
from deltareg.service.access import audit as audit_service
from deltareg.service.access import keeping, keys, making, sessions
from deltareg.service.access import tokens as service
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import SHARED
from deltareg.service.push.doubts import doubt_proofs
from deltareg.service.registry import PACK_BYTES_MAX
from deltareg.service.runs.reverify import queue_reverification
from deltareg.service.runs.second_look import count_disputes
from deltareg.suites.suite import built_in_names
from deltareg.wire import (
    AuditRow,
    KeyEnrol,
    KeyInfo,
    KeyRevoke,
    Meta,
    Page,
    SessionInfo,
    SessionOpened,
    TokenCreate,
    TokenCreated,
    TokenInfo,
    TokenRenew,
    WhoAmI,
)

router = closed_router("access")


@router.get("/whoami")
def whoami(registry: InRegistry, by: By) -> WhoAmI:
    """Say whose token came with the request, and what it allows."""
    return service.whoami(registry, by)


@router.get("/meta")
def meta(request: Request, registry: InRegistry, by: By) -> Meta:
    """Say what this server is."""
    by.require(Right.READ, on=SHARED)
    return Meta(
        version=__version__,
        database=registry.engine.dialect.name,
        store=state_of(request).store_kind,
        pack_bytes_max=PACK_BYTES_MAX,
        suites=list(built_in_names()),
        disputes=count_disputes(registry),
    )


@router.get("/tokens")
def list_tokens(registry: InRegistry, by: By, cursor: str | None = None, limit: int = 50) -> Page[TokenInfo]:
    """List the tokens that one may see, newest first, without secrets."""
    return keeping.list_tokens(registry, by, cursor=cursor, limit=limit)


@router.post("/tokens", status_code=201, response_model=TokenCreated)
def create_token(registry: InRegistry, by: By, body: TokenCreate) -> Response:
    """Make a token for a named principal; its secret is in this answer and nowhere else."""
    created = making.create_token(registry, by, body)
    return json_answer(created, 201, {"Cache-Control": "no-store"})


@router.post("/tokens:renew", status_code=201, response_model=TokenCreated)
def renew_token(registry: InRegistry, by: By, body: TokenRenew) -> Response:
    """Replace the token of the request by a new one; its secret is in this answer and nowhere else."""
    return json_answer(keeping.renew_token(registry, by, body), 201, {"Cache-Control": "no-store"})


@router.post("/tokens/{token_id}:revoke")
def revoke_token(registry: InRegistry, by: By, token_id: Number) -> TokenInfo:
    """Revoke a token at once, with what took its place and what was made with it."""
    return keeping.revoke_token(registry, by, token_id)


@router.post("/sessions", status_code=201, response_model=SessionOpened)
def open_session(registry: InRegistry, by: By) -> Response:
    """Make a code that a browser logs in with as the token's owner, once and within a minute."""
    return json_answer(sessions.open_session(registry, by), 201, {"Cache-Control": "no-store"})


@router.get("/sessions")
def list_sessions(registry: InRegistry, by: By) -> Page[SessionInfo]:
    """List the browsers that the token's owner is logged in with."""
    return sessions.list_sessions(registry, by)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(registry: InRegistry, by: By, session_id: Number) -> None:
    """Log a browser of the token's owner out."""
    sessions.end_session(registry, by, session_id)


@router.get("/keys")
def list_keys(registry: InRegistry, by: By) -> Page[KeyInfo]:
    """List the public keys of workers and servers, ended ones too, so that anybody can verify."""
    return keys.list_keys(registry, by)


@router.post("/keys", status_code=201)
def enrol_worker(registry: InRegistry, by: By, body: KeyEnrol) -> KeyInfo:
    """Enrol a worker with its public key, or let a new one take the place of its key."""
    return keys.enrol_worker(registry, by, body)


@router.post("/keys/{keyid}:revoke")
def revoke_key(registry: InRegistry, by: By, keyid: str, body: KeyRevoke) -> KeyInfo:
    """Revoke a key: nothing counts any more that it signed."""
    revoked = keys.revoke_key(registry, by, keyid, body)
    doubt_proofs(registry, by, keyid)
    queue_reverification(registry)  # of what rests on it and is served
    return revoked


@router.get("/audit")
def list_audit(
    registry: InRegistry,
    by: By,
    query: Annotated[audit_service.AuditQuery, Depends()],
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AuditRow]:
    """List who did what, newest first; in one namespace for its owners."""
    return audit_service.list_audit(registry, by, query, cursor=cursor, limit=limit)
