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
    """A request that reads, with a token that is still to be looked at."""

    registry: Registry
    token: str | None
    request_id: str

    def __call__(
        self,
        look: Callable[[sa.Connection, str], tuple[LiveTokenRow | None, F]],
        act: Callable[[sa.Connection, Caller, F], T],
    ) -> T:
        """Find the caller with what they ask for, and answer them (`tokens.answer_to`).

        Raises:
            Unauthenticated: The token is nobody's; nothing is told then.
        """
        if self.token is None:
            return answer_anybody(self.registry, self._unread(look, act), request_id=self.request_id)
        return answer_to(self.registry, self.token, look, act, request_id=self.request_id)

    @staticmethod
    def _unread(
        look: Callable[[sa.Connection, str], tuple[LiveTokenRow | None, F]],
        act: Callable[[sa.Connection, Caller, F], T],
    ) -> Callable[[sa.Connection, Caller], T]:
        """Answer without what would have been found beside a token: no token has this hash."""
        return lambda conn, caller: act(conn, caller, look(conn, "")[1])


async def registry_of(request: Request) -> Registry:
    """Give the registry that the app was made for."""
    return state_of(request).registry


def authenticate(
    request: Request,
    registry: Annotated[Registry, Depends(registry_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_scheme)],
) -> Caller:
    """Find the caller by the request's token.

    Raises:
        Unauthenticated: There is none, or nobody's.
    """
    if credentials is None:
        if not is_open_to_anybody(request):
            raise needs_token()
        return answer_anybody(registry, lambda _conn, caller: caller, request_id=request_id_of(request))
    return authenticate_token(registry, credentials.credentials, request_id=request_id_of(request))


async def reading(request: Request) -> ReadRequest:
    """Let a route find the caller and what is asked for over one connection to the database.

    The route has no caller before it has called what this gives, which is closed as well. It asks
    for nothing that FastAPI would have to find out first: that takes longer than the answer does.

    Raises:
        Unauthenticated: No token came; or, from the call, it is nobody's.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return ReadRequest(await registry_of(request), token, request_id_of(request))
    if not is_open_to_anybody(request):
        raise needs_token()
    return ReadRequest(await registry_of(request), None, request_id_of(request))


def is_open_to_anybody(request: Request) -> bool:
    """Whether a request without any word on who asks may read what is public.

    One that says who asks in another way than by a token is refused, as it is everywhere else.
    """
    is_allowed = state_of(request).anonymous_reading
    return is_allowed and request.method == "GET" and "Authorization" not in request.headers


InRegistry = Annotated[Registry, Depends(registry_of)]
By = Annotated[Caller, Depends(authenticate)]
SECURITY: dict[str, object] = {"security": [{_scheme.scheme_name: []}]}
"""What the OpenAPI document says of a route that is called with `ByReading`."""
ByReading = Annotated[ReadRequest, Depends(reading)]
