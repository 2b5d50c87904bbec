"""Quotas: what is used, and what would free room."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
    Tone,
)
from deltareg_cli.terminal.wording import size

if TYPE_CHECKING:
    from deltareg.wire import QuotaInfo, QuotaUse

_NEAR, _FULL = 80, 100


def quota_table(quotas: Sequence["QuotaInfo"]) -> TableBlock:
    """Build the table of quotas, a row for each resource that is limited; names without limits have one row."""
    columns = [
        Column("name"),
        Column("resource"),
        Column("used", is_number=True),
        Column("limit", is_number=True),
        Column("%", is_number=True),
    ]
    rows: list[list[Text]] = []
    for quota in quotas:
        limited = [use for use in quota.uses if use.limit is not None]
        rows += [[Cell(quota.name, "name"), *_use(use)] for use in limited]
        if not quota.uses:
            rows += [
                [Cell(quota.name, "name"), name, "", _amount(name, most), ""] for name, most in quota.limits.items()
            ]
        if quota.uses and not limited:
            held = next(use.used for use in quota.uses if use.resource == "bytes")
            rows.append([Cell(quota.name, "name"), "bytes", size(held), Cell("-", "dim"), ""])
    return TableBlock(columns, rows, if_empty="nothing is limited, and nothing is used")


def quota_blocks(quota: "QuotaInfo") -> list[Block]:
    """Show one quota: each resource, and what would free room."""
    columns = [
        Column("resource"),
        Column("used", is_number=True),
        Column("limit", is_number=True),
        Column("%", is_number=True),
        Column("set for"),
    ]
    rows: list[list[Text]] = [[*_use(use), _origin(quota, use)] for use in quota.uses]
    if not quota.uses:
        rows = [[name, "", _amount(name, most), "", quota.name] for name, most in quota.limits.items()]
    blocks: list[Block] = [TitleBlock(quota.name, _whose(quota)), TableBlock(columns, rows, if_empty="no limits")]
    rooms = [Sentence(room, "room:") for use in quota.uses for room in use.frees]
    return [*blocks, SentencesBlock(rooms)] if rooms else blocks


def _whose(quota: "QuotaInfo") -> str:
    everybody = {"*": "each namespace without limits of its own", "@*": "each person without limits of their own"}
    return everybody.get(quota.name, "")


def _origin(quota: "QuotaInfo", use: "QuotaUse") -> Text:
    if use.is_own:
        return quota.name
    return Cell("-", "dim") if use.limit is None else "all"


def _use(use: "QuotaUse") -> list[Text]:
    percent: Text = "" if use.percent is None else Cell(f"{use.percent} %", _tone(use.percent))
    return [use.resource, _amount(use.resource, use.used), _amount(use.resource, use.limit), percent]


def _tone(percent: int) -> Tone:
    return "bad" if percent >= _FULL else "warn" if percent >= _NEAR else ""


def _amount(resource: str, count: int | None) -> Text:
    if count is None:
        return Cell("none", "dim")
    return size(count) if resource == "bytes" else str(count)
