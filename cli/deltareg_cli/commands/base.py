"""`deltareg base`: the weights that deltas are made against."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from deltareg.wire import BaseInfo
from deltareg_cli.blocks import Answer, Block, Cell, Column, Facts, Table, Text, Title
from deltareg_cli.command_tree import Place, command, group
from deltareg_cli.documents import as_it_is, fields, page_fields
from deltareg_cli.global_options import compression_option
from deltareg_cli.help_page import Example
from deltareg_cli.invocation import Invocation
from deltareg_cli.options import cursor_option, limit_option
from deltareg_cli.paging import note_more
from deltareg_cli.wording import count, moment, short, size

PLACE = Place("Bases", 10)

FIRST = ("name", "root", "is_stored")
path_argument = click.argument(
    "path", type=click.Path(path_type=Path), help="The folder with its config and weights."
)


@group(
    "base",
    Example("keep a base in the registry", "deltareg base push ./llama llama-3.1-8b"),
    Example("only its fingerprint", "deltareg base register ./llama llama-3.1-8b"),
    see_also=("push", "materialize"),
)
def bases() -> None:
    """Name the bases that deltas are made against.

    A base is known by its fingerprint, which its tensors alone decide: file names, shards and
    metadata do not matter, and one changed number makes another base. A version that something was
    pushed onto is listed here by its reference.
    """


@command(
    "push",
    Example("fingerprint and bytes", "deltareg base push ./llama llama-3.1-8b"),
    see_also=("base register", "push"),
    is_resumable=True,
)
@path_argument
@click.argument("name", help="What it is called from now on.")
@compression_option()
@click.pass_obj
def push(invocation: Invocation, path: Path, name: str) -> None:
    """Keep a base in the registry: its fingerprint and its bytes.

    Workers and pulls can then get it from the registry. Where every machine has the weights
    already, deltareg base register is enough. Fine-tunes that were pushed where a registered base
    was not at hand are stored anew once it is kept, in much less room.
    """
    _show_added(invocation, invocation.client.bases.push(path, name))


@command(
    "register",
    Example("the bytes stay where they are", "deltareg base register ./llama llama-3.1-8b"),
    see_also=("base push", "base fingerprint"),
)
@path_argument
@click.argument("name", help="What it is called from now on.")
@click.pass_obj
def register(invocation: Invocation, path: Path, name: str) -> None:
    """Record the fingerprint of a base, and where it lies.

    Its bytes stay there. Workers find it by its fingerprint: at this path, in the folders they
    know, in the Hugging Face cache.
    """
    _show_added(invocation, invocation.client.bases.register(path, name))


@command("ls", Example("all of them", "deltareg base ls"), see_also=("base show",))
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, *, limit: int, cursor: str | None) -> None:
    """List the bases of the registry."""
    page = invocation.client.bases.list(cursor=cursor, limit=limit)
    table = base_table(page.items, now=invocation.now)
    invocation.output.show(Answer(page_fields(page), [table], [item.name for item in page.items]))
    note_more(invocation.output, page.next_cursor)


@command("show", Example("one base", "deltareg base show llama-3.1-8b"), see_also=("base ls",))
@click.argument("name", help="The base.")
@click.pass_obj
def show(invocation: Invocation, name: str) -> None:
    """Show a base: fingerprint, size, and where it lies."""
    found = invocation.client.bases.show(name)
    blocks = _blocks(found, "", now=invocation.now)
    invocation.output.show(Answer(as_it_is(found, *FIRST), blocks, [found.name]))


@command(
    "fingerprint",
    Example("is it the base that I think it is?", "deltareg base fingerprint ./llama"),
    see_also=("base show", "base register"),
)
@path_argument
@click.pass_obj
def fingerprint(invocation: Invocation, path: Path) -> None:
    """Work out the fingerprint of a folder, without a server.

    Digests of files that have not changed are remembered, so the second time is fast.
    """
    found = invocation.client.bases.fingerprint(path)
    document: dict[str, object] = {
        "root": str(found.root), "tensors": found.tensors, "size_bytes": found.size_bytes,
        "model_type": found.model_type, "config_digest": str(found.config_digest),
        "tokenizer_digest": str(found.tokenizer_digest or ""),
    }  # fmt: skip
    facts = Facts([
        ("root", str(found.root)),
        ("tensors", f"{count(found.tensors, 'tensor')}, {size(found.size_bytes)}"),
        ("type", found.model_type),
        ("config", str(found.config_digest)),
        ("tokenizer", str(found.tokenizer_digest or "")),
    ])  # fmt: skip
    invocation.output.show(Answer(document, [Title(str(path)), facts], [str(found.root)]))


def base_table(found: Sequence[BaseInfo], *, now: datetime) -> Table:
    """Show bases as rows."""
    columns = [
        Column("base"), Column("type"), Column("root"), Column("size", is_number=True),
        Column("bytes"), Column("deltas", is_number=True), Column("added"),
    ]  # fmt: skip
    rows: list[list[Text]] = [
        [
            Cell(base.name, "name"),
            base.model_type,
            Cell(short(base.root), "dim"),
            size(base.logical_bytes),
            "stored" if base.is_stored else "registered",
            str(base.deltas),
            moment(base.created_at, now=now),
        ]
        for base in found
    ]
    return Table(columns, rows, if_empty="no bases yet: deltareg base push PATH NAME")


def _show_added(invocation: Invocation, base: BaseInfo) -> None:
    note = "" if base.created else "was there already"
    blocks = _blocks(base, note, now=invocation.now)
    invocation.output.show(Answer(fields(base, *FIRST, "created"), blocks, [base.name]))


def _blocks(base: BaseInfo, note: str, *, now: datetime) -> list[Block]:
    stored = f"stored in {size(base.stored_bytes)}" if base.is_stored else "registered, not stored"
    relations = [f"{item.relation} {item.name or short(item.root)}" for item in base.relations]
    made_of: list[Text] = []
    if base.version and base.bottom:
        how = f"computed by {base.recipe}" if base.recipe else "stored values, the same everywhere"
        stack = f"{count(base.depth, 'version')} on {base.bottom.name}"
        made_of = [Cell(stack, "name"), Cell(how, "dim")]
    return [
        Title(base.name, note),
        Facts([
            ("type", base.model_type),
            ("tensors", f"{count(base.tensors, 'tensor')}, {size(base.logical_bytes)}"),
            ("made of", made_of),
            ("bytes", stored),
            ("sent", size(base.uploaded_bytes) if base.uploaded_bytes else ""),
            ("lies at", base.location or ""),
            ("relations", ", ".join(relations)),
            ("deltas", str(base.deltas)),
            ("added", f"{moment(base.created_at, now=now)} by {base.created_by}"),
            ("root", base.root),
        ]),
    ]  # fmt: skip


for _command in (push, register, ls, show, fingerprint):
    bases.add_command(_command)
