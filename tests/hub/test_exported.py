"""What manifests name is what the hub's clients get: those bytes, though the channel moves on."""

from deltareg.client.manifests.form import ExportOptions
from tests.client.agents import LINE


def test_the_revision_of_a_manifest_is_a_commit_of_the_version(local_hub, ask):
    maker = local_hub.line("lora", "lora_v2")
    options = ExportOptions(base_model="llama")
    (manifest,), (served,) = maker.channels.export(LINE, "prod", "dynamo", options=options)
    name, _, revision = manifest["spec"]["source"]["uri"].removeprefix("hf://").partition("@")
    maker.rollback(LINE, "prod")

    found = ask(local_hub, f"/api/models/{name}/revision/{revision}", token=local_hub.token("read")).json()

    assert (found["id"], found["sha"]) == (LINE, revision)
    assert served.digest.hex.startswith(found["sha"])
