"""The audit trail as a log: checkpoints, proofs, the result of a verification."""

from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, TitleBlock

if TYPE_CHECKING:
    from deltareg.client.results.log_report import LogReport, RowProof
    from deltareg.wire import CheckpointInfo

_BEFORE = "are from before the log: sealed as the database had them then"
_PART = ", which are all that this file has: others that were left out do not show"
_FEWEST_SHOWN = 20
_OF_KEYS = frozenset({"unsigned", "statement"})


def checkpoint_blocks(found: "CheckpointInfo") -> list[Block]:
    """Show a checkpoint."""
    return [
        TitleBlock(found.origin, "checkpoint"),
        FactsBlock(
            [
                ("rows", str(found.size)),
                ("root", Cell(found.root, "name")),
                ("waiting", f"{found.waiting} rows" if found.waiting else ""),
            ]
        ),
    ]


def proof_blocks(proof: "RowProof") -> list[Block]:
    """Show a proven row."""
    return [
        TitleBlock(f"row {proof.row}", f"position {proof.position} of {proof.size}"),
        FactsBlock(
            [
                ("proof", Cell("holds", "good")),
                ("action", proof.action),
                ("subject", proof.subject),
                ("by", proof.actor),
                ("statement", "signed by the server" if proof.is_signed else ""),
                ("log", proof.origin),
                ("root", proof.root),
                ("key", Cell(proof.keyid[:16], "name")),
            ]
        ),
    ]


def report_blocks(report: "LogReport") -> list[Block]:
    """Show the result of a verification, problems first."""
    unsigned = report.size - report.signed
    blocks: list[Block] = [
        TitleBlock(report.origin or "no log", "audit trail"),
        FactsBlock(
            [
                ("log", _outcome(report)),
                ("rows", str(report.size)),
                ("read", _describe_read(report)),
                ("proven", "" if report.rows is None else f"{report.rows} of them{_PART}"),
                ("unsigned", Cell(str(unsigned), "bad") if unsigned else ""),
                ("statements", f"{report.statements} signed" if report.statements else ""),
                ("before", f"{report.from_before} rows {_BEFORE}" if report.from_before else ""),
                ("waiting", f"{report.waiting} rows, not sealed yet" if report.waiting else ""),
                ("root", report.root),
                ("key", Cell(report.keyid[:16], "name")),
                ("against", ", ".join(report.against) or "nothing that was kept elsewhere"),
            ]
        ),
    ]
    if report.findings:
        columns = [Column("what"), Column("row", is_number=True), Column("told", is_prose=True)]
        findings = report.findings[:_FEWEST_SHOWN]
        blocks.append(
            TableBlock(
                columns,
                [[Cell(each.what, "bad"), "-" if each.row is None else str(each.row), each.text] for each in findings],
            )
        )
    if report.notices:
        notices = [[Cell(each, "warn")] for each in report.notices[:_FEWEST_SHOWN]]
        blocks.append(TableBlock([Column("note", is_prose=True)], notices))
    return blocks


def _outcome(report: "LogReport") -> Cell:
    """Say that the log was rewritten only where its rows show that."""
    if report.holds:
        return Cell("holds", "good")
    is_rewritten = any(each.what not in _OF_KEYS for each in report.findings)
    return Cell("was rewritten" if is_rewritten else "is NOT signed by whom this machine trusts", "bad")


def _describe_read(report: "LogReport") -> str:
    if not report.read_before:
        return ""
    return f"{report.size - report.read_before} of them now, the others by {report.read_at}: --whole reads all again"
