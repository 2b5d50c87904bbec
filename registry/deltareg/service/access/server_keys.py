"""The key that all servers of a registry sign with: taken at a start, read again as it is rotated.

There is one at a time. It lies in the database, sealed under the key that servers share anyway
(`DELTAREG_WEBHOOK_KEY`), so that a rotation reaches all of them at once. Where they share none, it lies
in a file, and a server without this very key does not start: it would sign with one that no client knows.
"""

import logging
from collections.abc import Callable

import sqlalchemy as sa

from deltareg.db.session import with_retry
from deltareg.db.verdicts import server_keys as queries
from deltareg.db.verdicts import signing as signing_queries
from deltareg.db.verdicts.signing_rows import ServerKeyRow
from deltareg.errors import Misconfigured, Unavailable
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.events import Action, record_event
from deltareg.service.registry import Registry
from deltareg.signing.keys import SigningKey
from deltareg.signing.secret_box import SecretBox

log = logging.getLogger(__name__)

SERVER = "server"
SHARE = (
    "let DELTAREG_WEBHOOK_KEY name the file that the other servers have, or DELTAREG_SIGNING_KEY the one with this"
    " key; if it is lost: deltareg server keys rotate --lost"
)


def take_server_key(registry: Registry, make: Callable[[], SigningKey | None]) -> SigningKey | None:
    """Return the key that the servers of this registry sign with; the first server brings it.

    Args:
        registry: The database; its `signer` is the key that lies in a file here, if one does.
        make: Makes a key where no server has one yet; returns None if it cannot be kept.

    Raises:
        Misconfigured: The servers have a key that this one does not have.
    """
    key = with_retry(registry.engine, lambda conn: _take(conn, registry, registry.signer))
    if key is None and registry.signer is None and (made := make()) is not None:
        key = with_retry(registry.engine, lambda conn: _take(conn, registry, made))
    return key


def current_signer(conn: sa.Connection, registry: Registry) -> SigningKey | None:
    """Return the key that servers sign with now; None if this server has none, or not that one."""
    row, held = queries.current_key(conn), registry.own_key
    if row is None or (held is not None and held.keyid == row.keyid):
        return held
    found = _open(row, registry)
    if found is not None or held is not None or not registry.rotated:
        told = "is used from now on" if found is not None else f"is not here, so nothing is signed; {SHARE}"
        log.log(logging.INFO if found else logging.WARNING, "the servers' key %s %s", row.keyid[:16], told)
        registry.rotated.append(found)
    return found


def seal_key(box: SecretBox, key: SigningKey) -> bytes:
    """Seal the private half of a servers' key for the database."""
    return box.seal(key.pem().decode(), about_key(key.keyid))


def open_key(box: SecretBox, row: ServerKeyRow) -> SigningKey:
    """Open what `seal_key` sealed.

    Raises:
        Misconfigured: It was sealed under another key.
    """
    return SigningKey.of_pem(box.open(row.sealed or b"", about_key(row.keyid)).encode())


def about_key(keyid: str) -> str:
    """Say what a servers' key is sealed for."""
    return f"server-key:{keyid}"


def announce_server_key(registry: Registry) -> None:
    """Publish the key that a registry was given, as the first server does.

    Raises:
        Misconfigured: The servers have another one.
    """
    take_server_key(registry, lambda: None)


def _take(conn: sa.Connection, registry: Registry, offered: SigningKey | None) -> SigningKey | None:
    live = [key.keyid for key in queries.live_server_keys(conn)]
    row = queries.current_key(conn, lock=True)  # read last: whose key is live has it by now
    if row is not None:
        return _take_current(conn, registry, row, offered)
    if live and (offered is None or offered.keyid not in live):
        raise _refuse(live[-1])
    if offered is None:
        return None
    if signing_queries.add_key(
        conn,
        role=SERVER,
        name=SERVER,
        principal_id=None,
        keyid=offered.keyid,
        public=str(offered.public),
        host="",
        created_by=None,
    ):
        record_event(
            conn,
            Action.KEY_ENROL,
            f"key/{offered.keyid}",
            on=EVERYTHING,
            before=None,
            after={"role": SERVER, "key": str(offered.public)},
            actor="registry",
        )
    sealed = None if registry.box is None else seal_key(registry.box, offered)
    if not queries.claim_slot(conn, offered.keyid, sealed=sealed):
        raise Unavailable("another server starts at this moment")  # so this one begins again, and takes its key
    return offered


def _take_current(conn: sa.Connection, registry: Registry, row: ServerKeyRow, offered: SigningKey | None) -> SigningKey:
    if offered is not None and offered.keyid == row.keyid:
        if row.sealed is None and registry.box is not None:
            queries.keep_sealed(conn, row.keyid, seal_key(registry.box, offered))
        return offered
    if row.sealed is None or registry.box is None:
        raise _refuse(row.keyid)
    try:
        return open_key(registry.box, row)
    except Misconfigured as error:
        raise Misconfigured(f"the servers' key {row.keyid[:16]} is {error.message}", fix=SHARE) from error


def _open(row: ServerKeyRow, registry: Registry) -> SigningKey | None:
    if registry.signer is not None and registry.signer.keyid == row.keyid:
        return registry.signer
    if registry.box is None or row.sealed is None:
        return None
    try:
        return open_key(registry.box, row)
    except Misconfigured:
        return None


def _refuse(keyid: str) -> Misconfigured:
    return Misconfigured(
        f"the servers of this registry sign with the key {keyid[:16]}, which this one does not have", fix=SHARE
    )
