"""`deltareg server`: the parts of a registry that serves other machines."""

from pathlib import Path

import click

from deltareg.errors import InvalidInput
from deltareg_cli.commands.operations.server_backup import backup, prune_backups, restore, verify_backup
from deltareg_cli.commands.operations.server_keys import keys
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.options.places import data_dir_option
from deltareg_cli.runs.launch import become, build_flags
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

ORDER = 10


@group(
    "server",
    Example("bring the schema up to date, then serve", "deltareg server migrate && deltareg server run"),
    see_also=("up", "worker run", "help environment"),
)
def server() -> None:
    """Run a registry for other machines.

    Settings come from the environment (docs/settings.md). The API keeps no state: with
    PostgreSQL and S3 any number of servers can run side by side.
    """


@command(
    "run",
    Example("with the settings of the environment", "deltareg server run"),
    Example(
        "PostgreSQL and a bucket",
        "DELTAREG_DATABASE_URL=postgresql+psycopg://… DELTAREG_STORE_URL=s3://… deltareg server run",
    ),
    see_also=("server migrate", "server check", "worker run"),
)
@option("--host", metavar="ADDRESS", help="Where to listen; also DELTAREG_HOST.")
@option("--port", metavar="PORT", type=click.IntRange(0, 65535), help="Also DELTAREG_PORT.")
def run(host: str | None, port: int | None) -> None:
    """Run the API, without workers.

    It listens on this machine only, unless it has TLS (DELTAREG_TLS_CERT, DELTAREG_TLS_KEY) or runs
    behind a proxy that terminates TLS (DELTAREG_BEHIND_PROXY=true). It refuses the schema of another
    release: run deltareg server migrate first.
    """
    become("deltareg.api", "run", *build_flags(host=host, port=port), extras=["server"])


@command("migrate", Example("to the newest", "deltareg server migrate"), see_also=("server check",))
@click.argument("revision", default="head", help="The revision; the newest by default.")
@option("--url", metavar="URL", help="The database; also DELTAREG_DATABASE_URL.")
@click.pass_obj
def migrate(invocation: Invocation, revision: str, url: str | None) -> None:
    """Make or change the schema of the database; safe to repeat.

    Run it once per release, before the new servers start; old servers keep running meanwhile.
    """
    url = url or invocation.environ.get("DELTAREG_DATABASE_URL")
    if not url:
        raise InvalidInput("no database is named", fix="set DELTAREG_DATABASE_URL, or give --url")
    # By the environment and not by an argument, which everybody on the machine could read.
    become("deltareg_migrations", "upgrade", revision, extras=["server"], environ={"DELTAREG_DATABASE_URL": url})


@command(
    "check",
    Example("before a start", "deltareg server check"),
    Example("of a deltareg up in another folder", "deltareg server check --data-dir /srv/deltareg"),
    see_also=("doctor", "fsck"),
)
@data_dir_option
def check(data_dir: Path | None) -> None:
    """Check settings, schema and store, and say what is wrong.

    Nothing is changed. A small object is written to the store and deleted again.
    """
    become("deltareg.api", "check", *build_flags(data_dir=data_dir), extras=["server"])


@command(
    "doctor",
    Example("why was it slow, when is the disk full, what is stuck?", "deltareg server doctor"),
    Example("why a push of the last week was slow", "deltareg server doctor --since 7d --line me/chat"),
    Example("a file for whoever helps you", "deltareg server doctor --bundle bundle.tar.gz"),
    see_also=("server check", "doctor", "fsck"),
)
@option("--since", metavar="TIME", help="From when on: 90m, 24h, 7d, or a time; 24h unless said otherwise.")
@option("--line", metavar="LINE", help="Only what was slow of this line, or of the base of this name.")
@option("--bundle", metavar="FILE", type=click.Path(path_type=Path), help="Write all of it to a file, without secrets.")
@data_dir_option
@click.pass_obj
def doctor(
    invocation: Invocation, since: str | None, line: str | None, bundle: Path | None, data_dir: Path | None
) -> None:
    """Say why it was slow, when the disk is full, and what is stuck.

    It runs on the server's host, with the server's settings, whether the server runs or not. Each
    server records the requests that it answered. The exit status is 1 if something has to be done.
    """
    flags = build_flags(
        since=since, line=line, bundle=bundle, data_dir=data_dir, json=invocation.globals.output == "json"
    )
    become("deltareg.api", "doctor", *flags, extras=["server"])


for _command in (run, migrate, check, keys, doctor, backup, verify_backup, prune_backups, restore):
    server.add_command(_command)
