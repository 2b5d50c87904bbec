"""`deltareg-server keys`: the keys of the servers of a registry, shown and rotated on a host of theirs."""

from pathlib import Path

import click
import sqlalchemy as sa

from deltareg.api.first_start import has_database, with_own_files
from deltareg.api.opening import opened_registry, read_settings, reporting_errors
from deltareg.api.places import data_dir_option
from deltareg.api.settings import ServerSettings
from deltareg.db.session import read
from deltareg.db.verdicts.server_keys import current_key
from deltareg.db.verdicts.signing import find_key, key_rows
from deltareg.db.verdicts.signing_rows import KeyRow
from deltareg.drawing.wording import count
from deltareg.errors import Misconfigured, NotFound
from deltareg.service.access.server_keys import SERVER
from deltareg.service.clock import rfc3339
from deltareg.service.registry import Registry
from deltareg.service.telling.sealed import seal_anew
from deltareg.service.trail.keep import CheckpointStores
from deltareg.service.trail.rotate import rotate_server_key
from deltareg.signing.keys import SigningKey

_SHORT = 16


@click.group()
def keys() -> None:
    """See and rotate the key that the servers of this registry sign with."""


@keys.command("ls")
@data_dir_option
def list_keys(data_dir: Path | None) -> None:
    """List the keys that servers sign or signed with, the newest first."""
    with reporting_errors():
        _, registry = _open(data_dir)
        with read(registry.engine) as conn:
            rows = [row for row in key_rows(conn) if row.role == SERVER]
            current = current_key(conn)
        for row in rows:
            mark = "signs" if current is not None and row.keyid == current.keyid else ""
            click.echo(f"{row.keyid[:_SHORT]}  {_state(row):<8}  {mark:<5}  since {rfc3339(row.created_at)}")


@keys.command("show")
@click.argument("keyid", required=False)
@data_dir_option
def show_key(keyid: str | None, data_dir: Path | None) -> None:
    """Show a key by the beginning of its keyid, by default the one that servers sign with now.

    People who were away compare the public half with what their machine says.
    """
    with reporting_errors():
        settings, registry = _open(data_dir)
        with read(registry.engine) as conn:
            current = current_key(conn)
            wanted = keyid or ("" if current is None else current.keyid)
            row = _find(conn, wanted)
        click.echo(f"keyid  {row.keyid}\nkey    {row.public}\nstate  {_state(row)}\nsince  {rfc3339(row.created_at)}")
        if current is not None and current.keyid == row.keyid:
            is_sealed = current.sealed is not None
            place = "the database, sealed" if is_sealed else str(settings.effective_signing_key)
            click.echo(f"in     {place}")
            if current.audit_id is not None:
                click.echo(f"row    {current.audit_id} of the audit trail says which key it followed")


@keys.command("rotate")
@click.option("--lost", is_flag=True, help="The old key is lost or was revoked, and cannot vouch for the new one.")
@data_dir_option
def rotate_keys(*, lost: bool, data_dir: Path | None) -> None:
    """Make a new key to sign with, for which the old one vouches in the log.

    Servers that run take it within seconds, and clients follow it by themselves. The private half of the
    old one is forgotten. What it signed counts on; if it was stolen, revoke it after this.

    With --lost nothing vouches for the new key. Everybody who uses the registry has to trust it by hand.
    """
    with reporting_errors():
        settings, registry = _open(data_dir)
        places = CheckpointStores(registry.store, settings.effective_checkpoint_file)
        with read(registry.engine) as conn:
            old = current_key(conn)
        new = SigningKey.generate()
        batch = rotate_server_key(registry, new, is_lost=lost)
        places.keep(batch)
        click.echo(
            f"servers sign with {new.keyid[:_SHORT]} from now on; row {batch.rows[0]} of the audit trail says so"
        )
        if lost:
            click.echo(
                f"no key vouches for it: tell those who use the registry, by another way, that {new.keyid[:_SHORT]} is"
                " yours; then each runs: deltareg worker keys --pin",
                err=True,
            )
        elif old is not None:
            click.echo(f"if the old one was stolen: deltareg worker revoke {old.keyid[:_SHORT]} -m REASON", err=True)


@keys.command("reseal")
@data_dir_option
def reseal(data_dir: Path | None) -> None:
    """Seal the secrets in the database anew, under the first key in the file of DELTAREG_WEBHOOK_KEY.

    To rotate that key: give all servers the file with the new key on a second line, and restart them; then
    put the new one first, and restart them; then run this once, and take the old line away.
    """
    with reporting_errors():
        _, registry = _open(data_dir)
        if registry.box is None:
            raise Misconfigured("this server has no key to seal with", fix="set DELTAREG_WEBHOOK_KEY")
        number = seal_anew(registry, registry.box)
        click.echo(
            f"sealed {count(number, 'secret')} under {registry.box.name}; the other lines of the file may go now"
        )


def _open(data_dir: Path | None) -> tuple[ServerSettings, Registry]:
    settings = read_settings(data_dir=data_dir)
    if not has_database(settings):
        raise Misconfigured(
            f"there is no registry in {settings.data_dir}",
            fix="name its folder: --data-dir DIR, or set DELTAREG_DATABASE_URL",
        )
    return settings, with_own_files(click.get_current_context().with_resource(opened_registry(settings)), settings)


def _find(conn: sa.Connection, wanted: str) -> KeyRow:
    if len(wanted) < 64:
        wanted = next((row.keyid for row in key_rows(conn) if wanted and row.keyid.startswith(wanted)), wanted)
    row = find_key(conn, keyid=wanted)
    if row is None or row.role != SERVER:
        raise NotFound(f"servers have no key {wanted[:_SHORT]}", fix="deltareg server keys ls")
    return row


def _state(row: KeyRow) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "live" if row.retired_at is None else "retired"
