"""`deltareg bisect run`: with verdicts of a scripted worker, and with scripts."""

import threading
from contextlib import contextmanager

import pytest

from deltareg.wire import LeaseRequest
from tests.cli.steps import push_line
from tests.fixtures.registries import report

FIRST_BAD, VERSIONS = 8, 12
LINE = ["bisect", "run", "me/chat", "--good", "v1", "--bad", "v12"]
MEASURED = [*LINE, "--suite", "static", "--metric", "finite"]


@pytest.fixture
def line(user, tmp_path):
    """A line of twelve versions that differ in one number."""
    push_line(user, tmp_path, VERSIONS)
    return user


@contextmanager
def worker(server, *, inconclusive=()):
    """Judge whatever is queued: from `FIRST_BAD` on with a measure of 0.9, else of 0.1."""
    client = server.client(("read", "verify"), principal="worker", kind="wrk")
    judged, over = [], threading.Event()

    def work():
        while not over.is_set():
            grant = client.lease(LeaseRequest(worker="scripted", wait_s=0.2))
            if grant is None:
                continue
            number = int(grant.ref.rpartition("v")[2])
            if grant.suite == "static":
                judged.append(number)
            outcome = "inconclusive" if number in inconclusive else "pass"
            if outcome == "pass" and number >= FIRST_BAD:
                outcome = "fail"
            told = report(grant, verdict=outcome, fail="finite")
            value = 0.9 if number >= FIRST_BAD else 0.1
            checks = [
                one.model_copy(update={"value": value, **_skipped(number, inconclusive)})
                if one.name == "finite"
                else one
                for one in told.checks
            ]
            client.complete_run(grant.run, told.model_copy(update={"checks": checks}))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield judged
    finally:
        over.set()
        thread.join()


def _skipped(number, inconclusive):
    return {"verdict": "skipped", "value": None} if number in inconclusive else {}


def test_the_first_bad_version_is_found_and_nothing_is_verified_twice(line, local_registry):
    with worker(local_registry) as judged:
        first = line(*MEASURED, "--max", "0.5", "--json")
        again = line(*MEASURED, "--max", "0.5", "--json")
        by_verdict = line(*LINE, "--suite", "static")

    assert first.status == 0, first.err
    assert first.json["first_bad"] == f"me/chat:v{FIRST_BAD}"
    assert first.json["last_good"] == f"me/chat:v{FIRST_BAD - 1}"
    assert len(judged) == len(set(judged)) <= 6  # ceil(log2(12)) + 2
    assert {step["source"] for step in first.json["steps"]} == {"run"}
    assert {step["source"] for step in again.json["steps"]} == {"cached"}
    assert by_verdict.status == 0
    assert by_verdict.out.startswith(f"first bad version: me/chat:v{FIRST_BAD}\n")
    assert "next: deltareg diff me/chat:v7 me/chat:v8 --mode behavior --suite static" in (by_verdict.out)
    assert "me/chat:v6  good  pass  cached  verdict " in by_verdict.err


def test_what_cannot_be_judged_is_skipped_and_the_range_is_told(line, local_registry):
    line("rm", "me/chat:v6", "--yes")
    with worker(local_registry, inconclusive={7}):
        found = line(*MEASURED, "--max", "0.5", "--json")
        shown = line(*MEASURED, "--max", "0.5")

    assert found.status == shown.status == 11
    assert (found.json["is_found"], found.json["first_bad"]) == (False, None)
    assert found.json["between"] == ["me/chat:v7"]
    assert found.json["deleted"] == ["me/chat:v6"]
    assert shown.out.startswith("the first bad version is one of 2")


def test_ends_must_be_what_they_are_said_to_be(line, local_registry):
    with worker(local_registry):
        ended = line(*MEASURED, "--max", "0.95", "--json")

    assert ended.status == 2
    assert ended.problem["detail"] == "v12 was said to be bad, and is good"


def test_a_script_judges_by_its_exit_status(line):
    code = "import sys; n = int(sys.argv[1].rpartition('v')[2]); print(n)"
    code += "; sys.exit(125 if n == 7 else int(n >= 5))"
    (line.home / "eval.py").write_text(code)

    ended = line(*LINE, "--script", "python eval.py {ref}", "--json")

    assert ended.status == 0, ended.err
    assert ended.json["first_bad"] == "me/chat:v5"
    assert {step["source"] for step in ended.json["steps"]} == {"script"}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("python eval.py", "--script has no {ref}"),
        ("python 'eval.py {ref}", "cannot be read"),
        ("no-such-command {ref}", "no-such-command cannot be run"),
        ("sh -c 'kill -9 $$' {ref}", "ended by signal 9"),
        ("sh -c 'exit 200' {ref}", "ended by exit status 200"),
    ],
)
def test_a_script_that_is_no_judge_ends_it(line, script, message):
    ended = line(*LINE, "--script", script)

    assert ended.status == 2
    assert message in ended.err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--good", "v5", "--bad", "v5"], 2, "v5 is not older than v5"),
        (["--good", "v12", "--bad", "v1"], 2, "v12 is not older than v1"),
        (["--good", "v1", "--bad", "v99"], 3, "there is no me/chat:v99"),
        (["--metric", "taste"], 2, "suite smoke has no check 'taste'"),
        (["--suite", "nothing"], 3, "there is no suite 'nothing'"),
        (["--min", "1"], 2, "--min and --max are for a check"),
        (["--metric", "effect", "--min", "nan"], 2, "finite numbers"),
        (["--script", "x {ref}", "--suite", "smoke"], 2, "a script judges alone"),
    ],
)
def test_a_line_that_cannot_be_right_is_refused_before_anything_runs(line, options, status, message):
    ended = line(*LINE, *options)

    assert ended.status == status
    assert message in ended.err
