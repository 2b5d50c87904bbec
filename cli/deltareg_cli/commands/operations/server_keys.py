"""`deltareg server keys`: the key that servers sign with."""

from pathlib import Path

import click

from deltareg_cli.options.options import option
from deltareg_cli.options.places import data_dir_option
from deltareg_cli.runs.launch import become, build_flags
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

_SEE = ("server check", "worker keys", "audit verify")


@group(
    "keys",
    Example("which key servers sign with", "deltareg server keys show"),
    Example("another one from now on", "deltareg server keys rotate"),
    see_also=_SEE,
)
def keys() -> None:
    """See and rotate the key that servers sign with.

    All servers of a registry share one: checkpoints of the audit trail and answers of the gate are
    signed with it. Run these on a host of the servers, with their settings.
    """


@command("ls", Example("all of them, the newest first", "deltareg server keys ls"), see_also=_SEE)
@data_dir_option
def ls(data_dir: Path | None) -> None:
    """List the keys that servers sign or signed with."""
    become("deltareg.api", "keys", "ls", *build_flags(data_dir=data_dir), extras=["server"])


@command("show", Example("the one that is used now", "deltareg server keys show"), see_also=_SEE)
@click.argument("keyid", required=False, help="The key, or how its name begins; the current one by default.")
@data_dir_option
def show(keyid: str | None, data_dir: Path | None) -> None:
    """Show a key, and where its private half lies.

    People compare its name with the one that their machine shows.
    """
    named = [] if keyid is None else [keyid]
    become("deltareg.api", "keys", "show", *named, *build_flags(data_dir=data_dir), extras=["server"])


@command(
    "rotate",
    Example("while servers run", "deltareg server keys rotate"),
    Example("nobody has the old one any more", "deltareg server keys rotate --lost"),
    see_also=_SEE,
)
@option("--lost", is_flag=True, help="The old key is lost or was revoked, and cannot vouch for the new one.")
@data_dir_option
def rotate(*, lost: bool, data_dir: Path | None) -> None:
    """Make a new key to sign with, which the old one vouches for.

    Servers that run take it within seconds, and clients follow it by themselves, also those that were
    away through several rotations. What the old key signed counts on. If it was stolen, revoke it after
    this: deltareg worker revoke KEYID.

    With --lost nothing vouches for the new key. Everybody who uses the registry has to trust it by hand:
    deltareg worker keys --pin.
    """
    become("deltareg.api", "keys", "rotate", *build_flags(lost=lost, data_dir=data_dir), extras=["server"])


@command("reseal", Example("after the file got a new first line", "deltareg server keys reseal"), see_also=_SEE)
@data_dir_option
def reseal(data_dir: Path | None) -> None:
    """Seal secrets anew, under the first key of DELTAREG_WEBHOOK_KEY.

    That file has a key a line: the first seals, each opens. To rotate it, add the new key as a second
    line on all servers and restart them; then put it first, and restart them; then run this once, and
    take the old line away.
    """
    become("deltareg.api", "keys", "reseal", *build_flags(data_dir=data_dir), extras=["server"])


for _command in (ls, show, rotate, reseal):
    keys.add_command(_command)
