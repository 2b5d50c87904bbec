"""Roles, namespaces, and the reasons for or against an action."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, LinesBlock, TableBlock, Text, TitleBlock, Tone
from deltareg_cli.terminal.wording import moment

if TYPE_CHECKING:
    from deltareg.wire import (
        AccessAnswer,
        AccessFinding,
        AccessHolder,
        HolderRole,
        HolderToken,
        MemberInfo,
        NamespaceInfo,
    )

EVERYWHERE = "everywhere"
_TONES: dict[str, Tone] = {"private": "warn", "internal": "", "public": "good"}


def member_table(members: Sequence["MemberInfo"], *, now: datetime) -> TableBlock:
    """Build the table of roles."""
    columns = [
        Column("id", is_number=True),
        Column("who"),
        Column("role"),
        Column("in"),
        Column("only"),
        Column("given"),
        Column("last used"),
    ]
    rows: list[list[Text]] = [
        [
            Cell(str(item.id), "name"),
            who(item),
            item.role,
            item.namespace or EVERYWHERE,
            item.pattern,
            Cell("legacy", "warn") if item.is_legacy else f"by {item.given_by}",
            moment(item.last_used_at, now=now) if item.last_used_at else Cell("never", "dim"),
        ]
        for item in members
    ]
    return TableBlock(columns, rows, if_empty="nobody holds a role there")


def member_blocks(member: "MemberInfo", *, what: str) -> list[Block]:
    """Show one role."""
    return [
        TitleBlock(f"{member.principal}, {member.role}", what),
        FactsBlock(
            [
                ("in", member.namespace or EVERYWHERE),
                ("only", member.pattern),
                ("may", ", ".join(member.rights)),
                ("acts for", member.person or ""),
            ]
        ),
    ]


def namespace_table(namespaces: Sequence["NamespaceInfo"]) -> TableBlock:
    """Build the table of namespaces."""
    columns = [Column("namespace"), Column("visibility"), Column("deltas", is_number=True), Column("owners")]
    rows: list[list[Text]] = [
        [
            Cell(item.name, "name"),
            Cell(item.visibility, _TONES[item.visibility]),
            str(item.deltas),
            ", ".join(item.owners),
        ]
        for item in namespaces
    ]
    return TableBlock(columns, rows, if_empty="no namespaces")


def namespace_blocks(item: "NamespaceInfo", *, now: datetime) -> list[Block]:
    """Show one namespace."""
    return [
        TitleBlock(item.name, "namespace"),
        FactsBlock(
            [
                ("visibility", Cell(item.visibility, _TONES[item.visibility])),
                ("owners", ", ".join(item.owners)),
                ("deltas", str(item.deltas)),
                ("made", f"{moment(item.created_at, now=now)} by {item.created_by}"),
            ]
        ),
    ]


def access_blocks(found: "AccessAnswer") -> list[Block]:
    """Show whether a principal may do something, and why."""
    answer = Cell("yes", "good") if found.allowed else Cell("no", "bad")
    lines: list[Text | Sequence[Text]] = [
        ["  ", Cell("+", "good") if each.is_met else Cell("-", "dim"), each.what] for each in found.because
    ]
    if found.fix:
        lines.append(["  ", Cell("fix:", "strong"), found.fix])
    what = f"{found.principal} · {found.action} · {found.ref}"
    return [TitleBlock(what, ""), FactsBlock([("allowed", answer)]), LinesBlock(lines)]


def review_table(found: Sequence["AccessFinding"]) -> TableBlock:
    """Build the table of roles under review, with what to do about them."""
    columns = [
        Column("who"),
        Column("role"),
        Column("in"),
        Column("found", is_prose=True),
        Column("narrow it with", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(who(item.member), "name"),
            item.member.role + (f" {item.member.pattern}" if item.member.pattern else ""),
            item.member.namespace or EVERYWHERE,
            "; ".join(item.findings),
            item.fix if item.findings else "",
        ]
        for item in found
    ]
    return TableBlock(columns, rows, if_empty="nobody holds a role there")


def holder_table(holders: Sequence["AccessHolder"], namespace: str | None, *, now: datetime) -> TableBlock:
    """Build the table of who may do what: a row for each role, with the live tokens beside the first one."""
    columns = [
        Column("who"),
        Column("may", is_prose=True),
        Column("on"),
        Column("by", is_prose=True),
        Column("live tokens", is_prose=True),
    ]
    rows: list[list[Text]] = []
    for holder in holders:
        tokens = "; ".join(_token(each, now=now) for each in holder.tokens)
        for number, role in enumerate(holder.roles):
            name = Cell(holder.principal, "name") if number == 0 else ""
            beside: Text = (tokens or Cell("none", "dim")) if number == 0 else ""
            rows.append([name, ", ".join(role.rights), _reach(role, namespace), _origin(role), beside])
    return TableBlock(columns, rows, if_empty="nobody may do that there")


def _reach(role: "HolderRole", here: str | None) -> str:
    if role.namespace is None:
        return EVERYWHERE
    place = role.namespace if here is None else ""
    return f"{place} {role.pattern}".strip() or "all"


def _origin(role: "HolderRole") -> str:
    group = "" if role.group is None else f" by the group {role.group}" if role.group else " by a group"
    return f"{role.role}{group}, from {role.given_by}"


def _token(token: "HolderToken", *, now: datetime) -> str:
    where = "" if token.namespaces is None else f" in {', '.join(token.namespaces)}"
    used = f"used {moment(token.last_used_at, now=now)}" if token.last_used_at else "never used"
    return f"{token.id}: {', '.join(token.scopes)}{where}, {used}"


def who(member: "MemberInfo") -> str:
    """Name a member, and the principal that it acts for."""
    return member.principal + (f" (for {member.person})" if member.person else "")
