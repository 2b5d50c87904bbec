"""Queue and runs on the command line: places, priorities, logs, cancel, rerun."""

import pytest

from deltareg.service.runs.log_retention import drop_old_logs
from deltareg.wire import CheckResult, LeaseRequest, LineSent, LogAppend
from tests.cli.steps import push


@pytest.fixture
def worker(local_registry):
    return local_registry.client(("read", "verify"), principal="worker", kind="wrk")


def take(worker, *said):
    """Take the next run and say something about it."""
    grant = worker.lease(LeaseRequest(worker="w", labels={"device": "cpu"}))
    worker.append_log(grant.run, LogAppend(fence=grant.fence, first=0, lines=list(said)))
    return grant


def test_pending_runs_are_listed_with_their_place(user):
    ref = push(user)
    user("verify", ref, "--on", "h100", "--priority", "high")

    ended = user("verdict", "ls", "--pending", "--json")
    table = user("verdict", "ls", "--pending").out

    runs = ended.json["items"]
    places = [(run["position"], run["what"], run["labels"]) for run in runs]
    assert places == [(1, "prove", {}), (2, "prove", {}), (3, "verify", {"gpu": "h100"}), (4, "verify", {})]
    assert [run["priority"] for run in runs] == ["high", "high", "high", "normal"]
    assert "no worker runs now" in table


def test_waiting_says_that_no_worker_fits(user, worker):
    ref = push(user)
    take(worker, LineSent(text="begun"))

    ended = user("verify", ref, "--on", "h100", "--wait", "--timeout", "0.3s")

    assert ended.status == 124
    assert "no worker that runs now offers gpu=h100" in ended.err


def test_workers_are_listed_with_their_run(user, worker):
    ref = push(user)
    take(worker, LineSent(text="begun"))

    (found,) = user("worker", "ls", "--json").json["items"]

    assert (found["name"], found["ref"], found["is_live"]) == ("w", ref, True)
    assert "busy" in user("worker", "ls").out


def test_a_log_is_shown_by_run_and_by_version(user, worker):
    ref = push(user)
    check = CheckResult(name="effect", verdict="pass", seconds=1.5)
    grant = take(worker, LineSent(text="begun"), LineSent(plan=["effect"]), LineSent(check=check))

    by_ref = user("verdict", "logs", ref)
    by_run = user("verdict", "logs", grant.run, "--json").json

    assert [line.split(maxsplit=1)[1].split()[0] for line in by_ref.out.splitlines()] == ["begun", "1", "pass"]
    assert by_run["run"]["id"] == grant.run
    assert by_run["items"][2]["check"]["name"] == "effect"


def test_a_log_is_followed_to_the_end(user, local_registry):
    ref = push(user)
    verdict = local_registry.verified(ref)

    ended = user("verdict", "logs", verdict.id, "-f")

    assert ended.status == 0
    assert "is done: pass" in ended.err


@pytest.mark.parametrize("follow", [[], ["-f"]])
def test_a_log_that_was_dropped_is_not_shown_as_an_empty_one(user, worker, local_registry, follow):
    ref = push(user)
    grant = take(worker, LineSent(text="begun"))
    user("verdict", "cancel", grant.run)
    drop_old_logs(local_registry.registry.engine, keep_s=-1)

    shown = user("verdict", "logs", ref, *follow)
    document = user("verdict", "logs", ref, "--json", *follow).json

    assert (shown.status, shown.out) == (0, "")
    assert "is cancelled" in shown.err
    assert "its log was dropped on 20" in shown.err
    assert (document["items"], document["dropped_at"] is None) == ([], False)


def test_cancel_ends_a_run_and_only_once(user, worker):
    ref = push(user)
    grant = take(worker, LineSent(text="begun"))

    first, second = user("verdict", "cancel", ref), user("verdict", "cancel", grant.run)
    nothing = user("verdict", "cancel", "0" * 8 + "-0000-4000-8000-" + "0" * 12)

    assert (first.status, second.status, nothing.status) == (0, 5, 3)
    assert "cancelled" in first.out


def test_rerun_queues_once_more(user, local_registry):
    ref = push(user)
    verdict = local_registry.verified(ref)

    again = user("verdict", "rerun", verdict.id, "--json").json

    assert (again["state"], again["ref"]) == ("queued", ref)
    assert again["id"] != verdict.run


@pytest.mark.parametrize("places", [["local", "cpu"], ["x="], ["cpu", "cuda"]])
def test_places_that_are_none_are_refused(user, places):
    words = [word for place in places for word in ("--on", place)]

    assert user("verify", "me/chat", *words).status == 2


def test_high_priority_is_for_those_who_promote(user, local_registry, monkeypatch):
    ref = push(user)
    monkeypatch.setenv("DELTAREG_TOKEN", local_registry.token("read", "push", principal="bob"))

    assert user("verify", ref, "--priority", "high").status == 4


def test_a_worker_here_needs_a_token_that_may_verify(user, local_registry, monkeypatch):
    ref = push(user)
    monkeypatch.setenv("DELTAREG_TOKEN", local_registry.token("read", "push", principal="bob"))

    ended = user("verify", ref, "--on", "local")

    assert ended.status == 4
    assert "'verify'" in ended.err


@pytest.mark.usefixtures("unforked")
@pytest.mark.slow
def test_a_worker_here_verifies_and_is_gone(user):
    ref = push(user)

    ended = user("verify", ref, "--on", "local", "--json")

    assert (ended.status, ended.json["verdict"]) == (0, "pass")
    assert user("worker", "ls", "-q").out == ""
