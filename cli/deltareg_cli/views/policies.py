"""Policies of channels: summarised, as a difference, and rule by rule."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from deltareg.documents.json_values import is_list, is_object
from deltareg_cli.terminal.blocks import Block, Cell, FactsBlock, LinesBlock, Text, TitleBlock
from deltareg_cli.terminal.wording import count

if TYPE_CHECKING:
    from deltareg.wire import ChannelFloor, FloorChange, GateAnswer, PolicyChange, UnmetRule


def policy_in_short(policy: Mapping[str, object]) -> str:
    """Summarise a policy in one line: `smoke, deep (30d), exact base, 1 approval`."""
    suites = [_suite(item) for item in _items(policy.get("suites"))]
    demands = suites if suites or "suites" not in policy else ["no suite"]
    for key, text in (
        ("sandbox", "sandbox {}"),
        ("evidence", "base {}"),
        ("kinds", "kinds {}"),
        ("bases", "bases {}"),
        ("rollback", "rollback {}"),
        ("environment", "{} environment"),
        ("variants", "on {}"),
        ("servable", "servable by {}"),
        ("licences", "licences {}"),
        ("datasets", "data sets {}"),
    ):
        if key in policy:
            demands.append(text.format(_words(policy[key])))
    demands += [f"attested {item['type']}" for item in _objects(policy.get("attestations"))]
    demands += [f"{item['name']} measured" for item in _objects(policy.get("metrics"))]
    approvals = policy.get("approvals")
    if isinstance(approvals, int):
        demands.append(count(approvals, "approval"))
    if policy.get("new_base"):
        demands.append("any new base")
    if "protected" in policy:
        demands.append("protected")
    windows = len(_items(policy.get("freeze")))
    if windows:
        demands.append(count(windows, "freeze window"))
    if "auto_promote" in policy:
        demands.append("promotes what passes")
    return ", ".join(demands)


def floors_in_short(floors: Sequence["ChannelFloor"]) -> list[str]:
    """Summarise each floor of a channel in a line: `the server: 1 approval`."""
    return [f"{floor.of}: {policy_in_short(floor.policy)}" for floor in floors]


def change_blocks(change: "PolicyChange", where: str, *, is_dry: bool) -> list[Block]:
    """Show a change of a policy, key by key."""
    if not change.is_changed:
        return [LinesBlock([[Cell(where, "name"), "has this policy already; nothing to do"]])]
    verb = "would be replaced" if is_dry else "was replaced"
    return [LinesBlock([[Cell(where, "name"), f"policy {verb}"], *_differences(change.before, change.after)])]


def floor_change_blocks(change: "FloorChange", *, is_dry: bool) -> list[Block]:
    """Show a change of a floor, and which requests it makes stale."""
    if not change.is_changed:
        return [LinesBlock([[Cell(change.of, "name"), "asks this already; nothing to do"]])]
    verb = "would ask of every channel" if is_dry else "asks of every channel"
    lines: list[Sequence[Text]] = [[Cell(change.of, "name"), verb], *_differences(change.before, change.after)]
    if change.stale_requests:
        numbers = ", ".join(str(number) for number in change.stale_requests)
        lines.append([Cell(f"  stale by that: request {numbers}", "warn")])
    return [LinesBlock(lines)]


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[Sequence[Text]]:
    lines: list[Sequence[Text]] = []
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        lines += [[Cell(f"  - {line}", "bad")] for line in _yaml_lines(key, old)]
        lines += [[Cell(f"  + {line}", "good")] for line in _yaml_lines(key, new)]
    return lines


def ruling_blocks(answer: "GateAnswer") -> list[Block]:
    """Show every rule of a channel for a version, met or unmet, with the finding."""
    word = Cell("allowed", "good") if answer.allowed else Cell("not allowed", "bad")
    rows: list[tuple[str, Text | Sequence[Text]]] = []
    for rule in answer.rules:
        mark = Cell("met", "good") if rule.is_met else Cell("unmet", "bad")
        rows.append((rule.rule.replace("_", " "), [mark, rule.message]))
        if rule.fix:
            rows.append(("", [Cell("fix:", "good"), rule.fix]))
    return [
        TitleBlock(f"{answer.ref} → {answer.channel}", f"policy {answer.policy_digest[7:19]}"),
        LinesBlock([word]),
        FactsBlock(rows),
    ]


def unmet_lines(rules: Sequence["UnmetRule"]) -> list[Sequence[Text]]:
    """Show unmet rules, each with the command that would change it on the next line."""
    lines: list[Sequence[Text]] = []
    for rule in rules:
        lines.append([Cell(f"  {rule.rule}:", "bad"), rule.message])
        lines.append([Cell("    fix:", "good"), rule.fix])
    return lines


def _yaml_lines(key: str, value: object) -> list[str]:
    from deltareg.documents.yaml_document import write_yaml  # what other views need not load

    return [] if value is None else write_yaml({key: value}, is_ascii=True).splitlines()


def _suite(item: object) -> str:
    if is_object(item):
        return f"{item.get('suite')} ({item.get('max_age')})"
    return str(item)


def _words(value: object) -> str:
    if is_object(value):
        return " or ".join(f"{number} {key}" for key, number in value.items())
    return " ".join(str(item) for item in _items(value)) if is_list(value) else str(value)


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in _items(value) if is_object(item)]


def _items(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if is_list(value) else ()
