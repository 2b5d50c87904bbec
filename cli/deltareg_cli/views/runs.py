"""Runs that wait or are under way, their logs, and the workers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import Cell, Column, TableBlock, Text, tone_word
from deltareg_cli.terminal.wording import count, moment, seconds

if TYPE_CHECKING:
    from deltareg.wire import CheckResult, LogLine, RunInfo, WorkerInfo

_VERDICT_WIDTH, _NAME_WIDTH, _TIME_WIDTH = 7, 26, 7
OWN = "local-"
"""How the workers of `verify --on local` call themselves; no other takes their runs."""
START_ONE = "deltareg worker run"


def standing(run: "RunInfo") -> str:
    """Describe the state of a run: `queued, 3 before it`, `running on gpu-7`."""
    if run.state == "running" and run.worker:
        return f"running on {run.worker}"
    if run.state != "queued":
        return run.state
    if run.labels.get("worker", "").startswith(OWN):
        return "queued, its worker starts"
    if run.unserved:
        return f"queued; {explain_unserved(run)}"
    if not run.position or run.position == 1:
        return "queued, the next one" if run.position else "queued"
    return f"queued, {run.position - 1} before it"


def explain_unserved(run: "RunInfo") -> str:
    """Explain why a run keeps waiting, and what to do; empty where a worker can take it."""
    is_own = run.labels.get("worker", "").startswith(OWN)
    return f"{run.unserved}; start one: {START_ONE}" if run.unserved and not is_own else ""


def check_cells(check: "CheckResult") -> list[Text]:
    """Format the outcome of a check on a line."""
    word = tone_word(check.verdict)
    detail = f"{check.code}: {check.detail}" if check.code else check.detail
    return [
        Cell(word.text.ljust(_VERDICT_WIDTH), word.tone),
        check.name.ljust(_NAME_WIDTH),
        Cell(seconds(check.seconds).rjust(_TIME_WIDTH), "dim"),
        Cell(detail, "" if check.verdict in {"fail", "warn", "skipped"} else "dim"),
    ]


def log_cells(line: "LogLine") -> list[Text]:
    """Format a line of a log, with the time of day in UTC."""
    at = Cell(_time_of_day(line.at), "dim")
    if line.check is not None:
        return [at, *check_cells(line.check)]
    if line.plan:
        return [at, Cell(f"{count(len(line.plan), 'check')}: {', '.join(line.plan)}", "dim")]
    return [at, line.text]


def queue_table(runs: Sequence["RunInfo"], *, now: datetime) -> TableBlock:
    """Build the table of the runs under way and waiting, the next one first."""
    columns = [
        Column("place", is_number=True),
        Column("id"),
        Column("ref"),
        Column("task"),
        Column("priority"),
        Column("age", is_number=True),
        Column("on", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            tone_word("running") if run.position is None else str(run.position),
            Cell(run.id, "name"),
            run.ref or run.base,
            f"{run.suite} on {run.variant}" if run.variant else run.suite or run.what,
            _priority(run),
            moment(run.created_at, now=now).removesuffix(" ago"),
            _place(run),
        ]
        for run in runs
    ]
    return TableBlock(columns, rows, if_empty="nothing waits and nothing runs")


def worker_table(workers: Sequence["WorkerInfo"], *, now: datetime) -> TableBlock:
    """Build the table of workers, their labels, and what each of them runs."""
    columns = [Column("worker"), Column("state"), Column("runs"), Column("asked"), Column("offers", is_prose=True)]
    rows: list[list[Text]] = [
        [
            Cell(worker.name, "name"),
            _state(worker),
            worker.ref or Cell("-", "dim"),
            moment(worker.seen_at, now=now),
            ", ".join(f"{k}={v}" for k, v in sorted(worker.labels.items()) if k != "worker"),
        ]
        for worker in workers
    ]
    return TableBlock(columns, rows, if_empty=f"no worker since yesterday; start one: {START_ONE}")


def _priority(run: "RunInfo") -> Cell:
    return Cell(run.priority, "warn" if run.priority == "high" else "dim")


def _place(run: "RunInfo") -> Cell:
    if run.state == "running":
        return Cell(run.worker or "")
    labels = ", ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))
    return Cell(run.unserved, "warn") if run.unserved else Cell(labels or "any", "dim")


def _state(worker: "WorkerInfo") -> Cell:
    if worker.run is not None:
        return Cell("busy", "name")
    return Cell("idle", "good") if worker.is_live else Cell("gone", "dim")


def _time_of_day(at: str) -> str:
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%H:%M:%S")
