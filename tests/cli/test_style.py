"""How the command line speaks (docs/style-of-output.md): few lines, of 80 columns, in the field's words."""

import re

import pytest

from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.fixes import CODE_FIXES, MOST_CHARACTERS, fix_of
from deltareg.wire import LeaseRequest
from deltareg_verify.judging.checks import all_checks
from tests.cli.steps import BAD, BASES, DELTAS, done, push
from tests.cli.terminals import COLUMNS, ROWS, show
from tests.conftest import REPOSITORY
from tests.fixtures.registries import report
from tests.verify.bench import SMOKE, sample_bench

MOST_LINES = 8
MOST_OURS = 3

# Of the glossary's words, those that people who train and serve models use as well.
FIELD = {
    *("agent", "alias", "answer", "approval", "attachment", "attestation", "audit", "base", "blob", "card", "channel"),
    *("check", "checked", "checkpoint", "chunk", "codec", "comparison", "conflict", "delivery", "digest", "engine"),
    *("event", "freeze", "hash", "interval", "kind", "label", "lock", "log", "merge", "metric", "namespace", "policy"),
    *("pull", "push", "question", "reference", "repository", "request", "role", "run", "sandbox", "session", "share"),
    *("attach", "diff", "gate", "merge", "promote", "repair", "revert", "revoke", "verify"),
    *("signature", "signer", "store", "suite", "task", "token", "upload", "version", "visibility", "webhook", "worker"),
}

SUCCESSES = {
    "base push": ("base", "push", BASES / "tinyllama_other", "other"),
    "push": ("push", DELTAS / "lora_v2", "me/next", "--base", "tinyllama", "-m", "trained further"),
    "show": ("show", "me/chat:v2"),
    "verify": ("verify", "me/chat:v2", "--wait"),
    "gate check": ("gate", "check", "me/chat:v1", "--channel", "prod"),
    "promote": ("promote", "me/chat:v2", "--channel", "prod", "-m", "better on refunds"),
    "channel show": ("channel", "show", "me/chat", "prod"),
    "fleet ls": ("fleet", "ls"),
    "lint": ("lint", DELTAS / "lora", "--base", "tinyllama"),
    "pull": ("pull", "me/chat:v1", "--to", "here"),
    "materialize": ("materialize", "me/chat:v1", "--out", "whole"),
    "rollback": ("rollback", "me/chat", "--channel", "prod", "-m", "refunds broke"),
    "update": ("update", "here", "--to", ":v2"),
    "ls": ("ls",),
}
FAILURES = {
    "base push": ("base", "push", DELTAS / "lora", "adapter"),
    "push": ("push", BAD / "missing_half", "me/chat", "--base", "tinyllama"),
    "push onto nothing": ("push", DELTAS / "lora", "me/chat", "--base", "tinylama"),
    "push of names that fit nothing": ("push", BAD / "wrong_prefix", "me/chat", "--base", "tinyllama"),
    "show": ("show", "me/chta:v1"),
    "verify": ("verify", "me/broken:v1", "--wait"),
    "verify a folder": ("verify", "out1/final", "--wait"),
    "gate check": ("gate", "check", "me/broken:v1", "--channel", "prod"),
    "gate check of what nobody looked at": ("gate", "check", "me/next:v1", "--channel", "prod"),
    "promote": ("promote", "me/broken:v1", "--channel", "prod"),
    "promote what nobody looked at": ("promote", "me/next:v1", "--channel", "prod"),
    "channel show": ("channel", "show", "me/chat", "prd"),
    "fleet ls": ("fleet", "ls", "nobody/here"),
    "rollback": ("rollback", "me/chat", "--channel", "staging", "-m", "why"),
}


@pytest.fixture
def team(user, local_registry):
    """Give a user with a line of two versions that passed, one of them on prod, and one that failed."""
    user.step("team", lambda: begin(user, local_registry))
    (user.home / "out1" / "final").mkdir(parents=True)
    return user


def begin(user, registry):
    for delta in ("lora", "lora_v2"):
        registry.verified(push(user, delta, "--label", "lang=py"))
    done(user, "promote", "me/chat:v1", "--channel", "prod", "-m", "first release")
    done(user, "push", BAD / "dead_zero_b", "me/broken", "--base", "tinyllama")
    fail_by_idle(registry, "me/broken:v1")
    done(user, "agent", "run", "--once", "--channel", "me/chat@prod", "--dir", "served", "--name", "host-7")


def fail_by_idle(registry, ref):
    """Judge a delta whose lora_B is zero, in the words of the check itself."""
    case = sample_bench("bad/dead_zero_b", registry.folder / "bench").case()
    found = all_checks()["idle"].run(case, next(spec for spec in SMOKE.checks if spec.name == "idle"))
    worker = registry.client(("read", "verify"), principal="worker", kind="wrk")
    grant = worker.lease(LeaseRequest(worker="scripted"))
    told = report(grant, verdict="fail", fail="idle")
    static = {name for name, check in all_checks().items() if check.is_static}
    checks = [
        check.model_copy(update={"detail": found.detail, "code": found.code})
        if check.name == "idle"
        else check.model_copy(update={} if check.name in static else {"verdict": "skipped"})
        for check in told.checks
    ]
    worker.complete_run(grant.run, told.model_copy(update={"checks": checks}))
    assert grant.ref == ref


