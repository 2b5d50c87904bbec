"""Signing a command line in by a code that its person types into a browser (RFC 8628).

The registry is what the command line waits at, with any provider: the browser signs in as it always
does. The code is typed and never comes with an address, so that nobody is led to sign in for a
stranger by a link; the page says for which machine before anybody goes on.
"""

import re
import secrets

import sqlalchemy as sa

from deltareg.db.access import device_requests as queries
from deltareg.db.access import principals as principal_queries
from deltareg.db.session import read, with_retry
from deltareg.db.sql.clock import US_PER_S
from deltareg.errors import NotFound, Unauthenticated, Unavailable
from deltareg.service.access.tokens import hash_secret, mint_secret
from deltareg.service.registry import Registry
from deltareg.wire.sign_in import DeviceAnswer, DeviceRequest, DeviceRequested, DeviceWaiting

WAITS_S = 600
INTERVAL_S = 2
_MOST_OF_AN_ADDRESS = 20
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, 6.1: no vowels, so no words; 20**8 codes
_SECRET_BYTES = 32
_MACHINE_MOST = 64
_GONE = "run deltareg auth login again"


def ask_for_device(registry: Registry, request: DeviceRequest, *, address: str) -> DeviceRequested:
    """Let a command line wait until somebody signs in for it.

    Args:
        registry: The registry.
        request: What the machine calls itself.
        address: The address that it asks from.

    Raises:
        NotFound: Nobody signs in here with a provider.
        Unavailable: Too many wait at that address.
    """
    if not registry.providers:
        raise NotFound("nobody signs in here with a provider", fix="ask an admin for a token")
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    code = f"{letters[:4]}-{letters[4:]}"

    def transaction(conn: sa.Connection) -> None:
        queries.forget_devices(conn)
        if queries.count_devices(conn, address) >= _MOST_OF_AN_ADDRESS:
            raise Unavailable("too many machines wait at your address to be signed in", fix="try again in 10 minutes")
        queries.add_device(
            conn,
            device_hash=hash_secret(secret),
            code_hash=hash_code(code),
            machine=_machine(request.machine),
            address=address,
            for_us=WAITS_S * US_PER_S,
        )

    with_retry(registry.engine, transaction)
    return DeviceRequested(secret=secret, code=code, expires_in_s=WAITS_S, interval_s=INTERVAL_S)


def look_up_device(registry: Registry, code: str) -> DeviceWaiting:
    """Say which machine waits with a code.

    Raises:
        Unauthenticated: None does.
    """
    with read(registry.engine) as conn:
        row = queries.device_by_code(conn, hash_code(code))
    if row is None:
        raise Unauthenticated("no machine waits with this code", fix=f"compare it with what it shows, or {_GONE}")
    seconds = max(0, (row.now - row.created_at) // US_PER_S)
    return DeviceWaiting(machine=row.machine, address=row.address, since_s=int(seconds))


def fetch_token(registry: Registry, secret: str) -> DeviceAnswer:
    """Give a command line its token, once, when somebody has signed in for it.

    Raises:
        NotFound: It waits no more, or has its token.
    """
    token = mint_secret("pat")

    def transaction(conn: sa.Connection) -> DeviceAnswer:
        row = queries.device_by_secret(conn, hash_secret(secret))
        if row is None:
            raise NotFound("nobody has signed in for this machine in time", fix=_GONE)
        if row.token_id is None:
            return DeviceAnswer(is_waiting=True)
        principal_queries.set_secret(conn, row.token_id, token_hash=hash_secret(token), display=token[:12])
        queries.drop_device(conn, row.id)
        return DeviceAnswer(is_waiting=False, token=token)

    return with_retry(registry.engine, transaction)


def hash_code(code: str) -> str:
    """Return the hash of a code, however it was typed."""
    return hash_secret(re.sub(r"[^A-Z]", "", code.upper()))


def _machine(text: str) -> str:
    """Return what a machine calls itself, as far as a page can show it; never empty."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:_MACHINE_MOST] or "a machine"
