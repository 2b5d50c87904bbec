"""What is stuck: runs that nobody takes, and why; what was given up; and other things that wait."""

from collections import Counter
from typing import Final

from deltareg.api.doctor.diagnosis import Diagnosis
from deltareg.drawing.wording import count, seconds
from deltareg.service.registry import Registry
from deltareg.service.upkeep.diagnosis import StuckWork, stuck_work
from deltareg.service.upkeep.health import RegistryHealth, registry_health

QUESTION: Final = "What is stuck?"
_LATE_S: Final = 600.0
_MANY: Final = 100


def what_is_stuck(registry: Registry | None, *, now: float) -> Diagnosis:
    """Answer the question.

    Args:
        registry: The registry; None while its database does not answer.
        now: Seconds since 1970.
    """
    if registry is None:
        why = "The database does not answer, so nothing can be pushed or verified."
        return Diagnosis(QUESTION, [why], {"database": "down"}, is_well=False)
    found, health = stuck_work(registry, now_us=int(now * 1_000_000)), registry_health(registry)
    lines = [*_waiting(found), *_given_up(found), *_others(found, health)]
    workers = ", ".join(found.live[:5]) or "none"
    gone = f"; gone since yesterday: {', '.join(found.gone[:5])}" if found.gone else ""
    document = {
        "workers": list(found.live),
        "gone": list(found.gone),
        "waiting": found.waiting,
        "reasons": dict(found.reasons),
        "held_up": found.held_up,
        "dead": [{"run": run.id, "what": run.what, "ref": run.ref, "error": run.error} for run in found.dead],
        "pending_deliveries": health.pending_deliveries,
        "unsealed_s": health.unsealed_s,
    }
    return Diagnosis(
        QUESTION, [_headline(found, lines), *lines, f"workers that run now: {workers}{gone}"], document, not lines
    )


def _headline(found: StuckWork, lines: list[str]) -> str:
    if found.reasons:
        why, stuck = Counter(found.reasons).most_common(1)[0]
        return f"{stuck} of {count(found.waiting, 'waiting run')} stuck: {why}."
    if lines:
        return "Runs are taken; other things need a look."
    waiting = f"; {count(found.waiting, 'run')} will have their turn" if found.waiting else ""
    return f"Nothing is stuck{waiting}."


def _waiting(found: StuckWork) -> list[str]:
    lines = [f"{number} waiting: {why}" for why, number in Counter(found.reasons).most_common(5)]
    if found.reasons and found.longest is not None:
        run = found.longest
        lines.append(f"the oldest: {run.what} {run.ref or run.base}, since {run.created_at[:19].replace('T', ' ')}Z")
        lines.append("fix: deltareg worker run, with what the labels ask for")
    return lines


def _given_up(found: StuckWork) -> list[str]:
    """Say what was given up, equal errors once."""
    errors = Counter((run.what, (run.error or "no reason").splitlines()[0][:200]) for run in found.dead)
    lines = [f"{number} given up in the last day ({what}): {error}" for (what, error), number in errors.most_common(3)]
    if found.dead:
        lines.append(f"again: deltareg verify {found.dead[0].ref or 'REF'} --again")
    return lines


def _others(found: StuckWork, health: RegistryHealth) -> list[str]:
    lines: list[str] = []
    if found.held_up:
        lines.append(
            f"{count(found.held_up, 'verification')} cannot begin before bytes are pushed again:"
            " deltareg fsck --repair names them"
        )
    if health.unsealed_s > _LATE_S:
        lines.append(f"the audit trail was not sealed for {seconds(health.unsealed_s)}: see the server's log")
    if health.pending_deliveries > _MANY:
        lines.append(f"{health.pending_deliveries} events wait for webhooks: deltareg webhook ls")
    return lines
