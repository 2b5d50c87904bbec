"""`deltareg worker enrol` and its like: whose verdicts the registry trusts."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, page_fields
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.keys import key_blocks, key_table

if TYPE_CHECKING:
    from deltareg.wire import KeyInfo

_KEY = option(
    "--key",
    required=True,
    metavar="KEY|FILE",
    help="Its public key, as deltareg-worker key prints it, or a file with that.",
)
_HOST = option(
    "--host",
    default="",
    metavar="HOST",
    help="The machine that it runs on, where the key does not say so or not rightly.",
)


@command(
    "enrol",
    Example("with what deltareg-worker key printed", "deltareg worker enrol gpu-1 --key gpu-1.pub"),
    Example("on a machine of that name", "deltareg worker enrol gpu-1 --key KEY --host rack-7"),
    see_also=("worker keys", "worker rotate", "token create"),
)
@click.argument("name", help="The worker: the principal of its token.")
@_KEY
@_HOST
@click.pass_obj
def enrol(invocation: Invocation, name: str, *, key: str, host: str) -> None:
    """Enrol a worker with its public key.

    Only verdicts signed by an enrolled worker count. A worker reads, takes runs and reports; it
    never pushes, promotes or approves, whatever its token allows. Several processes may share a
    worker's key and token. Machines that should judge independently need a key each.
    """
    made = invocation.client.keys.enrol(name, key, host=host)
    _show(invocation, made)
    invocation.output.note(
        f"it also needs a token: deltareg token create --for {made.name} --kind wrk --everywhere "
        "--scope read --scope verify"
    )


@command(
    "rotate",
    Example("give it a new key", "deltareg worker rotate gpu-1 --key new.pub"),
    see_also=("worker enrol", "worker revoke"),
)
@click.argument("name", help="The worker.")
@_KEY
@_HOST
@click.pass_obj
def rotate(invocation: Invocation, name: str, *, key: str, host: str) -> None:
    """Replace a worker's key.

    What the old key signed keeps counting. If somebody else may have had the old key, revoke it
    instead.
    """
    _show(invocation, invocation.client.keys.enrol(name, key, host=host, replaces=True))


@command(
    "revoke",
    Example("it was stolen", "deltareg worker revoke gpu-1 -m 'host was broken into'"),
    see_also=("worker keys", "worker rotate", "audit"),
)
@click.argument("named", metavar="NAME|KEYID", help="The worker, or a key of it.")
@option("-m", "--reason", required=True, metavar="REASON", help="Why.")
@click.pass_obj
def revoke(invocation: Invocation, named: str, *, reason: str) -> None:
    """Revoke a key and everything that it signed.

    Its verdicts no longer count for any channel. Channels keep serving their versions, which are
    verified again. The tokens of a worker that uses the key end too. This cannot be undone.
    """
    key = invocation.client.keys.find(named)
    invocation.confirm(f"Revoke key {key.keyid[:16]} of {key.name} and all that it signed?")
    _show(invocation, invocation.client.keys.revoke(key.keyid, reason=reason))


@command(
    "keys",
    Example("all of them", "deltareg worker keys"),
    Example("for somebody who verifies offline", "deltareg worker keys --export trusted.json"),
    Example("trust those that are new", "deltareg worker keys --pin"),
    see_also=("verdict verify", "worker enrol"),
)
@option("--export", metavar="FILE", help="Write them to a file, for verdict verify --keys.")
@option("--pin", is_flag=True, help="Trust the keys that are new here from now on.")
@click.pass_obj
def keys(invocation: Invocation, *, export: str | None, pin: bool) -> None:
    """List the keys of workers and servers.

    Signatures of a live or retired key count, those of a revoked one do not. This machine trusts
    the keys that it saw first, and later those that --pin adds.
    """
    if export is not None and pin:
        raise InvalidInput("--export writes them all, --pin trusts them here", fix="choose one")
    if pin:
        new = invocation.client.keys.pin()
        invocation.output.note(f"{len(new)} keys are trusted from now on")
    page = invocation.client.keys.list()
    if export is not None:
        count = invocation.client.keys.export(Path(export))
        invocation.output.note(f"wrote {count} keys to {export}")
    ids = [key.keyid for key in page.items]
    table = key_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], ids))


def _show(invocation: Invocation, key: "KeyInfo") -> None:
    blocks = key_blocks(key, now=invocation.now)
    invocation.output.show(CommandResult(fields(key, "keyid", "name", "state"), blocks, [key.keyid]))
