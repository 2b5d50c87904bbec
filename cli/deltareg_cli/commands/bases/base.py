"""`deltareg base`: the weights that deltas are made against."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg.words import SCHEMES, Proof, Scheme
from deltareg_cli.commands.bases.base_changes import diff, rename, rm
from deltareg_cli.commands.promotion.prove import finish_proof
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import cursor_option, limit_option, option, timeout_option
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
)
from deltareg_cli.terminal.documents import as_it_is, fields, page_fields
from deltareg_cli.terminal.paging import note_more
from deltareg_cli.terminal.wording import count, moment, short, size
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.global_options import compression_option
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.versions import proof_cell

if TYPE_CHECKING:
    from deltareg.wire import BaseInfo, CompatRow

ORDER = 10

FIRST = ("name", "root", "identity", "is_stored")
_TONES: dict[Proof, Tone] = {"proven": "good", "failed": "bad", "inconclusive": "warn", "not run": "dim"}
path_argument = click.argument("path", type=click.Path(path_type=Path), help="The folder with its config and weights.")
variant_option = partial(
    option,
    "--variant-of",
    default="",
    metavar="ROOT",
    section="Variants",
    help="The base in full precision whose weights this one holds in few bits.",
)
quantised_option = partial(
    option,
    "--quantised",
    type=click.Choice(SCHEMES),
    section="Variants",
    help="How they are packed; with --variant-of.",
)
hub_id_option = partial(
    option,
    "--hub-id",
    "hub_ids",
    multiple=True,
    metavar="ORG/NAME[@REV]",
    help="Its id on the hub, so that a config that names it finds it; may be repeated.",
)


@group(
    "base",
    Example("keep a base in the registry", "deltareg base push ./llama llama-3.1-8b"),
    Example("only its fingerprint", "deltareg base register ./llama llama-3.1-8b"),
    Example(
        "the same weights in four bits, for what is trained on them",
        "deltareg base register ./llama-bnb4 llama-bnb4 --variant-of llama-3.1-8b --quantised bnb4",
    ),
    Example("what is proven on which", "deltareg base compat llama-3.1-8b"),
    Example("in what two differ", "deltareg base diff llama-3.1-8b llama-new"),
    see_also=("push", "materialize"),
)
def bases() -> None:
    """Name the bases that deltas are made against.

    A base is known by its identity: over its tensors, its config, tokenizer, chat template,
    processor and generation config. Its root is over the tensors alone: file names, shards and
    metadata do not matter. Bases with one root and another identity are different bases, and a
    version is bound to one of them. A name may lie in a namespace: org/llama. A version that
    something was pushed onto is listed here by its reference.

    A base with packed weights is recorded as a variant of its base in full precision. What is
    trained on it is a version of that root, checked against the root's names and shapes, folded into
    the root alone, and verified on the root and on each variant that somebody asks for.
    """


@command(
    "push",
    Example("fingerprint and bytes", "deltareg base push ./llama llama-3.1-8b"),
    see_also=("base register", "push"),
    is_resumable=True,
)
@path_argument
@click.argument("name", help="What it is called from now on.")
@hub_id_option()
@variant_option()
@quantised_option()
@compression_option()
@click.pass_obj
def push(
    invocation: Invocation,
    path: Path,
    name: str,
    *,
    hub_ids: tuple[str, ...],
    variant_of: str,
    quantised: Scheme | None,
) -> None:
    """Keep a base in the registry: its fingerprint and its bytes.

    Workers and pulls can then get it from the registry. Where every machine has the weights
    already, deltareg base register is enough. Fine-tunes that were pushed where a registered base
    was not at hand are stored anew once it is kept, in much less room.
    """
    base_info = invocation.client.bases.push(path, name, variant_of=variant_of, quantised=quantised, hub_ids=hub_ids)
    _show_added(invocation, base_info)


@command(
    "register",
    Example("the bytes stay where they are", "deltareg base register ./llama llama-3.1-8b"),
    Example(
        "by its id on the hub, too", "deltareg base register ./llama llama-3.1-8b --hub-id meta-llama/Llama-3.1-8B"
    ),
    Example(
        "the same weights in eight bits",
        "deltareg base register ./llama-fp8 llama-fp8 --variant-of llama-3.1-8b --quantised fp8",
    ),
    see_also=("base push", "base fingerprint", "base compat"),
)
@path_argument
@click.argument("name", help="What it is called from now on.")
@hub_id_option()
@variant_option()
@quantised_option()
@click.pass_obj
def register(
    invocation: Invocation,
    path: Path,
    name: str,
    *,
    hub_ids: tuple[str, ...],
    variant_of: str,
    quantised: Scheme | None,
) -> None:
    """Record the fingerprint of a base, and where it lies.

    Its bytes stay there. Workers find it by its fingerprint: at this path, in the folders they
    know, in the Hugging Face cache. Of a folder in that cache the id and the revision are recorded
    by themselves. A push that leaves --base out finds the base by what the adapter's config names:
    its name here, an id that is recorded, or where it lies.

    With --variant-of, the folder holds the weights of that base in few bits. Its config, names and
    shapes have to say so; about the numbers the registry believes you.
    """
    added = invocation.client.bases.register(path, name, variant_of=variant_of, quantised=quantised, hub_ids=hub_ids)
    _show_added(invocation, added)


@command("ls", Example("all of them", "deltareg base ls"), see_also=("base show",))
@limit_option()
@cursor_option()
@click.pass_obj
def ls(invocation: Invocation, *, limit: int, cursor: str | None) -> None:
    """List the bases of the registry."""
    page = invocation.client.bases.list(cursor=cursor, limit=limit)
    table = base_table(page.items, now=invocation.now)
    invocation.output.show(CommandResult(page_fields(page), [table], [item.name for item in page.items]))
    note_more(invocation.output, page.next_cursor)


@command("show", Example("one base", "deltareg base show llama-3.1-8b"), see_also=("base ls",))
@click.argument("name", help="The base.")
@click.pass_obj
def show(invocation: Invocation, name: str) -> None:
    """Show a base: fingerprint, size, and where it lies."""
    base_info = invocation.client.bases.show(name)
    blocks = _blocks(base_info, "", now=invocation.now)
    invocation.output.show(CommandResult(as_it_is(base_info, *FIRST), blocks, [base_info.name]))


@command(
    "compat",
    Example("what is proven on which variant", "deltareg base compat llama-3.1-8b"),
    Example("by another suite", "deltareg base compat llama-3.1-8b --suite deep"),
    see_also=("base register", "verify", "channel policy"),
)
@click.argument("name", help="The base in full precision, or one of its variants.")
@option("--suite", default="smoke", show_default=True, help="The suite whose verdicts count.")
@limit_option()
@cursor_option()
@click.pass_obj
def compat(invocation: Invocation, name: str, *, suite: str, limit: int, cursor: str | None) -> None:
    """Show on which variants the versions of a base are proven.

    The newest come first. A version is proven on a form of its base where it has a verdict of the
    suite that counts and passed: deltareg verify REF --variant NAME makes one.
    """
    if ":" in name:
        raise InvalidInput(f"{name} is a version", fix="name a base: deltareg base ls")
    client = invocation.client
    base = client.bases.show(name)
    root = name if base.variant_of is None else base.variant_of.name
    names = [root, *client.bases.show(root).variants]
    page = client.bases.compat(root, suite=suite, cursor=cursor, limit=limit)
    table = _compat_table(page.items, names, now=invocation.now)
    refs = [row.ref for row in page.items]
    invocation.output.show(CommandResult(page_fields(page), [TitleBlock(root, f"suite {suite}"), table], refs))
    note_more(invocation.output, page.next_cursor)


@command(
    "prove",
    Example("wait until its bytes are proven", "deltareg base prove llama-3.1-8b --wait"),
    see_also=("prove", "base show"),
    is_resumable=True,
)
@click.argument("name", help="The base.")
@option("--again", is_flag=True, help="Decode it anew although it is proven.")
@option("--wait", is_flag=True, help="Wait until somebody has looked.")
@timeout_option()
@click.pass_obj
def prove(invocation: Invocation, name: str, *, again: bool, wait: bool, timeout: float) -> None:
    """Have the stored bytes of a base proven by a worker.

    It is as for a version: deltareg prove.
    """
    run = invocation.client.runs.prove(base=name, again=again)
    finish_proof(invocation, run, wait=wait, timeout_s=timeout)


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
    info = invocation.client.bases.fingerprint(path)
    document: dict[str, object] = {
        "root": str(info.root),
        "tensors": info.tensors,
        "size_bytes": info.size_bytes,
        "model_type": info.model_type,
        "config_digest": str(info.config_digest),
        "tokenizer_digest": str(info.tokenizer_digest or ""),
        "identity": str(info.identity),
        "parts": {name: str(digest) for name, digest in info.parts.items()},
    }
    facts = FactsBlock(
        [
            ("root", str(info.root)),
            ("tensors", f"{count(info.tensors, 'tensor')}, {size(info.size_bytes)}"),
            ("type", info.model_type),
            ("identity", str(info.identity)),
            *_parts({name: str(digest) for name, digest in info.parts.items()}),
        ]
    )
    invocation.output.show(CommandResult(document, [TitleBlock(str(path)), facts], [str(info.root)]))


def base_table(found: Sequence["BaseInfo"], *, now: datetime) -> TableBlock:
    """Build the table of bases."""
    columns = [
        Column("base"),
        Column("type"),
        Column("root"),
        Column("size", is_number=True),
        Column("bytes"),
        Column("variant"),
        Column("deltas", is_number=True),
        Column("added"),
    ]
    rows: list[list[Text]] = [
        [
            Cell(base.name, "name"),
            base.model_type,
            Cell(short(base.root), "dim"),
            size(base.logical_bytes),
            _bytes(base),
            f"{base.quantised} of {base.variant_of.name}" if base.variant_of else "",
            str(base.deltas),
            moment(base.created_at, now=now),
        ]
        for base in found
    ]
    return TableBlock(columns, rows, if_empty="no bases yet: deltareg base push PATH NAME")


def _bytes(base: "BaseInfo") -> Cell:
    if not base.is_stored:
        return Cell("registered")
    if base.proof in {"proven", None}:
        return Cell("stored")
    return Cell(f"stored, {base.proof}", "bad" if base.proof == "corrupt" else "dim")


def _compat_table(rows: Sequence["CompatRow"], names: Sequence[str], *, now: datetime) -> TableBlock:
    columns = [Column("version"), Column("trained on"), *(Column(name, is_name=True) for name in names)]
    shown: list[list[Text]] = [
        [
            Cell(row.ref, "name"),
            row.trained_on or Cell("-", "dim"),
            *(_proof(row.on.get(name, "not run")) for name in names),
            moment(row.created_at, now=now),
        ]
        for row in rows
    ]
    return TableBlock([*columns, Column("pushed")], shown, if_empty="no versions of it yet")


def _proof(proof: Proof) -> Cell:
    return Cell(proof, _TONES[proof])


def _show_added(invocation: Invocation, base: "BaseInfo") -> None:
    details = _blocks(base, "", now=invocation.now)[1:]
    invocation.output.show(CommandResult(fields(base, *FIRST, "created"), _in_short(base), [base.name], details))


def _in_short(base: "BaseInfo") -> list[Block]:
    """Show a base that was added in a line, what is odd about it, and what to do next."""
    storage = f"stored in {size(base.stored_bytes)}" if base.is_stored else "its files stay where they are"
    packed = f"{base.quantised} of {base.variant_of.name}, " if base.variant_of else ""
    before = "" if base.created else "was there already: "
    what = f"{before}{packed}{base.model_type}, {count(base.tensors, 'tensor')}, {size(base.logical_bytes)}, {storage}"
    head = SentencesBlock([Sentence(what, Cell(base.name, "name"))], gap=2)
    rows: list[Sentence] = []
    if base.is_partial:
        rows.append(Sentence("it has no tokenizer; push it again with one", Cell("warning:", "warn")))
    if base.proof == "corrupt":
        rows.append(Sentence("what is stored is not what it says; push it again", Cell("CORRUPT:", "bad")))
    rows.append(Sentence(f"push what was trained on it: deltareg push FOLDER NS/NAME --base {base.name}"))
    return [head, *(SentencesBlock([row]) for row in rows)]


def _blocks(base: "BaseInfo", note: str, *, now: datetime) -> list[Block]:
    storage = f"stored in {size(base.stored_bytes)}" if base.is_stored else "registered, not stored"
    relations = [f"{item.relation} {item.name or short(item.root)}" for item in base.relations]
    full = f"{base.variant_of.name}, as {base.quantised}" if base.variant_of else ""
    made_of: list[Text] = []
    if base.version and base.bottom:
        how = f"computed by {base.recipe}" if base.recipe else "stored values, the same everywhere"
        stack = f"{count(base.depth, 'version')} on {base.bottom.name}"
        made_of = [Cell(stack, "name"), Cell(how, "dim")]
    return [
        TitleBlock(base.name, note),
        FactsBlock(
            [
                ("type", base.model_type),
                ("tensors", f"{count(base.tensors, 'tensor')}, {size(base.logical_bytes)}"),
                ("made of", made_of),
                ("variant of", full),
                ("variants", ", ".join(base.variants)),
                ("on the hub", ", ".join(base.hub_ids)),
                ("bytes", [storage, proof_cell(base.proof)]),
                ("sent", size(base.uploaded_bytes) if base.uploaded_bytes else ""),
                ("lies at", base.location or ""),
                ("relations", ", ".join(relations)),
                ("deltas", str(base.deltas)),
                ("added", f"{moment(base.created_at, now=now)} by {base.created_by}"),
                ("also called", ", ".join(base.aliases)),
                ("root", base.root),
                ("identity", _identity(base)),
                *_parts(base.parts),
            ]
        ),
    ]


def _identity(base: "BaseInfo") -> list[Text]:
    partial = [Cell("partial: push it again with its tokenizer", "warn")] if base.is_partial else []
    return [base.identity, *partial] if base.identity else []


def _parts(parts: Mapping[str, str]) -> list[tuple[str, Text]]:
    """Describe the digests of a base's parts; the digest of its tensors is the root."""
    others = {name: digest for name, digest in parts.items() if name != "tensors"}
    return [(name.replace("_", " "), Cell(short(digest), "dim")) for name, digest in others.items()]


for _command in (push, register, ls, show, compat, prove, fingerprint, diff, rename, rm):
    bases.add_command(_command)
