"""Gigabytes through the installed command line: bounded memory, and resumed where it stopped.

What is measured is started as it is installed: what is forked has the memory of its nursery.
"""

import shutil
import signal
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from deltareg.codec.ordered import cores
from tests.faults import big
from tests.faults.ledger import Ledger
from tests.faults.measured import MB, Cli, copy_seconds
from tests.faults.proxy import Proxy
from tests.fixtures.processes import until

SOAK_BYTES, SOAK_MEMORY_BYTES = 2 << 30, 370 << 20
# What comes on top of a small command; each core has some in hand, and the delta is more than all.
CI_BYTES = min(300, 80 * cores()) << 20
CI_MEMORY_BYTES = min(370, 40 + 40 * cores()) << 20
DIFF_BYTES = 100 << 20
WIDTHS = [8_192, pytest.param(16_384, marks=pytest.mark.soak)]  # dense, the smaller is 256 MB


@dataclass(frozen=True)
class Pair:
    """A base and a full fine-tune of it."""

    base: Path
    tuned: Path

    @property
    def size_bytes(self):
        return sum(path.stat().st_size for path in self.tuned.iterdir())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Write some hundred MB twice; all weights differ, so that there is much to send."""
    folder = tmp_path_factory.mktemp("pair")
    yield Pair(*big.write_pair(folder, CI_BYTES, step=big.LARGE_STEP))
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def large_pair(tmp_path_factory):
    """Write 2 GB twice; about a third of the weights differ, as after a fine-tune."""
    folder = tmp_path_factory.mktemp("large")
    yield Pair(*big.write_pair(folder, SOAK_BYTES))
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_large_delta_needs_little_memory(processes, programs, sqlite_url, pair, figures):
    push_and_materialize(processes, programs, sqlite_url, pair, figures, most_bytes=CI_MEMORY_BYTES)


@pytest.mark.soak
def test_a_delta_of_2_gb_needs_little_memory(processes, programs, sqlite_url, large_pair, figures):
    push_and_materialize(processes, programs, sqlite_url, large_pair, figures, most_bytes=SOAK_MEMORY_BYTES)


@pytest.mark.soak  # `test_push` interrupts small ones; here it is how much is not sent twice
@pytest.mark.timeout(300)
def test_an_interrupted_push_goes_on(processes, sqlite_url, pair, figures):
    interrupt_at_60_percent(processes, sqlite_url, pair, figures)


@pytest.mark.soak
def test_an_interrupted_push_of_2_gb_goes_on(processes, sqlite_url, large_pair, figures):
    interrupt_at_60_percent(processes, sqlite_url, large_pair, figures)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", WIDTHS)
def test_wide_adapters_are_compared_in_little_memory(processes, programs, sqlite_url, tmp_path, figures, width):
    server = processes.api(database_url=sqlite_url).start()
    run, measured = (Cli(each, server.url, server.token) for each in (processes, programs))
    run("base", "register", str(big.write_wide_base(tmp_path / "base", width)), "wide")
    for number in (1, 2):
        adapter = big.write_adapter(tmp_path / f"adapter-{number}", width, seed=number)
        run("push", str(adapter), "lab/wide", "--base", "wide")
    run("pull", "lab/wide:v1")
    run("pull", "lab/wide:v2")
    small = measured("show", "lab/wide:v1")

    found = measured("diff", "lab/wide:v1", "lab/wide:v2")

    growth = found.peak_bytes - small.peak_bytes
    figures(
        f"diff of two r = 16 adapters on {width} x {width}",
        f"{found.seconds:.1f} s, peak {found.peak_bytes / MB:.0f} MB anonymous, {growth / MB:.0f} MB more than `show`",
    )
    assert growth < DIFF_BYTES


def push_and_materialize(processes, programs, database_url, pair, figures, *, most_bytes):
    server = processes.api(database_url=database_url).start()
    run = Cli(processes, server.url, server.token)
    measured = Cli(programs, server.url, server.token)
    run("base", "register", str(pair.base), "big")
    root = run("base", "fingerprint", str(pair.tuned)).document["root"]
    out = processes.folder / "out"

    pushed = measured("push", str(pair.tuned), "lab/big", "--base", "big")
    made = measured("materialize", "lab/big:v1", "--out", str(out))
    small = measured("show", "lab/big:v1")

    copied_s = copy_seconds(pair.tuned, processes.folder / "copy")
    figures("the delta", f"{pair.size_bytes / MB:.0f} MB of bf16, sent {pushed.sent / MB:.0f} MB")
    for name, done in (("push", pushed), ("materialize", made)):
        figures(name, told(done, pair, copied_s))
    assert made.document["root"] == root
    assert pushed.peak_bytes - small.peak_bytes < most_bytes
    assert made.peak_bytes - small.peak_bytes < most_bytes
    shutil.rmtree(out)
    shutil.rmtree(processes.folder / "copy")


def interrupt_at_60_percent(processes, database_url, pair, figures):
    server = processes.api(database_url=database_url).start()
    run = Cli(processes, server.url, server.token)
    run("base", "register", str(pair.base), "big")
    # What a whole push sends; namespaces share no bytes, so the others have all of it to send.
    total = run("push", str(pair.tuned), "whole/big", "--base", "big").sent

    for number in (signal.SIGINT, signal.SIGKILL):
        line = f"{number.name.lower()}/big"
        with Proxy(server.port) as proxy, closing(Ledger(database_url)) as ledger:
            proxy.pace_s = 0.2
            first = run.start("push", str(pair.tuned), line, "--base", "big", server=proxy.url)
            until(lambda: ledger.received_bytes(line) >= 0.6 * total, "60 % have arrived")  # noqa: B023
            first.send(number)
            status = first.wait()
            arrived = ledger.received_bytes(line)
        second = run("push", str(pair.tuned), line, "--base", "big")

        figures(
            f"{number.name} at {100 * arrived / total:.0f} %",
            f"the second push sent {second.sent / MB:.0f} MB, {100 * second.sent / total:.0f} %"
            f" of {total / MB:.0f} MB, in {second.seconds:.1f} s",
        )
        assert status == (130 if number == signal.SIGINT else -signal.SIGKILL), first.errors
        assert "Traceback" not in first.errors
        assert second.sent <= 0.45 * total
        assert arrived + second.sent <= total * 1.01


def told(done, pair, copied_s):
    speed = pair.size_bytes / MB / done.seconds
    return (
        f"{done.seconds:.1f} s, {speed:.0f} MB/s, {done.seconds / copied_s:.1f} x cp and fsync;"
        f" peak {done.peak_bytes / MB:.0f} MB anonymous"
    )
