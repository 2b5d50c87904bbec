"""Reports on the command line: written whatever the answer is, whole, before the command ends."""

import json
import threading
import time

import pytest

from deltareg.wire import LeaseRequest, RunFailure
from tests.cli.steps import push
from tests.client.reencoding import WORKER
from tests.client.report_values import junit
from tests.fixtures.registries import report

FORMS = ("--junit", "--report-md", "--report-json", "--report-html")
OUTPUTS = dict(zip(FORMS, ("gate.xml", "gate.md", "gate.json", "gate.html"), strict=True))


@pytest.fixture
def outputs(shell):
    """Give the report options as words, and the folder that the files go to."""
    folder = shell.home / "out"
    return [word for form, name in OUTPUTS.items() for word in (form, folder / name)], folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_allowed_version_has_four_reports(user, local_registry, outputs):
    words, folder = outputs
    for delta in ("lora", "lora_v2"):
        local_registry.verified(push(user, delta))
    user("promote", "me/chat:v1", "--channel", "prod")

    ended = user("gate", "check", "me/chat:v2", "--channel", "prod", *words)

    document = json.loads((folder / "gate.json").read_text())
    assert ended.status == 0
    assert ended.out.splitlines()[0] == "me/chat:v2 may go to prod"
    assert names(folder) == sorted(OUTPUTS.values())
    assert [suite.get("name") for suite in junit((folder / "gate.xml").read_text())] == ["smoke", "policy"]
    assert (document["standing"], document["exit_status"]) == ("allowed", 0)
    assert document["diff"]["against"] == "what prod serves"
    assert {metric["check"] for metric in document["history"]} >= {"effect", "general_perplexity"}
    assert [point["version"] for point in document["history"][0]["points"]] == [1, 2]
    assert "`me/chat:v1`" in (folder / "gate.md").read_text()
    assert "<svg" in (folder / "gate.html").read_text()


def test_a_failed_version_has_its_reports_too(user, local_registry, outputs):
    words, folder = outputs
    local_registry.verified(push(user), verdict="fail")

    ended = user("gate", "check", "me/chat", "--channel", "prod", *words, "--json")

    smoke, policy = junit((folder / "gate.xml").read_text())
    assert ended.status == 8
    assert ended.json["allowed"] is False
    assert (smoke.get("failures"), policy.get("failures")) == ("1", "1")
    assert "❌ **Failed**" in (folder / "gate.md").read_text()
    assert json.loads((folder / "gate.json").read_text())["verdict"] == "fail"


@pytest.mark.parametrize(("lead", "status", "word"), [("pending", 9, "pending"), ("frozen", 13, "blocked")])
def test_what_is_pending_or_blocked_is_told(user, local_registry, outputs, lead, status, word):
    words, folder = outputs
    ref = push(user)
    if lead == "frozen":
        local_registry.verified(ref)
        user("channel", "freeze", "me/chat", "prod", "-m", "release week")

    ended = user("gate", "check", "me/chat", "--channel", "prod", *words)

    assert ended.status == status
    assert json.loads((folder / "gate.json").read_text())["standing"] == word
    assert f"{word.title()}**" in (folder / "gate.md").read_text()


def test_a_check_without_wait_queues_nothing(user, local_registry):
    ref = push(user)
    local_registry.verified(ref, verdict="inconclusive")
    runs = local_registry.client().runs.list

    user("gate", "check", ref, "--channel", "prod")

    assert [run.state for run in runs().items if run.what == "verify"] == ["done"]


def test_wait_ends_in_time_with_its_reports(user, outputs):
    words, folder = outputs
    push(user)

    ended = user("gate", "check", "me/chat", "--channel", "prod", "--wait", "--timeout", "0.2", *words)

    assert ended.status == 124
    assert "may NOT go to prod" in ended.out
    assert "still queued" in ended.err
    assert json.loads((folder / "gate.json").read_text())["exit_status"] == 124
    assert junit((folder / "gate.xml").read_text())[0].get("errors") == "1"


@pytest.mark.parametrize(("verdict", "status"), [("pass", 0), ("fail", 8), ("inconclusive", 11)])
def test_wait_gives_the_status_of_the_verdict_that_came(user, local_registry, verdict, status):
    ref = push(user)
    # An inconclusive verdict that is there before the question is asked for again, in vain: that
    # costs the time of the wait, so this one comes a little later.
    later_s, timeout = (0.7, "10s") if verdict == "inconclusive" else (0.0, "30s")
    worker = threading.Timer(later_s, local_registry.verified, args=(ref,), kwargs={"verdict": verdict})
    worker.start()

    ended = user("gate", "check", ref, "--channel", "prod", "--wait", "--timeout", timeout)

    worker.join()
    assert ended.status == status
    # What the push queued for no channel was waited for; nothing was done twice.
    assert len(user("verdict", "ls", "me/chat", "--json").json["items"]) == 1


def test_wait_has_an_inconclusive_version_judged_again(user, local_registry):
    ref = push(user)
    local_registry.verified(ref, verdict="inconclusive")
    stop = threading.Event()
    worker = threading.Thread(target=pass_everything, args=(local_registry, stop))
    worker.start()

    ended = user("gate", "check", ref, "--channel", "prod", "--wait", "--timeout", "60s")

    stop.set()
    worker.join()
    assert ended.status == 0


def pass_everything(registry, stop):
    """Take runs and let each pass, until there is nothing to stop for."""
    worker = registry.client(WORKER, principal="worker", kind="wrk")
    while not stop.is_set():
        grant = worker.lease(LeaseRequest(worker="lucky"))
        if grant is not None:
            worker.complete_run(grant.run, report(grant))
        time.sleep(0.02)


