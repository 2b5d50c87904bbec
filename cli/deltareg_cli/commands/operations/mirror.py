"""`deltareg mirror`: another registry kept in step with this one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.client.mirror.known_mirrors import (
    KnownMirror,
    add_mirror,
    find_mirror,
    known_mirrors,
    name_of,
    remove_mirror,
)
from deltareg.errors import InvalidInput
from deltareg.host.token_files import read_token
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    TitleBlock,
)
from deltareg_cli.terminal.wording import count, size
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.client import Client
    from deltareg.client.mirror.mirror import MirrorReport

ORDER = 45
_MOST_TOLD = 3
_SEE = ("mirror run", "mirror save", "attest ls", "gate")
_TOKEN = "DELTAREG_MIRROR_TOKEN"  # noqa: S105  # the name of a variable
_scope = option("--of", "scope", metavar="NS|NS/NAME", multiple=True, help="What is mirrored; may be repeated.")


@group(
    "mirror",
    Example("have what another registry has", "deltareg mirror add https://eu.example --pull --of team"),
    Example("now", "deltareg mirror run"),
    Example("without a network", "deltareg mirror save ./bundle --of team"),
    see_also=_SEE,
)
def mirror() -> None:
    """Keep another registry in step with this one.

    Versions, their bases and what was signed about them travel by digest, as they are stored, and
    the target reads and proves all of it. Verdicts arrive as attestations of the worker that signed
    them. Channels stay each registry's own: its policy judges what came, and may name whose word
    counts. What is deleted at the target stays so, what is revoked at the source is revoked there.
    """


@command("add", Example("from Europe", "deltareg mirror add https://eu.example --pull --of team"), see_also=_SEE)
@click.argument("url", help="The address of the other registry.")
@option("--pull", "is_pull", is_flag=True, help="Versions come from there.")
@option("--push", "is_push", is_flag=True, help="Versions go there.")
@option("--name", metavar="NAME", help="What to call it; its host unless said otherwise.")
@_scope
@click.pass_obj
def add(
    invocation: Invocation, url: str, *, is_pull: bool, is_push: bool, name: str | None, scope: tuple[str, ...]
) -> None:
    """Name a mirror. Nothing is moved before mirror run.

    Log in there first: deltareg auth login --server URL, or set DELTAREG_MIRROR_TOKEN. The token
    needs to read at the source and to push at the target.
    """
    if is_pull == is_push:
        raise InvalidInput("say which way", fix=f"deltareg mirror add {url} --pull, or --push")
    url = url.rstrip("/")
    added = KnownMirror(
        name or name_of(url), invocation.config.server, url, "pull" if is_pull else "push", tuple(scope)
    )
    add_mirror(added)
    rows = FactsBlock([("with", Cell(url, "name")), ("way", added.direction), ("next", "deltareg mirror run")])
    invocation.output.show(CommandResult(asdict(added), [TitleBlock(added.name), rows], [added.name]))


@command("ls", Example("all", "deltareg mirror ls"), see_also=_SEE)
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the mirrors that are named on this machine."""
    found = list(known_mirrors(invocation.config.server).values())
    rows = [(one.name, one.direction, one.url, ", ".join(one.scope) or "all") for one in found]
    columns = (Column("mirror", is_name=True), Column("way"), Column("with"), Column("of"))
    table = TableBlock(columns, rows, if_empty="none; name one: deltareg mirror add URL --pull")
    document = {"items": [asdict(one) for one in found]}
    invocation.output.show(CommandResult(document, [table], [one.name for one in found]))


@command("rm", Example("no more of it", "deltareg mirror rm eu.example"), see_also=_SEE)
@click.argument("name", help="Its name.")
@click.pass_obj
def rm(invocation: Invocation, name: str) -> None:
    """Forget a mirror; both registries keep what they have."""
    gone = remove_mirror(invocation.config.server, name)
    invocation.output.show(CommandResult(asdict(gone), [LinesBlock([f"{name} is forgotten"])], [name]))


