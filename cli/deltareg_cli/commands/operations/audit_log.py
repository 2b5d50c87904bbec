"""`deltareg audit verify` and its like: whether the audit trail was rewritten."""

from pathlib import Path

import click

from deltareg.errors import InvalidInput
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.audit import checkpoint_blocks, proof_blocks, report_blocks

_SEE = ("audit export", "audit checkpoint", "explain")


@command(
    "verify",
    Example("the registry's own, from here", "deltareg audit verify"),
    Example("a file, offline", "deltareg audit verify log.jsonl --keys trusted.json"),
    Example("against what was kept elsewhere", "deltareg audit verify --against checkpoints.jsonl"),
    see_also=_SEE,
)
@click.argument("file", required=False, help="What audit export --proofs wrote, the log or a part.")
@option("--keys", "keys_file", metavar="FILE", help="The keys to trust, from deltareg worker keys --export.")
@option("--against", multiple=True, metavar="FILE", help="Checkpoints that were kept elsewhere; may be repeated.")
@option("--whole", is_flag=True, help="Read all rows again, not only those since the last time.")
@click.pass_obj
def verify(
    invocation: Invocation, file: str | None, *, keys_file: str | None, against: tuple[str, ...], whole: bool
) -> ExitStatus:
    """Say whether the audit trail was rewritten, and from which row.

    Builds the tree over all rows anew and holds it against every checkpoint that the server
    signed, against the last one that this machine saw, and against those of --against. Finds rows
    that were changed, deleted, put in or moved, an end that was cut off, and a log that was
    written anew. A file is verified without asking anybody, once the server's key is pinned or
    given. Exit status: 0 it holds, 6 it does not.

    This machine remembers the tree that it built. For a week it reads only the rows since, and
    holds that the tree goes on. That a row was changed beside its sealed hash shows when all are
    read again: with --whole, with --against, once the week is over, or when something is wrong.
    """
    if file is not None and not Path(file).is_file():
        raise InvalidInput(f"there is no file {file}", fix="deltareg audit export --proofs")
    report = invocation.client.audit.verify(file, keys=keys_file, against=against, whole=whole)
    document = {"holds": report.holds, **fields(report, "findings", "size", "signed")}
    invocation.output.show(CommandResult(document, report_blocks(report), [report.root]))
    return ExitStatus.DONE if report.holds else ExitStatus.INTEGRITY


@command("prove", Example("a row, by the number that audit ls shows", "deltareg audit prove 4711"), see_also=_SEE)
@click.argument("number", type=click.IntRange(1, 1 << 53), help="The row's number.")
@click.pass_obj
def prove(invocation: Invocation, number: int) -> None:
    """Have it proven that a row is in the log, and verify that.

    Takes a few hashes where audit verify reads everything.
    """
    proof = invocation.client.audit.prove(number)
    document = fields(proof, "row", "position", "size")
    invocation.output.show(CommandResult(document, proof_blocks(proof), [proof.root]))


@command("checkpoint", Example("keep it elsewhere", "deltareg audit checkpoint --note > checkpoint.txt"), see_also=_SEE)
@option("--note", is_flag=True, help="As it was signed, in the form of C2SP's tlog-checkpoint.")
@click.pass_obj
def checkpoint(invocation: Invocation, *, note: bool) -> None:
    """Show the newest checkpoint, compared with the last one seen.

    It says how many rows the log has and the root over them, signed by the server. This machine
    remembers it, and refuses one that is older or does not go on from it (exit 6).
    """
    seen = invocation.client.audit.checkpoint()
    document = fields(seen, "origin", "size", "root")
    raw = seen.note if note else None
    invocation.output.show(CommandResult(document, checkpoint_blocks(seen), [seen.root], raw=raw))


@command("accept", Example("after a restored backup", "deltareg audit accept"), see_also=_SEE)
@click.pass_obj
def accept(invocation: Invocation) -> None:
    """Trust the registry's log as it is, whatever was seen before.

    For when who runs the registry says that a backup was restored or that it is a new one. Keys of
    the server that are new are pinned with it.
    """
    accepted = invocation.client.audit.accept()
    invocation.output.show(
        CommandResult(fields(accepted, "origin", "size", "root"), checkpoint_blocks(accepted), [accepted.root])
    )
