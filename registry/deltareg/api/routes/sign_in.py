"""Signing command lines in, and who is who at the providers.

What a command line asks before it has a token needs none: which providers there are, and whether
somebody has signed in for it.
"""

from fastapi import APIRouter, Request, Response

from deltareg.api.app_state import state_of
from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import json_answer
from deltareg.api.overload.address import client_address
from deltareg.api.parameters import Number
from deltareg.service.access.sign_in import devices, ending, linking
from deltareg.service.access.sign_in.providers import list_providers
from deltareg.wire import API, Page
from deltareg.wire.sign_in import (
    DeviceAnswer,
    DeviceFetch,
    DeviceRequest,
    DeviceRequested,
    IdentityInfo,
    IdentityLink,
    SignInProviders,
)

open_router = APIRouter(prefix=API, tags=["sign-in"])
router = closed_router("sign-in")
_ONCE = {"Cache-Control": "no-store"}


@open_router.get("/sign-in")
def show_providers(registry: InRegistry) -> SignInProviders:
    """List the providers that people sign in with; none where they come with tokens."""
    return SignInProviders(providers=list_providers(registry))


@open_router.post("/sign-in/devices", status_code=201, response_model=DeviceRequested)
def ask_for_device(request: Request, registry: InRegistry, body: DeviceRequest) -> Response:
    """Let a command line wait until its person types a code into a browser and signs in."""
    address = client_address(request.scope, proxies=state_of(request).proxies)
    return json_answer(devices.ask_for_device(registry, body, address=address), 201, _ONCE)


@open_router.post("/sign-in/devices:fetch", response_model=DeviceAnswer)
def fetch_token(registry: InRegistry, body: DeviceFetch) -> Response:
    """Say whether a command line still waits, and give it its token once if not."""
    return json_answer(devices.fetch_token(registry, body.secret), 200, _ONCE)


@router.post("/sign-in:end", status_code=204)
def end_sign_in(registry: InRegistry, by: By) -> None:
    """End the sign-in that the request came with."""
    ending.end_own_sign_in(registry, by)


@router.get("/identities")
def list_identities(registry: InRegistry, by: By, cursor: str | None = None, limit: int = 50) -> Page[IdentityInfo]:
    """List who has signed in with a provider, newest first."""
    return linking.list_identities(registry, by, cursor=cursor, limit=limit)


@router.post("/identities/{identity_id}:link")
def link_identity(registry: InRegistry, by: By, identity_id: Number, body: IdentityLink) -> IdentityInfo:
    """Let an identity be another person from now on; where it is signed in, it has to sign in again."""
    return linking.link_identity(registry, by, identity_id, body)
