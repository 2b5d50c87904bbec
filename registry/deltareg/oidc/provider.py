"""One provider: where browsers are sent, what comes back, and whether somebody is still signed in."""

# Authlib's client says half of its types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from joserfc.jwk import KeySet

from deltareg.errors import InvalidInput, Misconfigured, Unauthenticated, Unavailable
from deltareg.oidc.asking import ask
from deltareg.oidc.claims import Claims, check_admitted, read_claims
from deltareg.oidc.key_cache import KeyCache
from deltareg.oidc.metadata import ProviderMetadata, fetch_metadata
from deltareg.oidc.provider_file import ProviderSettings
from deltareg.oidc.tokens import ExpectedToken, LogoutToken, check_id_token, check_logout_token, key_named

T = TypeVar("T")
_METADATA_S = 3600.0
_RETRY_S = 5.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_NOBODYS = "a-code-that-nobody-has"
_STRANGE = ("invalid_client", "unauthorized_client")


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """What a provider says of somebody, and what it is asked with again; None if it cannot be."""

    claims: Claims
    refresh_token: str | None


class Provider:
    """A provider; may be shared by threads. What it says of itself is asked on first use."""

    def __init__(self, settings: ProviderSettings, *, now: Callable[[], float] = time.time) -> None:
        """Prepare; nothing is asked yet.

        Args:
            settings: What the file of providers says.
            now: Gives the time, seconds since the epoch.
        """
        self.settings = settings
        self._now = now
        self._lock = threading.Lock()
        self._keys = KeyCache(settings.name)
        self._metadata: ProviderMetadata | None = None
        self._failure: Misconfigured | Unavailable | None = None
        self._asked_at = float("-inf")

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.name

    def check(self) -> None:
        """Ask for its metadata and keys, and with a code that nobody has whether it knows the registry.

        Raises:
            Misconfigured: It does not fit, or does not know the registry by this id and secret.
            Unavailable: It does not answer.
        """
        metadata = fetch_metadata(self.settings)
        self._keys.keys(metadata.keys, None)
        body = prepare_token_request("authorization_code", code=_NOBODYS, redirect_uri=self.settings.issuer)
        _, answer = self._send(metadata, body)
        if answer.get("error") in _STRANGE:
            raise Misconfigured(
                f"the provider {self.name} does not know this registry: {answer['error']}",
                fix=f"compare client_id and client_secret_file of [{self.name}] in DELTAREG_OIDC with it",
            )

    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str, nonce: str) -> str:
        """Return where a browser is sent to sign in: the code flow with PKCE (RFC 7636).

        Raises:
            Unavailable: The provider does not say where.
        """
        metadata = self._get_metadata()
        client = self._client(redirect_uri)
        url, _ = client.create_authorization_url(
            metadata.authorization, state, code_verifier=verifier, nonce=nonce, scope=" ".join(metadata.scopes)
        )
        return str(url)

    def check_sender(self, issuer: str | None) -> None:
        """Refuse an answer that says it is from another provider (RFC 9207).

        Raises:
            Unauthenticated: It is, or it does not say and this one always does.
        """
        if issuer != self.settings.issuer and (issuer is not None or self._get_metadata().names_itself):
            raise Unauthenticated("another provider sent you back", fix="sign in again")

    def redeem(self, code: str, *, redirect_uri: str, verifier: str, nonce: str) -> ProviderAnswer:
        """Redeem a code; return who it is.

        Raises:
            Unauthenticated: The code is not good, or the ID token does not hold.
            Forbidden: They may not come in.
            Unavailable: The provider does not answer.
        """
        body = prepare_token_request("authorization_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)
        answer = self._post(body, ended={"invalid_grant", "invalid_request"})
        if not isinstance(answer.get("id_token"), str):
            raise Unauthenticated(f"{self.name} sent no ID token", fix="let its client have the scope openid")
        return self._read(answer, nonce=nonce, subject=None)

    def refresh(self, refresh_token: str, *, subject: str) -> ProviderAnswer:
        """Ask whether somebody is still signed in, and what their groups are now.

        Raises:
            Unauthenticated: They are not.
            Forbidden: They may not come in any more.
            Unavailable: The provider does not answer.
        """
        body = prepare_token_request("refresh_token", refresh_token=refresh_token)
        answer = self._post(body, ended={"invalid_grant"})
        renewed = self._read(answer, nonce=None, subject=subject)
        return ProviderAnswer(renewed.claims, renewed.refresh_token or refresh_token)

    def read_logout(self, token: str) -> LogoutToken:
        """Check a logout token.

        Raises:
            Unauthenticated: It does not hold.
            Unavailable: The provider's keys cannot be had.
        """
        metadata = self._get_metadata()
        expected, now_s = self._expectation(metadata), int(self._now())
        return self._check(metadata, token, lambda keys: check_logout_token(token, keys, expected, now_s=now_s))

    def _check(self, metadata: ProviderMetadata, token: str, check: Callable[[KeySet], T]) -> T:
        """Check a token with the keys that there are, and where it does not hold with those that there are now."""
        kid = key_named(token)
        try:
            return check(self._keys.keys(metadata.keys, kid))
        except Unauthenticated:
            newer = self._keys.newer_keys(metadata.keys, kid)
            if newer is None:
                raise
            return check(newer)

    def _read(self, answer: Mapping[str, object], *, nonce: str | None, subject: str | None) -> ProviderAnswer:
        metadata = self._get_metadata()
        raw, access = answer.get("id_token"), answer.get("access_token")
        access_token = access if isinstance(access, str) and access.isprintable() else None
        claims: dict[str, object] = {}
        if isinstance(raw, str):
            check = partial(
                check_id_token,
                raw,
                expected=self._expectation(metadata),
                now_s=int(self._now()),
                nonce=nonce,
                access_token=access_token,
            )
            claims = self._check(metadata, raw, check)
            subject = subject or str(claims["sub"])
            if claims["sub"] != subject:
                raise Unauthenticated(f"{self.name} names somebody else now", fix="sign in again")
        lacks = not claims or self.settings.groups_claim not in claims or self.settings.name_claim not in claims
        if lacks and metadata.userinfo and access_token:
            claims = {**self._userinfo(metadata.userinfo, access_token, subject), **claims}
        if not claims:
            raise Unauthenticated(f"{self.name} does not say who this is", fix="sign in again")
        try:
            read = read_claims(self.settings, claims)
        except InvalidInput as error:
            raise Unauthenticated(error.message, fix=error.fix) from error
        check_admitted(self.settings, read)
        refresh = answer.get("refresh_token")
        return ProviderAnswer(read, refresh if isinstance(refresh, str) and refresh else None)

    def _userinfo(self, url: str, access_token: str, subject: str | None) -> dict[str, object]:
        """Ask for further claims; what is not about the same subject is worth nothing (Core, 5.3.2)."""
        headers = {"Authorization": f"Bearer {access_token}"}
        status, claims = ask("GET", url, provider=self.name, headers=headers)
        if status != 200 or claims.get("sub") != subject:
            raise Unauthenticated(f"{self.name} names somebody else, or nobody", fix="sign in again")
        return claims

    def _post(self, body: str, *, ended: Collection[str]) -> dict[str, object]:
        """Ask for tokens; `ended` are the errors that say that somebody is not signed in."""
        status, answer = self._send(self._get_metadata(), body)
        if status == 200:
            return answer
        error = str(answer.get("error"))[:60]
        if error in ended:
            raise Unauthenticated(f"{self.settings.label} does not confirm this sign-in", fix="sign in again")
        raise Unavailable(
            f"the provider {self.name} refuses this registry: {error!r}",
            fix="try again, or ask whoever runs the registry: deltareg-server check",
        )

    def _send(self, metadata: ProviderMetadata, body: str) -> tuple[int, dict[str, object]]:
        secret = "client_secret_post" if metadata.is_post else "client_secret_basic"
        auth = self._client("").client_auth(secret if self.settings.client_secret else "none")
        url, headers, body = auth.prepare("POST", metadata.token, dict(_FORM), body)
        return ask("POST", url, provider=self.name, body=body, headers=headers)

    def _client(self, redirect_uri: str) -> OAuth2Client:
        settings = self.settings
        return OAuth2Client(
            None, settings.client_id, settings.client_secret, redirect_uri=redirect_uri, code_challenge_method="S256"
        )

    def _expectation(self, metadata: ProviderMetadata) -> ExpectedToken:
        settings = self.settings
        return ExpectedToken(issuer=settings.issuer, client_id=settings.client_id, algorithms=metadata.algorithms)

    def _get_metadata(self) -> ProviderMetadata:
        """Return the metadata, at most an hour old; older where the provider does not answer.

        Where it is not there at all, only one thread waits for it, and the others are told at once.
        """
        with self._lock:
            since_s = time.monotonic() - self._asked_at
            if since_s > (_RETRY_S if self._failure else _METADATA_S):
                self._asked_at = time.monotonic()
                try:
                    self._metadata, self._failure = fetch_metadata(self.settings), None
                except (Misconfigured, Unavailable) as error:
                    self._failure = error
            if self._metadata is None:
                assert self._failure is not None
                raise Unavailable(self._failure.message, fix=self._failure.fix)
            return self._metadata
