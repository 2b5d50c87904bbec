"""Signatures of versions, and attestations about them."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import Block, Cell, Column, CommandResult, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.documents import fields, items_fields
from deltareg_cli.terminal.wording import moment, short

if TYPE_CHECKING:
    from deltareg.client.results.proofs import FilesProof, SignerKey
    from deltareg.wire import ReferrerBody, ReferrerInfo, RevokedSigner
    from deltareg.wire.evidence import EvaluationBody


def signature_table(found: Sequence["ReferrerInfo"], *, now: datetime) -> TableBlock:
    """Build the table of a version's signers."""
    columns = [
        Column("digest"),
        Column("signed by"),
        Column("key"),
        Column("brought"),
        Column("revoked", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(short(info.digest), "name"),
            info.signed_by,
            info.keyid or info.ca or Cell("-", "dim"),
            f"{moment(info.created_at, now=now)} by {info.created_by}",
            Cell(info.revoked, "bad"),
        ]
        for info in found
    ]
    empty = "nobody has signed it: deltareg push PATH NS/NAME --sign KEY"
    return TableBlock(columns, rows, if_empty=empty)


def referrer_blocks(info: "ReferrerInfo", *, now: datetime) -> list[Block]:
    """Show one signature or attestation."""
    return [
        TitleBlock(info.signed_by, info.form),
        FactsBlock(
            [
                ("says", info.predicate_type),
                ("digest", Cell(info.digest, "name")),
                ("key", info.keyid),
                ("authority", info.ca),
                ("brought", f"{moment(info.created_at, now=now)} by {info.created_by}"),
                ("revoked", Cell(info.revoked, "bad")),
            ]
        ),
    ]


def files_proof_blocks(proofs: Sequence["FilesProof"]) -> list[Block]:
    """Show the results of verified signatures."""
    blocks: list[Block] = []
    for proof in proofs:
        blocks += [
            TitleBlock(proof.subject, proof.form),
            FactsBlock(
                [
                    ("signature", Cell("holds", "good")),
                    ("signed by", proof.signed_by),
                    ("says", proof.predicate_type),
                    ("digest", short(proof.digest)),
                    ("files", ", ".join(proof.files)),
                ]
            ),
        ]
    return blocks


def signer_blocks(key: "SignerKey") -> list[Block]:
    """Show the name of a key."""
    return [
        TitleBlock(key.path, "made" if key.is_new else ""),
        FactsBlock([("named", Cell(key.named, "name")), ("public", key.public)]),
    ]


def revoked_table(found: Sequence["RevokedSigner"], *, now: datetime) -> TableBlock:
    """Build the table of the revoked signers."""
    columns = [Column("key"), Column("revoked"), Column("because", is_prose=True)]
    rows: list[list[Text]] = [
        [Cell(one.keyid, "name"), f"{moment(one.revoked_at, now=now)} by {one.revoked_by}", one.reason] for one in found
    ]
    return TableBlock(columns, rows, if_empty="nobody is revoked")


def show_proofs(invocation: Invocation, proofs: Sequence["FilesProof"]) -> None:
    """Print the results of verified signatures."""
    items = [fields(proof, "subject", "signed_by", "digest") for proof in proofs]
    document = items_fields(items)
    digests = [proof.digest for proof in proofs]
    invocation.output.show(CommandResult(document, files_proof_blocks(proofs), digests))


def write_body(invocation: Invocation, found: "ReferrerBody | EvaluationBody", out: Path | None) -> None:
    """Write a signed body into a file, or print it."""
    if out is not None:
        out.write_bytes(found.body.encode())
        invocation.output.note(f"wrote {found.digest} to {out}")
    text = None if out is not None else f"{found.body.rstrip()}\n"
    invocation.output.show(CommandResult(fields(found, "digest", "signed_by"), [], [], raw=text))
