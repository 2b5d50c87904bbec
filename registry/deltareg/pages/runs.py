"""Runs: the queue, the ended ones, and the log of each as it grows."""

from collections.abc import Iterator, Sequence

from deltareg.errors import InvalidInput
from deltareg.pages.asking import ViewRequest
from deltareg.pages.guard import ROOT
from deltareg.pages.live import format_line
from deltareg.pages.routing import FormAction, View
from deltareg.pages.tables import Cell, PageTable, pairs
from deltareg.refs import parse_id
from deltareg.service.runs import log, queue
from deltareg.service.runs import runs as service
from deltareg.wire import Answer, LogLine, Page, RunInfo, RunLog, WorkerInfo
from deltareg.words import RUN_STATES

_LISTED = 50


class RunsPage(Answer):
    """The queue, or the runs in one state, newest first; `all` is every state."""

    state: str
    runs: Page[RunInfo]


class RunPage(RunLog):
    """A run with its log."""

    @property
    def lines(self) -> list[str]:
        """The log, line by line."""
        return [format_line(line) for line in self.items]


class WorkersPage(Answer):
    """The workers of the last day."""

    workers: list[WorkerInfo]


def _list(ask: ViewRequest) -> RunsPage:
    text, cursor = ask.text("state") or "queue", ask.cursor
    state = next((each for each in RUN_STATES if each == text), None)
    limit = ask.most(_LISTED)
    if text == "queue":
        runs = queue.list_queue(ask.registry, ask.caller, ref=None, cursor=cursor, limit=limit)
        return RunsPage(state=text, runs=runs)
    runs = service.list_runs(ask.registry, ask.caller, state=state, what=None, ref=None, cursor=cursor, limit=limit)
    return RunsPage(state=state or "all", runs=runs)


def _show(ask: ViewRequest) -> RunPage:
    run_id = parse_id(ask.part("run"), "run")
    part = log.read_log(ask.registry, ask.caller, run_id, after=0)
    lines: list[LogLine] = list(part.items)
    after = part.next_seq
    while len(part.items) == 200 and len(lines) < 2_000:
        part = log.read_log(ask.registry, ask.caller, run_id, after=after)
        lines, after = [*lines, *part.items], part.next_seq
    return RunPage(run=part.run, items=lines, next_seq=after, dropped_at=part.dropped_at)


def _act(ask: ViewRequest) -> str:
    run_id = parse_id(ask.part("run"), "run")
    match ask.form_text("act"):
        case "cancel":
            service.cancel_run(ask.registry, ask.caller, run_id)
        case "rerun":
            run_id = service.rerun(ask.registry, ask.caller, run_id).id
        case other:
            raise InvalidInput(f"nothing is done to a run by {other[:40]!r}")
    return f"{ROOT}/runs/{run_id}"


def _workers(ask: ViewRequest) -> WorkersPage:
    return WorkersPage(workers=queue.list_workers(ask.registry, ask.caller).items)


def _cells(page: RunsPage) -> Iterator[Sequence[Cell]]:
    for row in page.runs.items:
        yield (
            row.id,
            row.what,
            row.ref or row.base,
            row.suite,
            row.state,
            "" if row.verdict is None else row.verdict.verdict,
            row.proof,
            row.attempt,
            row.worker,
            row.created_at,
            row.started_at,
            row.finished_at,
            row.error,
        )


def _worker_cells(page: WorkersPage) -> Iterator[Sequence[Cell]]:
    for row in page.workers:
        state = "live" if row.is_live else "gone"
        yield row.name, state, pairs(row.labels), row.run, row.what, row.ref, row.seen_at


_TABLE = PageTable(
    (
        "run",
        "what",
        "of",
        "suite",
        "state",
        "verdict",
        "proof",
        "attempt",
        "worker",
        "queued_at",
        "begun_at",
        "ended_at",
        "error",
    ),
    _cells,
    lambda page: page.runs.next_cursor,
)
_WORKERS = PageTable(("worker", "state", "labels", "run", "what", "ref", "seen_at"), _worker_cells)
_RUN = View("/runs/{run}", _show, "run.html.jinja", "Runs")
PAGES = (
    View("/runs", _list, "runs.html.jinja", "Runs", table=_TABLE),
    _RUN,
    View("/workers", _workers, "workers.html.jinja", table=_WORKERS),
    FormAction("/runs/{run}/act", _act, _RUN),
)
