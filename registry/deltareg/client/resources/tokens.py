"""Tokens: which principal may do what."""

from collections.abc import Sequence

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import Page, Scope, SessionOpened, TokenCreate, TokenCreated, TokenInfo, TokenRenew, request_of


class Tokens(Resource):
    """The tokens of a registry: all for its administrators, for others those that are theirs."""

    __slots__ = ()

    def create(self, request: TokenCreate) -> TokenCreated:
        """Create a token for a named principal; the secret is shown only this once."""
        return self._context.api.post("/tokens", request, TokenCreated)

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[TokenInfo]:
        """List tokens, without their secrets."""
        return self._list("/tokens", Page[TokenInfo], cursor=cursor, limit=limit)

    def revoke(self, token_id: int) -> TokenInfo:
        """Revoke a token at once."""
        return self._context.api.post(f"/tokens/{token_id}:revoke", None, TokenInfo)

    def renew(self, scopes: Sequence[Scope] | None = None) -> TokenCreated:
        """Replace the client's own token by a new one, for the same scopes or for some; the secret is shown once.

        The old token, which the client goes on using, is valid for another hour at most.
        """
        body = request_of(TokenRenew, scopes=None if scopes is None else list(scopes))
        return self._context.api.post("/tokens:renew", body, TokenCreated)

    def open_session(self) -> SessionOpened:
        """Create a code that a browser logs in with, as the owner of the client's token."""
        return self._context.api.post("/sessions", None, SessionOpened)
