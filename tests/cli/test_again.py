"""Commands that are run again, and what is said beside an answer so that nobody has to ask."""

import json

import pytest
import sqlalchemy as sa

from deltareg.db.tables import agents
from deltareg.host.token_files import write_token
from deltareg.wire import LeaseRequest
from tests.cli.steps import DELTAS
from tests.fixtures.registries import report


@pytest.fixture
def ana(shell, shared_registry, monkeypatch):
    """Give a command line on a registry that all tests here share."""
    monkeypatch.setenv("DELTAREG_SERVER", shared_registry.url)
    token = shared_registry.token("read", "push", "promote", "serve", "admin", principal="ana")
    write_token(shared_registry.url, token)
    return shell


def test_promoting_what_is_served_moves_nothing_and_is_done(ana):
    before = ana("channel", "show", "team/lora", "prod", "--json").json["revision"]

    again = ana("promote", "team/lora:v1", "--channel", "prod", "--json")
    told = ana("promote", "team/lora:v1", "--channel", "prod")
    asserted = ana("promote", "team/lora:v1", "--channel", "prod", "--if-current", "v2")

    assert again.status == told.status == 0
    assert (again.json["is_changed"], again.json["revision"]) == (False, before)
    assert told.out == "team/lora@prod serves v1 already\n"
    assert asserted.status == 5
    assert ana("channel", "show", "team/lora", "prod", "--json").json["revision"] == before


def test_a_bare_line_is_promoted_when_somebody_says_that_its_newest_is_meant(ana):
    refused = ana("promote", "team/lora", "--channel", "dev")
    said = ana("promote", "team/lora", "--channel", "dev", "--yes", "--json")

    assert refused.status == 2
    assert (said.status, said.json["version"], said.json["is_changed"]) == (0, 1, True)


def test_a_promotion_says_what_its_verdicts_warn_of(ana, shared_registry):
    ana("push", DELTAS / "lora_v2", "team/warned", "--base", "tinyllama")
    worker = shared_registry.client(("read", "verify"), principal="worker", kind="wrk")
    grant = worker.lease(LeaseRequest(worker="w"))
    found = report(grant)
    warned = [
        check.model_copy(update={"verdict": "warn", "value": 316.0, "threshold": 57.33})
        if check.name == "general_perplexity"
        else check
        for check in found.checks
    ]
    worker.complete_run(grant.run, found.model_copy(update={"checks": warned}))

    asked = ana("gate", "check", "team/warned:v1", "--channel", "dev", "--json")
    move = ana("promote", "team/warned:v1", "--channel", "dev")
    again = ana("promote", "team/warned:v1", "--channel", "dev", "--json")

    told = "suite smoke: general_perplexity 316, threshold 57.33"
    assert asked.json["warnings"] == again.json["warnings"] == [told]
    assert f"warning: {told}" in move.err
    assert ana("promote", "team/lora:v1", "--channel", "prod", "--json").json["warnings"] == []


def test_materializing_again_leaves_what_is_there_and_says_so(ana):
    line = ("materialize", "team/lora:v1", "--out", "full", "--json")
    first = ana(*line)
    again = ana(*line)
    other = ana(*line, "--dtype", "bf16")
    wrong = ana(*line, "--expect", f"blake3:{'0' * 64}")
    (ana.home / "full" / "config.json").write_text("{}")
    edited = ana(*line)

    assert first.status == again.status == 0
    assert again.json["root"] == first.json["root"]
    assert (other.status, wrong.status, edited.status) == (5, 6, 5)
    assert "deltareg update full --to team/lora:v1" in edited.err


def test_materializing_again_notices_a_changed_weight(ana):
    ana("materialize", "team/lora:v1", "--out", "full")
    weights = ana.home / "full" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)

    assert ana("materialize", "team/lora:v1", "--out", "full").status == 5


def test_who_waits_is_told_that_no_worker_fits(ana):
    queued = ana("verify", "team/lora:v1", "--suite", "deep", "--on", "cuda")
    looked = ana("doctor", "--json")

    workers = next(item for item in looked.json["items"] if item["what"] == "workers")
    assert queued.status == 0
    assert "start one: deltareg worker run" in queued.out
    assert workers["state"] in {"note", "warn"}
    assert workers["fix"]


def test_a_verdict_is_shown_by_its_version(ana):
    shown = ana("verdict", "show", "team/lora:v1", "--json")
    by_run = ana("verdict", "show", shown.json["run"], "--json")

    assert (shown.status, shown.json["ref"]) == (0, "team/lora:v1")
    assert by_run.json["id"] == shown.json["id"]


