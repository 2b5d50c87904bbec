"""An operation: a kind of upkeep that is done in rounds of small steps.

A step is safe by itself, at any time and beside itself: whoever is killed in it leaves work for the
next step, and whoever lost the lease does no harm. Where the next step begins is saved after each.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.words import OperationName

log = logging.getLogger(__name__)

Place = Mapping[str, object]
"""Where a round goes on; empty at its beginning."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class KeepingTimes:
    """How long what has done its work is kept, in seconds.

    Attributes:
        upload_grace_s: Idle uploads.
        deleted_s: The bytes of deleted versions.
        forms_s: Former stored forms of versions.
        logs_s: Logs of runs after their end; None for ever.
        finished_s: Uploads and runs after their end.
    """

    upload_grace_s: float = DAY_S
    deleted_s: float = 7 * DAY_S
    forms_s: float = 7 * DAY_S
    logs_s: float | None = 30 * DAY_S
    finished_s: float = 90 * DAY_S


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step works on; `set_by` is who asked for the operation or set it last."""

    registry: Registry
    keeping: KeepingTimes
    set_by: int | None = None


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a step did.

    Attributes:
        place: Where the next step begins; None at the end of the round.
        done: How many things it looked at.
        total: How many there are in the round, if that is known.
        counts: What it did, by words for people.
        rest_s: For how long nothing is to be done, as others are behind.
    """

    place: Place | None
    done: int = 0
    total: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Operation:
    """A kind of operation.

    Attributes:
        kind: Its name.
        about: What it does, in a sentence.
        every_s: How often it is done unless somebody set it; 0 is never by itself.
        step: Does the next step.
        is_due_at_start: Whether each start of a server asks for a round.
    """

    kind: OperationName
    about: str
    every_s: float
    step: Callable[[StepContext, Place], StepOutcome]
    is_due_at_start: bool = False


def in_stages(stages: Mapping[str, Callable[[], int]], place: Place, key: str = "stage") -> StepOutcome:
    """Do a batch of the first stage that has one; a stage that fails is logged, and leaves the others alone.

    Args:
        stages: What does a batch and returns how many there were, by name, in order.
        place: Where the round goes on.
        key: The key of the stage in the place.
    """
    names = list(stages)
    stage = text_in(place, key)
    at = names.index(stage) if stage in names else 0
    counts: dict[str, int] = {}
    try:
        done = stages[names[at]]()
    except (DeltaregError, SQLAlchemyError) as error:
        log.warning("%s: not done, it is tried again: %s", names[at], error)
        done, counts = 0, {f"{names[at]} failed": 1}
    if done:
        return StepOutcome({key: names[at]}, done, counts={names[at]: done})
    return StepOutcome({key: names[at + 1]} if at + 1 < len(names) else None, counts=counts)


def number_in(place: Place, key: str) -> int:
    """Return a number of a place; 0 if it has none."""
    value = place.get(key)
    return value if isinstance(value, int) else 0


def text_in(place: Place, key: str) -> str:
    """Return a text of a place; empty if it has none."""
    value = place.get(key)
    return value if isinstance(value, str) else ""
