"""The state of a bisection by hand, as a document and as blocks."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, LinesBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import count
from deltareg_cli.views.bisections import bisect_answer

if TYPE_CHECKING:
    from deltareg.client.compare.bisect_by_hand import BisectionState
    from deltareg.gate.bisection import Mark


def standing_answer(found: "BisectionState") -> CommandResult:
    """Show the state of a bisection by hand: its result, the version to try, or the missing end."""
    report = found.report
    if report is not None:
        answer = bisect_answer(report, diff_options="--mode behavior")
        ending = LinesBlock([[Cell("then:", "dim"), f"deltareg bisect reset {found.line}"]])
        document = {**answer.document, **_progress_fields(found)}
        return CommandResult(document, [*answer.blocks, ending], answer.ids)
    document = {**_bounds_fields(found), "next": _next(found), **_progress_fields(found)}
    ids = [] if found.version is None else [found.version.ref]
    return CommandResult(document, _blocks(found), ids)


def _bounds_fields(found: "BisectionState") -> dict[str, object]:
    """Return the fields that `bisect run` has, for a search that is not over."""
    bounds = found.bounds
    return {
        "line": str(found.line),
        "is_found": False,
        "first_bad": None,
        "last_good": _last_good(found),
        "known_bad": _known_bad(found),
        "between": [] if bounds is None else [f"{found.line}:v{n}" for n in bounds.skipped],
        "deleted": [f"{found.line}:v{n}" for n in found.deleted],
        "steps": [asdict(step) for step in found.steps],
    }


def _progress_fields(found: "BisectionState") -> dict[str, object]:
    bounds, version = found.bounds, found.version
    return {
        "try": None if version is None else version.ref,
        "is_revoked": version is not None and version.is_revoked,
        "untried": 0 if bounds is None else len(bounds.untried),
        "steps_most": None if bounds is None else bounds.steps_most,
        "missing": list(found.missing),
        "hint": found.hint or None,
    }


def _next(found: "BisectionState") -> str:
    """Return the command to run next, for a search that is not over."""
    if found.version is not None:
        to = f"./{found.line.name}-v{found.version.version}"
        return f"deltareg pull {found.version.ref} --to {to}"
    return f"deltareg bisect {found.missing[0]} {found.hint or f'{found.line}:vN'}"


def _blocks(found: "BisectionState") -> list[Block]:
    if found.bounds is None or found.version is None:
        return _asking(found)
    version, most = found.version, found.bounds.steps_most
    title = TitleBlock(
        f"try {version.ref}", f"{count(len(found.bounds.untried), 'version')} left, {count(most, 'step')} at most"
    )
    judge = f"deltareg bisect good {version.ref}"
    following = LinesBlock(
        ["", [Cell("next:", "dim"), _next(found)], [Cell("then:", "dim"), judge, Cell("or bad, or skip", "dim")]]
    )
    return [title, _facts(found), following]


def _asking(found: "BisectionState") -> list[Block]:
    """Ask for the ends that are missing."""
    which = " and ".join(f"a {end} version" for end in found.missing)
    lines: list[Text | list[Text]] = [""]
    if found.hint:
        end = found.missing[0]
        why = "which prod serves" if end == "good" else "the newest"
        lines.append(f"Is {found.hint}, {why}, {end}?")
    lines.append([Cell("next:", "dim"), _next(found)])
    return [TitleBlock(f"name {which} of {found.line}"), _facts(found), LinesBlock(lines)]


def _facts(found: "BisectionState") -> FactsBlock:
    good, bad = _last_good(found), _known_bad(found)
    skipped = [step.ref for step in found.steps if step.mark == "skip"]
    revocation = None if found.version is None else found.version.revocation
    why = (
        "" if revocation is None else Cell(f"by {revocation.actor}: {revocation.reason}; it comes all the same", "warn")
    )
    return FactsBlock(
        [
            ("last good", Cell(good or "", "good") if good else ""),
            ("known bad", Cell(bad or "", "bad") if bad else ""),
            ("skipped", ", ".join(skipped)),
            ("deleted", ", ".join(f"{found.line}:v{n}" for n in found.deleted)),
            ("revoked", why),
        ]
    )


def _last_good(found: "BisectionState") -> str | None:
    return max(_list_marked(found, "good"), key=_number, default=None)


def _known_bad(found: "BisectionState") -> str | None:
    return min(_list_marked(found, "bad"), key=_number, default=None)


def _list_marked(found: "BisectionState", mark: "Mark") -> list[str]:
    return [step.ref for step in found.steps if step.mark == mark]


def _number(ref: str) -> int:
    return int(ref.rpartition(":v")[2])
