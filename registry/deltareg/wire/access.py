"""Principals, tokens and what the server says of itself."""

from typing import Annotated, Literal

from pydantic import Field

from deltareg.wire.messages import API, Answer, Request, Text

Scope = Literal["read", "push", "promote", "approve", "verify", "serve", "break-glass", "admin"]
TokenKind = Literal["pat", "ci", "wrk"]


class WhoAmI(Answer):
    """Whose token this is."""

    principal: str
    kind: str
    scopes: list[Scope]
    token_id: int
    expires_at: str | None


class Meta(Answer):
    """What this server is and allows.

    `disputes` counts the verdicts that a second worker did not find, until a key of the two is
    revoked.
    """

    version: str
    api: str = API
    database: str
    store: str
    pack_bytes_max: int
    suites: list[str]
    disputes: int = 0


class TokenCreate(Request):
    """A new token for a named principal."""

    principal: Annotated[str, Field(max_length=64)]
    kind: TokenKind = "pat"
    scopes: list[Scope] = ["read"]
    expires_in_s: Annotated[int, Field(gt=0, le=366 * 86_400)] = 90 * 86_400
    note: Text = ""


class TokenInfo(Answer):
    """A token without its secret."""

    id: int
    display: str
    principal: str
    kind: TokenKind
    scopes: list[Scope]
    note: str
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class TokenCreated(TokenInfo):
    """A token with its secret, shown this once."""

    token: Annotated[str, Field(repr=False)]
