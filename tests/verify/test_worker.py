"""The supervisor over a real queue, with a real zygote: every run ends as it should."""

import itertools
import json
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from deltareg.errors import Forbidden, Inconclusive, StoreUnavailable
from deltareg.service.registry import Registry
from deltareg.service.runs.log import read_log
from deltareg.service.runs.runs import queue_run
from deltareg.store.memory import MemoryStore
from deltareg.suites.suite import built_in
from deltareg.wire import LeaseRequest, RunCreate
from deltareg_verify.sandbox.zygote import Zygote
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.stop import StopSignal
from deltareg_verify.supervisor.worker import Worker
from tests.service import rows
from tests.service.work import expire
from tests.verify.desk import Desk, lay_out, unused

DEADLINE_S = 60.0
SMOKE = [spec.check for spec in built_in("smoke").checks]


@pytest.fixture
def registry(sqlite_engine):
    rows.base(sqlite_engine)
    return Registry(sqlite_engine, MemoryStore())


@pytest.fixture
def desk(registry):
    return Desk(registry, rows.caller(registry.engine, "worker", scopes={"verify", "read"}))


@pytest.fixture
def queued(registry):
    """Queue a verification and give its id."""
    ada = rows.caller(registry.engine)
    rows.version(registry.engine, rows.line(registry.engine, maker=ada))
    return queue_run(registry, ada, RunCreate(ref="lab/x:v1")).id


class Children:
    """Children whose words are known."""

    def __init__(self, said=b"", *, error=None, meanwhile=lambda _: None):
        self.said = said
        self.error = error
        self.meanwhile = meanwhile
        self.requests = []

    def run(self, request, *, wall_s, interrupted, heard):
        self.requests.append(request)
        heard(self.said)
        reason = self.meanwhile(interrupted)
        if reason or self.error:
            raise self.error or Inconclusive(reason)
        return self.said


@pytest.fixture
def worker(desk, zygote, cache_dir, tmp_path):
    """Make a worker that verifies a sample."""

    def make(sample="tinyllama/lora_qv", *, children=zygote, gather=None, reencode=None, stop=None, **options):
        told = {
            "name": "w1",
            "gpu": "cpu",
            "base_dirs": (),
            "scratch": tmp_path / "scratch",
            "lease_wait_s": 0.0,
            "run_timeout_s": 60.0,
            "stop_grace_s": 0.0,
            "threads": 1,
            "memory_bytes": 0,
            "is_once": True,
            **options,
        }
        return Worker(
            registry=desk,
            stored=unused,
            open_reference=unused,
            gather=gather or (lambda _, into: lay_out(sample, cache_dir, into)),
            reencode=reencode,
            children=children,
            options=WorkerOptions(**told),
            device="cpu",
            labels={"device": "cpu"},
            stop=stop or StopSignal(0.0),
        )

    return make


class Unhurried(StopSignal):
    """Waits for nothing."""

    def pause(self, seconds):
        pass


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def outcome(desk, run_id):
    run = desk.show(run_id)
    return run.state, run.verdict and run.verdict.verdict


def test_a_healthy_version_passes(desk, worker, queued):
    worker("tinyllama/lora_qv").serve()

    run = desk.show(queued)
    assert (run.state, run.verdict.verdict) == ("done", "pass")
    assert run.verdict.dtype == "F32"
    assert run.verdict.seed == 20260117
    assert run.verdict.base_evidence == "shapes"
    assert run.verdict.verifier.startswith("deltareg-verify/3 ")
    assert {"torch", "transformers", "device", "base_config"} <= set(run.verdict.environment)
    assert run.verdict.sandbox.startswith("session limits")


@pytest.mark.parametrize(
    ("sample", "check", "code"),
    [
        ("bad/dead_zero_b", "idle", "no_effect"),
        ("bad/exploding", "norm_ratio", "norm_ratio"),
        ("bad/other_base_embeddings", "accounting", "base_mismatch"),
        ("bad/inf", "finite", "non_finite"),
    ],
)
def test_a_broken_version_fails_with_the_check_and_its_code(desk, worker, queued, sample, check, code):
    worker(sample).serve()

    run = desk.show(queued)
    failed = [(c.name, c.code) for c in run.verdict.checks if c.verdict == "fail"]
    assert (run.state, run.verdict.verdict) == ("done", "fail")
    assert failed == [(check, code)]


def test_every_check_of_the_suite_is_in_the_verdict(desk, worker, queued):
    worker("bad/exploding").serve()

    checks = desk.show(queued).verdict.checks
    assert [check.name for check in checks] == SMOKE
    assert {check.verdict for check in checks[4:]} == {"skipped"}


