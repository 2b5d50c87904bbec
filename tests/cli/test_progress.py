"""Progress: bars for a person, lines for a log, nothing for a script."""

import io
import re

import pytest

from deltareg.client.config import ClientConfig
from deltareg.client.progress import SILENT
from deltareg_cli.terminal.output import Output
from deltareg_cli.terminal.progress import BarProgress, LineProgress, ProgressTally, close_progress, open_progress


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self):
        return True


class Clock:
    """Time that passes when told."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def stderr(monkeypatch):
    def use(stream):
        monkeypatch.setattr("sys.stderr", stream)
        return stream

    return use


def test_a_log_gets_a_line_now_and_then_with_the_rate(stderr):
    stream, clock = stderr(io.StringIO()), Clock()
    meter = LineProgress(Output(), clock=clock).task("uploading 3 packs", 40_000_000)

    for _ in range(4):
        clock.now += 8
        meter.add(10_000_000)
    meter.close()
    meter.close()

    assert stream.getvalue().splitlines() == [
        "uploading 3 packs: 20.0 MB of 40.0 MB, 16 s, 1.2 MB/s",
        "uploading 3 packs: 40.0 MB, 32 s, 1.2 MB/s",
        "uploading 3 packs: 40.0 MB, 32 s, 1.2 MB/s",
    ]


def test_quick_work_is_not_worth_a_line(stderr):
    stream = stderr(io.StringIO())
    meter = LineProgress(Output(), clock=Clock()).task("reading", None)

    meter.add(10)
    meter.close()

    assert stream.getvalue() == ""


def test_a_bar_shows_bytes_and_gives_the_cursor_back(stderr):
    stream = stderr(Terminal())
    progress = BarProgress(Output())
    meter = progress.task("uploading\x1b[2J", 1000)

    meter.add(500)
    meter.note("left out optimizer.pt")
    close_progress(progress)
    meter.close()

    text = stream.getvalue()
    assert "uploading[2J" in text
    assert "left out optimizer.pt" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("label", ["pulling me/chat:v2", "pulling lab-of-mine/long-running:v12"])
def test_a_bar_is_one_line_with_all_its_numbers(stderr, monkeypatch, width, label):
    monkeypatch.setenv("COLUMNS", str(width))
    stream = stderr(Terminal())
    progress = BarProgress(Output())
    meter = progress.task(label, 219_700_000)

    meter.count_moved(16_400_000)
    meter.add(61_100_000)
    close_progress(progress)
    meter.close()

    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split("\n")
    shown = [line for part in lines for line in part.split("\r") if "61.1" in line]
    assert shown
    assert all(len(line) <= width and label in line for line in shown)
    assert all(re.search(r"61\.1/219\.7 MB .* as \S+ .B/s, 3\.7x", line) for line in shown)


def test_more_bytes_than_were_decoded_yet_say_nothing_of_a_ratio():
    tally = ProgressTally("pulling", 200_000_000, began=0.0, done_bytes=1_000_000, moved_bytes=16_000_000)

    early = tally.saving(1.0)
    tally.done_bytes = 200_000_000

    assert early == "16.0 MB/s"
    assert tally.saving(10.0) == "1.6 MB/s, 12.5x"


@pytest.mark.parametrize(
    ("output", "is_shown"), [(Output(), True), (Output(is_quiet=True), False), (Output(format="json"), False)]
)
def test_only_people_are_shown_progress(stderr, output, is_shown):
    stderr(io.StringIO())

    assert (open_progress(output, ClientConfig()) is not SILENT) is is_shown


def test_a_person_sees_bars_and_may_turn_them_off(stderr):
    stderr(Terminal())

    assert isinstance(open_progress(Output(format="json"), ClientConfig()), BarProgress)
    assert open_progress(Output(), ClientConfig(progress=False)) is SILENT
