"""HTTP to providers: short, bounded, without redirects, and with errors that name the provider."""

import ssl
from collections.abc import Mapping
from functools import cache

from deltareg.documents.json_values import is_object
from deltareg.errors import Unavailable
from deltareg.host.lean_httpx import httpx

TIMEOUT_S = 8.0
_MOST_BYTES = 1 << 20


@cache
def _load_certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def ask(
    method: str, url: str, *, provider: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    """Send a request to a provider; return the status and the JSON object of the answer.

    Raises:
        Unavailable: It does not answer, or not with an object.
    """
    try:
        with (
            httpx.Client(verify=_load_certificates(), follow_redirects=False, timeout=TIMEOUT_S) as client,
            client.stream(
                method, url, content=body, headers={"Accept": "application/json", **(headers or {})}
            ) as response,
        ):
            raw = bytearray()
            for part in response.iter_bytes():
                raw += part
                if len(raw) > _MOST_BYTES:
                    raise _away(provider, f"{url} answered with more than a mebibyte")
            answer = httpx.Response(response.status_code, content=bytes(raw))
            value: object = answer.json()
    except httpx.HTTPError as error:
        raise _away(provider, f"{str(error) or type(error).__name__}") from error
    except ValueError as error:  # JSON's own, or of the encoding
        raise _away(provider, f"{url} did not answer with JSON") from error
    if answer.status_code >= 500 or not is_object(value):
        raise _away(provider, f"{url} answered {answer.status_code}")
    return answer.status_code, value


def _away(provider: str, why: str) -> Unavailable:
    return Unavailable(
        f"the provider {provider} cannot be asked: {why[:200]}", fix="try again; whoever is signed in goes on meanwhile"
    )
