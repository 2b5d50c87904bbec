"""`deltareg attest`: what others say about versions, signed as in-toto attestations or not."""

from pathlib import Path

import click

from deltareg_cli.commands.promotion.signature import SIGNERS, SIGSTORE_TRUST
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, public_key_option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, items_fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.evidence import evidence_blocks, evidence_table
from deltareg_cli.views.signatures import show_proofs, write_body

ORDER = 34


@group(
    "attest",
    Example("how it was trained", "deltareg attest add me/chat:v3 provenance.json --key builder.pub"),
    Example("what another system measured", "deltareg attest add me/chat:v3 results.json"),
    Example("what there is", "deltareg attest ls me/chat:v3"),
    Example("whether it holds", "deltareg attest verify me/chat:v3 --key builder.pub"),
    see_also=("signature", "show", "verdict", "channel policy"),
)
def attest() -> None:
    """Keep what others say about a version.

    Signed, it is an in-toto statement in a DSSE envelope or in a bundle of a Sigstore: provenance,
    results of tests and the like. Not signed, it is an evaluation, and the word of whoever brings
    it. A channel's policy may ask for both. No worker here found any of it.
    """


@command(
    "add",
    Example("SLSA provenance", "deltareg attest add me/chat:v3 provenance.json --key builder.pub"),
    Example("what lm-evaluation-harness wrote", "deltareg attest add me/chat:v3 results.json"),
    see_also=("attest ls", "attest verify", "attest withdraw"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), help="The attestation, or an evaluation.")
@public_key_option()
@click.pass_obj
def add(invocation: Invocation, ref: str, path: Path, *, public: str | None) -> None:
    """Bring what somebody says about a version.

    The signature of an attestation must hold. Each thing that it is about must be the version, by
    its digest, or a file of it, and one of them must be the version or its weights. An evaluation
    that nobody signed is a results.json of lm-evaluation-harness, or {"metrics": {NAME: NUMBER}};
    it is kept as your word about the one version that you name. At most 1 MiB.
    """
    evidence = invocation.client.evidence.add(ref, path, key=public)
    blocks = evidence_blocks(evidence, now=invocation.now)
    document = fields(evidence, "digest", "predicate_type", "signed_by")
    invocation.output.show(CommandResult(document, blocks, [evidence.digest]))


@command(
    "ls",
    Example("what others say about it", "deltareg attest ls me/chat:v3"),
    see_also=("attest verify", "signature ls"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.pass_obj
def ls(invocation: Invocation, ref: str) -> None:
    """List what others say about a version, and who says it."""
    evidence = invocation.client.evidence.list(ref)
    items = [fields(one, "digest", "predicate_type", "signed_by") for one in evidence]
    table = evidence_table(evidence, now=invocation.now)
    invocation.output.show(CommandResult(items_fields(items), [table], [one.digest for one in evidence]))


@command(
    "withdraw",
    Example("measured on the wrong data", 'deltareg attest withdraw me/chat:v3 3f2a19c0 -m "wrong split"'),
    see_also=("attest ls", "signature revoke"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("digest", help="The evaluation, by the first digits of its digest.")
@option("-m", "--reason", required=True, metavar="REASON", help="Why.")
@click.pass_obj
def withdraw(invocation: Invocation, ref: str, digest: str, *, reason: str) -> None:
    """Let an evaluation that nobody signed count no more.

    You may withdraw what you brought; whoever administers the line may withdraw all. What is signed
    stays: its signer may be revoked.
    """
    evidence = invocation.client.evidence.withdraw(ref, digest, reason=reason)
    blocks = evidence_blocks(evidence, now=invocation.now)
    invocation.output.show(CommandResult(fields(evidence, "digest", "ignored"), blocks, [evidence.digest]))


@command(
    "export",
    Example("to read it", "deltareg attest export me/chat:v3 --out provenance.json"),
    see_also=("attest ls", "attest verify"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("digest", required=False, default="", help="Which one; without it, the newest attestation.")
@option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it.")
@click.pass_obj
def export(invocation: Invocation, ref: str, digest: str, *, out: Path | None) -> None:
    """Write an attestation or an evaluation as it came."""
    write_body(invocation, invocation.client.evidence.show(ref, digest), out)


@command(
    "verify",
    Example("by whom it must be", "deltareg attest verify me/chat:v3 --key builder.pub"),
    Example("of one kind", "deltareg attest verify me/chat:v3 --key b.pub --type https://slsa.dev/provenance/v1"),
    see_also=("attest ls", "signature verify", "help exit-codes"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@SIGNERS
@option("--type", "predicate_type", default="", metavar="URI", help="Only of this kind.")
@SIGSTORE_TRUST
@click.pass_obj
def verify(
    invocation: Invocation, ref: str, *, signers: tuple[str, ...], predicate_type: str, sigstore_trust: Path | None
) -> None:
    """Verify what somebody attests about a version.

    It is fetched, and opened with the signer's key on this machine: the server's word counts for
    nothing. Exit status: 0 there are some and all hold, 6 otherwise.
    """
    proofs = invocation.client.signatures.verify_attestations(
        ref, signers, predicate_type=predicate_type, sigstore_trust=sigstore_trust
    )
    show_proofs(invocation, proofs)


for _command in (add, ls, export, verify, withdraw):
    attest.add_command(_command)
