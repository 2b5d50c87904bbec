"""What others say about versions."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg.documents.evaluation import EVALUATION
from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import moment, short

if TYPE_CHECKING:
    from deltareg.wire.evidence import OutsideEvidence

_SHOWN = 3


def evidence_table(evidence: Sequence["OutsideEvidence"], *, now: datetime) -> TableBlock:
    """Build the table of what others say about a version."""
    columns = [
        Column("digest"),
        Column("says"),
        Column("who says it"),
        Column("brought"),
        Column("does not count", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(short(one.digest), "name"),
            describe_words(one),
            one.said_by if one.signed_by else Cell(one.said_by, "warn"),
            f"{moment(one.created_at, now=now)} by {one.created_by}",
            Cell(one.ignored, "bad"),
        ]
        for one in evidence
    ]
    return TableBlock(columns, rows, if_empty="nobody outside says anything: deltareg attest add REF FILE")


def evidence_blocks(one: "OutsideEvidence", *, now: datetime) -> list[Block]:
    """Show one thing that somebody says about a version."""
    return [
        TitleBlock(one.said_by, "attestation" if one.signed_by else "evaluation"),
        FactsBlock(
            [
                ("says", describe_words(one)),
                ("digest", Cell(one.digest, "name")),
                ("brought", f"{moment(one.created_at, now=now)} by {one.created_by}"),
                ("does not count", Cell(one.ignored, "bad")),
            ]
        ),
    ]


def evidence_facts(evidence: Sequence["OutsideEvidence"]) -> list[tuple[str, Text | Sequence[Text]]]:
    """Show what others say about a version in a few rows, among its other facts."""
    return [
        (
            "from outside",
            [f"{describe_words(one)}, says {one.said_by}", Cell(f"does not count: {one.ignored}", "bad")]
            if one.ignored
            else f"{describe_words(one)}, says {one.said_by}",
        )
        for one in evidence
    ]


def describe_words(one: "OutsideEvidence") -> str:
    """Describe in a few words what somebody says: the metrics, or the type and what came out."""
    told = [f"{name} {value:.6g}" for name, value in list(one.metrics.items())[:_SHOWN]]
    more = len(one.metrics) - len(told)
    if told:
        return ", ".join(told) + (f" and {more} more" if more else "")
    kind = "evaluation" if one.predicate_type == EVALUATION else one.predicate_type
    return kind + {"pass": ": passed", "fail": ": did not pass"}.get(one.outcome, "")
