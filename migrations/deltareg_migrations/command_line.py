"""The commands of `deltareg-migrate`, which makes or changes the schema."""

from typing import NoReturn

import click

from deltareg.errors import DeltaregError
from deltareg_migrations import finishing, packing, planning
from deltareg_migrations import schema as migrations

_SHOWN_S = 0.1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url",
    envvar="DELTAREG_DATABASE_URL",
    show_envvar=True,
    required=True,
    help="The database: sqlite:///path/to/file.db or postgresql+psycopg://user@host/name.",
)
@click.pass_context
def main(context: click.Context, url: str) -> None:
    """Make or change the schema of the registry's database."""
    context.obj = url


@main.command()
@click.argument("revision", default="head")
@click.pass_obj
def upgrade(url: str, revision: str) -> None:
    """Bring the database to REVISION, by default to the newest; safe to repeat."""
    try:
        migrations.upgrade(url, revision=revision)
        click.echo(f"the schema is at {migrations.current(url)}")
    except DeltaregError as error:
        _fail(error)


@main.command()
@click.pass_obj
def plan(url: str) -> None:
    """Show what `upgrade` would do: what changes, who waits meanwhile, about how long. It changes nothing."""
    try:
        due = planning.plan(url)
    except DeltaregError as error:
        _fail(error)
    for revision in due:
        kind = f"contract; servers from {revision.works_from} on" if revision.works_from else "expand"
        click.echo(f"{revision.name}  {kind}  {revision.about}")
        for change in revision.changes:
            click.echo(f"      {change.table} {change.does}{_tell_cost(change)}")
    if not due:
        click.echo("nothing is due: the schema is the newest of this release")
        return
    if not any(revision.changes for revision in due):
        click.echo("the database is empty: this makes all its tables, in seconds")
        return
    oldest = max(revision.works_from for revision in due)
    click.echo(f"in all about {sum(one.seconds for each in due for one in each.changes):.0f} s")
    click.echo(f"servers from {oldest} on go on working" if oldest else "servers that run now go on working")


def _tell_cost(change: planning.PlannedChange) -> str:
    rows = f", {change.rows:,} rows" if change.rows else ""
    seconds = f", about {change.seconds:.1f} s" if change.seconds >= _SHOWN_S else ""
    return f"{rows}{seconds}{f'; waiting: {change.waits}' if change.waits else ''}"


@main.command()
@click.argument("revision")
@click.confirmation_option("-y", "--yes", prompt="Newer tables are dropped with their rows. Go on?")
@click.pass_obj
def downgrade(url: str, revision: str) -> None:
    """Take the database back to REVISION; `base` drops everything."""
    try:
        migrations.downgrade(url, revision=revision)
        click.echo(f"the schema is at {migrations.current(url) or 'base'}")
    except DeltaregError as error:
        _fail(error)


@main.command()
@click.pass_obj
def pack(url: str) -> None:
    """Write anew, in fewer bytes, what releases before stored; run it once their servers are gone."""
    try:
        for done in packing.pack(url):
            click.echo(f"{done.table}: {done.rows} rows, {done.before} bytes are {done.after}")
    except DeltaregError as error:
        _fail(error)


@main.command()
@click.option("--force", "is_forced", is_flag=True, help="Go on although an older server seems to be there.")
@click.pass_obj
def finish(url: str, *, is_forced: bool) -> None:
    """End a rolling upgrade, once no server of the release before is left: write the newest form of rows."""
    try:
        for done in finishing.finish(url, is_forced=is_forced):
            click.echo(f"{done.table}: {done.rows} rows, {done.before} bytes are {done.after}")
    except DeltaregError as error:
        _fail(error)
    click.echo("rows are written in the newest form; servers of the release before can start no more")


@main.command()
@click.pass_obj
def current(url: str) -> None:
    """Show the revision that the database is at."""
    try:
        click.echo(migrations.current(url) or "base")
    except DeltaregError as error:
        _fail(error)


@main.command()
@click.pass_obj
def check(url: str) -> None:
    """Exit with 1 unless the database is at the newest revision and has not drifted."""
    try:
        problems = migrations.check(url)
    except DeltaregError as error:
        _fail(error)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(1)
    click.echo("the schema is what this release expects")


def _fail(error: DeltaregError) -> NoReturn:
    fix = f"\n{error.fix}" if error.fix else ""
    raise click.ClickException(f"{error.message}{fix}") from error
