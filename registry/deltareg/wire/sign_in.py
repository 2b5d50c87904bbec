"""Signing in with a provider."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.access import Name
from deltareg.wire.messages import Answer, Request


class SignInProvider(Answer):
    """A provider that people sign in with: its name, and what buttons call it."""

    name: str
    label: str


class SignInProviders(Answer):
    """The providers that people sign in with; none where they come with tokens."""

    providers: list[SignInProvider]


class DeviceRequest(Request):
    """A command line that wants to be signed in, and what its machine calls itself."""

    machine: Annotated[str, Field(max_length=64)] = ""


class DeviceRequested(Answer):
    """A request that waits: its secret, and the code that somebody types at `/ui/device` to sign in for it."""

    secret: Annotated[str, Field(repr=False)]
    code: str
    expires_in_s: int
    interval_s: int


class DeviceFetch(Request):
    """The secret of a command line that waits."""

    secret: Annotated[str, Field(repr=False, max_length=100)]


class DeviceAnswer(Answer):
    """Whether a command line still waits, and its token if not; that is shown this once."""

    is_waiting: bool
    token: Annotated[str, Field(repr=False)] = ""


class DeviceWaiting(Answer):
    """A machine that waits to be signed in: what it calls itself, where it asks from, since when."""

    machine: str
    address: str
    since_s: int


class SignInInfo(Answer):
    """A command line that somebody is signed in on: with which provider, since when and until when."""

    id: int
    provider: str
    machine: str
    begun_at: str
    used_at: str | None
    expires_at: str


class IdentityInfo(Answer):
    """Who somebody is at a provider, and the principal that this is here.

    `email` is empty unless the provider has confirmed it.
    """

    id: int
    provider: str
    subject: str
    email: str
    principal: str
    is_disabled: bool
    since: str


class IdentityLink(Request):
    """The person that an identity is to be from now on."""

    principal: Name
