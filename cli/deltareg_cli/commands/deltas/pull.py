"""`deltareg pull`: get the files of a version."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg.wire.interface import SCHEMA_VERSION
from deltareg_cli.commands.deltas.card import put_card
from deltareg_cli.commands.promotion.signature import SIGSTORE_TRUST
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import (
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
)
from deltareg_cli.terminal.wording import clean, rate, seconds, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.revocations import warn

if TYPE_CHECKING:
    from deltareg.client import MaterializeReport, PullReport

_PATHS = (".", "/", "~")
ORDER = 40


@command(
    "pull",
    Example("what prod serves now", "deltareg pull me/chat@prod --to ./chat"),
    Example("one version for ever", "deltareg pull me/chat:v3 --to ./chat"),
    Example("what prod served before", "deltareg pull me/chat@prod~1"),
    Example("some of its files", "deltareg pull me/picture@prod --to ./picture --include 'text_encoder/*'"),
    Example("several at once, in ./models/chat and ./models/code", "deltareg pull me/chat me/code --to ./models"),
    see_also=("update", "materialize", "cache", "help references"),
    is_resumable=True,
)
@click.argument(
    "refs", metavar="REF...", nargs=-1, required=True, help="What to pull; a bare NS/NAME is what @prod serves."
)
@option(
    "--to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the files go; of several versions each into a folder there, named like its line.",
)
@option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Pull only files like this; * stands for / too. May be repeated; updates of DIR keep to it.",
)
@option("--frozen", is_flag=True, help="Refuse a bare NS/NAME, which may change its meaning.")
@option(
    "--require-signature",
    "signers",
    multiple=True,
    metavar="SIGNER",
    help="Refuse what this signer has not signed: a file with a public key or an authority's "
    "certificate, a keyid and so on, as signature verify takes them. Repeated, each must have.",
)
@option(
    "--card",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write its card here, with base, kind, verdict and lineage; not into the folder.",
)
@SIGSTORE_TRUST
@concurrency_option()
@click.pass_obj
def pull(
    invocation: Invocation,
    refs: tuple[str, ...],
    *,
    to: Path | None,
    include: tuple[str, ...],
    frozen: bool,
    signers: tuple[str, ...],
    sigstore_trust: Path | None,
    card: Path | None,
) -> None:
    """Get the files of a version, byte for byte.

    The files are those that were pushed, under the same names. Bytes that the cache has are not
    fetched again, and every tensor and file is checked against its digest before it is put in
    place. Without --to the files stay in the cache and their folder is printed. A folder is put in
    place whole or not at all. Of a version that is stored against another one, what is read of that
    counts as well. A version that is revoked comes with a warning.

    Beside the files of a version that is signed lies its signature, model.sig, for
    `deltareg signature verify DIR`. With --require-signature it is verified before anything comes.
    Beside a part of the files no signature lies, as it is of all of them.
    """
    if len(refs) > 1 and to is None and _means_folder(refs[-1]):
        raise InvalidInput(
            f"{refs[-1]} is a folder, and no version",
            fix=f"deltareg pull {shlex.join(refs[:-1])} --to {shlex.quote(refs[-1])}",
        )
    for ref in refs:
        if frozen and Ref.parse(ref).is_bare:
            raise InvalidInput(
                f"{ref} names no version, and --frozen asks for one",
                fix=f"write {ref}:v1, {ref}@prod#1 or {ref}@sha256:…",
            )
    if len(refs) > 1:
        _pull_several(invocation, refs, to, include, signers=signers, sigstore_trust=sigstore_trust, card=card)
        return
    _check_card(card, to)
    ref = next(iter(refs))
    pulled = invocation.client.versions.pull(ref, to, include=include, signers=signers, sigstore_trust=sigstore_trust)
    if card is not None:
        put_card(invocation.client.versions.write_card(pulled.ref), card)
    show_pulled(invocation, pulled, signed_by=pulled.signed_by)


def _means_folder(text: str) -> bool:
    """Whether a word after a version is where its files should go."""
    if text.startswith(_PATHS) or Path(text).is_dir():
        return True
    try:
        Ref.parse(text)
    except InvalidInput:
        return not set(text) & set("@:")
    return False


def _pull_several(
    invocation: Invocation,
    refs: Sequence[str],
    to: Path | None,
    include: Sequence[str],
    *,
    signers: Sequence[str],
    sigstore_trust: Path | None,
    card: Path | None,
) -> None:
    if to is None:
        raise click.UsageError("several versions are pulled into folders of one: name it with --to DIR")
    if card is not None:
        raise click.UsageError("--card is of one version: deltareg card show REF")
    reports = invocation.client.versions.pull_several(
        refs, to, include=include, signers=signers, sigstore_trust=sigstore_trust
    )
    for report in reports:
        warn(invocation, report.ref, report.revocation, report.deprecation)
    columns = [Column("version"), Column("path"), Column("fetched", is_number=True), Column("cached", is_number=True)]
    rows: list[list[Text]] = [
        [Cell(each.ref, "name"), str(each.path), size(each.fetched_bytes), size(each.cached_bytes)] for each in reports
    ]
    document = {"schema_version": SCHEMA_VERSION, "pulled": [each.to_dict() for each in reports]}
    table = TableBlock(columns, rows, if_empty="")
    invocation.output.show(CommandResult(document, [table], [str(each.path) for each in reports]))


def _check_card(card: Path | None, to: Path | None) -> None:
    """Refuse a card inside the folder: with it, the folder would be another delta."""
    if card is not None and to is not None and to.resolve() in card.resolve().parents:
        raise InvalidInput(
            f"{card} lies in {to}, which would then be another delta", fix=f"write it beside: --card {to.name}-card.md"
        )


def _told_trained(ref: str, variant: str) -> str:
    return (
        f"warning: {ref} was trained on {variant}, and is folded into the base in full precision:"
        " what it answers differs from training by what packing rounds"
    )


def show_pulled(
    invocation: Invocation, report: "PullReport | MaterializeReport", *, signed_by: Sequence[str] = ()
) -> None:
    """Show in a line where the bytes are now and where they came from; warn of a revoked version."""
    warn(invocation, report.ref, report.revocation, report.deprecation)
    document = report.to_dict()
    if document.get("trained_on"):
        invocation.output.note(clean(_told_trained(report.ref, str(document["trained_on"]))))
    speed = f" at {rate(report.fetched_bytes, report.seconds)}" if report.fetched_bytes else ""
    fetched = f"{size(report.fetched_bytes)} fetched{speed}" if report.fetched_bytes else "nothing to fetch"
    where = f"in {report.path}; {fetched}, {size(report.cached_bytes)} from the cache"
    signers = f", signed by {', '.join(signed_by)}" if signed_by else ""
    head = SentencesBlock([Sentence(f"is {where}{signers}", Cell(report.ref, "name"))])
    facts = FactsBlock(
        [
            ("took", seconds(report.seconds)),
            ("digest", report.digest),
            ("fingerprint", str(document.get("root", ""))),
            ("folded by", str(document.get("recipe", ""))),
        ]
    )
    invocation.output.show(CommandResult(document, [head], [str(report.path)], [facts]))
