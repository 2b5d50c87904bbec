"""ID tokens that do not hold, signed by another library than the one that reads them: each is refused."""

import base64
import hashlib
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from deltareg.errors import Forbidden, Misconfigured, Unauthenticated, Unavailable
from deltareg.oidc.key_cache import LEAST_PAUSE_S
from deltareg.oidc.provider import Provider
from deltareg.oidc.provider_file import ProviderSettings
from tests.sign_in.hostile_provider import EC_KEY, OTHER_KEY, RSA_KEY, hostile_provider, public_jwk

PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header, claims, signature=b""):
    """Write a token that no library would sign."""
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature)])


def with_public_key_as_secret(p):
    """Sign by HS256 with the published key, which everybody has."""
    import hmac

    head, body = b64(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()), b64(json.dumps(p.claims()).encode())
    return f"{head}.{body}.{b64(hmac.new(PEM, f'{head}.{body}'.encode(), hashlib.sha256).digest())}"


def cut(token, part, text):
    parts = token.split(".")
    parts[part] = text
    return ".".join(parts)


CLAIMS = {
    "another audience": {"aud": "grafana"},
    "audiences without this one": {"aud": ["grafana", "argo"]},
    "no audience": {"aud": None},
    "several audiences and no azp": {"aud": ["deltareg", "grafana"]},
    "several audiences, for another": {"aud": ["deltareg", "grafana"], "azp": "grafana"},
    "azp of another": {"azp": "grafana"},
    "another issuer": {"iss": "https://evil.example"},
    "the issuer with a slash": {"iss": "SLASH"},
    "no issuer": {"iss": None},
    "expired": {"exp": -120},
    "no expiry": {"exp": None},
    "an expiry that is a text": {"exp": "tomorrow"},
    "expires never": {"exp": float("inf")},
    "issued tomorrow": {"iat": 86_400},
    "no time of issue": {"iat": None},
    "not before tomorrow": {"nbf": 86_400},
    "another nonce": {"nonce": "m"},
    "no nonce": {"nonce": None},
    "nobody": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "a subject that is a list": {"sub": ["s"]},
    "a subject of control characters": {"sub": "s\n"},
    "a subject without end": {"sub": "s" * 300},
    "the hash of another access token": {"at_hash": b64(b"0" * 16)},
}
FORGED = {
    "no algorithm": lambda p: by_hand({"alg": "none"}, p.claims()),
    "no algorithm, in capitals": lambda p: by_hand({"alg": "NONE", "kid": "rsa"}, p.claims()),
    "no signature": lambda p: cut(p.sign(p.claims()), 2, ""),
    "the public key as a secret": with_public_key_as_secret,
    "a secret that all know": lambda p: jwt.encode(p.claims(), "a-secret-of-the-tests" * 2, algorithm="HS256"),
    "another key under this name": lambda p: p.sign(p.claims(), key=OTHER_KEY),
    "a key that nobody published": lambda p: p.sign(p.claims(), key=OTHER_KEY, kid="unknown"),
    "a key that it brings along": lambda p: p.sign(p.claims(), key=OTHER_KEY, jwk=public_jwk(OTHER_KEY, "rsa")),
    "a key that it says where to fetch": lambda p: p.sign(p.claims(), key=OTHER_KEY, jku=f"{p.issuer}/evil"),
    "another algorithm for the key": lambda p: p.sign(p.claims(), key=EC_KEY, algorithm="ES256", kid="rsa"),
    "an algorithm that it does not announce": lambda p: p.sign(p.claims(), algorithm="RS512"),
    "no name of a key, where there are two": lambda p: p.sign(p.claims(), kid=None),
    "an extension that must be understood": lambda p: p.sign(p.claims(), crit=["b64"], b64=False),
    "claims of another": lambda p: cut(p.sign(p.claims()), 1, b64(json.dumps(p.claims(sub="admin")).encode())),
    "a header of another": lambda p: cut(p.sign(p.claims()), 0, b64(b'{"alg":"RS256","kid":"ec"}')),
    "a list for claims": lambda _: jwt.PyJWS().encode(b"[]", RSA_KEY, "RS256", {"kid": "rsa"}),
    "depth without end": lambda _: f"{b64(b'[' * 30_000)}.e30.e30",
    "two parts": lambda p: p.sign(p.claims()).rpartition(".")[0],
    "an encrypted one": lambda _: "e30.e30.e30.e30.e30",
    "nothing": lambda _: "",
    "length without end": lambda p: p.sign(p.claims(padding="x" * 100_000)),
    "no ASCII": lambda _: "é.é.é",
}


@pytest.fixture(scope="module")
def hostile():
    with hostile_provider() as provider:
        yield provider


@pytest.fixture
def provider(hostile):
    return open_provider(hostile)


