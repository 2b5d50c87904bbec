"""A version's bill of materials is a CycloneDX document, and says what the registry knows."""

import json

import pytest

from deltareg.client.report_files.bill_of_materials import gather_facts, write_bill
from tests.fixtures.registries import SAMPLES

CARD = """---
license: apache-2.0
datasets: [squad, own/dialogues]
pipeline_tag: text-generation
---
# Answers questions

A LoRA for questions.
"""


@pytest.fixture
def bill(local_registry, tmp_path):
    client = local_registry.line("lora")
    folder = tmp_path / "delta"
    folder.mkdir()
    for path in (SAMPLES / "deltas" / "tinyllama" / "lora_v2").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "README.md").write_text(CARD)
    pushed = client.push(folder, "team/lora", base="tinyllama", labels={"run": "7"}).version
    local_registry.verified(pushed.ref)
    facts = gather_facts(client, "team/lora")
    assert write_bill(facts, release="1") == write_bill(gather_facts(client, pushed.ref), release="1")
    return pushed, write_bill(facts, release="1")


@pytest.mark.soak
def test_it_says_base_data_licence_tools_and_verdicts_in_the_standards_own_schema(bill):
    pushed, text = bill
    document = json.loads(text)
    model = document["metadata"]["component"]
    parts = {part["bom-ref"]: part for part in document["components"]}

    assert model["hashes"] == [{"alg": "SHA-256", "content": pushed.digest.removeprefix("sha256:")}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data:squad"}, {"ref": "data:own/dialogues"}]
    assert parts[f"base:{pushed.base.root}"]["name"] == "tinyllama"
    assert [part["type"] for part in parts.values()].count("data") == 2
    said = [(one["name"], one["value"]) for one in model["properties"]]
    assert ("deltareg:label:run", "7") in said
    assert any(name == "deltareg:verdict" and value.startswith("pass of ") for name, value in said)
    assert {
        one["type"].partition("/")[2] for one in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    } >= {"effect"}
    assert document["dependencies"][0]["dependsOn"] == sorted(parts)
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="needs cyclonedx-python-lib, of the test extra"
    )
    from cyclonedx.schema import SchemaVersion

    assert str(validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) or "")[:500] == ""
