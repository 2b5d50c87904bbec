"""An assertion: what an issuer says of a workflow, as a signed JSON Web Token, and whether it holds.

The signature is checked by joserfc, with one key and one algorithm. All that decides which key and
which claims is checked here and strictly, before and after it: two readers of one text must not see
two things. RFC 7515, RFC 7519, and the advice of RFC 8725.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deltareg.documents.json_values import is_count, is_list
from deltareg.documents.strict_json import parse_object
from deltareg.errors import AssertionRefused, InvalidInput

if TYPE_CHECKING:
    from joserfc import jws

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384")
SKEW_S = 60
"""How far an issuer's clock may be from the database's, seconds."""
MAX_AGE_S = 3600
"""How old an assertion may be, whatever it says of its end, seconds."""
LONGEST_S = 86_400
"""How long one may say that it is valid; what says more was not made for a job, seconds."""
_MOST_BYTES = 16 << 10
_LONGEST_ID = 255
_MIN_RSA_BITS = 2048
_SEGMENT = re.compile(rb"[A-Za-z0-9_-]+")
# `jku`, `x5u`, `jwk` and `x5c` would let an assertion bring its own key, `crit` and `b64` another reading.
_HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
Jwk = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class UnverifiedAssertion:
    """An assertion that was only read: good for finding its issuer's key, and for nothing else.

    Attributes:
        text: All of it.
        issuer: Who it says it is from.
        keyid: Which of the issuer's keys it says it is signed with.
        algorithm: How.
    """

    text: str
    issuer: str
    keyid: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that its issuer has signed and that is valid now.

    Attributes:
        claims: What it says.
        issuer: Who says it.
        audience: Whom it is for.
        digest: What it is known by: its `jti`, or the signed text where it has none.
        expires_at: From when on it is refused for its age alone, in seconds since the epoch.
    """

    claims: Mapping[str, object]
    issuer: str
    audience: str
    digest: str
    expires_at: int


def read_assertion(text: str) -> UnverifiedAssertion:
    """Read an assertion without believing it.

    Raises:
        AssertionRefused: It is none, or it is signed in a way that is not accepted.
    """
    header, claims = (_object(segment) for segment in _segments(text)[:2])
    strange = sorted(header.keys() - _HEADER)
    if strange:
        raise AssertionRefused(f"the assertion's header has {strange[0][:40]!r}, which is not accepted")
    kind, keyid, algorithm, issuer = header.get("typ", "JWT"), header.get("kid"), header.get("alg"), claims.get("iss")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise AssertionRefused(f"this is no ID token: its type is {str(kind)[:40]!r}")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise AssertionRefused(f"the assertion is signed by {str(algorithm)[:40]!r}, which is not accepted")
    if not isinstance(keyid, str) or not 0 < len(keyid) <= _LONGEST_ID:
        raise AssertionRefused("the assertion does not say which key it is signed with")
    if not isinstance(issuer, str):
        raise AssertionRefused("the assertion names no issuer")
    return UnverifiedAssertion(text, issuer, keyid, algorithm)


def verify_assertion(
    read: UnverifiedAssertion, key: Jwk | None, *, now_s: int, may_list_audience: bool = False
) -> Assertion:
    """Check the signature and the times of an assertion.

    Args:
        read: The assertion.
        key: The issuer's key of that id; None if it has none.
        now_s: The time, in seconds since the epoch.
        may_list_audience: Whether the one audience may stand in a list, as Kubernetes writes it.

    Raises:
        AssertionRefused: It is not signed by that key, or not valid now.
    """
    if key is None or not _is_for(key, read.algorithm):
        raise AssertionRefused(f"{read.issuer} has no key {read.keyid[:80]!r} for {read.algorithm}")
    claims = _object_of(_payload(read, key))
    times = {name: _time(claims, name) for name in ("exp", "iat")}
    begins = _time(claims, "nbf") if "nbf" in claims else times["iat"]
    end = min(times["exp"], times["iat"] + MAX_AGE_S) + SKEW_S
    if now_s >= end:
        raise AssertionRefused("the assertion has expired", fix="ask the CI for a new one, and exchange it at once")
    if max(times["iat"], begins) > now_s + SKEW_S:
        raise AssertionRefused("the assertion is from the future", fix="set the clocks of the server and its database")
    if times["exp"] <= times["iat"] or times["exp"] - times["iat"] > LONGEST_S:
        raise AssertionRefused(f"the assertion is valid for longer than {LONGEST_S // 3600} hours, or not at all")
    audience, issuer = _audience(claims, may_be_listed=may_list_audience), claims.get("iss")
    if not isinstance(audience, str):
        raise AssertionRefused("the assertion is not for one audience alone", fix="ask the CI for one audience")
    if issuer != read.issuer:
        raise AssertionRefused("the assertion names two issuers")
    return Assertion(claims, read.issuer, audience, _digest(read, claims), end)


