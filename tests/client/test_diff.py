"""Diff through the client: of kinds that fold, of kinds that are attached, and between them."""

import pytest

from tests.client.attached import biased_lora
from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"
PROJECTION = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def client(shared_registry, tmp_path_factory):
    """Give a client of a registry with deltas of several kinds, `team/<delta>` each."""
    found = shared_registry.client()
    for delta in ("lora", "lora_dora", "full"):
        found.push(DELTAS / delta, f"team/d-{delta}", base="tinyllama")
    for bias in (0.5, 1.0):
        folder = biased_lora(tmp_path_factory.mktemp("biased") / "delta", bias)
        found.push(folder, "team/d-attached", base="tinyllama")
    return found


def modules(report):
    return {module.module: module for module in report.modules}


def test_what_is_attached_is_compared_tensor_by_tensor(client):
    report = client.diff("team/d-attached:v1", "team/d-attached:v2", top=100)

    biases = {name: row for name, row in modules(report).items() if name.endswith("lora_B.bias")}
    assert len(biases) == 14
    for row in biases.values():
        assert row.relative_norm == pytest.approx(1.0)
        assert row.cosine == pytest.approx(1.0)
        assert row.norm_b == pytest.approx(2 * row.norm_a)
    assert modules(report)[PROJECTION].relative_norm == pytest.approx(0.0, abs=1e-9)
    assert report.note == ""


def test_what_folds_is_compared_with_what_does_not_by_its_weights(client):
    report = client.diff("team/d-lora", "team/d-attached:v1", top=100)

    assert modules(report)[PROJECTION].relative_norm == pytest.approx(0.0, abs=1e-9)
    bias = next(row for name, row in modules(report).items() if name.endswith("lora_B.bias"))
    assert (bias.norm_a, bias.relative_norm, bias.cosine) == (0.0, 1.0, 0.0)


def test_a_change_of_kind_is_shown_and_its_changes_are_measured(client):
    report = client.diff("team/d-lora", "team/d-full", top=100)

    kind = next(change for change in report.config if change.field == "kind")
    row = modules(report)[PROJECTION]
    assert (kind.a, kind.b) == ("lora", "full")
    assert 0 < row.cosine < 1
    assert (row.rank_a, row.rank_b) == (4, None)
