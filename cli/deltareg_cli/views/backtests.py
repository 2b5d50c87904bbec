"""What a suite caught and missed, fault by fault and check by check."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import cast

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    LinesBlock,
    TableBlock,
    Text,
    TitleBlock,
)
from deltareg_cli.terminal.wording import count, number

Fields = Mapping[str, object]
HARMLESS = 0.01
"""A point, or a hundredth of perplexity: what every loss is allowed, however alike versions are."""


def backtest_answer(found: Fields, *, is_list: bool = False) -> CommandResult:
    """Show a backtest.

    Args:
        found: The document.
        is_list: Whether to describe each fault in a sentence.
    """
    rows = _rows(found)
    faults, versions = _faults(rows), [row for row in rows if not row["is_fault"]]
    applicable = [row for row in faults if row["verdict"] != "n/a"]
    missed = [row for row in applicable if not row["caught_by"]]
    usual = usual_losses(rows)
    costly = [row for row in missed if is_costly(row, usual)]
    alarms = [row for row in versions if row["verdict"] != "pass"]
    document = {
        **{key: found[key] for key in ("line", "suite", "subject", "base", "seed", "ended")},
        "caught": len(applicable) - len(missed),
        "missed": [row["name"] for row in missed],
        "missed_and_costly": [row["name"] for row in costly],
        "does_not_apply": [row["name"] for row in faults if row["verdict"] == "n/a"],
        "false_alarms": [row["name"] for row in alarms],
        "device": found["device"],
        "left_out": found["left_out"],
        "items": rows,
    }
    return CommandResult(
        document,
        [*_head(found, applicable, missed, costly, versions, alarms), *_tables(rows, usual, is_list=is_list)],
        [str(row["name"]) for row in costly + alarms],
    )


def is_noticed(found: Fields) -> bool:
    """Return whether every costly fault was stopped, and every version passed."""
    rows = _rows(found)
    usual = usual_losses(rows)
    return not any(
        is_costly(row, usual) and not row["caught_by"] if row["is_fault"] else row["verdict"] != "pass"
        for row in rows
        if row["verdict"] != "n/a"
    )


def usual_losses(rows: Sequence[Fields]) -> dict[str, float]:
    """Return, by check, how much a healthy version loses compared with the unbroken one."""
    usual: dict[str, float] = {}
    for row in rows:
        for one in _measures(row) if not row["is_fault"] and row["verdict"] == "pass" else ():
            name = str(one["check"])
            usual[name] = max(usual.get(name, HARMLESS), _loses(one))
    return usual


def is_costly(row: Fields, usual: Mapping[str, float]) -> bool:
    """Return whether a broken delta is worse than healthy ones; without a measure, it may be."""
    measures = _measures(row)
    return not measures or any(_loses(one) > usual.get(str(one["check"]), HARMLESS) for one in measures)


def _head(
    found: Fields,
    tried: Sequence[Fields],
    missed: Sequence[Fields],
    costly: Sequence[Fields],
    versions: Sequence[Fields],
    alarms: Sequence[Fields],
) -> list[Block]:
    harmless = len(missed) - len(costly)
    beside = f"{harmless} more that are no worse than healthy ones" if harmless else ""
    ended = "" if found["ended"] == "done" else str(found["ended"])
    return [
        TitleBlock(str(found["suite"]), f"backtest on {found['line']}"),
        FactsBlock(
            [
                ("caught", _good(f"{len(tried) - len(missed)} of {count(len(tried), 'fault')}", is_good=not costly)),
                ("missed", _list_costly(costly, beside)),
                ("false alarms", _good(f"{len(alarms)} of {count(len(versions), 'version')}", is_good=not alarms)),
                ("faults in", str(found["subject"])),
                ("seed", str(found["seed"])),
                ("ended", Cell(ended, "warn") if ended else ""),
            ]
        ),
    ]


def _tables(rows: Sequence[Fields], usual: Mapping[str, float], *, is_list: bool) -> list[Block]:
    names = list(dict.fromkeys(str(one["check"]) for row in rows for one in _measures(row)))[:4]
    columns = [
        Column("delta"),
        Column("outcome"),
        Column("stopped by", is_prose=True),
        *(Column(name, is_number=True, is_name=True) for name in names),
        Column("loses", is_number=True),
    ]
    applicable = [row for row in rows if row["verdict"] != "n/a"]
    table = TableBlock(columns, [_row(row, names, usual) for row in applicable], if_empty="nothing was tried")
    blocks: list[Block] = [TitleBlock("Deltas", "loses: beside the whole delta; no worse: than a healthy version is")]
    blocks.append(table)
    blocks += _by_check(_faults(rows))
    idle = [str(row["name"]) for row in rows if row["verdict"] == "n/a"]
    if idle:
        blocks.append(LinesBlock([[Cell("does not apply ", "dim"), ", ".join(idle)]]))
    if is_list:
        described: list[list[Text]] = [[str(row["name"]), str(row["about"])] for row in _faults(rows)]
        blocks += [
            TitleBlock("Faults"),
            TableBlock([Column("fault"), Column("what happened", is_prose=True)], described),
        ]
    return blocks


def _row(row: Fields, names: Sequence[str], usual: Mapping[str, float]) -> list[Text]:
    measured = {str(one["check"]): one for one in _measures(row)}
    values = [number(cast(float, measured[name]["value"])) if name in measured else "" for name in names]
    caught = cast("list[str]", row["caught_by"])
    return [
        Cell(str(row["name"]), "" if row["is_fault"] else "name"),
        _outcome(row, usual),
        ", ".join(caught),
        *values,
        _worst(row),
    ]


def _worst(row: Fields) -> str:
    """Describe the largest loss of a delta beside the whole one: points, or percent of perplexity."""
    worst = max(_measures(row), key=_loses, default=None)
    if worst is None:
        return ""
    return f"{100 * _loses(worst):.1f} {'%' if worst['is_share'] else 'pts'}"


def _outcome(row: Fields, usual: Mapping[str, float]) -> Cell:
    is_stopped = row["verdict"] != "pass"
    if not row["is_fault"]:
        return Cell("false alarm", "bad") if is_stopped else Cell("passes", "good")
    if is_stopped:
        return Cell("caught", "good")
    return Cell("missed", "bad") if is_costly(row, usual) else Cell("no worse", "dim")


def _by_check(faults: Sequence[Fields]) -> list[Block]:
    """Count the faults that each check stops, and those that no other check does."""
    stops = [cast("list[str]", row["caught_by"]) for row in faults]
    every = Counter(name for names in stops for name in names)
    alone = Counter(names[0] for names in stops if len(names) == 1)
    rows: list[list[Text]] = [
        [name, str(number), str(alone[name]) if alone[name] else ""] for name, number in every.most_common()
    ]
    columns = [Column("check"), Column("faults", is_number=True), Column("alone", is_number=True)]
    return [
        TitleBlock("Checks", "what each stops, and what it stops alone"),
        TableBlock(columns, rows, if_empty="no check stops anything"),
    ]


def _list_costly(costly: Sequence[Fields], beside: str) -> list[Text]:
    if not costly:
        return [Cell("none", "good"), Cell(beside, "dim")]
    names = ", ".join(str(row["name"]) for row in costly)
    return [Cell(f"{len(costly)}: {names}", "bad"), Cell(beside, "dim")]


def _good(text: str, *, is_good: bool) -> Cell:
    return Cell(text, "good" if is_good else "warn")


def _rows(found: Fields) -> Sequence[Fields]:
    return cast("Sequence[Fields]", found["items"])


def _faults(rows: Sequence[Fields]) -> list[Fields]:
    return [row for row in rows if row["is_fault"]]


def _measures(row: Fields) -> Sequence[Fields]:
    return cast("Sequence[Fields]", row.get("measures", ()))


def _loses(one: Fields) -> float:
    return cast(float, one["loses"])
