"""Keys and what they signed."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock, Tone, tone_word
from deltareg_cli.terminal.wording import moment, short

if TYPE_CHECKING:
    from deltareg.client.results.proofs import SignedProof
    from deltareg.wire import KeyInfo

_TONES: dict[str, Tone] = {"live": "good", "retired": "dim", "revoked": "bad"}


def key_table(keys: Sequence["KeyInfo"], *, now: datetime) -> TableBlock:
    """Build the table of keys, with their owners and states."""
    columns = [
        Column("keyid"),
        Column("name"),
        Column("role"),
        Column("state"),
        Column("host"),
        Column("enrolled"),
        Column("because", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(key.keyid[:16], "name"),
            key.name,
            key.role,
            Cell(key.state, _TONES[key.state]),
            key.host or Cell("-", "dim"),
            f"{moment(key.enrolled_at, now=now)} by {key.enrolled_by}",
            key.reason,
        ]
        for key in keys
    ]
    return TableBlock(columns, rows, if_empty="nobody is enrolled: deltareg worker enrol NAME --key KEY")


def key_blocks(key: "KeyInfo", *, now: datetime) -> list[Block]:
    """Show one key."""
    return [
        TitleBlock(key.name, f"{key.role} key"),
        FactsBlock(
            [
                ("state", Cell(key.state, _TONES[key.state])),
                ("keyid", Cell(key.keyid, "name")),
                ("key", key.key),
                ("host", key.host or Cell("not said, so independent of none", "warn")),
                ("enrolled", f"{moment(key.enrolled_at, now=now)} by {key.enrolled_by}"),
                ("because", key.reason),
            ]
        ),
    ]


def proof_blocks(proofs: Sequence["SignedProof"], *, now: datetime) -> list[Block]:
    """Show the results of verified signatures, each with the owner of its key."""
    blocks: list[Block] = []
    for proof in proofs:
        state = "" if proof.key_state == "live" else proof.key_state
        blocks += [
            TitleBlock(proof.ref, f"suite {proof.suite}"),
            FactsBlock(
                [
                    ("signature", Cell("holds", "good")),
                    ("verdict", tone_word(proof.verdict)),
                    ("digest", short(proof.digest)),
                    ("base", short(proof.base_root)),
                    ("signed by", [proof.signed_by, Cell(state, "warn")]),
                    ("key", Cell(proof.keyid[:16], "name")),
                    ("host", proof.host),
                    ("enrolled", f"{moment(proof.enrolled_at, now=now)} by {proof.enrolled_by}"),
                    ("found", moment(proof.at, now=now)),
                    ("run", proof.run),
                ]
            ),
        ]
    return blocks
