"""`deltareg-server backup`, `verify-backup`, `prune-backups` and `restore`: run on the server's host, past the API."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from deltareg.api.first_start import prepare_data_dir, with_own_files
from deltareg.api.opening import opened_registry, read_settings, reporting_errors
from deltareg.api.places import data_dir_option
from deltareg.api.settings import ServerSettings
from deltareg.db.session import read
from deltareg.drawing.wording import count, size
from deltareg.errors import BadSignature, Conflict, IntegrityFailure, InvalidInput, Misconfigured, NotFound
from deltareg.service.access.server_keys import current_signer
from deltareg.service.backup.archive import Archive
from deltareg.service.backup.manifest import BackupManifest, BackupTotals
from deltareg.service.backup.prune import prune as prune_backups
from deltareg.service.backup.restore import RestoreTarget, restore_backup
from deltareg.service.backup.take import take_backup
from deltareg.service.backup.verify import verify_backup
from deltareg.service.registry import Registry
from deltareg.signing.age_keys import AgeKeys, check_recipients, read_identities
from deltareg.signing.key_file import read_private, write_new
from deltareg.signing.keys import SigningKey
from deltareg.store import BlobStore, open_store, read_options

_OWN = "DELTAREG_BACKUP_"

named_option = click.option("--backup", "name", default="", help="Its name; the newest by default.")
identity_option = click.option("--identity", type=click.Path(path_type=Path), help="File of the age key that opens it.")
signed_by_option = click.option("--signed-by", default="", help="The public key that it has to be signed by.")


@click.command("backup")
@click.option("--to", "place", required=True, help="A folder, or the URL of a store.")
@click.option("--encrypt-to", "recipients", multiple=True, help="An age public key; may be repeated.")
@data_dir_option
def backup(place: str, recipients: tuple[str, ...], data_dir: Path | None) -> None:
    """Back up the registry while it runs."""
    with reporting_errors():
        settings = read_settings(data_dir=data_dir)
        registry = with_own_files(
            click.get_current_context().with_resource(opened_registry(settings)), settings, makes=False
        )
        archive = Archive(_open_place(place, settings), AgeKeys(check_recipients(recipients)))
        done = take_backup(
            registry.engine,
            registry.store,
            archive,
            signer=_signer(registry),
            keys={name: read_private(path) for name, path in _key_files(settings).items() if path.is_file()},
            report=_report,
        )
        _tell("backed up", done)
        if not recipients:
            click.echo("keys       not in it, as it is not encrypted: keep them elsewhere", err=True)
        if done.lacking:
            first = next(iter(done.lacking.items()))
            raise IntegrityFailure(
                f"{len(done.lacking)} objects are not in it, as the store does not have them whole: {': '.join(first)}",
                fix="deltareg fsck --repair, then the same command again",
            )


@click.command("verify-backup")
@click.option("--from", "place", required=True, help="A folder, or the URL of a store.")
@named_option
@identity_option
@signed_by_option
def verify(place: str, name: str, identity: Path | None, signed_by: str) -> None:
    """Read all of a backup and hold it against its digests."""
    with reporting_errors():
        archive = _open_archive(place, identity, None)
        manifest = _find(archive, name, signed_by)
        _tell("verified", verify_backup(archive, manifest, _report))


@click.command("prune-backups")
@click.option("--from", "place", required=True, help="A folder, or the URL of a store.")
@click.option("--keep-days", type=click.IntRange(min=1), required=True, help="Days before the newest to keep.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say what would go.")
def prune(place: str, keep_days: int, is_dry: bool) -> None:  # noqa: FBT001
    """Delete old backups, and what only they need."""
    with reporting_errors():
        done = prune_backups(_open_archive(place, None, None), keep_days=keep_days, is_dry=is_dry, report=_report)
        click.echo(f"kept       {count(len(done.kept), 'backup')}, {done.kept[0]} to {done.kept[-1]}")
        click.echo(f"{'would go' if is_dry else 'deleted':10} {count(len(done.gone), 'backup')}")
        click.echo(f"{'frees' if is_dry else 'freed':10} {count(done.objects, 'file')}, {size(done.objects_bytes)}")


@click.command("restore")
@click.option("--from", "place", required=True, help="A folder, or the URL of a store.")
@named_option
@identity_option
@signed_by_option
@data_dir_option
def restore(place: str, name: str, identity: Path | None, signed_by: str, data_dir: Path | None) -> None:
    """Restore a backup into an empty database and an empty store."""
    with reporting_errors():
        settings = read_settings(data_dir=data_dir)
        prepare_data_dir(settings.data_dir)
        archive = _open_archive(place, identity, settings)
        manifest = _find(archive, name, signed_by)
        url = settings.effective_store_url
        target = RestoreTarget(
            settings.effective_database_url,
            open_store(url, options=read_options(url, os.environ)),
            lambda revision: _migrate(settings, revision),
            lambda keys: _keep_keys(settings, keys),
        )
        done, checked = restore_backup(archive, manifest, target, _report)
        _tell("restored", done)
        for finding in checked.findings:
            click.echo(f"fsck       {finding.kind}: {finding.subject}: {finding.detail}", err=True)
        if checked.findings:
            raise IntegrityFailure(
                f"fsck has {count(len(checked.findings), 'finding')}",
                fix="start the server, then: deltareg fsck --repair",
            )
        click.echo(f"fsck       {count(checked.packs, 'pack')}, nothing is wrong")
        if not any(path.is_file() for path in _key_files(settings).values()):
            click.echo("keys       the backup has none: put those of the server back before you start it", err=True)
        click.echo(f"what was revoked since {manifest.name} works again: revoke it anew before you start", err=True)


def _open_archive(place: str, identity: Path | None, settings: ServerSettings | None) -> Archive:
    if "://" not in place and not Path(place).expanduser().is_dir():
        raise NotFound(f"there is no folder {place}", fix="name the place that `server backup --to` wrote to")
    identities = () if identity is None else read_identities(identity)
    return Archive(_open_place(place, settings), AgeKeys((), identities))


def _open_place(place: str, settings: ServerSettings | None) -> BlobStore:
    """Open the place of backups; `DELTAREG_BACKUP_S3_…` take precedence over the settings of the registry's store."""
    url = place if "://" in place else Path(place).expanduser().absolute().as_uri()
    if settings is not None and url.rstrip("/") == settings.effective_store_url.rstrip("/"):
        raise InvalidInput("that is the registry's own store", fix="name a place of its own for backups")
    own = {"DELTAREG_" + key[len(_OWN) :]: value for key, value in os.environ.items() if key.startswith(_OWN)}
    return open_store(url, options=read_options(url, {**os.environ, **own}))


