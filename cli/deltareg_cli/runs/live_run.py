"""Shows on stderr how a run goes, check by check; on a terminal with a bar."""

import math
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from deltareg_cli.terminal.blocks import Cell, LinesBlock, Sentence, SentencesBlock
from deltareg_cli.terminal.drawing import draw
from deltareg_cli.terminal.output import Output, is_terminal
from deltareg_cli.terminal.wording import clean, count
from deltareg_cli.views.runs import check_cells, explain_unserved, standing

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from deltareg.wire import LogLine, RunInfo

_LIVE_S = 10.0  # of checks without a word, so that whoever waits sees that it goes on


class LiveRun(Protocol):
    """A display of a run, updated as the run goes on."""

    def change(self, run: "RunInfo") -> None:
        """Show the run's new state."""
        ...

    def line(self, line: "LogLine") -> None:
        """Show a line of the run's log."""
        ...


@contextmanager
def open_live_run(output: Output, *, has_progress: bool, has_checks: bool) -> Generator[LiveRun]:
    """Open the display that fits: a bar for a person, lines for a log, nothing for a script.

    The terminal gets its cursor back, however the block ends.

    Args:
        output: Where to draw it.
        has_progress: Whether to show progress.
        has_checks: Whether to show each check as it is made, and not only how many are.
    """
    if has_progress and output.has_notes and is_terminal(sys.stderr):
        bars = _make_bars(has_colour=output.has_colour)
        with bars:
            yield _Bar(output, bars, has_checks=has_checks)
    elif has_checks:
        yield _Notes(output, has_checks=has_progress)
    else:
        yield _Notes(output, count_every_s=_LIVE_S if has_progress else math.inf)


class _Notes:
    """Shows a line for each change, and either a line for each check or a count of them."""

    def __init__(self, output: Output, *, has_checks: bool = False, count_every_s: float = math.inf) -> None:
        self._output = output
        self._has_checks = has_checks
        self._count_every_s = count_every_s
        self._told = ""
        self._made = self._all = 0
        self._silent_s = 0.0

    def change(self, run: "RunInfo") -> None:
        sentence = f"run {run.id}: {standing(run)}"
        if sentence != self._told:
            self._told = sentence
            self._output.note(clean(sentence))

    def line(self, line: "LogLine") -> None:
        if line.plan:
            self._made, self._all = 0, len(line.plan)
        elif line.check is not None:
            self._made += 1
            self._silent_s += line.check.seconds
            if self._has_checks:
                surface = self._output.surface(sys.stderr)
                self._output.note(draw([LinesBlock([check_cells(line.check)])], surface).rstrip("\n"))
            elif self._silent_s >= self._count_every_s:
                self._silent_s = 0.0
                self._output.note(f"{self._made} of {count(self._all, 'check')} made")


class _Bar:
    """A bar that counts checks, below their outcomes where these are shown."""

    def __init__(self, output: Output, bars: "Bars", *, has_checks: bool) -> None:
        self._output = output
        self._has_checks = has_checks
        self._bars = bars
        self._task: TaskID | None = None
        self._ref = self._told = ""
        self._to_come: list[str] = []
        self._made = self._all = self._attempt = 0

    def change(self, run: "RunInfo") -> None:
        sentence = clean(standing(run))
        if self._task is None:
            what = clean(f"{run.ref or run.base}  {sentence}")
            self._task = self._bars.add_task(what, total=None, checks="")
        self._ref = clean(run.ref or run.base)
        why = explain_unserved(run)
        if why and why != self._told:  # the bar has no room for it
            surface = self._output.surface(sys.stderr)
            told = SentencesBlock([Sentence(why, Cell("it waits:", "warn"))])
            self._bars.console.out(draw([told], surface).rstrip("\n"), highlight=False)
        self._told = why
        self._show(sentence)

    def line(self, line: "LogLine") -> None:
        if line.attempt != self._attempt:
            self._attempt, self._made, self._all, self._to_come = line.attempt, 0, 0, []
        if line.plan:
            self._to_come, self._all = list(line.plan), len(line.plan)
        elif line.check is not None:
            self._made += 1
            self._to_come = self._to_come[1:]
            if self._has_checks:
                surface = self._output.surface(sys.stderr)
                text = draw([LinesBlock([check_cells(line.check)])], surface).rstrip("\n")
                self._bars.console.out(text, highlight=False)
        self._show(self._to_come[0] if self._to_come else line.text or "judging")

    def _show(self, doing: str) -> None:
        if self._task is None:
            return
        of = f"{self._made} of {count(self._all, 'check')}" if self._all else ""
        self._bars.update(
            self._task,
            description=f"{self._ref}  {clean(doing)}",
            checks=of,
            total=self._all or None,
            completed=self._made,
        )


def _make_bars(*, has_colour: bool) -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    def whole() -> Column:
        return Column(no_wrap=True)

    label = Column(no_wrap=True, overflow="ellipsis")
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=label),
        BarColumn(bar_width=None, table_column=Column(max_width=16)),
        TextColumn("{task.fields[checks]}", markup=False, table_column=whole()),
        TimeElapsedColumn(table_column=whole()),
        console=Console(stderr=True, no_color=not has_colour),
        transient=True,
    )
