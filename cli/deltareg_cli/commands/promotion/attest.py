"""`deltareg attest`: in-toto attestations of others about versions."""

from pathlib import Path

import click

from deltareg_cli.commands.promotion.signature import SIGNERS, SIGSTORE_TRUST
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, public_key_option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, items_fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.signatures import attestation_table, referrer_blocks, show_proofs, write_body

ORDER = 34


@group(
    "attest",
    Example("how it was trained", "deltareg attest add me/chat:v3 provenance.json --key builder.pub"),
    Example("what there is", "deltareg attest ls me/chat:v3"),
    Example("whether it holds", "deltareg attest verify me/chat:v3 --key builder.pub"),
    see_also=("signature", "show", "verdict"),
)
def attest() -> None:
    """Keep what others attest about a version.

    Provenance, results of tests and the like. An attestation is an in-toto statement in a DSSE
    envelope, or in a bundle of a Sigstore. It is kept as it is; what it says is for those who know
    its kind.
    """


@command(
    "add",
    Example("SLSA provenance", "deltareg attest add me/chat:v3 provenance.json --key builder.pub"),
    see_also=("attest ls", "attest verify"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), help="The attestation.")
@public_key_option()
@click.pass_obj
def add(invocation: Invocation, ref: str, path: Path, *, public: str | None) -> None:
    """Bring an attestation about a version.

    Its signature must hold. Each thing that it is about must be the version, by its digest, or a
    file of it, and one of them must be the version or its weights. At most 1 MiB.
    """
    attestation = invocation.client.signatures.add(ref, path, key=public, form="attestation")
    blocks = referrer_blocks(attestation, now=invocation.now)
    document = fields(attestation, "digest", "predicate_type", "signed_by")
    invocation.output.show(CommandResult(document, blocks, [attestation.digest]))


@command(
    "ls",
    Example("what others say about it", "deltareg attest ls me/chat:v3"),
    see_also=("attest verify", "signature ls"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.pass_obj
def ls(invocation: Invocation, ref: str) -> None:
    """List the attestations about a version, oldest first."""
    attestations = invocation.client.signatures.list(ref, form="attestation")
    items = [fields(info, "digest", "predicate_type", "signed_by") for info in attestations]
    table = attestation_table(attestations, now=invocation.now)
    invocation.output.show(CommandResult(items_fields(items), [table], [info.digest for info in attestations]))


@command(
    "export",
    Example("to read it", "deltareg attest export me/chat:v3 --out provenance.json"),
    see_also=("attest ls", "attest verify"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("digest", required=False, default="", help="Which one; without it, the newest.")
@option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it.")
@click.pass_obj
def export(invocation: Invocation, ref: str, digest: str, *, out: Path | None) -> None:
    """Write an attestation as it was signed."""
    attestation = invocation.client.signatures.show(ref, digest, form="attestation")
    write_body(invocation, attestation, out)


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


for _command in (add, ls, export, verify):
    attest.add_command(_command)
