"""Whether a rollback would succeed, as a pure function over facts.

Nobody wants to learn in an incident that the rollback's target is gone. So it is checked all the
time, light by light: what is fine, what to watch, what would prevent the rollback.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.gate.ages import tell_age
from deltareg.words import Light

_RANK: dict[Light, int] = {"ok": 0, "warn": 1, "no": 2}


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The facts about the target of a rollback.

    Attributes:
        ref: As shown, `ns/name:v3`.
        is_deleted: Deleted.
        revoked: Who revoked it or a version below it, when and why; empty if nobody did.
        packs: How many packs it needs.
        packs_lost: How many of them are missing in the database.
        objects_lost: How many of them are missing in the store; None if it was not asked.
        base: Its base's name; empty if the base is not registered.
        is_base_stored: Whether the registry keeps the base's bytes.
        verdict: Its newest verdict of a required suite; empty if it has none.
        verdict_age_s: The age of that verdict, in seconds.
        is_verdict_counting: Whether that verdict would count for a promotion today.
        behind: How many moves ago it was served.
        age_s: Seconds since it was served last.
        is_in_window: Whether the old verdict suffices.
        unmet: Outside the window: what the gate would require.
        failed: The required suites that it fails now, in words.
        served_base: The base of what the channel serves now, if it is another one; empty otherwise.
    """

    ref: str
    is_deleted: bool
    revoked: str
    packs: int
    packs_lost: int
    objects_lost: int | None
    base: str
    is_base_stored: bool
    verdict: str
    verdict_age_s: float
    is_verdict_counting: bool
    behind: int
    age_s: float
    is_in_window: bool
    unmet: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    served_base: str = ""


@dataclass(frozen=True, slots=True)
class ReadyLight:
    """One requirement of a rollback: whether it is met, in words."""

    name: str
    light: Light
    message: str


def judge_readiness(facts: TargetFacts, *, frozen: str = "") -> list[ReadyLight]:
    """Judge each requirement of a rollback.

    Args:
        facts: The facts about its target.
        frozen: Why the channel accepts no move; empty if it does.
    """
    lights = [_on_standing(facts), _on_bytes(facts), _on_base(facts), _on_verdict(facts)]
    lights.append(_on_window(facts))
    if frozen:
        lights.append(ReadyLight("channel", "no", f"{frozen}; break-glass goes through it"))
    return lights


def gravest(lights: Sequence[ReadyLight]) -> Light:
    """Return the most serious of some lights."""
    ranked: list[Light] = sorted((light.light for light in lights), key=lambda light: _RANK[light])
    return ranked[-1] if ranked else "no"


def _on_standing(facts: TargetFacts) -> ReadyLight:
    if facts.is_deleted:
        return ReadyLight("version", "no", f"{facts.ref} is deleted")
    if facts.revoked:
        return ReadyLight("version", "no", facts.revoked)
    return ReadyLight("version", "ok", "neither revoked nor deleted")


def _on_bytes(facts: TargetFacts) -> ReadyLight:
    packs = f"{facts.packs} pack" + ("" if facts.packs == 1 else "s")
    if facts.packs_lost:
        message = f"{facts.packs_lost} of {packs} are on their way out; ask for deltareg fsck --repair"
        return ReadyLight("bytes", "no", message)
    if facts.objects_lost:
        message = f"the store lacks {facts.objects_lost} of {packs}; ask for deltareg fsck --repair"
        return ReadyLight("bytes", "no", message)
    in_store = "" if facts.objects_lost is None else ", and the store has them"
    return ReadyLight("bytes", "ok", f"{packs} on record{in_store}")


def _on_base(facts: TargetFacts) -> ReadyLight:
    if not facts.base:
        message = "its base is not registered: whoever serves it brings the base along"
        return ReadyLight("base", "warn", message)
    if facts.served_base:
        message = f"hosts need {facts.base} again: the channel serves {facts.served_base} now"
        return ReadyLight("base", "warn", message)
    if not facts.is_base_stored:
        return ReadyLight("base", "ok", f"{facts.base} is known; its bytes are kept elsewhere")
    return ReadyLight("base", "ok", f"{facts.base} is stored")


def _on_verdict(facts: TargetFacts) -> ReadyLight:
    if facts.failed:
        message = f"{'; '.join(facts.failed)}; break-glass goes back to it all the same"
        return ReadyLight("verdict", "no", message)
    if not facts.verdict:
        light: Light = "warn" if facts.is_in_window else "no"
        return ReadyLight("verdict", light, "it has none of what the channel asks for now")
    message = f"{facts.verdict}, {tell_age(facts.verdict_age_s)} old"
    if facts.is_verdict_counting:
        return ReadyLight("verdict", "ok", message)
    if facts.is_in_window:
        return ReadyLight("verdict", "warn", f"{message}; it would not pass the gate today")
    return ReadyLight("verdict", "no", f"{message}; it does not count any more")


def _on_window(facts: TargetFacts) -> ReadyLight:
    moves = "1 move" if facts.behind == 1 else f"{facts.behind} moves"
    where = f"served {moves} and {tell_age(facts.age_s)} ago"
    if facts.is_in_window:
        return ReadyLight("window", "ok", f"{where}: the old verdict is enough")
    if facts.unmet:
        return ReadyLight("window", "no", f"{where}, too long; the gate says: {facts.unmet[0]}")
    return ReadyLight("window", "warn", f"{where}, too long: the gate decides, and it is met")
