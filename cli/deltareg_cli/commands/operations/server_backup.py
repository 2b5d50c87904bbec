"""`deltareg server backup`, `verify-backup`, `prune-backups` and `restore`: against the loss of a host."""

from pathlib import Path

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.options.places import data_dir_option
from deltareg_cli.runs.launch import become, build_flags
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import dry_run
from deltareg_cli.tree.help_page import Example

_FROM = option("--from", "place", metavar="PLACE", required=True, help="The folder, or the URL of the store.")
_NAME = option("--backup", "name", metavar="NAME", default="", help="Which one; the newest unless said otherwise.")
_IDENTITY = option("--identity", metavar="FILE", type=click.Path(path_type=Path), help="The age key that opens it.")
_SIGNED_BY = option("--signed-by", metavar="KEY", default="", help="The server's public key, ed25519:….")


@command(
    "backup",
    Example("into a folder", "deltareg server backup --to /backups/registry"),
    Example("encrypted, into a bucket", "deltareg server backup --to s3://backups/registry --encrypt-to age1…"),
    see_also=("server verify-backup", "server prune-backups", "server restore", "fsck"),
)
@option("--to", "place", metavar="PLACE", required=True, help="A folder, or the URL of a store.")
@option("--encrypt-to", "recipients", metavar="KEY", multiple=True, help="An age public key; may be repeated.")
@data_dir_option
def backup(place: str, recipients: tuple[str, ...], data_dir: Path | None) -> None:
    """Back up database and store while the registry runs.

    Run it on a host with the server's settings. Pushes go on, collection deletes nothing meanwhile.
    A place that has backups gets only what is not there yet. Killed, it is run again and goes on.
    Only an encrypted backup has the server's keys in it.
    """
    flags = [part for one in recipients for part in ("--encrypt-to", one)]
    become("deltareg.api", "backup", *build_flags(to=place, data_dir=data_dir), *flags, extras=["server"])


@command(
    "verify-backup",
    Example("the newest", "deltareg server verify-backup --from /backups/registry"),
    see_also=("server backup", "server restore"),
)
@_FROM
@_NAME
@_IDENTITY
@_SIGNED_BY
def verify_backup(place: str, name: str, identity: Path | None, signed_by: str) -> None:
    """Read all of a backup, and say whether it is whole.

    It needs neither the registry nor its settings.
    """
    flags = build_flags(backup=name or None, identity=identity, signed_by=signed_by or None)
    become("deltareg.api", "verify-backup", "--from", place, *flags, extras=["server"])


@command(
    "prune-backups",
    Example("what would go", "deltareg server prune-backups --from /backups/registry --keep-days 30 --dry-run"),
    Example("let it go", "deltareg server prune-backups --from /backups/registry --keep-days 30"),
    see_also=("server backup", "server verify-backup"),
)
@_FROM
@option("--keep-days", type=click.IntRange(min=1), metavar="N", required=True, help="Days before the newest to keep.")
@dry_run("Only say what would go, and how many bytes.")
@click.pass_obj
def prune_backups(invocation: Invocation, place: str, keep_days: int) -> None:
    """Delete old backups, and the bytes that only they need.

    Days count back from the newest backup that lacks nothing, so while none is taken, none goes. It
    needs neither the registry nor a key, and waits while a backup is taken there. Killed, it is run
    again and ends the work.
    """
    flags = build_flags(keep_days=keep_days, dry_run=invocation.globals.dry_run)
    become("deltareg.api", "prune-backups", "--from", place, *flags, extras=["server"])


@command(
    "restore",
    Example("into an empty folder", "deltareg server restore --from /backups/registry --data-dir /srv/deltareg"),
    Example(
        "into PostgreSQL and a bucket",
        "DELTAREG_DATABASE_URL=postgresql+psycopg://… DELTAREG_STORE_URL=s3://… "
        "deltareg server restore --from s3://backups/registry --identity key.txt",
    ),
    see_also=("server backup", "server verify-backup", "audit accept"),
)
@_FROM
@_NAME
@_IDENTITY
@_SIGNED_BY
@data_dir_option
def restore(place: str, name: str, identity: Path | None, signed_by: str, data_dir: Path | None) -> None:
    """Restore a backup into an empty database and an empty store.

    Every byte is compared with its digest before there is a registry, and fsck looks at it in the
    end. Killed, it is run again and goes on. What was revoked after the backup works again.
    """
    flags = build_flags(backup=name or None, identity=identity, signed_by=signed_by or None, data_dir=data_dir)
    become("deltareg.api", "restore", "--from", place, *flags, extras=["server"])