def open_provider(hostile, **more):
    given = {"name": "acme", "issuer": hostile.issuer, "client_id": "deltareg", "admit": ("*",), "label": "Acme"}
    return Provider(ProviderSettings(**(given | more)))


def redeem(provider, hostile, token, **answer):
    hostile.status, hostile.answer = 200, {"id_token": token, "access_token": "a", **answer}
    return provider.redeem("code", redirect_uri="http://x/", verifier="v" * 43, nonce="n")


@pytest.mark.parametrize(
    ("key", "algorithm", "kid", "change"),
    [
        (RSA_KEY, "RS256", "rsa", {}),
        (EC_KEY, "ES256", "ec", {}),
        (RSA_KEY, "RS256", "rsa", {"aud": ["deltareg", "x"], "azp": "deltareg"}),
        (RSA_KEY, "RS256", "rsa", {"sid": "x", "of_its_own": [1]}),
        (RSA_KEY, "RS256", "rsa", {"iat": 30, "exp": -30}),
        (RSA_KEY, "RS256", "rsa", {"at_hash": b64(hashlib.sha256(b"a").digest()[:16])}),
    ],
    ids=["RS256", "ES256", "azp", "more claims", "clocks apart", "at_hash"],
)
def test_a_token_that_holds_is_taken(hostile, provider, key, algorithm, kid, change):
    answer = redeem(provider, hostile, hostile.sign(hostile.claims(**change), key=key, algorithm=algorithm, kid=kid))

    assert answer.claims.subject == "s"


@pytest.mark.parametrize("change", CLAIMS.values(), ids=CLAIMS)
def test_claims_that_do_not_hold_are_refused(hostile, provider, change):
    if change.get("iss") == "SLASH":
        change = {"iss": f"{hostile.issuer}/"}

    with pytest.raises(Unauthenticated):
        redeem(provider, hostile, hostile.sign(hostile.claims(**change)))


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_refused(hostile, provider, forge):
    with pytest.raises(Unauthenticated):
        redeem(provider, hostile, forge(hostile))


EC_224 = {"kty": "EC", "crv": "P-224", "x": b64(b"x" * 28), "y": b64(b"y" * 28)}
UNREADABLE = {
    "P-224": EC_224,
    "Brainpool": EC_224 | {"crv": "brainpoolP256r1"},
    "a curve that is a list": EC_224 | {"crv": ["P-256"]},
    "a point that is none": EC_224 | {"crv": "P-256"},
    "a modulus that is no number": public_jwk(OTHER_KEY, "x") | {"n": "!!!"},
    "an algorithm that is a number": public_jwk(OTHER_KEY, "x") | {"alg": 7},
    "a type of later": {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"},
    "a type that is a list": {"kty": ["RSA"]},
    "no type": {"n": "AQAB", "e": "AQAB"},
}


@pytest.mark.parametrize("bad", UNREADABLE.values(), ids=UNREADABLE)
def test_a_key_that_cannot_be_read_is_in_nobodys_way_but_its_own(hostile, provider, monkeypatch, bad, caplog):
    monkeypatch.setattr(hostile, "keys", [{**bad, "kid": "bad"}, *hostile.keys])

    for _ in range(2):
        assert redeem(provider, hostile, hostile.sign(hostile.claims())).claims.subject == "s"
    with pytest.raises(Unavailable, match="acme signs with its key bad, which cannot be read") as caught:
        redeem(provider, hostile, hostile.sign(hostile.claims(), key=OTHER_KEY, kid="bad"))

    assert "P-256" in caught.value.fix
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "the key bad of the provider acme cannot be read"
    ]


@pytest.mark.parametrize("kid", [7, ["a"], "", {"a": 1}], ids=str)
def test_a_key_whose_name_is_no_text_is_in_nobodys_way(hostile, provider, monkeypatch, kid):
    monkeypatch.setattr(hostile, "keys", [public_jwk(OTHER_KEY, "x") | {"kid": kid}, None, 7, *hostile.keys])

    assert redeem(provider, hostile, hostile.sign(hostile.claims())).claims.subject == "s"


@pytest.mark.parametrize("x5c", ["junk", ["!!"], 7, []], ids=str)
def test_a_certificate_beside_a_key_may_be_anything(hostile, provider, monkeypatch, x5c):
    monkeypatch.setattr(hostile, "keys", [public_jwk(RSA_KEY, "rsa") | {"x5c": x5c, "x5t": 7, "d": "AA"}])

    assert redeem(provider, hostile, hostile.sign(hostile.claims())).claims.subject == "s"


