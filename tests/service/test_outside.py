"""What others say about versions: who may say it, about what, what counts, and where it is told."""

import base64
import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from deltareg.documents.evaluation import EVALUATION
from deltareg.errors import BadSignature, Blocked, Conflict, Forbidden, GateFailed, GatePending, InvalidInput, NotFound
from deltareg.refs import LineRef, Ref
from deltareg.service.channels.gate import check_gate
from deltareg.service.channels.move import move_channel
from deltareg.service.channels.summaries import show_summary
from deltareg.service.lines import evaluations as service
from deltareg.wire import ChannelMove
from tests.cli.steps import DELTAS
from tests.outside import PROVENANCE, TEST_RESULT, OtherSystem, attest, key_of, manifest_of, measure
from tests.service import rows
from tests.signed_deltas import public
from tests.signers import key_of as worker_key

LINE, V1, V2, DEV = "team/lora", "team/lora:v1", "team/lora:v2", ("team/lora", "dev")
WRITTEN = Path(__file__).parents[1] / "samples" / "evaluations" / "lm_eval.json"
ONLY_OUTSIDE = {"smoke": False}


@pytest.fixture
def maker(local_registry):
    """Push a LoRA and verify it."""
    return local_registry.line("lora")


@pytest.fixture
def others(maker, tmp_path):
    return OtherSystem(maker, tmp_path)


def asks(client, **terms):
    client.channels.set_policy(*DEV, {**ONLY_OUTSIDE, **terms})


def unmet(client, ref=V1):
    return {rule.rule: rule for rule in client.gate(ref, "dev").unmet}


def test_a_channel_asks_for_an_attestation_and_says_whose_it_rests_on(registry_server, tmp_path):
    maker = registry_server.line("lora")
    others = OtherSystem(maker, tmp_path)
    asks(maker, attestations=[{"type": PROVENANCE, "from": key_of("builder")}])
    with pytest.raises(GatePending, match="attests no https://slsa"):
        maker.promote(V1, "dev")

    others.attests("eve", V1)
    assert unmet(maker)["attestation"].fix == f"have it attested: deltareg attest add {V1} FILE --key PUB"
    added = others.attests("builder", V1)
    answer = maker.gate(V1, "dev")
    maker.promote(V1, "dev")

    told = f"key {public('builder').keyid[:12]} attests {PROVENANCE} of {V1} ({added.digest[:19]}…)"
    assert [rule.message for rule in answer.rules if rule.rule == "attestation"] == [told]
    assert answer.evidence == [added.digest]
    (moved,) = maker.audit.list(action="channel.promote", limit=1).items
    assert moved.after["evidence"] == [told]


def test_what_the_server_signs_names_what_it_rests_on(maker, others, local_registry):
    asks(maker, attestations=[{"type": PROVENANCE, "from": key_of("builder")}])
    added = others.attests("builder", V1)
    registry = replace(local_registry.registry, signer=worker_key("a server"))
    ada = rows.caller(registry.engine)
    line = LineRef.parse(LINE)

    answer = check_gate(registry, ada, Ref.parse(V1), "dev")
    move_channel(registry, ada, line, "dev", ChannelMove(kind="promote", version=1), seen=0)

    kept = show_summary(registry, ada, line, "dev", 1).envelope
    bound = {"uri": f"urn:deltareg:evidence:{added.digest}", "digest": {"sha256": added.digest[7:]}}
    for envelope in (answer.vsa, kept):
        predicate = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["predicate"]
        assert bound in predicate["inputAttestations"]
        assert predicate["verificationResult"] == "PASSED"


def test_a_metric_counts_by_whose_word_it_is(maker, others):
    asks(maker, metrics=[{"name": "mmlu/acc", "at_least": 0.6, "from": key_of("lab")}])

    others.reports(V1, mmlu__acc=0.9)
    assert "what maker, unsigned says of it does not count" in unmet(maker)["metric"].message
    others.measures("eve", V1, mmlu__acc=0.9)
    assert "metric" in unmet(maker)
    others.measures("lab", V1, mmlu__acc=0.4)
    with pytest.raises(GateFailed, match=rf"is 0.4, says key {public('lab').keyid[:12]}"):
        maker.promote(V1, "dev")
    others.measures("lab", V1, mmlu__acc=0.7)

    assert unmet(maker) == {}
    maker.promote(V1, "dev")
    others.measures("lab", V1, mmlu__acc=0.5)
    (row,) = maker.audit.list(action="channel.unfit", limit=5).items
    assert (row.subject, "is 0.5, says key" in row.after["because"]) == (f"{LINE}@dev", True)
    (unfit,) = maker.channels.show(*DEV).unfit
    assert (unfit.rule, "is 0.5, says key" in unfit.message) == ("refuted", True)


