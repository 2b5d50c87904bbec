"""What has done its work is dropped after its time: one table of what, after how long, and by which setting.

The audit trail, ledgers, verdicts and what they rest on are never touched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, in_stages
from deltareg.service.runs.log_retention import drop_some_logs
from deltareg.service.runs.result_retention import drop_some_results
from deltareg.service.upkeep.finished import drop_some_runs, drop_some_uploads
from deltareg.service.upkeep.old_events import drop_some_events
from deltareg.service.upkeep.past_answers import drop_some_answers, drop_some_lease_keys


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long something is kept.

    Attributes:
        what: What it is, for people.
        after: After how long it goes, in words.
        setting: The setting that says so; empty where none does.
        drop: Drops a batch, and returns how many there were.
    """

    what: str
    after: str
    setting: str
    drop: Callable[[StepContext], int]


LIFETIMES: Final = (
    Lifetime(
        "logs of runs",
        "30 days after the run",
        "DELTAREG_RUN_LOG_DAYS",
        lambda it: drop_some_logs(it.registry.engine, keep_s=it.keeping.logs_s),
    ),
    Lifetime(
        "answers to prompts, comparisons of what was deleted",
        "their own end",
        "",
        lambda it: drop_some_results(it.registry.engine),
    ),
    Lifetime("events, with what was told of them", "7 days", "", lambda it: drop_some_events(it.registry.engine)),
    Lifetime("answers to repeated requests", "a day", "", lambda it: drop_some_answers(it.registry.engine)),
    Lifetime("keys of leases", "a day after the run", "", lambda it: drop_some_lease_keys(it.registry.engine)),
    Lifetime(
        "pushes that ended",
        "90 days",
        "DELTAREG_FINISHED_DAYS",
        lambda it: drop_some_uploads(it.registry.engine, keep_s=it.keeping.finished_s),
    ),
    Lifetime(
        "runs that ended without a verdict",
        "90 days",
        "DELTAREG_FINISHED_DAYS",
        lambda it: drop_some_runs(it.registry.engine, keep_s=it.keeping.finished_s),
    ),
)


def _tidy(context: StepContext, place: Place) -> StepOutcome:
    """Drop a batch of the first kind of thing that has one."""
    return in_stages({each.what: partial(each.drop, context) for each in LIFETIMES}, place)


TIDY = Operation("tidy", "drops what has done its work", DAY_S / 24, _tidy, is_due_at_start=True)
