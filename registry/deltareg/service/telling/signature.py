"""Signing what is sent, in the form of Standard Webhooks 1.0: https://www.standardwebhooks.com.

The secret is `whsec_` and 32 random bytes in base64; a signature is `v1,` and the HMAC-SHA256 of
`id.timestamp.body`. With two live secrets there are two signatures, the newer first, and a receiver
takes either.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_BYTES = 32


def mint_secret() -> str:
    """Make a secret."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def about_address(webhook_id: str) -> str:
    """Say what a sealed address is about, so that nothing else can stand in its place."""
    return f"{webhook_id} address"


def about_secret(webhook_id: str) -> str:
    """Say what a sealed secret is about."""
    return f"{webhook_id} secret"


def headers_of(message_id: str, body: bytes, *, at_s: int, with_secrets: Sequence[str]) -> dict[str, str]:
    """Give the headers that go with a body.

    Args:
        message_id: The same each time that the same is sent.
        body: What is sent.
        at_s: When, seconds since the epoch.
        with_secrets: The live ones.
    """
    signed = f"{message_id}.{at_s}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(_sign(secret, signed) for secret in with_secrets),
    }


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    made = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"