def test_a_run_that_no_worker_could_do_is_inconclusive(user, local_registry, outputs):
    words, folder = outputs
    ref = push(user)
    stop = threading.Event()
    worker = threading.Thread(target=fail_everything, args=(local_registry, stop))
    worker.start()

    ended = user("gate", "check", ref, "--channel", "prod", "--wait", "--timeout", "8s", *words)

    stop.set()
    worker.join()
    assert ended.status == 11
    assert "the disk is gone" in (folder / "gate.md").read_text()
    assert "the disk is gone" in junit((folder / "gate.xml").read_text()).find(".//error").text


def cancel_everything(registry, stop):
    """Cancel what waits, until there is nothing to stop for."""
    client = registry.client()
    while not stop.is_set():
        for run in client.runs.list().items:
            if run.state == "queued":
                client.runs.cancel(run.id)
        time.sleep(0.1)


def test_a_run_that_was_cancelled_is_inconclusive(user, local_registry, outputs):
    words, folder = outputs
    push(user)
    stop = threading.Event()
    canceller = threading.Thread(target=cancel_everything, args=(local_registry, stop))
    canceller.start()

    ended = user("gate", "check", "me/chat", "--channel", "prod", "--wait", *words)

    stop.set()
    canceller.join()
    assert ended.status == 11
    assert json.loads((folder / "gate.json").read_text())["verdict"] == "inconclusive"


def fail_everything(registry, stop):
    """Take runs and give each up, until there is nothing to stop for."""
    worker = registry.client(WORKER, principal="worker", kind="wrk")
    while not stop.is_set():
        grant = worker.lease(LeaseRequest(worker="unlucky"))
        if grant is not None:
            worker.fail_run(grant.run, RunFailure(fence=grant.fence, error="the disk is gone"))
        time.sleep(0.02)


def test_verify_has_the_same_reports(user, local_registry, outputs):
    words, folder = outputs
    ref = push(user)
    local_registry.verified(ref, verdict="fail")

    ended = user("verify", ref, "--wait", *words, "--against", ref)

    assert ended.status == 8
    assert names(folder) == sorted(OUTPUTS.values())
    assert (folder / "gate.md").read_text().startswith("<!-- deltareg:verify me/chat smoke -->")
    assert json.loads((folder / "gate.json").read_text())["report"] == "verify"


def test_verify_that_was_waited_for_in_vain_has_its_reports(user, outputs):
    words, folder = outputs

    ended = user("verify", push(user), "--wait", "--timeout", "0.2", *words)

    assert ended.status == 124
    assert json.loads((folder / "gate.json").read_text())["standing"] == "pending"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("verify", "me/chat", "--junit", "x.xml"), "--wait"),
        (("gate", "check", "me/chat", "--channel", "prod", "--junit", "."), "is a folder"),
        (("gate", "check", "me/chat", "--channel", "prod", "--junit", "x", "--report-md", "./x"), "two reports"),
        (("gate", "check", "me/chat", "--channel", "prod", "--junit", "/proc/none/x.xml"), "cannot be written"),
    ],
    ids=["no-wait", "folder", "twice", "unwritable"],
)
def test_a_report_that_cannot_be_written_stops_before_any_work(shell, line, words):
    ended = shell(*line)

    assert ended.status == 2  # and no server was asked: there is none
    assert words in ended.err


def test_a_report_takes_the_place_of_an_older_one(user, local_registry, outputs):
    _, folder = outputs
    folder.mkdir()
    old = folder / "gate.md"
    old.write_text("old")
    before = old.stat().st_ino
    local_registry.verified(push(user))

    user("gate", "check", "me/chat", "--channel", "prod", "--report-md", old)

    assert old.read_text().startswith("<!-- deltareg:gate me/chat@prod -->")
    assert old.stat().st_ino != before
    assert names(folder) == ["gate.md"]


def test_a_diff_is_a_page(user, shell):
    for delta in ("lora", "lora_v2"):
        push(user, delta)
    target = shell.home / "diff.html"

    shown = user("diff", "me/chat:v1", "me/chat:v2", "--format", "html")
    ended = user("diff", "me/chat:v1", "me/chat:v2", "--report-html", target, "--top", "1", "--json")

    assert (shown.status, ended.status) == (0, 0)
    assert shown.out.startswith("<!doctype html>")
    assert target.read_text().count("<rect") == shown.out.count("<rect") > 14
    assert len(ended.json["modules"]) == 1


def test_versions_that_cannot_be_compared_are_reported_without(user, local_registry, outputs):
    words, folder = outputs
    local_registry.verified(push(user))

    ended = user("gate", "check", "me/chat", "--channel", "prod", *words, "--against", "me/none:v1")

    document = json.loads((folder / "gate.json").read_text())
    assert (ended.status, document["diff"]) == (0, None)
    assert "me/none" in (folder / "gate.html").read_text()


def test_a_report_tells_the_waivers_that_stand(user, local_registry, outputs):
    words, folder = outputs
    failed = local_registry.verified(push(user), verdict="fail", fail="deterministic")
    other = local_registry.client(("read", "promote"), principal="bo")
    other.verdicts.waive(failed.id, "deterministic", channel="prod", reason="known")
    asked = ("gate", "check", "me/chat", "--channel", "prod", *words)

    stood = user(*asked), json.loads((folder / "gate.json").read_text())["waivers"]
    other.verdicts.unwaive(failed.id, "deterministic")
    ended = user(*asked), json.loads((folder / "gate.json").read_text())["waivers"]

    (waiver,) = stood[1]
    assert stood[0].status == 0
    assert (waiver["what"], waiver["reason"], waiver["actor"]) == ("deterministic", "known", "bo")
    assert (ended[0].status, ended[1]) == (8, [])
