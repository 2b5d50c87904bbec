"""The queue on the wire: logs of runs, workers."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.checks import CheckResult
from deltareg.wire.messages import Answer, Request, Text
from deltareg.wire.runs import RunInfo


class LineSent(Request):
    """What a worker says about its run: a sentence, the outcome of a check as it comes, or a plan.

    A plan names the checks that are going to be made, in their order.
    """

    text: Text = ""
    check: CheckResult | None = None
    plan: Annotated[list[Text], Field(max_length=200)] = []


class LogAppend(Request):
    """Lines for the log of a run, from the worker that holds it.

    `first` counts the lines of the same lease before these, so that sending them twice is harmless.
    """

    fence: int
    first: Annotated[int, Field(ge=0)]
    lines: Annotated[list[LineSent], Field(min_length=1, max_length=200)]


class LogLine(Answer):
    """A line of a run's log; `attempt` tells which worker's it is when there were several."""

    seq: int
    at: str
    attempt: int
    text: str = ""
    check: CheckResult | None = None
    plan: list[str] = []


class RunLog(Answer):
    """A run and what its log says after some line; `next_seq` is where to go on.

    `dropped_at` says when the log was dropped, where the run ended so long ago that it was.
    """

    run: RunInfo
    items: list[LogLine]
    next_seq: int
    dropped_at: str | None = None


class WorkerInfo(Answer):
    """A worker that asks for work, or has a run."""

    name: str
    labels: dict[str, str]
    is_live: bool
    seen_at: str
    run: str | None = None
    what: str | None = None
    ref: str | None = None


class PoolDemand(Answer):
    """How many runs want a worker of a pool: `waiting` for one, and `running` on one; `wanted` is their sum."""

    pool: str
    waiting: int
    running: int
    wanted: int
