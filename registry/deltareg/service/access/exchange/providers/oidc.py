"""Assertions of any other issuer: claims that have to be exactly so, one of them an id for good.

A name may be somebody else's tomorrow, so one claim at least has to be an id; `sub` is often made
of names and never enough.
"""

import re

from deltareg.errors import InvalidInput
from deltareg.service.access.exchange.providers.provider import Claims, Conditions
from deltareg.wire import TrustAdd

_MOST_CLAIMS = 16
_ID = re.compile(r"(.*[^a-z])?[uog]?id", re.IGNORECASE)
_OF_EVERY_ASSERTION = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "azp", "nonce", "at_hash", "sid"})
"""Claims that say nothing of whose assertion it is, or that have a rule of their own."""


class _Oidc:
    """Any issuer of OpenID Connect."""

    def conditions(self, request: TrustAdd) -> dict[str, object]:
        """Bind a trust to exact values of claims."""
        if any((request.source_id, request.owner_id, request.ref, request.environment, request.workflow)):
            raise InvalidInput("those options are for GitHub and GitLab", fix="--claim NAME=VALUE")
        made: dict[str, object] = {**request.claims}
        if not 0 < len(made) <= _MOST_CLAIMS:
            raise InvalidInput(f"a trust names 1 to {_MOST_CLAIMS} claims", fix="--claim NAME=VALUE")
        for name, value in made.items():
            if name in _OF_EVERY_ASSERTION:
                raise InvalidInput(f"{name} says nothing of whose assertion it is", fix="name claims that do")
            if isinstance(value, str) and (not value or "*" in value or "?" in value):
                raise InvalidInput(f"{name} has to be exactly something, not {value[:80]!r}", fix="leave wildcards out")
        if not any(_ID.fullmatch(name) for name in made):
            raise InvalidInput(
                "none of the claims is an id, and a name may be somebody else's tomorrow",
                fix="add one such as --claim organization_id=…; sub alone is not enough",
            )
        return made

    def misfit(self, conditions: Conditions, claims: Claims, *, issuer: str) -> str | None:
        """Compare every pair, of the same type; who does not fit learns nothing."""
        del issuer
        is_fit = all(
            type(claims.get(name)) is type(value) and claims[name] == value for name, value in conditions.items()
        )
        return None if is_fit else ""

    def workflow(self, claims: Claims) -> dict[str, object]:
        """Name whoever it is by `sub`."""
        return {"source": claims.get("sub")}

    def sentence(self, conditions: Conditions, *, note: str) -> str:
        """Say which claims are accepted."""
        pairs = " and ".join(f"{name} = {value}" for name, value in conditions.items())
        return f"what {note or 'the issuer'} says of {pairs}"


OIDC = _Oidc()
