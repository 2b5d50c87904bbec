"""Finds the caller of a hub request: our own tokens, sent as the hub's clients send theirs."""

from typing import Annotated

from fastapi import Depends, Request

from deltareg.api.app_state import state_of
from deltareg.api.auth import InRegistry
from deltareg.api.problems import request_id_of
from deltareg.errors import Unauthenticated
from deltareg.service.access.tokens import answer_anybody, authenticate
from deltareg.service.registry import Caller

_OF_THE_HUB = "hf_"
_FIX = "set HF_TOKEN to a token of this registry: deltareg token create"


def caller_of(request: Request, registry: InRegistry) -> Caller:
    """Return the caller that the token belongs to, before anything else is looked up.

    Raises:
        Unauthenticated: The token is not valid here, or there is none and reading needs one.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if token.startswith(_OF_THE_HUB):  # a secret that is not for us: neither hashed nor logged
        raise Unauthenticated(
            "this is a personal token of the Hugging Face Hub, and it should not be sent here", fix=_FIX
        )
    if scheme.lower() == "bearer" and token:
        try:
            caller = authenticate(registry, token, request_id=request_id_of(request))
        except Unauthenticated as error:
            raise Unauthenticated(error.message, fix=_FIX) from error
        request.state.principal_id = caller.principal_id
        request.state.principal_name = caller.principal
        return caller
    if scheme or not state_of(request).anonymous_reading:
        raise Unauthenticated("this registry is read with a token, and none came", fix=_FIX)
    return answer_anybody(registry, lambda _conn, caller: caller, request_id=request_id_of(request))


By = Annotated[Caller, Depends(caller_of)]
