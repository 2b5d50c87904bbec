"""Runs that find something out for people: what is kept of them, for whom, and how long."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.errors import BadSignature, Blocked, Forbidden, InvalidInput, LeaseLost, NotFound, QuotaExceeded
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.grants import Grant, Right
from deltareg.service.authority.resources import Namespace
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs import asking, comparing
from deltareg.service.runs.asking import ask, show_answers
from deltareg.service.runs.comparing import queue_comparison, show_comparison
from deltareg.service.runs.finding_runs import complete_found
from deltareg.service.runs.kinds.answer import KEPT_S
from deltareg.service.runs.leases import claim_lease, fail_run
from deltareg.service.runs.log import append_log, read_log
from deltareg.service.runs.result_retention import drop_some_results
from deltareg.service.runs.runs import cancel_run, show_run
from deltareg.store.memory import MemoryStore
from deltareg.wire import LeaseRequest, LineSent, LogAppend, RunFailure
from deltareg.wire.findings import AnswerCreate, CompareCreate, FoundReport
from tests.service import rows
from tests.signers import enrol, key_of, sign_work

SECRET = "the word is sesame"
PAIR = CompareCreate(a="lab/x:v1", b="lab/x:v2")
REFS = Ref.parse("lab/x:v1"), Ref.parse("lab/x:v2")
QUESTION = AnswerCreate(prompt=SECRET, refs=["lab/x:v1", "lab/x:v2"], tokens=4)
ROW = ["m.weight", 0.5, 0.1, 1.0, 1.0, 4, 4, 2.0, 2.0, 0.3, 1]
KINDS = {"runs": "compare,answer", "prompts": "plain,chat"}


@pytest.fixture
def registry(engine):
    rows.base(engine)
    return Registry(engine, MemoryStore())


@pytest.fixture
def ada(registry):
    """Give who made `lab/x`, of two versions."""
    made = rows.caller(registry.engine, scopes={"read", "push"})
    line = rows.line(registry.engine, maker=made)
    for _ in range(2):
        rows.version(registry.engine, line)
    return made


@pytest.fixture
def worker(registry):
    return rows.caller(registry.engine, "gpu-1", kind="worker", scopes={"verify"})


def claim(registry, caller, what=("compare", "answer"), *, labels=KINDS):
    key = enrol(registry.engine, caller.principal_id, caller.principal)
    request = LeaseRequest(worker="w1", what=list(what), labels=labels, key=str(key.public))
    return claim_lease(registry, caller, request, lease_s=60)


def send(registry, worker, grant, document, **changes):
    text = document if isinstance(document, str) else json.dumps(document)
    report = FoundReport(fence=grant.fence, found=text)
    signed = sign_work(grant, report, key_of(worker.principal)).model_copy(update=changes)
    return complete_found(registry, worker, grant.run, signed)


def answers(text="so", *, tokens=4, sides=("base", "a", "b"), **more):
    told = {"text": text, "tokens": tokens, "is_over": True, "seconds": 0.5}
    return {"answers": [{"side": side, **told} for side in sides], **more}


def kept(registry):
    return rows.rows(registry.engine, t.run_results)


def test_a_comparison_is_found_out_once_and_shown_to_who_reads_both(registry, ada, worker):
    first = queue_comparison(registry, ada, PAIR)
    joined = queue_comparison(registry, ada, PAIR)
    before = show_comparison(registry, ada, *REFS)
    assert before.waits is not None
    grant = claim(registry, worker)

    done = send(registry, worker, grant, {"modules": [ROW], "left_out": 3, "note": "n"})
    again = send(registry, worker, grant, {"modules": [ROW], "left_out": 3, "note": "n"})

    shown = show_comparison(registry, ada, *REFS)
    assert joined.id == first.id == grant.run == done.id == again.id
    assert (grant.ref, grant.references["a"].ref) == ("lab/x:v2", "lab/x:v1")
    assert (before.is_known, before.waits.id) == (False, first.id)
    assert (shown.is_known, shown.waits, shown.left_out, shown.note) == (True, None, 3, "n")
    assert list(shown.modules[0].model_dump().values()) == ROW
    assert queue_comparison(registry, ada, PAIR).id == first.id
    renewed = queue_comparison(registry, ada, PAIR.model_copy(update={"again": True}))
    assert renewed.id != first.id
    assert show_comparison(registry, ada, *REFS).is_known, "what is known is shown meanwhile"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{}", "no comparison"),
        ({"modules": [ROW[:-1]]}, "no comparison"),
        ({"modules": [["m", float("nan"), *ROW[2:]]]}, "no comparison"),
        ({"modules": [ROW] * 4_001}, "no comparison"),
        ("[" * 5_000, "no comparison"),
        ({"modules": [], "verdict": "pass"}, "no comparison"),
    ],
)
def test_a_worker_that_sends_something_else_ends_nothing(registry, ada, worker, document, told):
    run = queue_comparison(registry, ada, PAIR)

    with pytest.raises(InvalidInput, match=told):
        send(registry, worker, claim(registry, worker), document)

    assert show_run(registry, ada, run.id).state == "running"
    assert [row.found for row in kept(registry)] == [None]


def test_what_is_not_signed_for_this_run_does_not_count(registry, ada, worker):
    queue_comparison(registry, ada, PAIR)
    ask(registry, ada, QUESTION)
    one, other = claim(registry, worker), claim(registry, worker)
    stolen = other.model_copy(update={"run": one.run, "fence": one.fence})

    for grant, changes in ((stolen, {}), (one, {"found": json.dumps({"modules": [ROW]})}), (one, {"envelope": ""})):
        with pytest.raises(BadSignature):
            send(registry, worker, grant, {"modules": []}, **changes)
    stranger = rows.caller(registry.engine, "gpu-2", kind="worker", scopes={"verify"})
    with pytest.raises(LeaseLost):
        send(registry, stranger, one, {"modules": []})
    assert [row.found for row in kept(registry)] == [None, None]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (answers(sides=("base", "a")), "not the answers"),
        (answers(tokens=5), "longer"),
        (answers(sides=("base", "b", "a")), "not the answers"),
        (answers(why="x"), "not the"),
        ({"answers": []}, "not the answers"),
        (answers("y" * 16_001), "no answers"),
        (answers(tokens=-1), "no answers"),
    ],
)
def test_answers_to_another_question_are_refused_without_a_word_of_it(registry, ada, worker, document, told):
    ask(registry, ada, QUESTION)

    with pytest.raises(InvalidInput, match=told) as refused:
        send(registry, worker, claim(registry, worker), document)

    assert "yyy" not in str(refused.value)


def test_a_question_is_for_who_asked_and_in_no_other_row(registry, ada, worker):
    run = ask(registry, ada, QUESTION)
    grant = claim(registry, worker)

    send(registry, worker, grant, answers(f"{SECRET}\x1b[2J\n\tso"))

    shown = show_answers(registry, ada, run.id)
    assert grant.question.model_dump() == {
        "prompt": SECRET,
        "tokens": 4,
        "seed": None,
        "sides": ["base", "a", "b"],
        "form": "auto",
    }
    assert [each.name for each in shown.answers] == ["base", "lab/x:v1", "lab/x:v2"]
    assert shown.answers[0].text == f"{SECRET}\ufffd[2J\n\tso"
    bob = rows.caller(registry.engine, "bob", scopes={"read", "push"})
    with pytest.raises(NotFound, match="no answers"):
        show_answers(registry, bob, run.id)
    for table in (t.runs, t.audit, t.outbox, t.run_log):
        assert SECRET not in str(rows.rows(registry.engine, table)), table.name
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.run_results).values(ends_at=now_us() - 1))
    with pytest.raises(NotFound, match="no answers") as over:
        show_answers(registry, ada, run.id)
    assert f"{KEPT_S // 3600} hours" in over.value.fix
    assert (drop_some_results(registry.engine), drop_some_results(registry.engine)) == (1, 0)
    assert kept(registry) == []


def test_who_asks_much_is_told_when_to_ask_again(registry, ada):
    runs = [ask(registry, ada, QUESTION) for _ in range(asking.LIMIT.open)]

    with pytest.raises(QuotaExceeded, match="3 runs of kind answer open"):
        ask(registry, ada, QUESTION)
    bob = rows.caller(registry.engine, "bob", scopes={"read", "push"})
    ask(registry, bob, QUESTION)
    for run in runs:
        cancel_run(registry, ada, run.id)
    with write(registry.engine) as conn:
        (row,) = [r for r in rows.rows(registry.engine, t.runs) if r.id == runs[0].id]
        for number in range(asking.LIMIT.hourly - len(runs)):
            values = {**row._mapping, "id": f"r{number}", "dedup_key": f"k{number}"}
            conn.execute(sa.insert(t.runs).values(values))
    with pytest.raises(QuotaExceeded, match="asked for 60") as refused:
        ask(registry, ada, QUESTION)
    assert "ask again in 60 min" in refused.value.fix
    with write(registry.engine) as conn:
        conn.execute(sa.update(t.runs).values(created_at=t.runs.c.created_at - 3_600_000_001))
    ask(registry, ada, QUESTION)
    assert len(kept(registry)) == len(runs) + 2, "what was refused is not kept"
    assert comparing.LIMIT.open == 10


@pytest.mark.parametrize("what", ["compare", "answer"])
def test_a_version_that_goes_in_the_midst_takes_the_result_with_it(registry, ada, worker, what):
    run = queue_comparison(registry, ada, PAIR) if what == "compare" else ask(registry, ada, QUESTION)
    grant = claim(registry, worker)
    first = next(row.id for row in rows.rows(registry.engine, t.versions) if row.number == 1)
    rows.delete(registry.engine, first)

    ended = send(registry, worker, grant, {"modules": [ROW]} if what == "compare" else answers())

    assert (ended.state, "deleted" in ended.error) == ("dead", True)
    assert [row.found for row in kept(registry)] == [None]
    with pytest.raises(Blocked):
        show_comparison(registry, ada, *REFS) if what == "compare" else show_answers(registry, ada, run.id)
    with pytest.raises(Blocked):
        queue_comparison(registry, ada, PAIR)
    with pytest.raises(Blocked):
        ask(registry, ada, QUESTION)
    assert drop_some_results(registry.engine) == 1


def test_a_run_that_is_cancelled_in_the_midst_keeps_nothing(registry, ada, worker):
    run = ask(registry, ada, QUESTION)
    grant = claim(registry, worker)
    cancel_run(registry, ada, run.id)

    with pytest.raises(LeaseLost):
        send(registry, worker, grant, answers())

    assert show_answers(registry, ada, run.id).answers == []
    assert [row.found for row in kept(registry)] == [None]


def test_workers_of_the_release_before_are_given_none_and_the_asker_is_told(registry, ada, worker):
    run = queue_comparison(registry, ada, PAIR)

    assert claim(registry, worker, ["verify", "reencode", "prove"], labels={"device": "cpu"}) is None
    assert claim(registry, worker, labels={"device": "cpu"}) is None
    assert show_run(registry, ada, run.id).unserved == "no worker that runs now offers runs=compare"
    claim(registry, worker, [])
    assert show_run(registry, ada, run.id).unserved == ""
    grant = claim(registry, worker)
    for _ in range(3):
        fail_run(registry, worker, grant.run, RunFailure(fence=grant.fence, error="no base"))
        grant = claim(registry, worker) or grant
    dead = show_comparison(registry, ada, *REFS)
    assert dead.run is not None
    assert (dead.is_known, dead.run.state, dead.run.error) == (False, "dead", "no base")


def test_a_worker_that_knows_no_chats_is_given_plain_prompts_alone(registry, ada, worker):
    old = {"runs": "compare,answer"}
    waits = ask(registry, ada, QUESTION)
    claim(registry, worker, [], labels=old)

    assert claim(registry, worker, labels=old) is None
    assert "no worker that runs now offers" in show_run(registry, ada, waits.id).unserved
    assert "prompts=chat" in show_run(registry, ada, waits.id).unserved
    plain = ask(registry, ada, QUESTION.model_copy(update={"form": "plain"}))
    grant = claim(registry, worker, labels=old)
    assert grant is not None
    assert (grant.run, grant.question.form) == (plain.id, "plain")
    send(registry, worker, grant, answers("so"))
    shown = show_answers(registry, ada, plain.id)
    assert {(each.template, each.given, each.why) for each in shown.answers} == {("", "", "")}
    assert claim(registry, worker).run == waits.id


def test_what_a_side_was_given_and_named_is_kept_as_plain_text(registry, ada, worker):
    run = ask(registry, ada, QUESTION.model_copy(update={"form": "chat"}))
    document = answers("so")
    document["answers"][0] |= {"why": "no\x1b[2J", "text": "", "tokens": 0}
    document["answers"][1] |= {"template": "version", "given": "<s>\x07hi", "given_tokens": 3, "is_cut": True}
    document["answers"][2]["classes"] = [{"name": "sour\x08", "share": 0.75}]

    send(registry, worker, claim(registry, worker), document)

    shown = show_answers(registry, ada, run.id)
    base, a, b = shown.answers
    assert (shown.form, base.why) == ("chat", "no\ufffd[2J")
    assert (a.template, a.given, a.given_tokens, a.is_cut) == ("version", "<s>\ufffdhi", 3, True)
    assert [(one.name, one.share) for one in b.classes] == [("sour\ufffd", 0.75)]


def test_what_one_may_not_read_is_not_found_and_not_named(registry, ada, worker):
    other = rows.caller(registry.engine, "eve", scopes={"read", "push"})
    with write(registry.engine) as conn:
        namespace = {"id": 77, "name": "hidden", "created_by": other.principal_id}
        conn.execute(sa.insert(t.namespaces).values(namespace))
        line = conn.execute(
            sa.insert(t.deltas)
            .values(namespace_id=77, name="y", created_by=other.principal_id)
            .returning(t.deltas.c.id)
        ).scalar_one()
        rows.add_version(conn, line)
    grants = frozenset(Grant(right, Namespace("lab")) for right in (Right.READ, Right.PUSH))
    mine = Caller("ada", ada.principal_id, 1, grants)
    asked = AnswerCreate(prompt="hi", refs=["lab/x:v1", "hidden/y:v1"])
    pair = CompareCreate(a="hidden/y:v1", b="lab/x:v1")

    for refused in (
        lambda: ask(registry, mine, asked),
        lambda: queue_comparison(registry, mine, pair),
        lambda: show_comparison(registry, mine, Ref.parse(pair.a), Ref.parse(pair.b)),
    ):
        with pytest.raises(NotFound, match="there is no delta hidden/y"):
            refused()
    run = queue_comparison(registry, ada, pair)
    grant = claim(registry, worker)
    lines = [LineSent(text="gets hidden/y:v1 of hidden/y and lab/x:v1")]
    append_log(registry, worker, grant.run, LogAppend(fence=grant.fence, first=0, lines=lines))
    seen = read_log(registry, mine, run.id, after=0)
    assert "hidden" not in seen.model_dump_json()
    assert "lab/x:v1" in seen.items[0].text
    trail = [row for row in rows.rows(registry.engine, t.audit) if run.id in row.subject]
    assert "hidden" not in str(trail)


def test_who_only_reads_asks_for_nothing_and_a_worker_neither(registry, ada, worker):
    reader = rows.caller(registry.engine, "ria", scopes={"read"})
    robot = rows.caller(registry.engine, "gpu-3", kind="worker", scopes={"verify", "read"})
    robot = Caller(robot.principal, robot.principal_id, None, robot.grants, is_worker=True)

    for caller in (reader, robot):
        with pytest.raises(Forbidden):
            ask(registry, caller, QUESTION)
        with pytest.raises(Forbidden):
            queue_comparison(registry, caller, PAIR)
    assert LineRef("lab", "x") == REFS[0].line


def test_one_version_is_no_two(registry, ada):
    with pytest.raises(InvalidInput, match="named twice"):
        ask(registry, ada, AnswerCreate(prompt="hi", refs=["lab/x:v1", "lab/x:v1"]))
    with pytest.raises(InvalidInput, match="with itself"):
        queue_comparison(registry, ada, CompareCreate(a="lab/x:v2", b="lab/x"))


@pytest.mark.parametrize("prompt", ["", " \n\t", "a\0b", "\x1b[31m", "x" * 8_001, "\ud800", "\x85"])
def test_a_prompt_is_text(prompt):
    with pytest.raises(ValueError, match=r"prompt|text|string"):
        AnswerCreate(prompt=prompt, refs=["lab/x:v1"])
