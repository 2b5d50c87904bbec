"""`deltareg verdict export` and `verify`: what was signed, and whether it holds, offline."""

from pathlib import Path

import click

from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg_cli.exits import ExitStatus
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, items_fields
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.keys import proof_blocks


@command(
    "export",
    Example("to a file", "deltareg verdict export me/chat:v3 --out chat.jsonl"),
    see_also=("verdict verify", "worker keys"),
)
@click.argument("ref", help="Whose verdicts; a bare NS/NAME is its newest version.")
@option("--out", metavar="FILE", help="Where to write them; without it, to the output.")
@click.pass_obj
def export(invocation: Invocation, ref: str, *, out: str | None) -> None:
    """Write what workers signed about a version.

    Each line is a DSSE envelope of an in-toto statement, newest first, and can be verified without
    the registry, by this or any other tool. Verdicts of before workers signed are not among them.
    """
    envelopes = invocation.client.verdicts.export(ref)
    if not envelopes:
        fix = f"deltareg verify {ref} --again --wait"
        raise NotFound(f"there is no signed verdict about {ref}", fix=fix)
    text = "".join(f"{line}\n" for line in envelopes)
    if out is not None:
        Path(out).write_text(text, encoding="utf-8")
        invocation.output.note(f"wrote {len(envelopes)} verdicts to {out}")
    document = items_fields([{"envelope": line} for line in envelopes])
    invocation.output.show(CommandResult(document, [], [], raw=text if out is None else None))


@command(
    "verify",
    Example("a file, offline", "deltareg verdict verify chat.jsonl --keys trusted.json"),
    Example("what the registry has", "deltareg verdict verify me/chat:v3"),
    see_also=("verdict export", "worker keys", "help exit-codes"),
)
@click.argument("named", metavar="FILE|REF", help="A file of envelopes, or a version.")
@option("--keys", "keys_file", metavar="FILE", help="The keys to trust, from deltareg worker keys --export.")
@click.pass_obj
def verify(invocation: Invocation, named: str, *, keys_file: str | None) -> ExitStatus:
    """Verify signed verdicts by their signatures alone.

    Says for each what it says, whose key signed it, and who enrolled that. The keys that are
    trusted are those of --keys, else those that this machine pinned for the registry; at the first
    use they are pinned. A file is verified without asking the registry, once keys are there. Exit
    status: 0 all hold, 6 one does not.
    """
    lines = _lines(invocation, named)
    proofs = invocation.client.verdicts.verify(lines, keys=keys_file)
    blocks = proof_blocks(proofs, now=invocation.now)
    items = [fields(proof, "ref", "verdict", "signed_by", "keyid") for proof in proofs]
    invocation.output.show(CommandResult(items_fields(items), blocks, [proof.run for proof in proofs]))
    return ExitStatus.DONE


def _lines(invocation: Invocation, named: str) -> list[str]:
    """Return the envelopes in a file, or those of a version."""
    path = Path(named)
    if path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        is_one = text.startswith("{") and "\n}" in text  # written over several lines
        lines = [text] if is_one else [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise InvalidInput(f"{named} is empty", fix="deltareg verdict export REF --out FILE")
        return lines
    try:
        ref = str(Ref.parse(named))
    except InvalidInput as error:
        raise InvalidInput(
            f"{named} is neither a file nor a version", fix="deltareg verdict export REF --out FILE"
        ) from error
    envelopes = list(invocation.client.verdicts.export(ref))
    if not envelopes:
        fix = f"deltareg verify {ref} --again --wait"
        raise NotFound(f"there is no signed verdict about {ref}", fix=fix)
    return envelopes