def our_words(text):
    """Find the words of ours in an output, apart from commands to type, which have to be as they are."""
    glossary = (REPOSITORY / "docs" / "glossary.md").read_text()
    defined = {word.lower() for word in re.findall(r"\*\*([\w-]+)\*\*", glossary)}
    ours = defined - FIELD
    prose = re.sub(r"deltareg [^\n]*", "", text.lower())
    return [word for word in re.findall(r"[a-z]+(?:-[a-z]+)?", prose) if {word, word.removesuffix("s")} & ours]


def faults(name, screen):
    """Say what an output has that the style page forbids."""
    if len(screen.lines) > MOST_LINES:
        yield f"{name}: {len(screen.lines)} lines"
    for line in screen.lines:
        if len(line) > COLUMNS and "deltareg " not in line and len(line.split()) > 1:
            yield f"{name}: {len(line)} columns: {line}"
    ours = our_words(screen.text)
    if len(ours) > MOST_OURS:
        yield f"{name}: words of ours: {', '.join(ours)}"
    for word in ("sha256:", "blake3:"):
        if word in screen.text:
            yield f"{name}: a digest without -v"


@pytest.mark.slow
def test_what_goes_well_is_said_in_few_lines(team):
    screens = {name: show(*words, cwd=team.home) for name, words in SUCCESSES.items()}

    assert {name: screen.text for name, screen in screens.items() if screen.status} == {}
    assert [fault for name, screen in screens.items() for fault in faults(name, screen)] == []


@pytest.mark.slow
def test_what_fails_is_said_in_few_lines_with_what_to_do(team):
    done(team, "push", DELTAS / "lora_v2", "me/next", "--base", "tinyllama")

    screens = {name: show(*words, cwd=team.home) for name, words in FAILURES.items()}

    assert {name: screen.text for name, screen in screens.items() if not screen.status} == {}
    assert [fault for name, screen in screens.items() for fault in faults(name, screen)] == []
    assert {name: screen.text for name, screen in screens.items() if "fix:" not in screen.text} == {}


@pytest.mark.slow
def test_colours_say_nothing_that_words_do_not(team, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    painted = {name: show(*SUCCESSES[name], cwd=team.home) for name in ("show", "verify", "gate check", "channel show")}
    failed = {name: show(*FAILURES[name], cwd=team.home) for name in ("verify", "gate check", "promote")}
    monkeypatch.setenv("NO_COLOR", "1")
    plain = {name: show(*SUCCESSES[name], cwd=team.home) for name in painted}

    assert {name: screen.written for name, screen in (painted | failed).items() if "\x1b[3" not in screen.painted} == {}
    assert all("\x1b[" not in screen.painted for screen in plain.values())
    assert {name: screen.text.split()[:4] for name, screen in painted.items()} == {
        name: screen.text.split()[:4] for name, screen in plain.items()
    }
    assert "FAILS" in failed["verify"].text
    assert "may NOT go" in failed["gate check"].text
    assert failed["promote"].text.startswith("error: ")


@pytest.mark.slow
def test_a_failed_verdict_says_what_was_found_and_what_to_do(team):
    screen = show("verify", "me/broken:v1", "--wait", cwd=team.home)

    assert screen.status == 8
    assert screen.lines == [
        "me/broken:v1 FAILS smoke at idle: 4 of 4 weights do not change: lora_B is zero",
        "                   everywhere, as before training",
        f"  fix: {fix_of('idle', 'no_effect')}",
        "12 checks passed, 14 did not run",
        "all checks: deltareg verdict show me/broken:v1 --all",
    ]


def test_verbose_shows_digests_and_timings_and_all_shows_every_check(team):
    shown = team("show", "me/chat:v1", "-v").out
    every = team("verdict", "show", "me/chat:v1", "--all").out
    where = team("verdict", "show", "me/chat:v1", "-v").out

    assert "sha256:" in shown
    assert "tensors" in shown
    assert "attached_equals_folded" in every
    assert "sandbox" in where
    assert "attached_equals_folded" not in where


def test_what_nobody_can_take_is_said_at_once(user):
    ref = push(user)

    told = user("verify", ref)
    waited = show("verify", ref, "--wait", "--timeout", "1s", cwd=user.home)

    assert "no worker runs now; start one: deltareg worker run" in told.out
    assert "it waits: no worker runs now; start one: deltareg worker run" in " ".join(waited.everything.split())
    assert waited.status == 124


@pytest.mark.parametrize("check", sorted(CATALOGUE))
def test_every_check_says_what_to_do_in_a_line(check):
    form = CATALOGUE[check]

    assert len(form.fix) <= MOST_CHARACTERS
    assert form.fix or form.takes_threshold or form.only_reports, "a version can fail it"


def test_every_code_of_a_measure_has_its_fix():
    codes = ("below_threshold", "missing_measure", "regression", "undecided", "worse_incumbent", "worse_than_base")

    assert [code for code in codes if code not in CODE_FIXES] == []
    assert [code for code, fix in CODE_FIXES.items() if len(fix) > MOST_CHARACTERS] == []
    assert fix_of("a name of the suite's own", "below_threshold") == CODE_FIXES["below_threshold"]
    assert fix_of("a name of the suite's own", "custom") == "read on: deltareg explain custom"


def test_help_begins_with_what_one_needs_every_day(shell):
    screen = show("--help")

    assert screen.status == 0
    assert len(screen.lines) < ROWS, "with the next prompt it fits on a screen"
    assert max(map(len, screen.lines)) <= COLUMNS
    assert len(our_words(screen.text)) <= MOST_OURS + 1
    assert screen.text.index("push") < screen.text.index("rollback") < screen.text.index("help all")
