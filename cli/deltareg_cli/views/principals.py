"""Principals, what they leave to others, and requests for namespaces."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import moment

if TYPE_CHECKING:
    from deltareg.wire import NamespaceRequestInfo, PrincipalEntry, PrincipalInfo

_KINDS = {"user": "person", "service": "service account", "worker": "machine"}
_TONES: dict[str, Tone] = {"open": "warn", "granted": "good", "refused": "bad"}


def principal_table(principals: Sequence["PrincipalEntry"], *, now: datetime) -> TableBlock:
    """Build the table of principals."""
    columns = [Column("name"), Column("what"), Column("acts for"), Column("disabled")]
    rows: list[list[Text]] = [
        [
            Cell(item.name, "name"),
            _KINDS.get(item.kind, item.kind),
            item.acts_for or "",
            Cell(moment(item.disabled_at, now=now), "bad") if item.disabled_at else "",
        ]
        for item in principals
    ]
    return TableBlock(columns, rows, if_empty="nobody")


def principal_blocks(item: "PrincipalInfo", *, now: datetime) -> list[Block]:
    """Show a principal, and what it leaves to others."""
    others = [name for name in item.people if name != item.acts_for]
    since = f"since {moment(item.disabled_at, now=now)}" if item.disabled_at else ""
    facts: list[tuple[str, str | Cell]] = [
        ("disabled", Cell(since, "bad")),
        ("acts for", item.acts_for or ""),
        ("counts as", ", ".join(others)),
        ("tokens", ", ".join(f"{token.id} ({token.display}…)" for token in item.tokens)),
        ("sessions", str(item.sessions) if item.sessions else ""),
        ("roles", "; ".join(item.roles)),
    ]
    return [TitleBlock(item.name, _KINDS.get(item.kind, item.kind)), FactsBlock(facts), *_list_leavings(item)]


def namespace_request_table(requests: Sequence["NamespaceRequestInfo"], *, now: datetime) -> TableBlock:
    """Build the table of requests for namespaces."""
    columns = [
        Column("id", is_number=True),
        Column("namespace"),
        Column("for"),
        Column("asked"),
        Column("state"),
        Column("why", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(item.id), "name"),
            item.name,
            item.opener,
            moment(item.opened_at, now=now),
            Cell(item.state, _TONES[item.state]),
            item.decision or item.reason,
        ]
        for item in requests
    ]
    return TableBlock(columns, rows, if_empty="nobody asks for a namespace")


def namespace_request_blocks(item: "NamespaceRequestInfo") -> list[Block]:
    """Show one request for a namespace."""
    return [
        TitleBlock(item.name, item.state),
        FactsBlock([("for", item.opener), ("why", item.reason), ("decision", item.decision)]),
    ]


def _list_leavings(item: "PrincipalInfo") -> list[Block]:
    if not item.leaves:
        return []
    columns = [Column("leaves"), Column("which"), Column("take it over with", is_prose=True)]
    rows: list[list[Text]] = [[each.kind, Cell(each.name, "name"), each.fix] for each in item.leaves]
    return [TableBlock(columns, rows, if_empty="")]
