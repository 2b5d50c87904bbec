"""Signed tokens of providers, checked: ID tokens, and logout tokens of the back channel.

Signatures, audiences and times are checked by joserfc, what OpenID Connect adds by Authlib. Any
doubt is one error; its text says which claim, and none of the token.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry, extract_compact

from deltareg.documents.json_values import is_object
from deltareg.errors import Unauthenticated
from deltareg.oidc.times import LOGOUT_AGE_S, SKEW_S

_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_TOKEN_MOST = 64 << 10
_LOGOUT_TYPES = {"logout+jwt", "jwt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedToken:
    """What a token has to say of where it is from and whom it is for."""

    issuer: str
    client_id: str
    algorithms: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutToken:
    """A provider's word that somebody has logged out.

    Attributes:
        subject: Who; None if it names a session alone.
        sid: The session; None for all of the subject's.
        jti: Its own id.
        issued_s: When it was said, seconds since the epoch.
    """

    subject: str | None
    sid: str | None
    jti: str
    issued_s: int


def key_named(token: str) -> str | None:
    """Return the key that a token names, before anything is checked.

    Raises:
        Unauthenticated: It is no signed token.
    """
    if len(token) > _TOKEN_MOST:
        raise _refusal("it is too long")
    try:
        kid = extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise _refusal("it is no signed token") from error
    return kid if isinstance(kid, str) else None


def check_id_token(
    token: str, keys: KeySet, expected: ExpectedToken, *, now_s: int, nonce: str | None, access_token: str | None
) -> dict[str, object]:
    """Return the claims of an ID token that says what it must (OpenID Connect Core 1.0, 3.1.3.7).

    Args:
        token: The token.
        keys: The provider's keys.
        expected: Where it is from, and whom it is for.
        now_s: The time, seconds since the epoch.
        nonce: What the browser was sent away with; None for one that comes with a refresh.
        access_token: The access token that came with it.

    Raises:
        Unauthenticated: It does not hold.
    """
    header, claims = _verify(token, keys, expected.algorithms)
    options = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
    }
    params = {"client_id": expected.client_id, "nonce": nonce, "access_token": access_token}
    try:
        CodeIDToken(claims, header, options, params).validate(now=now_s, leeway=SKEW_S)  # pyright: ignore[reportUnknownMemberType]
    except (JoseError, ValueError, TypeError, AttributeError) as error:
        raise _refusal(str(error)) from error
    return claims


def check_logout_token(token: str, keys: KeySet, expected: ExpectedToken, *, now_s: int) -> LogoutToken:
    """Return what a logout token says (OpenID Connect Back-Channel Logout 1.0, 2.6).

    Raises:
        Unauthenticated: It does not hold.
    """
    header, claims = _verify(token, keys, expected.algorithms)
    if str(header.get("typ", "JWT")).lower() not in _LOGOUT_TYPES:
        raise _refusal("it is a token of another type")
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=SKEW_S,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        iat={"essential": True},
        jti={"essential": True},
    )
    try:
        registry.validate(claims)
    except (JoseError, ValueError, TypeError) as error:
        raise _refusal(str(error)) from error
    events = claims.get("events")
    if not is_object(events) or not is_object(events.get(_LOGOUT_EVENT)) or "nonce" in claims:
        raise _refusal("it says nothing of a logout")
    subject, sid, issued = claims.get("sub"), claims.get("sid"), claims["iat"]
    is_named = (isinstance(subject, str) and subject) or (isinstance(sid, str) and sid)
    if not is_named or not isinstance(issued, int | float) or issued < now_s - LOGOUT_AGE_S:
        raise _refusal("it names nobody, or is old")
    return LogoutToken(
        subject=subject if isinstance(subject, str) else None,
        sid=sid if isinstance(sid, str) else None,
        jti=str(claims["jti"])[:255],
        issued_s=int(issued),
    )


def _verify(token: str, keys: KeySet, algorithms: Collection[str]) -> tuple[Mapping[str, object], dict[str, object]]:
    kid = key_named(token)
    same = [key for key in keys if key.kid == kid]
    # Two keys may have one name: the one before and the one after it, or one for each algorithm.
    *others, last = [KeySet([key]) for key in same] if len(same) > 1 else [keys]
    for each in others:
        try:
            return _verify_by(token, each, algorithms)
        except Unauthenticated:
            continue
    return _verify_by(token, last, algorithms)


def _verify_by(token: str, keys: KeySet, algorithms: Collection[str]) -> tuple[Mapping[str, object], dict[str, object]]:
    try:
        # Providers add headers of their own, which are not for us; what must be understood, `crit` names.
        registry = JWSRegistry(algorithms=sorted(algorithms), strict_check_header=False)
        decoded = jwt.decode(token, keys, algorithms=sorted(algorithms), registry=registry)
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _refusal(str(error)) from error
    return decoded.header, decoded.claims


def _refusal(why: str) -> Unauthenticated:
    return Unauthenticated(f"the provider's token does not hold: {why[:120]}", fix="sign in again")