def test_nothing_is_left_in_the_scratch_folder(worker, queued, tmp_path):
    worker().serve()

    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_worker_without_work_ends_once(desk, worker):
    worker().serve()

    assert desk.calls == ["lease"]


def test_a_worker_that_was_idle_for_long_ends(desk, worker):
    seconds = iter(range(10))

    replace(worker(is_once=False, idle_s=3.0), clock=lambda: float(next(seconds))).serve()

    assert desk.calls == ["lease", "lease"]  # after one second and two, and not after three


SPOKEN = {
    "nothing": b"",
    "nonsense": b"pass",
    "half": b'{"check": {"name": "digests", "verdict": "pass"}}\n',
    "a verdict of its own": b'{"verdict": "pass"}\n',
    "that it gave up": b'{"error": "not enough memory"}\n',
}


@pytest.mark.parametrize("said", SPOKEN.values(), ids=SPOKEN)
def test_a_child_without_a_report_fails_the_attempt(desk, worker, queued, said):
    worker(children=Children(said)).serve()

    assert outcome(desk, queued) == ("queued", None)
    assert desk.show(queued).error


END = b'{"end": {"dtype": "F32", "sandbox": "", "environment": {}}}\n'


def words(**outcomes):
    lines = (f'{{"check": {{"name": "{n}", "verdict": "{v}"}}}}\n' for n, v in outcomes.items())
    return "".join(lines).encode() + END


GOOD = dict.fromkeys([name for name in SMOKE if name != "resources"], "pass")


def test_all_required_checks_make_a_pass(desk, worker, queued):
    worker(children=Children(words(**GOOD))).serve()

    assert outcome(desk, queued) == ("done", "pass")


@pytest.mark.parametrize("name", GOOD)
def test_a_required_check_that_was_skipped_makes_it_inconclusive(desk, worker, queued, name):
    worker(children=Children(words(**GOOD | {name: "skipped"}))).serve()

    assert outcome(desk, queued) == ("done", "inconclusive")


@pytest.mark.parametrize("name", ["digests", "effect"])
def test_a_required_check_that_is_missing_makes_it_inconclusive(desk, worker, queued, name):
    fewer = {key: value for key, value in GOOD.items() if key != name}

    worker(children=Children(words(**fewer))).serve()

    assert outcome(desk, queued) == ("done", "inconclusive")


def test_a_report_without_checks_is_inconclusive(desk, worker, queued):
    worker(children=Children(END)).serve()

    assert outcome(desk, queued) == ("done", "inconclusive")


@pytest.mark.parametrize("name", GOOD)
def test_a_failed_check_makes_it_fail(desk, worker, queued, name):
    worker(children=Children(words(**GOOD | {name: "fail"}))).serve()

    assert outcome(desk, queued) == ("done", "fail")


def test_three_failed_attempts_are_inconclusive_and_never_a_pass(desk, worker, queued):
    for _ in range(3):
        worker(children=Children(error=Inconclusive("it crashed; it last wrote: boom"))).serve()

    run = desk.show(queued)
    assert (run.state, run.verdict.verdict) == ("dead", "inconclusive")
    assert "boom" in run.error


def test_what_would_help_is_in_the_reason(desk, worker, queued):
    def gather(grant, into):
        raise Inconclusive("the base tiny is not stored", fix="start with --base-dir FOLDER")

    worker(gather=gather).serve()

    assert desk.show(queued).error == "the base tiny is not stored; start with --base-dir FOLDER"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), StoreUnavailable("the store is away")])
def test_a_full_disk_or_a_store_that_is_away_is_waited_out(desk, worker, queued, cache_dir, error):
    """They used to take all attempts of all that waited, within a minute."""
    failures = [error] * 5

    def gather(grant, into):
        if failures:
            raise failures.pop()
        return lay_out("tinyllama/lora_qv", cache_dir, into)

    worker(gather=gather, children=Children(words(**GOOD)), stop=Unhurried(0.0)).serve()

    assert outcome(desk, queued) == ("done", "pass")
    assert desk.show(queued).attempt == 1


def test_a_disk_that_stays_full_fails_the_attempt(desk, worker, queued):
    now = itertools.count(0, 400)  # seconds; a look at the clock is long after the one before

    def gather(grant, into):
        raise OSError(28, "No space left on device")

    impatient = replace(worker(gather=gather, stop=Unhurried(0.0)), clock=lambda: next(now))
    impatient.serve()

    assert outcome(desk, queued) == ("queued", None)
    assert "is full" in desk.show(queued).error


