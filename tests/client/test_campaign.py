"""Campaigns: what becomes of the deltas of a base, held against what pushing them really does."""

import pytest

from deltareg.errors import InvalidInput, NotFound, Refused
from tests.cli.steps import BASES, DELTAS

KINDS = ("lora", "lora_dora", "lora_modules_to_save", "full")


@pytest.fixture
def client(local_registry):
    """Push deltas of several kinds, each as a line of its own, and three bases."""
    client = local_registry.client()
    for base in ("tinyllama", "tinyllama_other", "tinygpt2"):
        client.bases.push(BASES / base, base.replace("_", "-"))
    for kind in KINDS:
        client.push(DELTAS / kind, f"team/{kind.replace('_', '-')}", base="tinyllama")
    client.push(DELTAS / "lora_v2", "team/lora", base="tinyllama")
    return client


def outcomes(report):
    return {line.line.removeprefix("team/"): line.outcome for line in report.lines}


def test_what_a_campaign_says_is_what_pushes_do(client, local_registry):
    local_registry.verified("team/lora:v1")
    client.promote("team/lora:v1", "prod")

    report = client.bases.campaign("tinyllama", "tinyllama-other")
    hopeless = client.bases.campaign("tinyllama", "tinygpt2", within="team")

    assert {line.ref for line in report.lines if line.line == "team/lora"} == {"team/lora:v1"}
    assert outcomes(report)["lora"] == "verify"
    assert outcomes(report)["full"] == outcomes(report)["lora-modules-to-save"] == "merge"
    assert outcomes(report)["lora-dora"] == "verify"
    assert set(outcomes(hopeless).values()) == {"retrain"}
    assert all(line.reasons for line in hopeless.lines)
    assert "tensors" in report.parts
    for line in report.lines:
        kind = line.line.removeprefix("team/").replace("-", "_")
        is_taken = is_pushed(client, kind, "tinyllama-other")
        assert is_taken or line.outcome in {"retrain", "merge"}, line
        assert not (is_taken and line.outcome == "retrain"), line
        assert not is_pushed(client, kind, "tinygpt2")


def is_pushed(client, kind, base):
    try:
        client.push(DELTAS / kind, f"tried/{kind.replace('_', '-')}", base=base)
    except Refused:
        return False
    return True


def test_a_line_that_is_there_already_is_done_and_the_report_is_written(client):
    client.push(DELTAS / "lora", "team/lora", base="tinyllama-other")

    report = client.bases.campaign("tinyllama", "tinyllama-other", within="team/lora")

    assert outcomes(report) == {"lora": "done"}
    assert report.counts["done"] == 1
    text = client.bases.campaign("tinyllama", "tinyllama-other").to_markdown()
    assert "| merge | `team/full:v1` | - | full |" in text
    assert text.count("\n| ") == 2 + len(KINDS) - 1
    with pytest.raises(InvalidInput, match="are one base"):
        client.bases.campaign("tinyllama", "tinyllama")
    with pytest.raises(NotFound):
        client.bases.campaign("tinyllama", "none")


def test_what_fits_is_pushed_a_few_at_a_time_and_gone_on_with(client, local_registry):
    local_registry.verified("team/lora:v1")
    client.promote("team/lora:v1", "prod")
    words = ("tinyllama", "tinyllama-other")
    told: list[str] = []

    dry = client.bases.start_campaign(*words, limit=1, is_dry_run=True)
    none = client.bases.campaign(*words)
    first = client.bases.start_campaign(*words, limit=1, tell=told.append)
    rest = client.bases.start_campaign(*words)
    again = client.bases.start_campaign(*words)

    assert [line.ref for line in dry.begun] == ["team/lora:v1"], "what prod serves comes first"
    assert (dry.left, none.counts["done"]) == (1, 0)
    assert (told, first.left, rest.left) == (["team/lora:v1 -> team/lora:v3"], 1, 0)
    assert [line.line for line in rest.begun] == ["team/lora-dora"]
    assert again.begun == []
    moved = client.show("team/lora:v3")
    assert (moved.base.name, moved.parents) == ("tinyllama-other", ["team/lora:v1"])
    assert client.show("team/lora@prod").ref == "team/lora:v1", "no channel moves"
    assert {run.ref for run in client.runs.queue("team/lora:v3").items} == {"team/lora:v3"}
    (line,) = [line for line in again.report.lines if line.line == "team/lora"]
    assert (line.outcome, line.moved, line.verdict) == ("done", "team/lora:v3", "")
    local_registry.verified("team/lora:v3")
    after = client.bases.campaign(*words, within="team/lora")
    assert after.lines[0].verdict in {"pass", "fail"}
    assert f"team/lora:v3: {after.lines[0].verdict}" in after.to_markdown()


def test_one_that_cannot_be_pushed_is_told_and_the_others_go_on(client, local_registry):
    reader = local_registry.client(("read",), principal="reader")

    found = reader.bases.start_campaign("tinyllama", "tinyllama-other")

    assert [line.line for line in found.failed] == ["team/lora", "team/lora-dora"]
    assert all("does not allow 'push'" in line.reasons[0] for line in found.failed)
    assert (found.left, found.report.counts["verify"]) == (2, 2)


def test_on_the_command_line(user, local_registry, tmp_path):
    for base in ("tinyllama", "tinyllama_other"):
        assert user("base", "push", BASES / base, base.replace("_", "-")).status == 0
    for kind in ("lora", "full"):
        user("push", DELTAS / kind, f"me/{kind}", "--base", "tinyllama")
    words = ("campaign", "tinyllama", "tinyllama-other")

    shown = user(*words, "--report-md", tmp_path / "report.md")
    scripted = user(*words, "--json")

    assert shown.status == 0, shown.err
    assert "me/full:v1" in shown.out
    assert "task vector" in shown.out
    assert scripted.json["counts"]["verify"] == 1
    assert "From tinyllama to tinyllama-other" in (tmp_path / "report.md").read_text()
    dry = user(*words, "--start", "--dry-run")
    begun = user(*words, "--start", "--limit", "5")
    done = user(*words, "--start", "--json")
    assert "would be pushed" in dry.out
    assert (begun.status, "me/lora:v2: not verified yet" in begun.out) == (0, True), begun.err
    assert "me/lora:v1 -> me/lora:v2" in begun.err
    assert (done.json["begun"], done.json["counts"]["done"]) == ([], 1)
    assert user(*words, "--limit", "5").status == 2
    assert "did you mean tinyllama" in user("campaign", "tinylama", "tinyllama-other").err
