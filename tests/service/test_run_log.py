"""Logs of runs: in order, once, by the holder alone, bounded, and plain text."""

import pytest

from deltareg.errors import Forbidden, LeaseLost, NotFound
from deltareg.service.registry import Registry
from deltareg.service.runs.log import LOG_BYTES_MAX, append_log, read_log
from deltareg.service.runs.runs import cancel_run, queue_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import CheckResult, LineSent, LogAppend, RunCreate
from tests.service import rows
from tests.service.work import claim, expire


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(engine):
    return rows.caller(engine, scopes={"read", "push"})


@pytest.fixture
def worker(engine):
    return rows.caller(engine, "gpu-1", kind="worker", scopes={"verify"})


@pytest.fixture
def grant(registry, ada, worker):
    rows.version(registry.engine, rows.line(registry.engine, maker=ada))
    queue_run(registry, ada, RunCreate(ref="lab/x:v1"))
    return claim(registry, worker)


def say(registry, worker, grant, *texts, first=0):
    lines = [LineSent(text=text) for text in texts]
    append_log(registry, worker, grant.run, LogAppend(fence=grant.fence, first=first, lines=lines))


def texts(registry, caller, run_id, *, after=0):
    return [line.text for line in read_log(registry, caller, run_id, after=after).items]


def test_lines_are_read_on_from_any_of_them(registry, ada, worker, grant):
    say(registry, worker, grant, "a", "b")
    say(registry, worker, grant, "c", first=2)

    log = read_log(registry, ada, grant.run, after=1)

    assert [line.text for line in log.items] == ["b", "c"]
    assert (log.next_seq, log.run.state) == (3, "running")
    assert texts(registry, ada, grant.run, after=log.next_seq) == []


def test_lines_that_are_sent_twice_are_there_once(registry, ada, worker, grant):
    say(registry, worker, grant, "a", "b")
    say(registry, worker, grant, "a", "b")
    say(registry, worker, grant, "b", "c", first=1)

    assert texts(registry, ada, grant.run) == ["a", "b", "c"]


def test_a_check_is_kept_with_its_numbers(registry, ada, worker, grant):
    check = CheckResult(name="effect", value=0.5, threshold=0.1, verdict="pass", seconds=1.5)
    append_log(registry, worker, grant.run, LogAppend(fence=grant.fence, first=0, lines=[LineSent(check=check)]))

    (line,) = read_log(registry, ada, grant.run, after=0).items

    assert (line.check, line.text, line.attempt) == (check, "", 1)


def test_what_a_terminal_would_act_on_is_taken_out(registry, ada, worker, grant):
    say(registry, worker, grant, "\x1b[31mred\u202e\nnext\x07", "x" * 2_000)

    plain, long = texts(registry, ada, grant.run)

    assert plain == " [31mred  next "
    assert len(long) == 1_000


def test_a_log_is_bounded_and_says_so_once(registry, ada, worker, grant):
    sent = 0
    for _ in range(8):
        say(registry, worker, grant, *(["é" * 1_000] * 200), first=sent)
        sent += 200

    found = read_log(registry, ada, grant.run, after=0).items
    while page := read_log(registry, ada, grant.run, after=found[-1].seq).items:
        found = [*found, *page]

    assert sum("is full" in line.text for line in found) == 1
    assert "is full" in found[-1].text
    assert sum(len(line.text.encode()) for line in found) < LOG_BYTES_MAX


def test_the_next_attempt_writes_on_and_the_last_one_cannot(registry, ada, worker, grant):
    say(registry, worker, grant, "a")
    expire(registry, grant.run)
    again = claim(registry, worker, name="w2")

    with pytest.raises(LeaseLost):
        say(registry, worker, grant, "late", first=1)
    say(registry, worker, again, "b")

    lines = read_log(registry, ada, grant.run, after=0).items
    assert [(line.text, line.attempt) for line in lines] == [("a", 1), ("b", 2)]


def test_a_cancelled_run_has_its_worker_told(registry, ada, worker, grant):
    cancel_run(registry, ada, grant.run)

    with pytest.raises(LeaseLost, match="cancelled"):
        say(registry, worker, grant, "a")


def test_only_its_worker_writes_and_only_readers_read(registry, ada, worker, grant, engine):
    other = rows.caller(engine, "gpu-2", kind="worker", scopes={"verify"})

    with pytest.raises(LeaseLost):
        say(registry, other, grant, "a")
    with pytest.raises(Forbidden):
        say(registry, ada, grant, "a")
    with pytest.raises(Forbidden):
        read_log(registry, worker, grant.run, after=0)
    with pytest.raises(NotFound):
        read_log(registry, ada, "none", after=0)