def test_what_lm_eval_wrote_counts_as_the_word_of_whoever_brings_it(maker, others):
    asks(maker, metrics=[{"name": "series/acc", "at_least": 0.2, "from": "anyone"}])
    assert unmet(maker)["metric"].message == "nobody has reported series/acc of team/lora:v1"

    added = others.brings(V1, WRITTEN.read_bytes())

    (rule,) = [rule for rule in maker.gate(V1, "dev").rules if rule.rule == "metric"]
    assert f"is 0.2833333333333333, says maker, unsigned ({added.digest[:19]}" in rule.message
    assert maker.evidence.show(V1, added.digest[:12]).body == WRITTEN.read_text()
    (listed,) = maker.evidence.list(V1)
    assert (listed, listed.signed_by, listed.said_by) == (added, "", "maker, unsigned")
    (row,) = maker.audit.list(action="evaluation.add", limit=5).items
    assert (row.actor, row.after["reported_by"], row.after["digest"]) == ("maker", "maker, unsigned", added.digest)


def test_the_same_person_takes_back_with_a_newer_word_and_two_must_agree(maker, others, local_registry, tmp_path):
    asks(maker, metrics=[{"name": "ppl", "at_most": 12, "from": "anyone"}])
    (tmp_path / "ben").mkdir()
    ben = OtherSystem(local_registry.client(("read", "push"), principal="ben"), tmp_path / "ben")

    first = others.reports(V1, ppl=20)
    others.reports(V1, ppl=9)
    assert unmet(maker) == {}
    assert others.reports(V1, ppl=20).digest == first.digest, (
        "what was said before may be said again, and is the newest"
    )
    assert "refuted" in unmet(maker)
    others.reports(V1, ppl=9)
    ben.reports(V1, ppl=13)
    assert unmet(maker)["refuted"].message.startswith("ppl of team/lora:v1 is 13, says ben, unsigned")
    with pytest.raises(Forbidden, match="ben brought it"):
        local_registry.client(("read", "push"), principal="cleo").evidence.withdraw(
            V1, ben.client.evidence.list(V1)[-1].digest, reason="I do not like it"
        )
    withdrawn = ben.client.evidence.withdraw(V1, ben.client.evidence.list(V1)[-1].digest, reason="wrong split")

    assert withdrawn.ignored == "withdrawn: wrong split"
    assert unmet(maker) == {}
    (row,) = maker.audit.list(action="evaluation.withdraw", limit=5).items
    assert (row.actor, row.after["reason"]) == ("ben", "wrong split")


def test_an_admin_of_the_line_withdraws_anybodys_and_nobody_what_is_signed(maker, local_registry, tmp_path):
    ben = OtherSystem(local_registry.client(("read", "push"), principal="ben"), tmp_path)
    added, signed = ben.reports(V1, ppl=13), ben.measures("lab", V1, ppl=13)

    maker.evidence.withdraw(V1, added.digest, reason="not his line")

    assert [one.ignored for one in maker.evidence.list(V1)] == ["withdrawn: not his line", ""]
    with pytest.raises(InvalidInput, match="signed it, so it is not withdrawn"):
        maker.evidence.withdraw(V1, signed.digest, reason="x")
    with pytest.raises(NotFound):
        maker.evidence.withdraw(V1, "0" * 64, reason="x")


def test_a_test_result_that_failed_opens_nothing(maker, others):
    asks(maker, attestations=[{"type": TEST_RESULT, "from": key_of("ci")}])
    for result in ("FAILED", "failed", ["PASSED"], None):
        others.attests("ci", V1, kind=TEST_RESULT, predicate={"result": result, "n": str(result)})
        assert "did not pass" in unmet(maker)["refuted"].message
    others.attests("ci", V1, kind=TEST_RESULT, predicate={"result": "PASSED"})

    assert unmet(maker) == {}


