"""Manifests of what channels serve: what their systems take, and nothing that may move."""

import json

import jsonschema
import pytest
import yaml

from deltareg.client import Client, ClientConfig
from deltareg.client.manifests import form_names
from deltareg.client.manifests.form import ExportOptions
from deltareg.client.manifests.served_names import ServedVersion
from deltareg.digest import Digest
from deltareg.errors import Blocked, Conflict, InvalidInput
from deltareg.refs import LineRef
from tests.client.agents import DELTAS, LINE
from tests.manifests.schemas import SCHEMAS

OPTIONS = {
    "dynamo": ExportOptions(base_model="llama"),
    "llm-d": ExportOptions(pool="llama-pool"),
    "kserve": ExportOptions(base_uri="hf://shared/tinyllama", base_model="llama"),
}


@pytest.fixture
def maker(local_registry):
    """Put v1 and then v2 of `team/lora` on prod."""
    return local_registry.line("lora", "lora_v2")


def export(client, form, channel="prod", **more):
    (manifest,), _ = client.channels.export(LINE, channel, form, options=OPTIONS[form], **more)
    return manifest


def test_every_form_is_what_its_system_takes(maker):
    assert set(form_names()) == SCHEMAS.keys()

    for form, schema in SCHEMAS.items():
        jsonschema.validate(export(maker, form), schema)


def test_a_manifest_names_a_version_for_good_and_its_bytes_by_their_digest(maker):
    version = maker.show(f"{LINE}:v2")
    commit = version.digest.removeprefix("sha256:")[:40]

    dynamo, llm_d, kserve = (export(maker, form) for form in ("dynamo", "llm-d", "kserve"))

    assert dynamo["spec"]["source"]["uri"] == f"hf://{LINE}@{commit}"
    assert dynamo["spec"]["modelName"] == "team--lora--v2"
    (rule,) = llm_d["spec"]["rules"]
    assert rule["targets"] == [{"modelRewrite": f"{LINE}@{version.digest}"}]
    assert rule["matches"][0]["model"]["value"] == LINE
    (adapter,) = kserve["spec"]["model"]["lora"]["adapters"]
    assert adapter == {"name": "team--lora--v2", "uri": f"hf://{LINE}:{commit}"}
    for manifest in (dynamo, llm_d, kserve):
        assert manifest["metadata"]["name"] == f"team-lora-v2-{commit[:8]}"
        assert manifest["metadata"]["annotations"] == {
            "deltareg.dev/channel": f"{LINE}@prod#2",
            "deltareg.dev/version": f"{LINE}:v2",
            "deltareg.dev/digest": version.digest,
            "deltareg.dev/base": "tinyllama",
        }


def test_two_channels_share_the_requests(maker):
    maker.promote(f"{LINE}:v1", "dev")
    options = ExportOptions(pool="p", model="chat", weight=10)

    (manifest,), served = maker.channels.export(LINE, "dev", "llm-d", options=options, beside="prod")

    jsonschema.validate(manifest, SCHEMAS["llm-d"])
    (rule,) = manifest["spec"]["rules"]
    assert rule["targets"] == [
        {"modelRewrite": f"{LINE}@{maker.show(f'{LINE}:v1').digest}", "weight": 10},
        {"modelRewrite": f"{LINE}@{maker.show(f'{LINE}:v2').digest}", "weight": 90},
    ]
    assert [one.version for one in served] == [1, 2]


def test_a_rank_above_vllms_own_is_asked_for():
    digest = Digest("sha256", "ab" * 32)
    served = ServedVersion(LineRef("team", "lora"), "prod", 1, 3, digest, "llama", 64)

    from deltareg.client.manifests.kserve import Kserve

    (manifest,) = Kserve().write(served, OPTIONS["kserve"], beside=None)

    jsonschema.validate(manifest, SCHEMAS["kserve"])
    assert json.loads(json.dumps(manifest))["spec"]["model"]["lora"]["maxRank"] == 64


@pytest.mark.parametrize(("namespace", "name"), [("a.b_c", "d--e"), ("n" * 64, "m" * 64), ("x", "9"), ("a-", "-b")])
def test_names_are_short_and_of_what_kubernetes_takes(namespace, name):
    digest = Digest("sha256", "ab" * 32)
    served = ServedVersion(LineRef(namespace, name), "prod", 1, 123_456, digest, "llama", 8)

    jsonschema.validate(served.resource, SCHEMAS["dynamo"]["properties"]["metadata"]["properties"]["name"])
    assert served.resource.endswith("-v123456-abababab")


def test_what_cannot_be_served_is_not_exported(maker, local_registry):
    with pytest.raises(Conflict, match="serves nothing"):
        export(maker, "dynamo", "staging")
    maker.push(DELTAS / "lora_dora", LINE, base="tinyllama")
    local_registry.verified(f"{LINE}:v3")
    maker.promote(f"{LINE}:v3", "dev")
    with pytest.raises(InvalidInput, match=f"vllm cannot serve {LINE}:v3: DoRA"):
        export(maker, "kserve", "dev")
    maker.versions.revoke(f"{LINE}:v2", reason="it leaks", even_if_served=True)
    with pytest.raises(Blocked, match="is revoked"):
        export(maker, "llm-d")


@pytest.mark.parametrize(
    ("form", "options", "beside", "told"),
    [
        ("dynamo", ExportOptions(base_model="x", pool="p"), None, "dynamo has no place for --pool"),
        ("llm-d", ExportOptions(pool="p", weight=10), None, "weights are of two channels"),
        ("llm-d", ExportOptions(pool="p"), "prod", "weights are of two channels"),
        ("llm-d", ExportOptions(pool="p", weight=100), "prod", "a weight of 100"),
        ("helm", ExportOptions(), None, "no format is called 'helm'"),
    ],
)
def test_what_is_of_no_use_is_said_before_anything_is_asked(form, options, beside, told):
    with Client(ClientConfig(server="http://127.0.0.1:9")) as client, pytest.raises(InvalidInput, match=told):
        client.channels.export(LINE, "prod", form, options=options, beside=beside)


def test_what_is_missing_is_said(maker):
    missing = {
        "dynamo": "what Dynamo serves the base as is not said",
        "llm-d": "the InferencePool of the pods is not said",
        "kserve": "where KServe gets the base is not said",
    }

    for form, told in missing.items():
        with pytest.raises(InvalidInput, match=told):
            maker.channels.export(LINE, "prod", form, options=ExportOptions())


def test_the_command_prints_yaml_and_applies_nothing(user, local_registry, maker):
    done = user("channel", "export", f"{LINE}@prod", "--format", "dynamo", "--base-model", "llama")
    told = user("channel", "export", f"{LINE}@prod", "--format", "dynamo", "--base-model", "llama", "--json")
    refused = user("channel", "export", LINE, "--format", "dynamo", "--base-model", "llama")

    assert done.status == 0, done.err
    manifest = yaml.safe_load(done.out)
    jsonschema.validate(manifest, SCHEMAS["dynamo"])
    assert json.loads(told.out)["items"] == [manifest]
    assert refused.status == 2
    assert "write me/chat@prod" in refused.err
