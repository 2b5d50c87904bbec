"""`deltareg up`: a registry with a worker, on this machine."""

from pathlib import Path

import click

from deltareg_cli.options.options import option
from deltareg_cli.runs.launch import become, build_flags
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 10


@command(
    "up",
    Example("in a terminal of its own", "deltareg up"),
    Example("elsewhere, with two workers", "deltareg up --data-dir /srv/deltareg --workers 2"),
    Example("only the API, as where there is no torch", "deltareg up --workers 0"),
    see_also=("doctor", "server run", "worker run"),
)
@option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where everything is kept; ./deltareg-data unless said otherwise.",
)
@option("--host", metavar="ADDRESS", help="Where to listen; 127.0.0.1 unless said otherwise.")
@option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="The port; 8642 unless said otherwise, and 0 takes a free one.",
)
@option("--workers", type=click.IntRange(0, 16), default=1, show_default=True, help="Workers beside it.")
def up(data_dir: Path | None, host: str | None, port: int | None, workers: int) -> None:
    """Run a registry and a worker on this machine.

    Nothing else has to be installed or started. Database, packs and the workers' scratch lie in
    one folder. Only this machine can reach it. A token for you is made on the first start and kept
    where the other commands find it, so that nobody has to log in.

    Stop it with Ctrl-C. A folder has one of these: a second one says where the first is, and ends
    with 5. To serve other machines see deltareg server run.
    """
    extras = ("server", "verify") if workers else ("server",)
    options = build_flags(data_dir=data_dir, host=host, port=port, workers=workers)
    become("deltareg.api", "up", *options, extras=extras)
