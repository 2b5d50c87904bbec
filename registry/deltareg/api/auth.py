"""Who is asking: a bearer token on every route of the API, never a cookie.

The router that holds all routes depends on `authenticate`, so a route that forgets about access is
closed, not open. What a token allows is decided by the use case it calls.
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from deltareg.api.problems import request_id_of
from deltareg.errors import Unauthenticated
from deltareg.service.access.tokens import authenticate as authenticate_token
from deltareg.service.registry import Caller, Registry

_scheme = HTTPBearer(auto_error=False, description="A token of `deltareg token create`.")


def registry_of(request: Request) -> Registry:
    """Give the registry that the app was made for."""
    registry: object = request.app.state.registry
    if not isinstance(registry, Registry):
        raise TypeError("the app has no registry")
    return registry


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
        raise Unauthenticated(
            "this needs a token", fix="run `deltareg auth login`, or set DELTAREG_TOKEN"
        )
    return authenticate_token(registry, credentials.credentials, request_id=request_id_of(request))


InRegistry = Annotated[Registry, Depends(registry_of)]
By = Annotated[Caller, Depends(authenticate)]
