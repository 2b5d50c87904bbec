"""Requests: who opened them, who agreed, what is still missing."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import count, moment
from deltareg_cli.views.channels import describe_bases
from deltareg_cli.views.policies import unmet_lines

if TYPE_CHECKING:
    from deltareg.wire import RequestInfo

REQUEST_FIELDS = ("id", "state", "channel", "ref", "version", "digest", "missing", "revision")
_TONES: dict[str, Tone] = {"open": "warn", "promoted": "good", "rejected": "bad", "withdrawn": "dim", "stale": "dim"}


def request_blocks(request: "RequestInfo", *, now: datetime) -> list[Block]:
    """Show one request."""
    before = f"v{request.previous}" if request.previous else "nothing"
    blocks: list[Block] = [
        TitleBlock(f"request {request.id}", f"{request.line}@{request.channel}"),
        FactsBlock(
            [
                ("state", [Cell(request.state, _TONES.get(request.state, "")), _describe_decision(request, now)]),
                ("move", f"{before} → v{request.version}"),
                ("base", describe_bases(request.served_base, request.base)),
                ("opened", f"{moment(request.opened_at, now=now)} by {request.opener}"),
                ("pushed by", request.uploader or ""),
                ("reason", request.reason),
                *(("rolled back", Cell(setback, "bad")) for setback in _setbacks(request, now)),
                ("accepts", Cell(", ".join(request.accepted), "warn")),
                ("approvals", _approvals(request)),
                ("still due", _due(request)),
                ("revision", str(request.revision) if request.revision else ""),
                ("digest", request.digest),
            ]
        ),
    ]
    lines: list[Text | Sequence[Text]] = [
        ["  ", Cell(approval.principal, "good"), moment(approval.at, now=now), approval.message]
        for approval in request.approvals
    ]
    lines += unmet_lines(request.unmet)
    return [*blocks, LinesBlock(lines)] if lines else blocks


def request_table(requests: Sequence["RequestInfo"], *, now: datetime) -> TableBlock:
    """Build the table of requests."""
    columns = [
        Column("id", is_number=True),
        Column("state"),
        Column("version"),
        Column("channel"),
        Column("approvals"),
        Column("opened"),
        Column("by"),
        Column("reason", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(request.id), "name"),
            Cell(request.state, _TONES.get(request.state, "")),
            request.ref,
            request.channel,
            _approvals(request),
            moment(request.opened_at, now=now),
            request.opener,
            request.decision or request.reason,
        ]
        for request in requests
    ]
    return TableBlock(columns, rows, if_empty="no requests")


def progress_of(request: "RequestInfo") -> str:
    """Describe in one line how far a request is."""
    if request.state != "open":
        return f"{request.state} by {request.decided_by}" if request.decided_by else request.state
    if request.missing:
        return f"open, {_approvals(request)} approvals"
    return f"approved, {count(len(request.unmet), 'rule')} unmet"


def _setbacks(request: "RequestInfo", now: datetime) -> list[str]:
    return [
        f"from {_other(one.line, request)}@{one.channel} {moment(one.at, now=now)} by {one.actor}: {one.reason}"
        for one in request.setbacks
    ]


def _other(line: str, request: "RequestInfo") -> str:
    """Name the request's line where it is another one; older servers leave it out."""
    return "" if line == request.line else line


def _approvals(request: "RequestInfo") -> str:
    return f"{len(request.approvals)} of {request.due}"


def _due(request: "RequestInfo") -> str:
    if not request.missing:
        return ""
    barred = sorted({request.opener, request.uploader or request.opener})
    return f"{request.missing}, not by {' or '.join(barred)}"


def _describe_decision(request: "RequestInfo", now: datetime) -> str:
    if request.decided_at is None:
        return request.decision
    by = f" by {request.decided_by}" if request.decided_by else ""
    why = f": {request.decision}" if request.decision else ""
    return f"{moment(request.decided_at, now=now)}{by}{why}"