def test_collection_says_what_waits_for_its_grace(ana):
    ana("push", DELTAS / "lora_qv", "team/gone", "--base", "tinyllama")
    told = ana("rm", "team/gone:v1", "--yes").out

    plan = ana("gc", "plan")
    run = ana("gc", "run", "--json").json

    assert "after a time of grace" in told
    assert "until their grace is over" in plan.out
    assert run["bytes"] == 0
    assert run["waiting_bytes"] > 0


def test_an_agent_of_cron_says_when_it_comes_again(ana, shared_registry):
    line = ("agent", "run", "--channel", "team/lora@prod", "--dir", "served", "--once")
    ended = ana(*line, "--name", "cron", "--every", "5m")
    unsaid = ana(*line[:-2], "other", "--once", "--name", "cron2")

    with shared_registry.registry.engine.connect() as conn:
        rows = conn.execute(sa.select(agents.c.name, agents.c.every_us)).all()
    assert ended.status == unsaid.status == 0
    assert {row.name: row.every_us for row in rows} == {"cron": 300_000_000, "cron2": 3_600_000_000}


def test_a_policy_a_suite_and_a_freeze_say_what_they_take_for_granted(ana):
    (ana.home / "free.yaml").write_text(
        "smoke: false\nfreeze:\n  - {from: Fri 16:00, to: Mon 07:00, zone: UTC, reason: said}\n"
    )
    (ana.home / "unsaid.yaml").write_text("freeze: [{from: Fri 16:00, to: Mon 07:00}]\n")
    (ana.home / "idle.yaml").write_text("name: idle-one\nabout: x\nchecks: [resources]\n")

    policy = ana("channel", "policy", "set", "team/lora", "staging", "free.yaml", "--json")
    unsaid = ana("channel", "policy", "set", "team/lora", "staging", "unsaid.yaml")
    suite = ana("suite", "push", "idle.yaml")
    freeze = ana("channel", "freeze", "team/lora", "staging", "--until", "2099-01-01T08:00:00", "-m", "x")
    exact = ana("channel", "freeze", "team/lora", "staging", "--until", "2099-01-01T08:00:00Z", "-m", "x")

    (told,) = policy.json["warnings"]
    assert told.startswith("the policy asks for no suite")
    assert "says no zone" in unsaid.err
    assert "add zone: Europe/Berlin" in unsaid.err
    assert suite.status == 2
    assert "suite idle-one: no check can fail, so every version passes" in suite.err
    assert "taken as UTC: 2099-01-01T08:00:00Z" in freeze.err
    assert exact.err == ""


def test_a_dry_run_says_whether_a_version_may_go_and_leaves_it(ana):
    ana("push", DELTAS / "lora_dora", "team/kept", "--base", "tinyllama")

    served = ana("rm", "team/lora:v1", "--dry-run")
    gone = ana("rm", "team/kept:v1", "--dry-run")
    withdrawn = ana("revoke", "team/kept:v1", "-m", "x", "--dry-run", "--json")
    refused = ana("revoke", "team/lora:v1", "-m", "x", "--dry-run")

    found = ana("show", "team/kept:v1", "--json").json
    assert (served.status, gone.status, withdrawn.status, refused.status) == (5, 0, 0, 5)
    assert "would be deleted" in gone.out
    assert withdrawn.json["dry_run"]
    assert (found["is_deleted"], found["is_revoked"]) == (False, False)
    assert ana("audit", "ls", "--subject", "team/kept:v1", "--action", "revoke", "-q").out == ""


def test_a_lineage_is_drawn_as_a_graph(ana):
    dot = ana("lineage", "team/lora:v1", "--format", "dot").out
    mermaid = ana("lineage", "team/lora:v1", "--format", "mermaid").out

    assert dot.startswith("digraph lineage {")
    assert '  "base:tinyllama" -> "team/lora:v1" [label="base"];\n' in dot
    assert mermaid.splitlines()[0] == "graph LR"
    assert '  n0["team/lora:v1"]' in mermaid
    assert '  n1 -->|"base"| n0' in mermaid


def test_the_audit_trail_is_exported_whole(ana, monkeypatch):
    monkeypatch.setattr("deltareg_cli.commands.operations.audit.MOST", 2)
    lines = ana("audit", "export", "--action", "token.create").out.splitlines()
    whole = ana("audit", "export", "--action", "token.create", "--json").json["items"]

    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) > 2
    assert ids == sorted(ids, reverse=True)
    assert [row["id"] for row in whole] == ids
