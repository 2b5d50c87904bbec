"""What applying a folder changes, or would change, each with its difference."""

from collections.abc import Mapping, Sequence
from difflib import unified_diff
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Block, Cell, LinesBlock, Text, Tone
from deltareg_cli.terminal.wording import count

if TYPE_CHECKING:
    from deltareg.client.applying.comparing import ApplyChange, ApplyPlan

_WORDS = {
    "create": "made",
    "replace": "replaced",
    "reset": "reset: it is not in the folder",
    "remove": "taken away: it is not in the folder",
}

_EACH = {"*": "each namespace", "@*": "each person"}


def plan_document(plan: "ApplyPlan", *, is_dry: bool) -> dict[str, object]:
    """Return a plan as plain values."""
    return {
        "is_changed": bool(plan.changes),
        "changes": [
            {
                "kind": one.kind,
                "of": one.of,
                "action": one.action,
                "before": dict(one.before),
                "after": dict(one.after),
                "diff": difference(one.before, one.after),
            }
            for one in plan.changes
        ],
        "kept": [{"kind": one.kind, "of": one.of, "command": one.command, "is_own": one.is_own} for one in plan.kept],
        "unchanged": plan.unchanged,
        "is_checked": plan.is_checked,
        "dry_run": is_dry,
    }


def plan_blocks(plan: "ApplyPlan", *, is_dry: bool) -> list[Block]:
    """Show a plan as differences, then what stays."""
    lines: list[Text | Sequence[Text]] = []
    for one in plan.changes:
        lines += _change_lines(one, is_dry=is_dry)
    if plan.kept:
        lines.append("kept, though it is not in the folder:")
    for item in plan.kept:
        own = [Cell("yours, and never pruned", "warn")] if item.is_own else []
        lines.append([Cell(f"  {_name(item.kind, item.of)}", "name"), Cell(item.command, "dim"), *own])
    changed = count(len(plan.changes), "change") if plan.changes else "nothing to do"
    lines.append(Cell(f"{changed}, {plan.unchanged} as the folder says", "dim"))
    return [LinesBlock(lines)]


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return two documents as lines of YAML that begin with a space, a minus or a plus."""
    lines = unified_diff(_yaml(before), _yaml(after), n=1, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def _change_lines(change: "ApplyChange", *, is_dry: bool) -> list[Text | Sequence[Text]]:
    verb = f"{'would be' if is_dry else 'was'} {_WORDS[change.action]}"
    name = Cell(_name(change.kind, change.of), "name")
    lines: list[Text | Sequence[Text]] = [[name, verb]]
    if change.suite is not None and change.action == "create":
        checks = count(len(change.suite.suite.checks), "check")
        return [*lines, Cell(f"  + {checks}, from {change.suite.path}", "good")]
    if change.kind == "person":
        return lines
    for line in difference(change.before, change.after):
        mark, rest = line[:1], line[1:]
        tone: Tone = "bad" if mark == "-" else "good" if mark == "+" else "dim"
        lines.append(Cell(f"  {mark} {rest}", tone))
    return lines


def _name(kind: str, of: str) -> str:
    if kind == "policy":
        return f"policy of {of}"
    return f"quota of {_EACH.get(of, of)}" if kind == "quota" else f"{kind} {of}"


def _yaml(document: Mapping[str, object]) -> list[str]:
    from deltareg.documents.yaml_document import write_yaml  # what other views need not load

    return write_yaml(document, is_ascii=True).splitlines() if document else []
