"""`deltareg config`: the client's settings and where they come from."""

import click

from deltareg.client.config import KEYS, check_value, config_path
from deltareg.client.config_file import set_value, unset_value
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, Column, CommandResult, FactsBlock, LinesBlock, TableBlock, Text
from deltareg_cli.terminal.documents import items_fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

ORDER = 30


@group(
    "config",
    Example("what holds, and why", "deltareg config list --show-origin"),
    Example("use this server from now on", "deltareg config set server https://deltas.example"),
    see_also=("help environment", "auth", "doctor"),
)
def config() -> None:
    """Look at settings and keep them.

    A setting comes from the first of: an option, the environment, ./deltareg.toml, the profile in
    config.toml, the top of config.toml, the default.
    """


key_argument = click.argument("key", type=click.Choice(KEYS), metavar="KEY", help="The setting.")


@command(
    "list",
    Example("what holds", "deltareg config list"),
    Example("and why", "deltareg config list --show-origin"),
    see_also=("config set", "help environment"),
)
@option("--show-origin", is_flag=True, help="Say where each value comes from.")
@click.pass_obj
def list_all(invocation: Invocation, *, show_origin: bool) -> None:
    """List all settings.

    The token itself is not shown.
    """
    values = [
        (value.key, "(hidden)" if value.key == "token" and value.text else value.text, value.origin)
        for value in invocation.loaded.values
    ]
    items: list[dict[str, object]] = [{"key": key, "value": text, "origin": origin} for key, text, origin in values]
    columns = [Column("setting"), Column("value")]
    rows: list[list[Text]] = [[Cell(key, "name"), text] for key, text, _ in values]
    if show_origin:
        columns.append(Column("from"))
        rows = [[*row, Cell(origin, "dim")] for row, (_, _, origin) in zip(rows, values, strict=True)]
    ids = [f"{key}={text}" for key, text, _ in values]
    invocation.output.show(CommandResult(items_fields(items), [TableBlock(columns, rows)], ids))


@command("get", Example("one value", "deltareg config get server"), see_also=("config list",))
@key_argument
@click.pass_obj
def get(invocation: Invocation, key: str) -> None:
    """Print one setting."""
    value = next(value for value in invocation.loaded.values if value.key == key)
    document: dict[str, object] = {"key": key, "value": value.text, "origin": value.origin}
    invocation.output.show(CommandResult(document, [LinesBlock([value.text])], [value.text]))


@command(
    "set",
    Example("use this server from now on", "deltareg config set server https://deltas.example"),
    Example("only in a profile", "deltareg config set timeout 2m --profile slow"),
    see_also=("config list", "config unset"),
    is_tolerant=True,
)
@key_argument
@click.argument("value", metavar="VALUE", help="Its new value.")
@click.pass_obj
def set_one(invocation: Invocation, key: str, value: str) -> None:
    """Keep a setting in config.toml.

    With --profile it is kept in that profile's part of the file.
    """
    check_value(key, value)
    path = config_path(invocation.environ)
    set_value(path, key, value, profile=invocation.globals.profile)
    _tell(invocation, key, value)


@command(
    "unset",
    Example("back to the default", "deltareg config unset timeout"),
    see_also=("config list", "config set"),
    is_tolerant=True,
)
@key_argument
@click.pass_obj
def unset(invocation: Invocation, key: str) -> None:
    """Take a setting out of config.toml.

    With --profile it is taken out of that profile's part of the file.
    """
    unset_value(config_path(invocation.environ), key, profile=invocation.globals.profile)
    _tell(invocation, key, None)


@command("path", Example("open it", '"$EDITOR" "$(deltareg config path)"'), see_also=("config list",), is_tolerant=True)
@click.pass_obj
def path(invocation: Invocation) -> None:
    """Print the path of config.toml, whether it exists or not."""
    text = str(config_path(invocation.environ))
    invocation.output.show(CommandResult({"path": text}, [LinesBlock([text])], [text]))


def _tell(invocation: Invocation, key: str, value: str | None) -> None:
    file = str(config_path(invocation.environ))
    document: dict[str, object] = {"key": key, "value": value, "path": file}
    facts = FactsBlock([(key, value if value is not None else Cell("unset", "dim")), ("in", file)])
    invocation.output.show(CommandResult(document, [facts], [key]))


for _command in (list_all, get, set_one, unset, path):
    config.add_command(_command)
