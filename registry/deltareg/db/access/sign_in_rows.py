"""Rows of identities, sign-ins, and what is under way of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """Who somebody is at a provider, and the principal that this is here."""

    id: int
    issuer: str
    subject: str
    email: str
    principal_id: int
    principal: str
    kind: str
    disabled_at: int | None
    created_at: int


@dataclass(frozen=True, slots=True)
class SignInRow:
    """A live sign-in.

    Attributes:
        machine: Where the command line signed in; empty for a browser.
        refresh: What the provider is asked with, sealed; None if it cannot be asked.
    """

    id: int
    identity_id: int
    token_id: int
    provider: str
    machine: str
    refresh: bytes | None
    issuer: str
    subject: str
    principal_id: int
    principal: str
    created_at: int
    checked_at: int
    ends_at: int
    last_used_at: int | None


@dataclass(frozen=True, slots=True)
class SignInAttemptRow:
    """A browser that came back from a provider: where it was sent from, and for which request."""

    id: int
    provider: str
    next: str
    device_id: int | None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A command line that waits for somebody to sign in for it."""

    id: int
    machine: str
    address: str
    created_at: int
    token_id: int | None
    now: int
