"""What a provider says of itself, at `/.well-known/openid-configuration`."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.documents.json_values import is_list
from deltareg.errors import Misconfigured
from deltareg.host.urls import split_url
from deltareg.oidc.asking import ask
from deltareg.oidc.provider_file import ProviderSettings, is_loopback

_WELL_KNOWN = "/.well-known/openid-configuration"
_ASKED_IF_KNOWN = ("groups", "offline_access")
ALGORITHMS = frozenset(
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
)
"""The algorithms by which only the provider can sign; with those by a shared secret the registry could too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderMetadata:
    """What a registry needs to know of a provider.

    Attributes:
        authorization: Where browsers are sent.
        token: Where codes are redeemed.
        keys: Where its public keys are.
        userinfo: Where claims are that the ID token lacks; empty if nowhere.
        scopes: The scopes to ask for.
        algorithms: How it may sign.
        is_post: Whether the secret is sent in the body, as it does not take it in the header.
        names_itself: Whether its answers say who they are from (RFC 9207).
    """

    authorization: str
    token: str
    keys: str
    userinfo: str
    scopes: tuple[str, ...]
    algorithms: frozenset[str]
    is_post: bool
    names_itself: bool


def fetch_metadata(settings: ProviderSettings) -> ProviderMetadata:
    """Ask a provider what it is.

    Raises:
        Unavailable: It does not answer.
        Misconfigured: It is another one, or cannot be used.
    """
    url = settings.issuer.rstrip("/") + _WELL_KNOWN
    status, found = ask("GET", url, provider=settings.name)
    if status != 200:
        raise _unfit(settings, f"{url} answered {status}")
    if found.get("issuer") != settings.issuer:
        raise _unfit(settings, f"it calls itself {str(found.get('issuer'))[:120]!r}, not {settings.issuer!r}")
    algorithms = ALGORITHMS & set(_texts(found, "id_token_signing_alg_values_supported") or ["RS256"])
    if not algorithms:
        raise _unfit(settings, "it signs ID tokens by no algorithm that only it can sign by")
    if "code" not in _texts(found, "response_types_supported"):
        raise _unfit(settings, "it does not know the authorization code flow")
    challenges = _texts(found, "code_challenge_methods_supported")
    if challenges and "S256" not in challenges:
        raise _unfit(settings, "it does not know PKCE with S256")
    methods = _texts(found, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return ProviderMetadata(
        authorization=_address(settings, found, "authorization_endpoint"),
        token=_address(settings, found, "token_endpoint"),
        keys=_address(settings, found, "jwks_uri"),
        userinfo=_address(settings, found, "userinfo_endpoint") if "userinfo_endpoint" in found else "",
        scopes=settings.scopes or _suggest_scopes(_texts(found, "scopes_supported")),
        algorithms=algorithms,
        is_post="client_secret_basic" not in methods,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _suggest_scopes(known: list[str]) -> tuple[str, ...]:
    return ("openid", "profile", "email", *(scope for scope in _ASKED_IF_KNOWN if scope in known))


def _address(settings: ProviderSettings, found: Mapping[str, object], key: str) -> str:
    url = found.get(key)
    if not isinstance(url, str) or not split_url(url).hostname or not url.isprintable():
        raise _unfit(settings, f"its metadata has no {key}")
    if split_url(url).scheme != "https" and not (is_loopback(url) and is_loopback(settings.issuer)):
        raise _unfit(settings, f"its {key} is not https")
    return url


def _texts(found: Mapping[str, object], key: str) -> list[str]:
    value = found.get(key)
    return [each for each in value if isinstance(each, str)] if is_list(value) else []


def _unfit(settings: ProviderSettings, why: str) -> Misconfigured:
    return Misconfigured(
        f"the provider {settings.name} does not fit: {why}", fix=f"compare [{settings.name}] in DELTAREG_OIDC with it"
    )
