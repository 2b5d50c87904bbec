"""Groups with their members, and roles with what they give."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, Column, FactsBlock, TableBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import moment
from deltareg_cli.views.access import EVERYWHERE

if TYPE_CHECKING:
    from deltareg.wire import GroupDetail, GroupInfo, RoleInfo


def group_table(groups: Sequence["GroupInfo"], *, now: datetime) -> TableBlock:
    """Build the table of groups."""
    columns = [Column("group"), Column("members", is_number=True), Column("kept by"), Column("made")]
    rows: list[list[Text]] = [
        [
            Cell(item.name, "name"),
            str(item.size),
            item.source or "people",
            f"{moment(item.created_at, now=now)} by {item.created_by}",
        ]
        for item in groups
    ]
    return TableBlock(columns, rows, if_empty="no groups")


def group_blocks(item: "GroupDetail", *, what: str, now: datetime) -> list[Block]:
    """Show a group, who is in it, and what it holds."""
    holds = [
        f"{role.role} {'everywhere' if role.namespace is None else f'of {role.namespace}'}"
        + (f", {role.pattern}" if role.pattern else "")
        for role in item.roles
    ]
    members: list[list[Text]] = [
        [
            Cell(member.name, "name"),
            Cell(f"{member.kind}, disabled", "warn") if member.is_disabled else member.kind,
            f"{moment(member.added_at, now=now)} by {member.added_by}",
        ]
        for member in item.members
    ]
    return [
        TitleBlock(item.name, what),
        FactsBlock([("kept by", item.source or "people"), ("holds", "; ".join(holds))]),
        TableBlock([Column("member"), Column("kind"), Column("since")], members, if_empty="nobody is in it"),
    ]


def role_table(roles: Sequence["RoleInfo"]) -> TableBlock:
    """Build the table of roles."""
    columns = [Column("role"), Column("of"), Column("gives", is_prose=True)]
    rows: list[list[Text]] = [
        [
            Cell(item.name, "name"),
            Cell("built in", "dim") if item.is_built_in else item.namespace or EVERYWHERE,
            ", ".join(item.rights),
        ]
        for item in roles
    ]
    return TableBlock(columns, rows)
