"""What the exit status says: one contract a status, on real commands where one can lead there."""

import errno
import signal

import pytest

from deltareg.errors import BaseMismatch, DiskFull
from deltareg.gate.judge import refusal
from deltareg.gate.ruling import Ruling
from deltareg_cli.exits import RULE_STATUS, ExitStatus, exit_status, gate_status
from deltareg_cli.frame import as_ours
from tests.cli.steps import BAD, BASES, push, push_base


def test_0_done(shell):
    assert shell("version").status == 0


def test_1_is_a_bug_and_says_so():
    error = as_ours(KeyError("weight_map"))

    assert exit_status(error) == 1
    assert "KeyError" in error.message
    assert "report" in error.fix


@pytest.mark.parametrize(
    "line",
    [
        ["nonsense"],
        ["ls", "--nonsense"],
        ["show"],
        ["show", "no-line"],
        ["show", "me/chat@"],
        ["config", "set", "timeout", "soon"],
        ["ls", "--filter", "base"],
        ["pull", "me/chat", "--frozen"],
        ["rm", "me/chat:v1"],
        ["ls", "--dry-run"],
        ["--dry-run", "ls"],
        ["rollback", "me/chat", "--channel", "prod", "--steps", "1", "--version", "v1"],
        ["channel", "show", "me/chat"],
        ["channel", "clear", "me/chat", "prod", "v1"],
    ],
    ids=" ".join,
)
def test_2_usage(shell, line):
    ended = shell(*line)

    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")


def test_2_refused(user):
    push_base(user)

    ended = user("push", BAD / "pickle_bin", "me/chat", "--base", "tinyllama")

    assert ended.status == 2
    assert "pickle" in ended.err


def test_3_not_found(user):
    assert user("show", "me/nothing").status == 3


def test_4_nobody_and_not_allowed(user, local_registry, monkeypatch):
    monkeypatch.setenv("DELTAREG_TOKEN", "drg_pat_nonsense")
    nobody = user("ls").status
    monkeypatch.setenv("DELTAREG_TOKEN", local_registry.token("read", principal="guest"))
    reader = user("audit", "ls").status

    assert (nobody, reader) == (4, 4)


def test_5_conflict(user, local_registry):
    ref = push(user)
    local_registry.verified(ref)
    user("promote", ref, "--channel", "prod")

    assert user("promote", ref, "--channel", "prod", "--if-current", "v2").status == 5


def test_6_integrity(user):
    ref = push(user)
    user("pull", ref)
    found = (path for path in (user.home / "cache").rglob("blobs/**/*") if path.is_file())
    blob = next(found)
    blob.chmod(0o600)
    blob.write_bytes(b"rotten")

    assert user("cache", "verify").status == 6
    assert user("cache", "verify", "--fix").status == 0
    assert user("cache", "verify").status == 0


def test_7_base_mismatch(user):
    ref = push(user)

    ended = user("materialize", ref, "--out", "full", "--base", BASES / "tinyllama_other", "--json")

    assert ended.status == 7
    assert ended.problem["code"] == BaseMismatch.code


def test_8_9_11_13_of_a_gate(user, local_registry):
    ref = push(user)
    pending = user("gate", "check", ref, "--channel", "prod").status
    local_registry.verified(ref, verdict="fail")
    failed = user("gate", "check", ref, "--channel", "prod").status

    assert (pending, failed) == (9, 8)
    assert user("promote", ref, "--channel", "prod").status == 8


def test_13_quarantined(user, local_registry):
    first, second = push(user), push(user, "lora_v2")
    for ref in (first, second):
        local_registry.verified(ref)
        assert user("promote", ref, "--channel", "prod").status == 0
    user("rollback", "me/chat", "--channel", "prod", "-m", "why")

    assert user("promote", second, "--channel", "prod").status == 13
    assert user("gate", "check", second, "--channel", "prod").status == 13


@pytest.mark.parametrize("rule", RULE_STATUS)
def test_a_rule_leads_to_the_status_of_its_refusal(rule):
    error = refusal([Ruling(rule, "why", "how")])

    assert error is not None
    assert gate_status([rule]) == exit_status(error)


def test_the_gravest_rule_decides_and_an_unknown_one_never_passes():
    assert gate_status(["missing", "failed", "quarantined"]) == ExitStatus.BLOCKED
    assert gate_status(["missing", "failed"]) == ExitStatus.GATE_FAILED
    assert gate_status(["a rule of tomorrow"]) == ExitStatus.GATE_PENDING
    assert gate_status([]) == ExitStatus.DONE


@pytest.mark.parametrize(("verdict", "status"), [("pass", 0), ("fail", 8)])
def test_a_verdict_is_a_status(user, local_registry, verdict, status):
    ref = push(user)
    local_registry.verified(ref, verdict=verdict)

    ended = user("verify", ref, "--wait", "--json")

    assert ended.status == status
    assert ended.json["verdict"] == verdict


def test_10_different(user):
    first, second = push(user), push(user, "lora_v2")

    assert user("diff", first, second, "--exit-code").status == 10
    assert user("diff", first, second).status == 0
    assert user("diff", first, first, "--exit-code").status == 0


def test_12_disk_full():
    error = as_ours(OSError(errno.ENOSPC, "no space", "/cache"))

    assert isinstance(error, DiskFull)
    assert exit_status(error) == 12


def test_75_no_server_with_a_hint(shell):
    ended = shell("ls")

    assert ended.status == 75
    assert ended.err.splitlines() == [
        "error: no registry answers at http://127.0.0.1:1",
        "fix:   start one with `deltareg up`, or name another: --server URL",
        "see:   deltareg explain unavailable",
    ]


def test_124_the_work_goes_on_and_its_id_is_shown(user):
    ref = push(user)

    ended = user("verify", ref, "--wait", "--timeout", "10ms", "--json")

    assert ended.status == 124
    assert ended.json["state"] == "queued"
    assert ended.json["id"] in ended.problem["detail"]


def test_130_interrupted(user):
    ref = push(user)

    with user.spawn("verify", ref, "--wait") as process:
        assert "queued" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.strip() == "interrupted; the same command goes on where it stopped"
