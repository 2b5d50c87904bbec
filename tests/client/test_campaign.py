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
    assert "did you mean tinyllama" in user("campaign", "tinylama", "tinyllama-other").err