def _segments(text: str) -> list[bytes]:
    data = text.encode("ascii", "replace")
    segments = data.split(b".")
    if len(data) > _MOST_BYTES or len(segments) != 3 or not all(map(_SEGMENT.fullmatch, segments)):
        raise AssertionRefused("this is no signed JSON Web Token", fix="send what the CI gives, as it is")
    return segments


def _object(segment: bytes) -> dict[str, object]:
    try:
        decoded = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except (ValueError, binascii.Error) as error:
        raise AssertionRefused("a part of the assertion is no base64url") from error
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise AssertionRefused("a part of the assertion has two spellings")
    return _object_of(decoded)


def _object_of(data: bytes) -> dict[str, object]:
    try:
        return parse_object(data, what="a part of the assertion")
    except InvalidInput as error:
        raise AssertionRefused(error.message) from error


def _payload(read: UnverifiedAssertion, key: Jwk) -> bytes:
    """Return what is signed, once joserfc has found it to be."""
    from joserfc import jwk, jws  # of the server's extra, and slow to load
    from joserfc.errors import JoseError

    importers: dict[str, Callable[..., jwk.Key]] = {"RSA": jwk.RSAKey.import_key, "EC": jwk.ECKey.import_key}
    public = {name: value for name, value in key.items() if name in {"kty", "n", "e", "crv", "x", "y"}}
    try:
        imported = importers[str(key["kty"])](public)
        if isinstance(imported, jwk.RSAKey) and imported.raw_value.key_size < _MIN_RSA_BITS:
            raise AssertionRefused(f"the key {read.keyid[:80]!r} of {read.issuer} is shorter than {_MIN_RSA_BITS} bits")
        return jws.deserialize_compact(read.text, imported, [read.algorithm], _registry(read.algorithm)).payload
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise AssertionRefused(
            f"the assertion is not signed by the key {read.keyid[:80]!r} of {read.issuer}"
        ) from error


def _registry(algorithm: str) -> "jws.JWSRegistry":
    from joserfc import jws

    return jws.JWSRegistry(algorithms=[algorithm])


def _is_for(key: Jwk, algorithm: str) -> bool:
    """Whether a key is one for signatures by this algorithm, as far as it says."""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
    curves = {"ES256": "P-256", "ES384": "P-384"}
    return (
        key.get("kty") == kinds[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (algorithm not in curves or key.get("crv") == curves[algorithm])
    )


def _audience(claims: Mapping[str, object], *, may_be_listed: bool) -> object:
    audience = claims.get("aud")
    return audience[0] if may_be_listed and is_list(audience) and len(audience) == 1 else audience


def _time(claims: Mapping[str, object], name: str) -> int:
    value = claims.get(name)
    if not is_count(value, below=1 << 40):
        raise AssertionRefused(f"the assertion's {name} is no time in whole seconds")
    return value


def _digest(read: UnverifiedAssertion, claims: Mapping[str, object]) -> str:
    """Return what an assertion is known by once it was used.

    Where it has no `jti` that is what is signed, and not all of the text: a signature of ECDSA has a
    twin that verifies as well.
    """
    if "jti" in claims:
        jti = claims["jti"]
        if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_ID:
            raise AssertionRefused("the assertion's jti is no id")
        known_by = f"jti\0{read.issuer}\0{jti}"
    else:
        known_by = f"text\0{read.issuer}\0{read.text.rpartition('.')[0]}"
    return f"sha256:{hashlib.sha256(known_by.encode()).hexdigest()}"