@command(
    "run",
    Example("all mirrors", "deltareg mirror run"),
    Example("one, from a timer", "deltareg mirror run eu.example --quiet"),
    see_also=_SEE,
    is_resumable=True,
)
@click.argument("name", required=False, help="One mirror; all unless said otherwise.")
@click.pass_obj
def run(invocation: Invocation, name: str | None) -> int:
    """Bring what is missing.

    Ends with 5 if something could not come; what could has come.

    A number or a semver that means another version on the other side is a conflict: both versions
    are kept, the one that comes gets the next number, and no semver.
    """
    server = invocation.config.server
    named = [find_mirror(server, name)] if name else list(known_mirrors(server).values())
    if not named:
        raise InvalidInput(f"{server} has no mirror", fix="deltareg mirror add URL --pull")
    if len(named) > 1 and _TOKEN in invocation.environ:
        raise InvalidInput(f"{_TOKEN} is for one registry, and there are {len(named)} mirrors", fix="name the mirror")
    status = 0
    for one in named:
        with _other(invocation, one) as other:
            own = invocation.client
            source, target = (other, own) if one.direction == "pull" else (own, other)
            status |= _show(invocation, one.name, target.mirrors.bring(source.mirrors.source(one.scope)))
    return status


@command(
    "save",
    Example("a namespace", "deltareg mirror save ./bundle --of team"),
    see_also=("mirror load", "mirror add"),
    is_resumable=True,
)
@click.argument("folder", type=click.Path(path_type=Path), help="The folder; one that is there is brought up to date.")
@_scope
@click.pass_obj
def save(invocation: Invocation, folder: Path, scope: tuple[str, ...]) -> None:
    """Write what a mirror would bring into a folder."""
    versions = invocation.client.mirrors.save(folder, scope)
    facts = FactsBlock([("versions", f"{versions:,}"), ("there", f"deltareg mirror load {folder}")])
    document = {"folder": str(folder), "versions": versions}
    invocation.output.show(CommandResult(document, [TitleBlock(str(folder)), facts], [str(folder)]))


@command("load", Example("what came", "deltareg mirror load ./bundle"), see_also=("mirror save",), is_resumable=True)
@click.argument("folder", type=click.Path(path_type=Path, exists=True), help="The folder.")
@click.pass_obj
def load(invocation: Invocation, folder: Path) -> int:
    """Bring this registry in step with what mirror save wrote."""
    return _show(invocation, str(folder), invocation.client.mirrors.load(folder))


@contextmanager
def _other(invocation: Invocation, one: KnownMirror) -> "Iterator[Client]":
    """Open a client of the other registry, with a token of its own."""
    from deltareg.client import Client

    token = invocation.environ.get(_TOKEN) or read_token(one.url) or ""
    config = replace(invocation.config, server=one.url, token=token, named_in="", withheld=("", ""))
    with Client(config) as client:
        yield client


def _show(invocation: Invocation, title: str, report: "MirrorReport") -> int:
    """Show what a run did; return the exit status."""
    facts = FactsBlock(
        [
            ("from", Cell(report.source, "name")),
            ("to", Cell(report.target, "name")),
            ("brought", f"{count(len(report.brought), 'version')}, {size(report.sent_bytes)}"),
            ("there", count(report.there, "version") if report.there else ""),
            ("signed", f"{report.evidence:,} signatures, attestations and verdicts" if report.evidence else ""),
        ]
    )
    told = [f"conflict: {text}" for text in report.conflicts] + [f"not brought: {text}" for text in report.left]
    shown = told if len(told) <= _MOST_TOLD else [*told[: _MOST_TOLD - 1], f"and {len(told) - _MOST_TOLD + 1} more: -v"]
    blocks: list[Block] = [TitleBlock(title), facts, *([LinesBlock(shown)] if told else [])]
    rest: list[Block] = [LinesBlock(told[_MOST_TOLD - 1 :])] if len(told) > _MOST_TOLD else []
    invocation.output.show(CommandResult(report.to_dict(), blocks, report.brought, rest))
    return 5 if report.left else 0


for _command in (add, ls, rm, run, save, load):
    mirror.add_command(_command)
