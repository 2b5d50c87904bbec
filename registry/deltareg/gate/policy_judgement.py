"""Judging a version by a channel's policy and its floors, and which of them asks for a rule."""

from collections.abc import Sequence
from dataclasses import replace

from deltareg.gate.floors import Floor, over
from deltareg.gate.judge import Candidate, Circumstances, judge, rule_on_base
from deltareg.gate.outside_terms import OUTSIDE_RULES
from deltareg.gate.policy import Policy
from deltareg.gate.ruling import Rule, Ruling
from deltareg.gate.verdict_facts import VerdictFact

_BY_POLICY: frozenset[Rule] = frozenset({"kind", "base", "servable", "signature", "approvals", "frozen"})
_OF_POLICIES: frozenset[Rule] = _BY_POLICY | OUTSIDE_RULES
_Key = tuple[Rule, str]


def judge_with_floors(
    candidate: Candidate, own: Policy, floors: Sequence[Floor], verdicts: Sequence[VerdictFact], *, now: Circumstances
) -> list[Ruling]:
    """Check a version against every rule of a channel and of its floors.

    For each rule that the channel's own policy lacks, or by which it would be met, the ruling names
    the floors that ask for it.

    Args:
        candidate: The version.
        own: The channel's own policy.
        floors: The floors below it.
        verdicts: Newest first.
        now: Further facts.
    """

    def collect_rulings(by: Sequence[Floor]) -> list[Ruling]:
        rulings = judge(candidate, over(own, by), verdicts, now=now)
        bases = [(floor, floor.policy.bases) for floor in by]
        return rulings + [rule_on_base(candidate, b, now) for _, b in bases if b is not None]

    rulings = collect_rulings(floors)
    if not floors:
        return rulings
    alone = _index_met(collect_rulings(()))
    without = [_index_met(collect_rulings([one for one in floors if one is not floor])) for floor in floors]
    return [
        _add_askers(ruling, _askers(ruling, floors, alone, without), is_by_hand=bool(now.frozen)) for ruling in rulings
    ]


def _index_met(rulings: Sequence[Ruling]) -> dict[_Key, bool]:
    is_met: dict[_Key, bool] = {}
    for ruling in rulings:
        key = (ruling.rule, ruling.suite)
        is_met[key] = is_met.get(key, True) and ruling.is_met
    return is_met


def _askers(
    ruling: Ruling, floors: Sequence[Floor], alone: dict[_Key, bool], without: Sequence[dict[_Key, bool]]
) -> list[Floor]:
    """Return the floors without which a rule would be missing or would be met."""
    key = (ruling.rule, ruling.suite)
    if not (ruling.suite or ruling.rule in _OF_POLICIES):
        return []
    if alone.get(key) is not None and (ruling.is_met or not alone[key]):
        return []  # the channel asks for it itself
    needed = [
        floor
        for floor, met_without in zip(floors, without, strict=True)
        if met_without.get(key, True) and (key not in met_without or not ruling.is_met)
    ]
    return needed or list(floors)


def _add_askers(ruling: Ruling, floors: Sequence[Floor], *, is_by_hand: bool) -> Ruling:
    if not floors or (ruling.rule == "frozen" and (is_by_hand or ruling.is_met)):
        return ruling
    names = " and ".join(floor.of for floor in floors)
    fix = ruling.fix
    if fix and ruling.rule in {"kind", "base", "frozen"}:
        fix = f"{fix.partition(', or')[0]}; what {names} asks: {floors[0].command}"
    return replace(
        ruling, message=f"{ruling.message} (asked by {names})", fix=fix, asked_by=tuple(floor.of for floor in floors)
    )
