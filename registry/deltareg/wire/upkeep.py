"""Operations that keep a registry in order: what is due, under way, and what came of the last round."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request
from deltareg.words import OperationName, OperationState

_Seconds = Annotated[float, Field(ge=0, le=10 * 366 * 86_400)]
_Percent = Annotated[int, Field(ge=1, le=100, strict=True)]


class OperationInfo(Answer):
    """An operation.

    Attributes:
        kind: Its name.
        about: What it does.
        state: What it does now; `off` is never by itself.
        every_s: How often it is done; 0 is never by itself.
        percent: Of the time of one process, what it takes at most.
        due_at: From when on it is to be done; none if nobody asked and it is off.
        is_under_way: Whether a round has begun and not ended, also while it is paused.
        started_at: When that round began.
        done: How much that round has done.
        total: Of how much; none where nobody knows.
        counts: What it did so far.
        ended_at: When the round before ended.
        outcome: What that one did.
        failure: Why the last step failed; empty if it did not.
        set_by: Who set it or asked for it last.
    """

    kind: OperationName
    about: str
    state: OperationState
    every_s: float
    percent: int
    due_at: str | None
    is_under_way: bool
    started_at: str | None
    done: int
    total: int | None
    counts: dict[str, int]
    ended_at: str | None
    outcome: dict[str, int]
    failure: str
    set_by: str


class OperationList(Answer):
    """All operations by name."""

    items: list[OperationInfo]


class OperationChange(Request):
    """What is to change of an operation; what is left out stays.

    `every_s` of 0 is never by itself. With `now` it is done at once.
    """

    paused: bool | None = None
    every_s: _Seconds | None = None
    percent: _Percent | None = None
    now: bool = False
