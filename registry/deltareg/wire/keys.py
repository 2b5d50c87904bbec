"""Keys on the wire: who is enrolled, and what they signed."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Reason, Request
from deltareg.words import KeyRole, KeyState


class KeyEnrol(Request):
    """Enrol a worker with its public key (`ed25519:…`), on its host.

    With `replaces` the key takes the place of the worker's own, which then signs no more.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    key: Annotated[str, Field(max_length=200)]
    host: Annotated[str, Field(max_length=64)] = ""
    replaces: bool = False


class KeyRevoke(Request):
    """Why a key is revoked: nothing counts any more that it signed."""

    reason: Reason


class KeyInfo(Answer):
    """A public key and whose it is.

    What a `retired` key signed counts on; what a `revoked` one signed does not.
    """

    keyid: str
    role: KeyRole
    name: str
    key: str
    host: str = ""
    state: KeyState
    enrolled_at: str
    enrolled_by: str
    retired_at: str | None = None
    revoked_at: str | None = None
    revoked_by: str | None = None
    reason: str = ""


class GateSummary(Answer):
    """What the server signed when a channel was promoted: a DSSE envelope of a SLSA VSA."""

    channel: str
    revision: int
    keyid: str
    envelope: str


class EnvelopeInfo(Answer):
    """A verdict as it was signed: a DSSE envelope, in JSON."""

    verdict: str
    keyid: str
    envelope: str
