"""`deltareg signature`: who signed a version's files, and whether that holds, offline too."""

from pathlib import Path

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option, public_key_option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.documents import fields, items_fields, page_fields
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.signatures import (
    referrer_blocks,
    revoked_table,
    show_proofs,
    signature_table,
    signer_blocks,
    write_body,
)

ORDER = 32

SIGNERS = option(
    "--key",
    "signers",
    multiple=True,
    metavar="SIGNER",
    help="Who must have signed: a file with a public key or an authority's certificate, a keyid, "
    "ca:FINGERPRINT, or the address of an issuer; #NAME behind one of the last three, or a "
    "certificate, asks for one identity. Repeated, each must have.",
)
SIGSTORE_TRUST = option(
    "--sigstore-trust",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="DELTAREG_SIGSTORE_TRUST",
    help="The trust configuration of the Sigstore that vouches for identities.",
)


@group(
    "signature",
    Example("make a key to sign with", "deltareg signature key release.pem"),
    Example("sign with a push", "deltareg push ./adapter me/chat --base tiny --sign release.pem"),
    Example("whether a pulled folder holds", "deltareg signature verify ./chat --key release.pem.pub"),
    see_also=("push", "pull", "attest", "channel policy"),
)
def signature() -> None:
    """Look at who signed a version's files, and verify it.

    A signature is a bundle of OpenSSF model-signing over the files as a pull writes them. The
    registry takes one only where it holds; who has to have signed is said by the policy of a
    channel, and by whoever pulls.
    """


@command(
    "key",
    Example("make one, or say how it is named", "deltareg signature key release.pem"),
    Example("how a policy names an authority", "deltareg signature key ca.pem"),
    see_also=("signature verify", "channel policy"),
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), help="The key.")
@click.pass_obj
def key(invocation: Invocation, path: Path) -> None:
    """Say how a key is named, and make one where there is no file.

    The file is only its owner's to read, and the public half lies beside it with .pub at its end.
    Of a public key, or the certificate of an authority, it says how policies name it.
    """
    signer_key = invocation.client.signatures.key(path)
    invocation.output.show(CommandResult(fields(signer_key, "named"), signer_blocks(signer_key), [signer_key.named]))


@command(
    "add",
    Example("signed with model-signing", "deltareg signature add me/chat:v3 model.sig --key k.pub"),
    see_also=("push", "signature ls"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path), help="The bundle.")
@public_key_option()
@click.pass_obj
def add(invocation: Invocation, ref: str, path: Path, *, public: str | None) -> None:
    """Bring a signature that was made elsewhere.

    It must be of the version's files, all of them and no other, each by its sha256.
    """
    added = invocation.client.signatures.add(ref, path, key=public)
    blocks = referrer_blocks(added, now=invocation.now)
    invocation.output.show(CommandResult(fields(added, "digest", "signed_by"), blocks, [added.digest]))


@command("ls", Example("who signed it", "deltareg signature ls me/chat:v3"), see_also=("signature verify", "attest ls"))
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.pass_obj
def ls(invocation: Invocation, ref: str) -> None:
    """List the signatures of a version, oldest first."""
    signatures = invocation.client.signatures.list(ref)
    document = items_fields([fields(info, "digest", "signed_by") for info in signatures])
    table = signature_table(signatures, now=invocation.now)
    invocation.output.show(CommandResult(document, [table], [info.digest for info in signatures]))


@command(
    "export",
    Example("to verify it elsewhere", "deltareg signature export me/chat:v3 --out model.sig"),
    see_also=("signature verify", "signature ls"),
)
@click.argument("ref", help="The version; a bare NS/NAME is its newest.")
@click.argument("digest", required=False, default="", help="Which one; without it, the newest.")
@option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it.")
@click.pass_obj
def export(invocation: Invocation, ref: str, digest: str, *, out: Path | None) -> None:
    """Write a signature as it was made, for this or any other tool."""
    bundle = invocation.client.signatures.show(ref, digest)
    write_body(invocation, bundle, out)


@command(
    "verify",
    Example("a pulled folder, offline", "deltareg signature verify ./chat --key release.pem.pub"),
    Example("what the registry has", "deltareg signature verify me/chat:v3 --key release.pem.pub"),
    Example(
        "a certificate of an authority, for one name",
        "deltareg signature verify ./chat --key ca.pem#release@example.org",
    ),
    see_also=("pull", "signature export", "help exit-codes"),
)
@click.argument("named", metavar="DIR|FILE|REF", help="A folder, a bundle alone, or a version.")
@SIGNERS
@option(
    "--signature",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The signature of the folder; without it, model.sig inside.",
)
@SIGSTORE_TRUST
@click.pass_obj
def verify(
    invocation: Invocation, named: str, *, signers: tuple[str, ...], signature: Path | None, sigstore_trust: Path | None
) -> None:
    """Verify that somebody has signed a folder, or a version.

    Of a folder every file is hashed; one that is another, is missing or is there besides is named.
    Nothing is asked of the registry for that, nor for a bundle by itself, of which only the
    signature is verified and no file. Exit status: 0 all hold, 6 one does not.
    """
    proofs = invocation.client.signatures.verify(named, signers, signature=signature, sigstore_trust=sigstore_trust)
    show_proofs(invocation, proofs)


@command(
    "revoke",
    Example("it was stolen", "deltareg signature revoke KEYID -m 'laptop was stolen'"),
    see_also=("signature revoked", "audit"),
)
@click.argument("keyid", help="The key, or an authority's fingerprint, 64 hex digits.")
@option("-m", "--reason", required=True, metavar="REASON", help="Why.")
@click.pass_obj
def revoke(invocation: Invocation, keyid: str, *, reason: str) -> None:
    """Revoke a key, or an authority, with all that it signed.

    It holds for the whole registry and cannot be taken back. What channels serve stays served.
    """
    invocation.confirm(f"Revoke {keyid[:16]} and all that it signed?")
    revoked_key = invocation.client.signatures.revoke(keyid, reason=reason)
    document = fields(revoked_key, "keyid", "reason")
    table = revoked_table([revoked_key], now=invocation.now)
    invocation.output.show(CommandResult(document, [table], [revoked_key.keyid]))


@command("revoked", Example("all of them", "deltareg signature revoked"), see_also=("signature revoke",))
@click.pass_obj
def list_revoked(invocation: Invocation) -> None:
    """List the keys and authorities whose signatures count no more."""
    page = invocation.client.signatures.list_revoked()
    table = revoked_table(page.items, now=invocation.now)
    ids = [one.keyid for one in page.items]
    invocation.output.show(CommandResult(page_fields(page), [table], ids))


for _command in (key, add, ls, export, verify, revoke, list_revoked):
    signature.add_command(_command)