def test_an_old_word_is_not_made_the_newest_by_another_spelling(maker, others):
    asks(maker, attestations=[{"type": TEST_RESULT, "from": key_of("ci")}])
    good = attest("ci", [manifest_of(maker, V1)], kind=TEST_RESULT, predicate={"result": "PASSED"})
    first = others.brings(V1, good, key="ci")
    others.attests("ci", V1, kind=TEST_RESULT, predicate={"result": "FAILED"})

    for spelling in (good, good + b" \n", json.dumps(json.loads(good), indent=2).encode(), _other_keyid(good)):
        assert others.brings(V1, spelling, key="ci").digest == first.digest

    assert "refuted" in unmet(maker)
    assert len(maker.evidence.list(V1)) == 2


def _other_keyid(envelope):
    fields = json.loads(envelope)
    fields["signatures"][0]["keyid"] = "another"
    return json.dumps(fields).encode()


def test_the_weights_alone_are_no_version(maker, others, tmp_path):
    """Another scale beside the same weights is another delta, and was not measured."""
    asks(maker, metrics=[{"name": "mmlu/acc", "at_least": 0.6, "from": key_of("lab")}])
    louder = shutil.copytree(DELTAS / "lora", tmp_path / "louder")
    config = json.loads((louder / "adapter_config.json").read_text())
    (louder / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 64 * config["lora_alpha"]}))
    maker.push(louder, LINE, base="tinyllama", golden=False)
    digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in (DELTAS / "lora").iterdir()}
    weights, settings = digests["adapter_model.safetensors"], digests["adapter_config.json"]

    for ref in (V1, V2):
        added = others.brings(ref, measure("lab", [weights], mmlu__acc=0.9), key="lab")
        assert added.ignored == "it is about the weights alone"
        assert "reports it of the weights alone" in unmet(maker, ref)["metric"].message
    both = measure("lab", [weights, settings], mmlu__acc=0.9)
    with pytest.raises(BadSignature, match="which is not in this version"):
        others.brings(V2, both, key="lab")
    others.brings(V1, both, key="lab")

    assert (unmet(maker, V1), set(unmet(maker, V2))) == ({}, {"metric", "proven"})


def test_evidence_of_another_version_or_that_was_changed_is_refused(maker, others):
    maker.push(DELTAS / "lora_v2", LINE, base="tinyllama", golden=False)
    of_v2 = measure("lab", [manifest_of(maker, V2)], mmlu__acc=0.9)
    changed = json.loads(measure("lab", [manifest_of(maker, V1)], mmlu__acc=0.1))
    payload = base64.b64decode(changed["payload"]).replace(b"0.1", b"0.9")
    changed["payload"] = base64.b64encode(payload).decode()

    for raw, why in ((of_v2, "which is not in this version"), (json.dumps(changed).encode(), "has not signed")):
        with pytest.raises(BadSignature, match=why):
            others.brings(V1, raw, key="lab")

    assert list(maker.evidence.list(V1)) == []


def test_a_revoked_signer_says_nothing_any_more(maker, others):
    asks(maker, metrics=[{"name": "mmlu/acc", "at_least": 0.6, "from": key_of("lab")}])
    others.measures("lab", V1, mmlu__acc=0.9)
    assert unmet(maker) == {}

    maker.signatures.revoke(public("lab").keyid, reason="stolen")

    assert "is revoked: stolen" in unmet(maker)["metric"].message
    assert maker.evidence.list(V1)[0].ignored == "its signer is revoked: stolen"
    with pytest.raises(InvalidInput, match=r"metrics\[0\].from: key .* is revoked: stolen"):
        asks(maker, metrics=[{"name": "mmlu/acc", "at_least": 0.5, "from": key_of("lab")}])


def test_the_card_that_counts_lies_among_the_versions_files(maker, tmp_path):
    asks(maker, licences=["apache-2.0", "mit"], datasets=["my-org/*"])
    assert "has no card" in unmet(maker)["licence"].message
    cards = {
        "license: MIT\ndatasets: [my-org/a]": set(),
        "license: other\ndatasets: [my-org/a, leaked]": {"licence", "dataset"},
        f"license: mit\ndatasets: [{', '.join(f'my-org/{n}' for n in range(70))}, leaked]": {"licence", "dataset"},
        "license: mit\ntags: {a: b}\ndatasets: my-org/a\nmodel-index: nothing": set(),
    }

    for number, (front, lacks) in enumerate(cards.items()):
        folder = shutil.copytree(DELTAS / "lora", tmp_path / f"card-{number}")
        (folder / "README.md").write_text(f"---\n{front}\n---\n# A card\n")
        ref = maker.push(folder, LINE, base="tinyllama", golden=False).version.ref
        assert set(unmet(maker, ref)) - {"proven"} == lacks, front
        maker.versions.edit(ref, message="license: mit")
        maker.versions.label(ref, {"license": "mit", "datasets": "my-org.a"})
        assert set(unmet(maker, ref)) - {"proven"} == lacks, "only another version has another card"

    with pytest.raises(Blocked, match="names the licence other; allowed is apache-"):
        maker.promote(f"{LINE}:v3", "dev")


