"""What a suite caught and missed, fault by fault and check by check."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    FactsBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
)
from deltareg_cli.terminal.wording import count, number

Fields = Mapping[str, object]
_GOLDEN, _MOST_NAMES = "golden", 6
_OUTCOMES = {
    "stopped": Cell("caught", "good"),
    "golden_stops": Cell("golden alone", "warn"),
    "golden_would": Cell("golden alone", "warn"),
    "missed": Cell("missed", "bad"),
    "harmless": Cell("no worse", "dim"),
    "too_weak": Cell("too weak", "dim"),
}
HARMLESS = 0.01
"""A point, or a hundredth of perplexity: what every loss is allowed, however alike versions are."""


def backtest_answer(found: Fields, *, has_all: bool = False, is_list: bool = False) -> CommandResult:
    """Show a backtest: what passes first, and what would pass were it not for golden outputs.

    Args:
        found: The document.
        has_all: Whether to show every delta and every check.
        is_list: Whether to describe each fault in a sentence.
    """
    rows = _rows(found)
    told = sort_faults(rows)
    versions = [row for row in rows if not row["is_fault"]]
    alarms = [row for row in versions if row["verdict"] != "pass"]
    document = {
        **{key: found[key] for key in ("line", "suite", "subject", "base", "seed", "ended")},
        "caught": len(told.stopped) + len(told.golden_stops),
        "golden_alone": _names([*told.golden_stops, *told.golden_would]),
        "missed": _names([*told.golden_would, *told.missed, *told.harmless]),
        "missed_and_costly": _names(told.costly),
        "too_weak": _names(told.too_weak),
        "does_not_apply": _names(told.idle),
        "false_alarms": _names(alarms),
        "device": found["device"],
        "left_out": found["left_out"],
        "items": rows,
    }
    usual = usual_losses(rows)
    blocks = _head(found, told, versions, alarms, has_all=has_all or is_list)
    if has_all:
        blocks += _tables(rows, usual, told)
    if is_list:
        described: list[list[Text]] = [[str(row["name"]), str(row["about"])] for row in _faults(rows)]
        blocks += [
            TitleBlock("Faults"),
            TableBlock([Column("fault"), Column("what happened", is_prose=True)], described),
        ]
    return CommandResult(document, blocks, [str(row["name"]) for row in [*told.costly, *alarms]])


@dataclass(frozen=True, slots=True)
class SortedFaults:
    """The faults of a backtest by what became of them.

    Attributes:
        stopped: A check other than `golden` stops them.
        golden_stops: The check `golden` of the suite stops them, and nothing else.
        golden_would: The suite lets them through, and golden outputs would stop them.
        missed: They pass and cost something.
        harmless: They pass and are no worse than healthy versions.
        too_weak: Trainings that did no harm worth the name.
        idle: There was nothing for them to work on.
    """

    stopped: Sequence[Fields]
    golden_stops: Sequence[Fields]
    golden_would: Sequence[Fields]
    missed: Sequence[Fields]
    harmless: Sequence[Fields]
    too_weak: Sequence[Fields]
    idle: Sequence[Fields]

    @property
    def costly(self) -> Sequence[Fields]:
        """What this suite lets through at a cost, or for all that anybody measured."""
        return [*self.golden_would, *self.missed]

    @property
    def tried(self) -> int:
        """How many faults count."""
        return len(self.stopped) + len(self.golden_stops) + len(self.costly) + len(self.harmless)


def sort_faults(rows: Sequence[Fields]) -> SortedFaults:
    """Sort the faults of a backtest by what became of them."""
    usual, by_fate = usual_losses(rows), defaultdict[str, list[Fields]](list)
    for row in _faults(rows):
        by_fate[_fate(row, usual)].append(row)
    return SortedFaults(**{one.name: by_fate[one.name] for one in fields(SortedFaults)})


def _fate(row: Fields, usual: Mapping[str, float]) -> str:
    caught = cast("list[str]", row["caught_by"])
    if row["verdict"] == "n/a":
        return "idle"
    if _is_too_weak(row):
        return "too_weak"
    if caught or row["verdict"] != "pass":
        return "golden_stops" if caught == [_GOLDEN] else "stopped"
    if not is_costly(row, usual):
        return "harmless"
    return "golden_would" if row.get("is_seen_by_golden") else "missed"


def is_noticed(found: Fields) -> bool:
    """Return whether the suite stopped every costly fault, and every version passed."""
    rows = _rows(found)
    return not sort_faults(rows).costly and all(row["is_fault"] or row["verdict"] == "pass" for row in rows)


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
    harm = _harm(row)
    if harm is not None:  # measured on rows that neither the training nor the suite has seen
        return bool(harm["is_material"])
    measures = _measures(row)
    return not measures or any(_loses(one) > usual.get(str(one["check"]), HARMLESS) for one in measures)


def _head(
    found: Fields, told: SortedFaults, versions: Sequence[Fields], alarms: Sequence[Fields], *, has_all: bool
) -> list[Block]:
    stopped = len(told.stopped) + len(told.golden_stops)
    lead = f"{found['suite']} stops {stopped} of {count(told.tried, 'fault')} in {found['subject']}"
    alone = [*told.golden_stops, *told.golden_would]
    resting = len(told.golden_stops)
    rests = f"; {resting} of them {'rests' if resting == 1 else 'rest'} on golden outputs alone" if resting else ""
    rows = [Sentence(f"{lead}{rests}")]
    if told.missed:
        rows.append(Sentence(f"{_list(told.missed)}: more samples, or a smaller margin", Cell("passes:", "bad")))
    if alone:
        rows.append(Sentence(_golden_sentence(found, told, alone), Cell("golden alone:", "warn")))
    if alarms:
        rows.append(Sentence(f"{_list(alarms)}, which should pass", Cell("FAILS:", "bad")))
    rest = [
        f"{count(len(told.harmless), 'fault')} no worse than healthy versions" if told.harmless else "",
        f"too weak to matter: {_list(told.too_weak)}" if told.too_weak else "",
        f"{len(told.idle)} {'does' if len(told.idle) == 1 else 'do'} not apply" if told.idle else "",
        f"no false alarm in {count(len(versions), 'version')}" if versions and not alarms else "",
        "" if found["ended"] == "done" else str(found["ended"]),
    ]
    rows.append(Sentence(", ".join(part for part in rest if part)))
    if not has_all:
        rows.append(Sentence("each delta and check: --all", most_lines=1))
    return [SentencesBlock([row]) for row in rows if row.text]


def _golden_sentence(found: Fields, told: SortedFaults, alone: Sequence[Fields]) -> str:
    if told.golden_stops:
        return f"{_list(alone)}: no other check sees them"
    if found.get("has_golden"):
        return f"{_list(alone)} pass here; golden outputs of {found['subject']} stop them"
    return f"{_list(alone)} pass here; golden outputs would stop them: deltareg golden record"


def _list(rows: Sequence[Fields]) -> str:
    names = _names(rows)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}"


def _tables(rows: Sequence[Fields], usual: Mapping[str, float], told: SortedFaults) -> list[Block]:
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
    blocks: list[Block] = [TitleBlock("Deltas", "loses: beside the whole delta, of trainings on rows held back")]
    blocks += [table, *_by_check(_faults(rows))]
    if told.idle:
        blocks += [
            TitleBlock("Do not apply"),
            FactsBlock([(str(one["name"]), str(one.get("why", ""))) for one in told.idle]),
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
    harm = _harm(row)
    if harm is not None:
        return f"{100 * cast(float, harm['value']):.1f} {'%' if harm['is_share'] else 'pts'}"
    worst = max(_measures(row), key=_loses, default=None)
    if worst is None:
        return ""
    return f"{100 * _loses(worst):.1f} {'%' if worst['is_share'] else 'pts'}"


def _outcome(row: Fields, usual: Mapping[str, float]) -> Cell:
    if not row["is_fault"]:
        return Cell("false alarm", "bad") if row["verdict"] != "pass" else Cell("passes", "good")
    return _OUTCOMES[_fate(row, usual)]


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


def _harm(row: Fields) -> Fields | None:
    return cast("Fields | None", row.get("harm"))


def _is_too_weak(row: Fields) -> bool:
    harm = _harm(row)
    return harm is not None and not harm["is_material"]


def _names(rows: Sequence[Fields]) -> list[str]:
    return [str(row["name"]) for row in rows]


def _rows(found: Fields) -> Sequence[Fields]:
    return cast("Sequence[Fields]", found["items"])


def _faults(rows: Sequence[Fields]) -> list[Fields]:
    return [row for row in rows if row["is_fault"]]


def _measures(row: Fields) -> Sequence[Fields]:
    return cast("Sequence[Fields]", row.get("measures", ()))


def _loses(one: Fields) -> float:
    return cast(float, one["loses"])