def test_a_lease_is_kept_while_the_run_takes_long(desk, worker, queued):
    desk.lease_s = 0.15
    slow = Children(words(**GOOD), meanwhile=lambda _: wait_until(lambda: desk.calls.count("heartbeat") >= 5))

    worker(children=slow).serve()

    assert outcome(desk, queued) == ("done", "pass")


def test_a_lost_lease_interrupts_the_child_and_drops_the_result(desk, worker, queued):
    desk.lease_s = 0.15

    def take():
        """Take the run away; a heartbeat may come in between, then it is tried again."""
        expire(desk.registry, queued)
        return desk.lease(LeaseRequest(worker="w2")) is not None

    def lose(interrupted):
        wait_until(take)
        wait_until(interrupted)
        return interrupted()

    worker(children=Children(words(**GOOD), meanwhile=lose)).serve()

    assert "complete" not in desk.calls
    assert "fail" not in desk.calls
    assert outcome(desk, queued) == ("running", None)


def test_a_result_that_comes_after_the_lease_was_lost_does_not_count(desk, worker, queued):
    """The worker was frozen: it noticed nothing and answers when the run is somebody else's."""

    desk.has_no_log = True

    def freeze(interrupted):
        expire(desk.registry, queued)
        desk.lease(LeaseRequest(worker="w2"))

    worker(children=Children(words(**GOOD), meanwhile=freeze)).serve()

    assert desk.calls.count("complete") == 1
    assert outcome(desk, queued) == ("running", None)
    assert desk.show(queued).worker == "w2"


def test_an_outage_during_the_run_loses_nothing(desk, worker, queued):
    desk.lease_s = 0.15

    def outage(interrupted):
        desk.outages = 3
        wait_until(lambda: desk.outages == 0)

    worker(children=Children(words(**GOOD), meanwhile=outage)).serve()

    assert outcome(desk, queued) == ("done", "pass")


def test_an_outage_at_the_end_delays_the_verdict(desk, worker, queued):
    def outage(interrupted):
        desk.outages = 2

    worker(children=Children(words(**GOOD), meanwhile=outage)).serve()

    assert desk.calls.count("complete") == 3
    assert outcome(desk, queued) == ("done", "pass")


def test_an_outage_before_the_run_is_waited_out(desk, worker, queued):
    desk.outages = 1

    worker(children=Children(words(**GOOD))).serve()

    assert outcome(desk, queued) == ("done", "pass")


def test_a_worker_that_is_refused_says_so(desk, worker, queued):
    rows.caller(desk.registry.engine, "other", scopes={"verify"})
    desk.lease(LeaseRequest(worker="w1"))
    desk.caller = rows.caller(desk.registry.engine, "other", scopes={"verify"})

    with pytest.raises(Forbidden, match="another principal"):
        worker().serve()


def test_a_worker_that_is_asked_to_stop_gives_its_run_back(desk, worker, queued):
    stop = StopSignal(0.0)

    def asked(interrupted):
        stop.ask()
        return interrupted()

    worker(children=Children(words(**GOOD), meanwhile=asked), stop=stop).serve()

    assert outcome(desk, queued) == ("queued", None)
    assert "asked to stop" in desk.show(queued).error


def test_a_worker_that_is_asked_to_stop_may_finish_within_its_grace(desk, worker, queued):
    stop = StopSignal(600.0)

    def asked(interrupted):
        stop.ask()
        return interrupted()

    worker(children=Children(words(**GOOD), meanwhile=asked), stop=stop, is_once=False).serve()

    assert outcome(desk, queued) == ("done", "pass")


def test_a_stopped_worker_asks_for_nothing(desk, worker, queued):
    stop = StopSignal(0.0)
    stop.ask()

    worker(stop=stop).serve()

    assert desk.calls == []


def test_a_worker_takes_one_run_after_the_other(desk, worker, registry, queued):
    stop = StopSignal(0.0)
    ada = rows.caller(registry.engine)
    rows.version(registry.engine, rows.line(registry.engine, maker=ada))
    second = queue_run(registry, ada, RunCreate(ref="lab/x:v2")).id
    children = Children(words(**GOOD))
    serving = threading.Thread(target=worker(children=children, stop=stop, is_once=False).serve, daemon=True)

    serving.start()
    wait_until(lambda: outcome(desk, second)[0] == "done" and outcome(desk, queued)[0] == "done")
    stop.ask()
    serving.join(DEADLINE_S)

    assert len(children.requests) == 2
    assert not serving.is_alive()


