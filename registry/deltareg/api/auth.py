"""Who is asking: a bearer token on every route of the API, never a cookie.

The router that holds all routes depends on `authenticate`, so a route that forgets about access is
closed, not open. What a token allows is decided by the use case it calls.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deltareg.api.app_state import state_of
from deltareg.api.problems import request_id_of
from deltareg.db.access.rows import LiveTokenRow
from deltareg.service.access.tokens import answer_anybody, answer_to
from deltareg.service.access.tokens import authenticate as authenticate_token
from deltareg.service.registry import Caller, Registry, needs_token

F = TypeVar("F")
T = TypeVar("T")
_scheme = HTTPBearer(auto_error=False, description="A token of `deltareg token create`.")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A reading request, whose token has not been checked yet."""

    registry: Registry
    token: str | None
    request: Request

    def __call__(
        self,
        look: Callable[[sa.Connection, str], tuple[LiveTokenRow | None, F]],
        act: Callable[[sa.Connection, Caller, F], T],
    ) -> T:
        """Look up the caller together with the requested rows, and answer (`tokens.answer_to`).

        Raises:
            Unauthenticated: The token is not valid; the answer reveals nothing else.
        """
        request_id = request_id_of(self.request)
        if self.token is None:
            return answer_anybody(self.registry, self._unread(look, act), request_id=request_id)

        def note_and_act(conn: sa.Connection, caller: Caller, found: F) -> T:
            self.request.state.principal_id = caller.principal_id
            self.request.state.principal_name = caller.principal
            return act(conn, caller, found)

        return answer_to(self.registry, self.token, look, note_and_act, request_id=request_id)

    @staticmethod
    def _unread(
        look: Callable[[sa.Connection, str], tuple[LiveTokenRow | None, F]],
        act: Callable[[sa.Connection, Caller, F], T],
    ) -> Callable[[sa.Connection, Caller], T]:
        """Return what answers without a token: no token has the hash that it looks up."""
        return lambda conn, caller: act(conn, caller, look(conn, "")[1])


async def registry_of(request: Request) -> Registry:
    """Return the registry that the app serves."""
    return state_of(request).registry


def authenticate(
    request: Request,
    registry: Annotated[Registry, Depends(registry_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)],
) -> Caller:
    """Return the caller that the request's token belongs to.

    Raises:
        Unauthenticated: There is no token, or it is not valid.
    """
    if credentials is None:
        if not is_open_to_anybody(request):
            raise needs_token()
        return answer_anybody(registry, lambda _conn, caller: caller, request_id=request_id_of(request))
    caller = authenticate_token(registry, credentials.credentials, request_id=request_id_of(request))
    request.state.principal_id = caller.principal_id
    request.state.principal_name = caller.principal
    return caller


async def reading(request: Request) -> ReadRequest:
    """Let a route read the caller and the requested rows over one connection to the database.

    The route has no caller until it calls the returned object, which also refuses an invalid token.
    This depends on nothing that FastAPI would have to resolve first: that takes longer than the
    answer does.

    Raises:
        Unauthenticated: The request has no token; or, from the call, the token is not valid.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return ReadRequest(await registry_of(request), token, request)
    if not is_open_to_anybody(request):
        raise needs_token()
    return ReadRequest(await registry_of(request), None, request)


def is_open_to_anybody(request: Request) -> bool:
    """Whether a request without credentials may read public content.

    A request with credentials other than a token is refused, as everywhere else.
    """
    is_allowed = state_of(request).anonymous_reading
    return is_allowed and request.method == "GET" and "Authorization" not in request.headers


InRegistry = Annotated[Registry, Depends(registry_of)]
By = Annotated[Caller, Depends(authenticate)]
SECURITY: dict[str, object] = {"security": [{_scheme.scheme_name: []}]}
"""What the OpenAPI document says of a route that is called with `ByReading`."""
ByReading = Annotated[ReadRequest, Depends(reading)]