def _find(archive: Archive, name: str, signed_by: str) -> BackupManifest:
    manifest = archive.find(name)
    if signed_by and manifest.signed_by != signed_by.strip():
        raise BadSignature(
            f"backup {manifest.name} is signed by {manifest.signed_by}",
            fix="take a backup that the server signed whose key you named",
        )
    click.echo(f"backup     {manifest.name} of {manifest.release}, signed by {manifest.signed_by}", err=True)
    return manifest


def _signer(registry: Registry) -> SigningKey:
    with read(registry.engine) as conn:
        key = current_signer(conn, registry)
    if key is None:
        raise Misconfigured(
            "a backup is signed by the servers' key, which is not here",
            fix="run it where a server runs, or name its files: DELTAREG_WEBHOOK_KEY, DELTAREG_SIGNING_KEY",
        )
    return key


def _key_files(settings: ServerSettings) -> dict[str, Path]:
    """Return the files that only this server has, by what they are called in a backup."""
    files = {"server-key": settings.effective_signing_key}
    if settings.effective_webhook_key is not None:
        files["webhook-key"] = settings.effective_webhook_key
    return files


def _keep_keys(settings: ServerSettings, keys: Mapping[str, bytes]) -> None:
    files = _key_files(settings)
    for name, secret in keys.items():
        path = files.get(name)
        if path is not None and not write_new(path, secret) and read_private(path) != secret:
            raise Conflict(f"{path} is there, and is another key", fix="move it away, then the same command again")


def _migrate(settings: ServerSettings, revision: str) -> None:
    environ = {**os.environ, "DELTAREG_DATABASE_URL": settings.effective_database_url}
    command = [sys.executable, "-m", "deltareg_migrations", "upgrade", revision]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    if done.returncode != 0:
        raise Misconfigured(
            f"the schema {revision} of the backup could not be made: {done.stderr.strip()[-500:]}",
            fix="restore it with the release that took it, or a newer one",
        )


def _report(line: str) -> None:
    click.echo(line, err=True)


def _tell(done_word: str, done: BackupTotals) -> None:
    click.echo(f"{done_word:10} {done.name}")
    click.echo(f"rows       {done.rows:,}")
    click.echo(f"objects    {done.blobs:,}, {size(done.blob_bytes)}")
    click.echo(f"moved      {count(done.moved, 'file')}, {size(done.moved_bytes)}")