def test_a_provider_of_which_no_key_can_be_read_is_named_with_the_key(hostile, provider, monkeypatch):
    monkeypatch.setattr(hostile, "keys", [{**EC_224, "kid": "curve"}])

    with pytest.raises(Unavailable, match="its key curve, which cannot be read: KeyError 'P-224'"):
        redeem(provider, hostile, hostile.sign(hostile.claims()))


@pytest.mark.parametrize("order", [1, -1])
def test_two_keys_of_one_name_are_both_tried(hostile, provider, monkeypatch, order):
    twice = [public_jwk(RSA_KEY, "same"), public_jwk(RSA_KEY, "same"), public_jwk(OTHER_KEY, "same")]
    monkeypatch.setattr(hostile, "keys", twice[::order])

    for key in (RSA_KEY, OTHER_KEY):
        token = hostile.sign(hostile.claims(), key=key, kid="same")
        assert redeem(provider, hostile, token).claims.subject == "s"
    with pytest.raises(Unauthenticated):
        redeem(provider, hostile, hostile.sign(hostile.claims(), key=EC_KEY, algorithm="ES256", kid="same"))


@pytest.mark.parametrize("kid", [None, "the-key"])
def test_the_next_key_of_no_name_or_of_the_same_is_fetched_when_it_signs(hostile, provider, monkeypatch, kid):
    def publish(key):
        named = public_jwk(key, kid)
        monkeypatch.setattr(hostile, "keys", [{name: value for name, value in named.items() if value is not None}])

    publish(RSA_KEY)
    assert redeem(provider, hostile, hostile.sign(hostile.claims(), kid=kid)).claims.subject == "s"
    publish(OTHER_KEY)
    hostile.asked.clear()
    token = hostile.sign(hostile.claims(), key=OTHER_KEY, kid=kid)
    with pytest.raises(Unauthenticated):
        redeem(provider, hostile, token)
    provider._keys._asked_at -= LEAST_PAUSE_S  # ten seconds go by

    assert redeem(provider, hostile, token).claims.subject == "s"
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            redeem(provider, hostile, hostile.sign(hostile.claims(), kid=kid))
    assert hostile.asked.count("/jwks") == 1


def test_a_key_that_the_provider_publishes_as_a_secret_is_none(hostile, provider, monkeypatch):
    secret = {"kty": "oct", "kid": "oct", "k": b64(b"k" * 32)}
    monkeypatch.setattr(hostile, "keys", [*hostile.keys, secret])

    with pytest.raises(Unauthenticated):
        redeem(provider, hostile, jwt.encode(hostile.claims(), b"k" * 32, algorithm="HS256", headers={"kid": "oct"}))


def test_unknown_keys_are_fetched_once_in_a_while(hostile, provider):
    token = hostile.sign(hostile.claims(), key=OTHER_KEY, kid="unknown")
    hostile.asked.clear()
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            redeem(provider, hostile, token)

    assert hostile.asked.count("/jwks") == 1
    assert LEAST_PAUSE_S >= 10


def test_what_the_provider_says_elsewhere_is_about_the_same_person(hostile, provider, monkeypatch):
    monkeypatch.setitem(hostile.metadata, "userinfo_endpoint", f"{hostile.issuer}/userinfo")
    token = hostile.sign(hostile.claims())

    monkeypatch.setattr(hostile, "userinfo", {"sub": "s", "preferred_username": "sam", "groups": ["ml"]})
    same = redeem(provider, hostile, token).claims
    monkeypatch.setattr(hostile, "userinfo", {"sub": "other", "groups": ["admins"]})
    with pytest.raises(Unauthenticated, match="somebody else"):
        redeem(provider, hostile, token)

    assert (same.name, same.groups) == ("sam", {"ml"})


def test_a_refresh_names_the_same_person(hostile, provider):
    hostile.status, hostile.answer = 200, {"id_token": hostile.sign(hostile.claims(sub="other")), "access_token": "a"}

    with pytest.raises(Unauthenticated, match="somebody else"):
        provider.refresh("r", subject="s")


