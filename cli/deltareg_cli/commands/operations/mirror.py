"""`deltareg mirror`: another registry kept in step with this one, and lines with repositories on a hub."""

from collections.abc import Generator
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
from deltareg.host.token_files import read_token, write_token
from deltareg.refs import LineRef
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.runs.hub_mirrors import MIRROR_TOKEN, bring_from_hub, hub_line, read_hub_token, state_of
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
_scope = option("--of", "scope", metavar="NS|NS/NAME", multiple=True, help="What is mirrored; may be repeated.")


@group(
    "mirror",
    Example("have what another registry has", "deltareg mirror add https://eu.example --pull --of team"),
    Example("have what a hub has", "deltareg mirror add https://huggingface.co/org/lora --pull --line team/lora"),
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

    A line follows a repository on a hub: its newest commit is pushed as the line's next version.
    """


@command(
    "add",
    Example("from Europe", "deltareg mirror add https://eu.example --pull --of team"),
    Example(
        "from a hub", "deltareg mirror add https://huggingface.co/org/lora --pull --line team/lora --base llama-3.1-8b"
    ),
    see_also=_SEE,
)
@click.argument("url", help="The address of the other registry, or of a repository on a hub.")
@option("--pull", "is_pull", is_flag=True, help="Versions come from there.")
@option("--push", "is_push", is_flag=True, help="Versions go there.")
@option("--name", metavar="NAME", help="What to call it; its host or repository unless said otherwise.")
@_scope
@option("--line", metavar="NS/NAME", help="The line that follows a repository on a hub.")
@option("--revision", metavar="BRANCH", help="The repository's branch, if it is not main.")
@option("--base", metavar="NAME", help="The base of what comes from a hub; else the line's, else the one it names.")
@option("--token-stdin", is_flag=True, help="Read the hub's token from stdin, and keep it.")
@click.pass_obj
def add(
    invocation: Invocation,
    url: str,
    *,
    is_pull: bool,
    is_push: bool,
    name: str | None,
    scope: tuple[str, ...],
    line: str | None,
    revision: str | None,
    base: str | None,
    token_stdin: bool,
) -> None:
    """Name a mirror. Nothing is moved before mirror run.

    Log in there first: deltareg auth login --server URL, or set DELTAREG_MIRROR_TOKEN. The token
    needs to read at the source and to push at the target. A hub's is given by --token-stdin, and
    needs to read; what everybody may read needs none.
    """
    if is_pull == is_push:
        raise InvalidInput("say which way", fix=f"deltareg mirror add {url} --pull, or --push")
    if not line and (revision or base or token_stdin):
        raise InvalidInput("--revision, --base and --token-stdin are of a hub", fix="name the line: --line NS/NAME")
    if line and (is_push or scope):
        raise InvalidInput("a line only pulls from a hub, and one repository", fix="leave out --push and --of")
    url = url.rstrip("/")
    named = name or name_of(url)
    added = KnownMirror(named, invocation.config.server, url, "pull" if is_pull else "push", tuple(scope))
    if line:
        added = replace(added, line=str(LineRef.parse(line)), revision=revision or "", base=base or "")
        repository = hub_line(added).repository
        added = replace(added, name=name or repository.id.lower().replace("/", "-")[:64])
    add_mirror(added)
    if token_stdin:
        write_token(url, read_hub_token())
    rows = FactsBlock(
        [("with", Cell(url, "name")), ("way", added.direction), ("line", added.line), ("next", "deltareg mirror run")]
    )
    invocation.output.show(CommandResult(asdict(added), [TitleBlock(added.name), rows], [added.name]))


@command("ls", Example("all", "deltareg mirror ls"), see_also=_SEE)
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the mirrors that are named on this machine."""
    found = list(known_mirrors(invocation.config.server).values())
    states = {one.name: state_of(invocation, one) for one in found}
    rows = [
        (one.name, one.direction, one.url, one.line or ", ".join(one.scope) or "all", states[one.name]) for one in found
    ]
    columns = (Column("mirror", is_name=True), Column("way"), Column("with"), Column("of"), Column("state"))
    table = TableBlock(columns, rows, if_empty="none; name one: deltareg mirror add URL --pull")
    document = {"items": [asdict(one) | {"state": states[one.name]} for one in found]}
    invocation.output.show(CommandResult(document, [table], [one.name for one in found]))


@command("rm", Example("no more of it", "deltareg mirror rm eu.example"), see_also=_SEE)
@click.argument("name", help="Its name.")
@click.pass_obj
def rm(invocation: Invocation, name: str) -> None:
    """Forget a mirror; both sides keep what they have."""
    gone = remove_mirror(invocation.config.server, name)
    if gone.line:
        hub_line(gone).room(invocation.client).forget()
    invocation.output.show(CommandResult(asdict(gone), [LinesBlock([f"{name} is forgotten"])], [name]))


@command(
    "run",
    Example("all mirrors", "deltareg mirror run"),
    Example("one, from a timer", "deltareg mirror run eu.example --quiet"),
    see_also=_SEE,
    is_resumable=True,
)
@click.argument("name", required=False, help="One mirror; all unless said otherwise.")
@option("--now", is_flag=True, help="Try again at once what failed to come from a hub.")
@click.pass_obj
def run(invocation: Invocation, name: str | None, *, now: bool) -> int:
    """Bring what is missing.

    Ends with 5 if something could not come; what could has come.

    A number or a semver that means another version on the other side is a conflict: both versions
    are kept, the one that comes gets the next number, and no semver.

    A commit of a hub comes once, and those before it not at all. What is no adapter, gated, gone or
    of another base is named, and tried again after ten minutes, then twice as long, up to a day.
    """
    server = invocation.config.server
    named = [find_mirror(server, name)] if name else list(known_mirrors(server).values())
    if not named:
        raise InvalidInput(f"{server} has no mirror", fix="deltareg mirror add URL --pull")
    if len(named) > 1 and MIRROR_TOKEN in invocation.environ:
        raise InvalidInput(
            f"{MIRROR_TOKEN} is for one registry, and there are {len(named)} mirrors", fix="name the mirror"
        )
    status = 0
    for one in named:
        if one.line:
            status |= _show(invocation, one.name, bring_from_hub(invocation, one, is_at_once=now))
            continue
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
def save(invocation: Invocation, folder: Path, scope: tuple[str, ...]) -> int:
    """Write what a mirror would bring into a folder.

    What its versions were made from and stand on comes along, also from outside of --of. Ends with 5
    if something could not come; the rest is in the folder.
    """
    saved = invocation.client.mirrors.save(folder, scope)
    facts = FactsBlock([("versions", f"{saved.versions:,}"), ("there", f"deltareg mirror load {folder}")])
    document = {"folder": str(folder), "versions": saved.versions, "left": saved.left}
    told = [f"not saved: {text}" for text in saved.left]
    blocks: list[Block] = [TitleBlock(str(folder)), facts, *([LinesBlock(told)] if told else [])]
    invocation.output.show(CommandResult(document, blocks, [str(folder)]))
    return 5 if saved.left else 0


@command("load", Example("what came", "deltareg mirror load ./bundle"), see_also=("mirror save",), is_resumable=True)
@click.argument("folder", type=click.Path(path_type=Path, exists=True), help="The folder.")
@click.pass_obj
def load(invocation: Invocation, folder: Path) -> int:
    """Bring this registry in step with what mirror save wrote."""
    return _show(invocation, str(folder), invocation.client.mirrors.load(folder))


@contextmanager
def _other(invocation: Invocation, one: KnownMirror) -> "Generator[Client, None, None]":
    """Open a client of the other registry, with a token of its own."""
    from deltareg.client import Client

    token = invocation.environ.get(MIRROR_TOKEN) or read_token(one.url) or ""
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
