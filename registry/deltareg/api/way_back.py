"""`deltareg-server token create`: a token made on the server's host when all others are lost."""

from pathlib import Path

import click

from deltareg.api.first_start import ADMIN, ADMIN_SCOPES, has_database
from deltareg.api.opening import opened_registry, read_settings, reporting_errors
from deltareg.api.places import data_dir_option
from deltareg.drawing.wording import count
from deltareg.errors import Misconfigured
from deltareg.refs import parse_name
from deltareg.service.access.way_back import make_way_back
from deltareg.wire import Scope


@click.group()
def token() -> None:
    """Make a token on this host, past the API: the way back in."""


@token.command("create")
@click.option("--admin", "is_admin", is_flag=True, required=True, help="For an admin, as at first.")
@click.option("--for", "principal", default=ADMIN, show_default=True, help="Who acts with it.")
@click.option(
    "--scope",
    "also",
    multiple=True,
    type=click.Choice(["approve", "break-glass"]),
    help="Beside what an admin has; may be repeated.",
)
@click.option(
    "--expires-days",
    type=click.IntRange(1, 366),
    default=1,
    show_default=True,
    help="After how many days it is worthless.",
)
@data_dir_option
def create_token(
    *,
    is_admin: bool,  # noqa: ARG001  # it is said so that nobody makes one by mistake
    principal: str,
    also: tuple[Scope, ...],
    expires_days: int,
    data_dir: Path | None,
) -> None:
    """Make a token for an admin whose tokens are all lost.

    It asks nobody: whoever reads the settings and writes the database on this host may. It works
    while the server runs and while it does not. Only the token goes to stdout; the audit trail
    says `token.bootstrap` by `registry`. Each call makes another one, and those before stay live:
    it lists them, and says so when nobody had that name.
    """
    with reporting_errors():
        settings = read_settings(data_dir=data_dir)
        if not has_database(settings):
            raise Misconfigured(
                f"there is no registry in {settings.data_dir}",
                fix="name its folder: --data-dir DIR, or set DELTAREG_DATABASE_URL",
            )
        with opened_registry(settings) as registry:
            made = make_way_back(
                registry,
                principal=parse_name(principal, "principal"),
                scopes=[*ADMIN_SCOPES, *also],
                expires_in_s=expires_days * 86_400,
            )
    click.echo(made.secret)
    who = f"{principal}, who is new here" if made.is_new else principal
    click.echo(
        f"for {who}, for {count(expires_days, 'day')}: deltareg auth login --token-stdin; then revoke"
        " what was lost: deltareg token ls",
        err=True,
    )
    if made.others:
        ids = ", ".join(map(str, made.others))
        click.echo(
            f"made before in this way for {principal}, and live: {ids}; what you do not need:"
            f" deltareg token revoke {made.others[0]}",
            err=True,
        )