class TestStop:
    def test_the_grace_runs_from_the_first_request(self):
        now = [0.0]
        stop = StopSignal(5.0, clock=lambda: now[0])

        assert not stop.is_overdue
        stop.ask()
        assert (stop.is_asked, stop.is_overdue) == (True, False)
        now[0] = 5.0
        assert stop.is_overdue

    def test_a_second_request_ends_the_grace(self):
        stop = StopSignal(600.0)

        stop.ask()
        stop.ask()

        assert stop.is_overdue

    def test_a_signal_ends_a_wait_at_once_and_work_not(self):
        stop = StopSignal(600.0)
        kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            stop.listen()
            with pytest.raises(SystemExit), stop.waiting():
                signal.raise_signal(signal.SIGTERM)
            assert stop.is_asked
            signal.raise_signal(signal.SIGINT)  # while it works: no exception
        finally:
            for number, action in kept.items():
                signal.signal(number, action)


@pytest.fixture(scope="module")
def rogue_home(tmp_path_factory):
    return tmp_path_factory.mktemp("rogue")


@pytest.fixture(scope="module")
def rogue(nursery, rogue_home, repository):
    """Make children that misbehave as the file `act` in their home says, from one zygote."""
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    described = {"device": "cpu", "scratch": str(rogue_home)}
    with Zygote(rogue_home, environment=environment, child="tests.verify.rogue") as made:
        with nursery.forking():
            made.run(b"describe " + json.dumps(described).encode(), wall_s=60)  # warm from here on
        yield made


@pytest.mark.parametrize(
    ("act", "budget_s", "told"),
    [
        ("hang", 0.5, "ran out of time"),
        ("leave_the_session", 0.5, "ran out of time"),
        ("multiply", 0.5, "ran out of time"),
        ("devour", 30.0, "MemoryError"),
        ("segfault", 30.0, "signal 11"),
        ("flood", 30.0, "more than a report may hold"),
    ],
)
def test_a_child_that_misbehaves_is_inconclusive_in_time_and_the_worker_lives(
    desk, registry, worker, queued, rogue, rogue_home, act, budget_s, told
):
    (rogue_home / "act").write_text(act)
    began = time.monotonic()
    for _ in range(3):
        worker(children=rogue, run_timeout_s=budget_s, memory_bytes=1 << 30).serve()
    took = time.monotonic() - began
    (rogue_home / "act").unlink()
    run = desk.show(queued)

    again = queue_run(registry, rows.caller(registry.engine), RunCreate(ref="lab/x:v1", again=True))
    worker(children=rogue).serve()

    assert (run.state, run.verdict.verdict) == ("dead", "inconclusive")
    assert told in run.error
    assert took < 3 * (budget_s + DEADLINE_S)
    assert outcome(desk, again.id) == ("done", "pass")


def test_the_log_tells_of_each_check(desk, worker, queued):
    worker("tinyllama/lora_qv").serve()

    lines = read_log(desk.registry, desk.caller, queued, after=0).items

    verdict = desk.show(queued).verdict
    told = {line.check.name: line.check for line in lines if line.check}
    assert [told[check.name] for check in verdict.checks] == verdict.checks
    assert lines[0].text == "attempt 1 on w1, cpu"
    assert [name for line in lines for name in line.plan] == [c.name for c in verdict.checks]


def test_the_log_tells_that_weights_were_streamed(desk, worker, queued):
    said = words(**GOOD).replace(b'"environment": {}', b'"environment": {"weights": "streamed"}')

    worker(children=Children(said)).serve()

    lines = read_log(desk.registry, desk.caller, queued, after=0).items
    assert "each was brought for its calls" in lines[-1].text
    assert desk.show(queued).verdict.environment["weights"] == "streamed"


def test_the_log_of_a_run_that_failed_says_why(desk, worker, queued):
    worker(children=Children(error=Inconclusive("out of\x1b luck"))).serve()

    lines = read_log(desk.registry, desk.caller, queued, after=0).items

    assert lines[-1].text == "out of  luck"


def test_a_verdict_does_not_hang_on_its_log(desk, worker, queued):
    desk.has_no_log = True

    worker("tinyllama/lora_qv").serve()

    assert outcome(desk, queued) == ("done", "pass")


def test_a_worker_for_one_run_takes_no_other(desk, worker, queued):
    worker(children=Children(words(**GOOD)), only_run="another").serve()

    assert outcome(desk, queued) == ("queued", None)
