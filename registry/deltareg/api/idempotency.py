"""`Idempotency-Key`: the same request sent again gets the same answer, and acts once."""

import hashlib
from collections.abc import Callable
from functools import partial

import sqlalchemy as sa
from fastapi import Request, Response
from pydantic import BaseModel

from deltareg.db.access import idempotency as queries
from deltareg.db.session import read, with_retry
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.service.registry import Caller, Registry

_MAX_KEY = 200
Keep = Callable[[sa.Connection, BaseModel], None]
"""Keeps an answer, in the transaction that it is called in."""


def once(
    request: Request, registry: Registry, caller: Caller, body: BaseModel, act: Callable[[], BaseModel]
) -> Response:
    """Act, or return the stored answer if this key was answered within the last 24 hours.

    `act` must itself be safe to repeat; the key adds that a repeated request gets the same answer.

    Raises:
        InvalidInput: The key was used for another request.
    """

    def act_and_keep(keep: Keep | None) -> BaseModel:
        answer = act()
        if keep is not None:
            with_retry(registry.engine, lambda conn: keep(conn, answer))
        return answer

    return once_and_kept(request, registry, caller, body, act_and_keep)


def once_and_kept(
    request: Request, registry: Registry, caller: Caller, body: BaseModel, act: Callable[[Keep | None], BaseModel]
) -> Response:
    """Do the same for an act that is not safe to repeat: `act` stores its own answer.

    `act` calls its argument within its own transaction, so that the act and its answer are stored
    together or not at all, wherever the process ends. It gets None when the request has no key.

    Raises:
        InvalidInput: The key was used for another request.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return Response(act(None).model_dump_json(), media_type="application/json")
    if not 1 <= len(key) <= _MAX_KEY:
        raise InvalidInput(f"Idempotency-Key must have 1 to {_MAX_KEY} characters")
    # By one token: another of the same principal may be for less than what was answered.
    request_text = f"{request.method} {request.url.path} {caller.token_id}\n{body.model_dump_json()}"
    digest = hashlib.sha256(request_text.encode()).hexdigest()
    replayed = _replay_answer(registry, caller, key, digest)
    if replayed is not None:
        return replayed
    try:
        answer = act(partial(_keep, caller, key, digest)).model_dump_json().encode()
    except DeltaregError:
        # The first request may have been at work still when this one came, and be done by now.
        replayed = _replay_answer(registry, caller, key, digest)
        if replayed is not None:
            return replayed
        raise
    return Response(answer, media_type="application/json")


def _keep(caller: Caller, key: str, digest: str, conn: sa.Connection, answer: BaseModel) -> None:
    queries.keep_answer(
        conn,
        principal_id=caller.principal_id,
        key=key,
        request_digest=digest,
        status=200,
        body=answer.model_dump_json().encode(),
        headers={},
    )


def _replay_answer(registry: Registry, caller: Caller, key: str, digest: str) -> Response | None:
    with read(registry.engine) as conn:
        row = queries.kept_answer(conn, principal_id=caller.principal_id, key=key)
    if row is None:
        return None
    if row.request_digest != digest:
        raise InvalidInput("this Idempotency-Key was used for another request", fix="send a new key")
    headers = {"Idempotent-Replay": "true"}
    return Response(bytes(row.body), row.status, headers, "application/json")