@pytest.mark.parametrize(
    ("admit", "claims", "is_in"),
    [
        (("@acme.example",), {"email": "a@acme.example", "email_verified": True}, True),
        (("@Acme.example",), {"email": "a@ACME.example", "email_verified": True}, True),
        (("@acme.example",), {"email": "a@acme.example", "email_verified": False}, False),
        (("@acme.example",), {"email": "a@acme.example", "email_verified": "true"}, False),
        (("@acme.example",), {"email": "a@acme.example"}, False),
        (("@acme.example",), {"email": "a@evil.example", "email_verified": True}, False),
        (("@acme.example",), {"email": "a@acme.example@evil.example", "email_verified": True}, False),
        (("@acme.example",), {"email": "a@sub.acme.example", "email_verified": True}, False),
        (("@",), {"email": "nobody", "email_verified": False}, False),
        (("ml", "ops"), {"groups": ["ops"]}, True),
        (("ml",), {"groups": "ml"}, True),
        (("ml",), {"groups": ["mlx", "*"]}, False),
        (("ml",), {"groups": {"ml": True}}, False),
        (("ml",), {}, False),
    ],
)
def test_who_may_come_in(hostile, admit, claims, is_in):
    provider, token = open_provider(hostile, admit=admit), hostile.sign(hostile.claims(**claims))

    if is_in:
        assert redeem(provider, hostile, token).claims.subject == "s"
    else:
        with pytest.raises(Forbidden):
            redeem(provider, hostile, token)


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (400, {"error": "invalid_grant"}, Unauthenticated),
        (401, {"error": "invalid_client"}, Unavailable),
        (500, {"error": "invalid_grant"}, Unavailable),
        (200, {}, Unauthenticated),
        (200, b"<html>", Unavailable),
        (200, b"[]", Unavailable),
        (200, b'{"a": "' + b"x" * (2 << 20) + b'"}', Unavailable),
        (302, {"error": "moved"}, Unavailable),
        (200, b"\xff\xfe", Unavailable),
    ],
    ids=["ended", "strange", "broken", "empty", "a page", "a list", "endless", "moved", "no text"],
)
def test_what_else_a_provider_may_answer(hostile, provider, status, answer, error):
    hostile.status, hostile.answer = status, answer

    with pytest.raises(error):
        provider.redeem("code", redirect_uri="http://x/", verifier="v" * 43, nonce="n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"issuer": "https://evil.example"}, "calls itself"),
        ({"token_endpoint": "http://evil.example/token"}, "not https"),
        ({"jwks_uri": 7}, "has no jwks_uri"),
        ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "no algorithm"),
        ({"response_types_supported": ["id_token"]}, "code flow"),
        ({"code_challenge_methods_supported": ["plain"]}, "PKCE"),
    ],
)
def test_a_provider_that_does_not_fit_is_refused(hostile, provider, monkeypatch, change, said):
    monkeypatch.setattr(hostile, "metadata", hostile.metadata | change)

    with pytest.raises(Misconfigured, match=said):
        provider.check()


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
def test_a_check_finds_a_secret_that_is_not_the_registrys(hostile, provider, error):
    hostile.status, hostile.answer = 400, {"error": "invalid_grant"}
    provider.check()

    hostile.status, hostile.answer = 401, {"error": error}
    with pytest.raises(Misconfigured, match="does not know this registry"):
        provider.check()


def test_a_header_that_a_provider_adds_is_not_in_the_way(hostile, provider):
    assert redeem(provider, hostile, hostile.sign(hostile.claims(), **{"pi.atm": "1"})).claims.subject == "s"


LOGOUT: dict[str, object] = {"http://schemas.openid.net/event/backchannel-logout": {}}
LOGOUTS = {
    "an ID token": lambda p: p.sign(p.claims()),
    "another audience": lambda p: p.sign(said(p, aud="grafana")),
    "another issuer": lambda p: p.sign(said(p, iss="https://evil.example")),
    "no event": lambda p: p.sign(said(p, events={})),
    "another event": lambda p: p.sign(said(p, events={"https://evil.example/login": {}})),
    "a nonce": lambda p: p.sign(said(p, nonce="n")),
    "nobody and no session": lambda p: p.sign(said(p, sub=None)),
    "no id of its own": lambda p: p.sign(said(p, jti=None)),
    "old": lambda p: p.sign(said(p, iat=-3600)),
    "expired": lambda p: p.sign(said(p, exp=-120)),
    "of tomorrow": lambda p: p.sign(said(p, iat=86_400)),
    "another type": lambda p: p.sign(said(p), typ="at+jwt"),
    "another key": lambda p: p.sign(said(p), key=OTHER_KEY),
    "no algorithm": lambda p: by_hand({"alg": "none"}, said(p)),
    "nothing": lambda _: "",
}


def said(p, **change):
    """Make the claims of a logout token, and change some."""
    return p.claims(**{"nonce": None, "jti": "j-1", "events": LOGOUT} | change)


@pytest.mark.parametrize("forge", LOGOUTS.values(), ids=LOGOUTS)
def test_a_logout_token_that_does_not_hold_is_refused(hostile, provider, forge):
    with pytest.raises(Unauthenticated):
        provider.read_logout(forge(hostile))


def test_a_logout_token_that_holds_is_taken(hostile, provider):
    by_subject = provider.read_logout(hostile.sign(said(hostile), typ="logout+jwt"))
    by_session = provider.read_logout(hostile.sign(said(hostile, sub=None, sid="x")))

    assert (by_subject.subject, by_subject.sid, by_subject.jti) == ("s", None, "j-1")
    assert (by_session.subject, by_session.sid) == (None, "x")
