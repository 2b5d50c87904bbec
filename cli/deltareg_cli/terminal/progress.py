"""Shows the client's progress on stderr: bars with bytes and rates, or a line now and then."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deltareg.client.progress import SILENT, Meter, Progress
from deltareg_cli.terminal.output import Output, is_terminal
from deltareg_cli.terminal.wording import clean, rate, seconds, size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from deltareg.client.config import ClientConfig

LINE_EVERY_S = 15.0
WORTH_A_LINE_S = 1.0


def open_progress(output: Output, config: "ClientConfig") -> Progress:
    """Return the progress that fits: bars for a person, lines for a log, nothing for a script.

    The caller closes it with `close_progress`, so that the terminal gets its cursor back.
    """
    if not config.progress or not output.has_notes:
        return SILENT
    return BarProgress(output) if is_terminal(sys.stderr) else LineProgress(output)


def close_progress(progress: Progress) -> None:
    """Remove bars that are still shown, for example after an interruption."""
    if isinstance(progress, BarProgress):
        progress.stop()


@dataclass(slots=True)
class ProgressTally:
    """The totals of one piece of work."""

    label: str
    total_bytes: int | None
    began: float = field(default_factory=time.monotonic)
    done_bytes: int = 0
    moved_bytes: int = 0

    def sentence(self, now: float) -> str:
        """Format the state: `uploading packs: 12.0 MB of 40.0 MB, 3 s, 4.0 MB/s`."""
        spent = now - self.began
        parts = [seconds(spent)]
        if self.done_bytes or self.total_bytes:
            is_whole = self.total_bytes is None or self.done_bytes >= self.total_bytes
            of = "" if is_whole else f" of {size(self.total_bytes or 0)}"
            parts = [f"{size(self.done_bytes)}{of}", *parts, rate(self.done_bytes, spent)]
        if self.moved_bytes > 0:
            parts[-1] += f"; as {size(self.moved_bytes)}, {self.saving(now)}"
        return f"{clean(self.label)}: {', '.join(parts)}"

    def saving(self, now: float) -> str:
        """Format the rate of encoded bytes, and how many decoded bytes each stands for.

        A pull may have fetched more bytes than it has decoded so far; then there is no ratio to
        show.
        """
        if self.moved_bytes <= 0:
            return ""
        speed = rate(self.moved_bytes, now - self.began)
        if self.done_bytes < self.moved_bytes:
            return speed
        return f"{speed}, {self.done_bytes / self.moved_bytes:.1f}x"


class BarProgress:
    """Bars on a terminal; a finished one leaves its summary if it took a while."""

    def __init__(self, output: Output) -> None:
        """Prepare to draw on stderr, from the first piece of work on."""
        self._output = output
        self._bars: Bars | None = None
        self._open = 0
        self._lock = threading.Lock()

    def task(self, label: str, total_bytes: int | None) -> Meter:
        """Add a bar."""
        with self._lock:
            if self._bars is None:
                self._bars = _make_bars(has_colour=self._output.has_colour)
                self._bars.start()
            self._open += 1
            name = self._bars.add_task(clean(label), total=total_bytes, saving="")
            return _Bar(self._bars, name, ProgressTally(label, total_bytes), self._close_bar)

    def stop(self) -> None:
        """Remove all bars and restore the cursor; may be called twice."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
                self._bars = None

    def _close_bar(self, bars: "Bars", name: "TaskID", sentence: str) -> None:
        with self._lock:
            bars.remove_task(name)
            if sentence:
                bars.console.print(sentence, style="dim", markup=False, highlight=False)
            self._open -= 1
            if not self._open:
                bars.stop()
                self._bars = None


@dataclass(slots=True)
class _Bar:
    bars: "Bars"
    name: "TaskID"
    tally: ProgressTally
    on_close: "Callable[[Bars, TaskID, str], None]"
    is_open: bool = True

    def add(self, size_bytes: int) -> None:
        """Advance the bar."""
        self.bars.advance(self.name, size_bytes)
        if self.tally.moved_bytes > 0:
            self._tell()

    def count_moved(self, size_bytes: int) -> None:
        """Count transferred bytes, and show their rate and ratio."""
        self.tally.moved_bytes += size_bytes
        self._tell()

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self.bars.console.print(clean(text), markup=False, highlight=False)

    def close(self) -> None:
        """Remove the bar."""
        if not self.is_open:
            return
        self.is_open = False
        now = time.monotonic()
        task = next(task for task in self.bars.tasks if task.id == self.name)
        self.tally.done_bytes = int(task.completed)
        is_long = now - self.tally.began >= WORTH_A_LINE_S
        self.on_close(self.bars, self.name, self.tally.sentence(now) if is_long else "")

    def _tell(self) -> None:
        task = next((task for task in self.bars.tasks if task.id == self.name), None)
        if task is not None:
            self.tally.done_bytes = int(task.completed)
            saving = self.tally.saving(time.monotonic())
            self.bars.update(self.name, saving=f"as {saving}" if saving else "")


class LineProgress:
    """Prints a line every quarter of a minute, and one at the end of work that took a while."""

    def __init__(self, output: Output, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Write through `output`, by the given clock."""
        self._output = output
        self._clock = clock

    def task(self, label: str, total_bytes: int | None) -> Meter:
        """Begin silently."""
        tally = ProgressTally(label, total_bytes, self._clock())
        return _Line(self._output, tally, self._clock, tally.began)


@dataclass(slots=True)
class _Line:
    output: Output
    tally: ProgressTally
    clock: Callable[[], float]
    told: float
    is_open: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, size_bytes: int) -> None:
        """Count, and write a line when it is time."""
        with self.lock:
            self.tally.done_bytes += size_bytes
            now = self.clock()
            is_time = now - self.told >= LINE_EVERY_S
            self.told = now if is_time else self.told
            sentence = self.tally.sentence(now) if is_time else ""
        if sentence:
            self.output.note(sentence)

    def count_moved(self, size_bytes: int) -> None:
        """Count transferred bytes."""
        with self.lock:
            self.tally.moved_bytes += size_bytes

    def note(self, text: str) -> None:
        """Write a line."""
        self.output.note(clean(text))

    def close(self) -> None:
        """Write the last line, if the work took a while."""
        now = self.clock()
        if self.is_open and now - self.tally.began >= WORTH_A_LINE_S:
            self.output.note(self.tally.sentence(now))
        self.is_open = False


def _make_bars(*, has_colour: bool) -> "Bars":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class LabelColumn(TextColumn):
        """The label of the work; on a narrow terminal it shrinks first, with the bar."""

        def render(self, task: Task) -> Text:
            text = super().render(task)
            text.no_wrap, text.overflow = True, "ellipsis"
            return text

    def whole() -> Column:
        return Column(no_wrap=True)

    return Progress(
        SpinnerColumn(),
        LabelColumn("{task.description}", markup=False),
        BarColumn(bar_width=None, table_column=Column(max_width=16)),
        DownloadColumn(table_column=whole()),
        TransferSpeedColumn(table_column=whole()),
        TextColumn("{task.fields[saving]}", style="dim", markup=False, table_column=whole()),
        TimeRemainingColumn(compact=True, table_column=whole()),
        console=Console(stderr=True, no_color=not has_colour),
        transient=True,
    )