def test_who_may_not_push_says_nothing_and_takes_nothing_back(maker, others, local_registry):
    digest = others.reports(V1, ppl=1).digest
    path = "/deltas/team/lora/versions/1"

    for scope, is_refused in (("read", True), ("promote", True), ("verify", True), ("push", False)):
        http = local_registry.http(local_registry.token(scope, principal=f"only-{scope}"))
        said = http.post(f"{path}/evaluations", json={"body": '{"metrics": {"a": 1}}'})
        withdrawn = http.post(f"{path}/evaluations/{digest}:withdraw", json={"reason": "x"})
        assert (said.status_code == 403) is is_refused, scope
        assert withdrawn.status_code == 403, scope
    assert [one.ignored for one in maker.evidence.list(V1)] == ["", ""]


def test_what_is_no_evaluation_is_refused_by_the_server_too(maker, local_registry):
    http = local_registry.http(local_registry.token("read", "push"))
    bodies = {
        '{"metrics": {"a": NaN}}': "NaN",
        '{"metrics": {"a": 1e999}}': "larger than any number",
        '{"metrics": {"a": 1, "a": 2}}': "twice",
        '{"metrics": {"a": "1"}}': "no finite number",
        "[1]": "start with {",
        '{"a": ' * 40 + "1" + "}" * 40: "nested deeper",
    }

    for body, told in bodies.items():
        answer = http.post("/deltas/team/lora/versions/1/evaluations", json={"body": body})
        assert (answer.status_code, told in answer.text) == (422, True), answer.text

    assert list(maker.evidence.list(V1)) == []


def test_what_is_too_large_or_too_much_is_refused(maker, others, local_registry, monkeypatch, tmp_path):
    monkeypatch.setattr(service, "MOST", 4)
    monkeypatch.setattr(service, "OF_OTHERS", 2)
    (tmp_path / "ben").mkdir()
    ben = OtherSystem(local_registry.client(("read", "push"), principal="ben"), tmp_path / "ben")
    http = local_registry.http(local_registry.token("read", "push"))
    huge = json.dumps({"metrics": {"a": 1}, "samples": "x" * (1 << 20)})

    with pytest.raises(InvalidInput, match="more than 1 MiB"):
        others.brings(V1, huge.encode())
    answer = http.post("/deltas/team/lora/versions/1/evaluations", json={"body": huge})
    assert answer.status_code in {413, 422}
    for number in range(2):
        ben.reports(V1, a=number)
    with pytest.raises(Conflict, match="the rest is for whose version it is"):
        ben.reports(V1, a=2)
    for number in range(2):
        others.reports(V1, a=number)
    with pytest.raises(Conflict, match="has 4 evaluations already"):
        others.reports(V1, a=2)

    assert len(maker.evidence.list(V1)) == 4


def test_an_evaluation_names_one_version_and_nothing_is_said_of_a_deleted_one(maker, others):
    with pytest.raises(InvalidInput, match="no digest in it says which version") as refused:
        others.reports(LINE, a=1)
    assert refused.value.fix == "name one: team/lora:v3"
    with pytest.raises(InvalidInput, match="is a statement that nobody signed"):
        others.brings(V1, {"_type": "x", "predicateType": "y", "subject": [], "predicate": {}})
    with pytest.raises(InvalidInput, match="no key verifies it"):
        others.brings(V1, {"metrics": {"a": 1}}, key="lab")
    with pytest.raises(InvalidInput, match="has no metrics"):
        others.brings(V1, {"a": 1})
    with pytest.raises(BadSignature, match="a is no finite number"):
        others.brings(
            V1, attest("lab", [manifest_of(maker, V1)], kind=EVALUATION, predicate={"metrics": {"a": "x"}}), key="lab"
        )
    maker.push(DELTAS / "lora_v2", LINE, base="tinyllama", golden=False)
    maker.versions.delete(V2)
    with pytest.raises(Blocked, match="is deleted"):
        others.reports(V2, a=1)
