"""Pods that are workers by what their cluster says of them, with a key of their own and a token for an hour."""

import json
from dataclasses import replace

import pytest

from deltareg.client import Client, ClientConfig, WorkerClient
from deltareg.client.assertions import PodSource
from deltareg.db.access.principals import end_tokens_of
from deltareg.db.session import write
from deltareg.errors import AssertionRefused, Forbidden, InvalidInput, Unauthenticated
from deltareg.service.access import keys
from deltareg.service.access.exchange import worker_trusts
from deltareg.signing.keys import SigningKey
from deltareg.wire import API, KeyEnrol, KeyRevoke, LeaseRequest, PodEnrol, WorkerTrustAdd
from tests.exchange.issuer import documented
from tests.fixtures.registries import serving

AUDIENCE = "https://registry.example"
ACCOUNT = "deltareg/reg-worker-cpu"
POD = "pod-1-reg-worker-cpu-0"
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
CLUSTER = documented("kubernetes")["kubernetes.io"]


def trust(team, by=None, **changed):
    asked = {"issuer": team.issuer.url, "audience": AUDIENCE, "account": ACCOUNT} | changed
    return worker_trusts.add_worker_trust(team.registry, by or team.root, WorkerTrustAdd(**asked))


def enrol(team, key=KEY, signer=None, assertion=None, **changed):
    """Ask as a pod does, and give the answer."""
    text = assertion or team.issuer.sign(documented("kubernetes", **changed))
    asked = PodEnrol(assertion=text, key=str(key.public), signature="")
    body = asked.model_dump() | {"signature": (signer or key).sign(asked.signed_bytes).hex()}
    return team.http.post(f"{API}/workers:enrol", json=body)


def why(answer):
    assert answer.status_code == 400, answer.text
    return answer.json()["detail"]


def found(team):
    return {key.keyid: key for key in keys.list_keys(team.registry, team.root).items}


def test_a_pod_is_a_worker_by_its_name_on_the_node_that_its_cluster_names(team):
    trust(team)

    given = enrol(team).json()

    who = team.of(given["access_token"])
    key = found(team)[KEY.keyid]
    assert (given["principal"], given["expires_in"]) == (POD, 3600)
    assert (who.principal, who.is_worker) == (POD, True)
    assert (key.name, key.host, key.state) == (POD, "rack-7", "live")


def test_a_worker_in_a_pod_gets_its_token_by_itself_and_takes_runs(small_team, tmp_path):
    with serving(small_team.app) as url:
        trust(small_team, audience=url)
        file = tmp_path / "token"
        file.write_text(small_team.issuer.sign(documented("kubernetes", aud=[url])))
        config = ClientConfig(url, cache_dir=tmp_path / "cache", retries=0, pod=PodSource(file, KEY))
        with WorkerClient(config, key=KEY, host="rack-7") as worker:
            leased = worker.lease(LeaseRequest(worker="w", labels={"device": "cpu"}))
            with write(small_team.registry.engine) as conn:  # a token that the server knows no more is asked for anew
                end_tokens_of(conn, POD)
            name = worker.whoami().principal
        with (
            Client(replace(config, pod=PodSource(file, OTHER))) as thief,
            pytest.raises(AssertionRefused, match="another key"),
        ):
            thief.whoami()

    assert (leased, name) == (None, POD)


def test_a_container_that_starts_again_uses_its_assertion_again(small_team):
    trust(small_team)
    assertion = small_team.issuer.sign(documented("kubernetes"))

    answers = [enrol(small_team, assertion=assertion) for _ in range(2)]
    stolen = enrol(small_team, OTHER, assertion=assertion)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert "another key" in why(stolen)
    assert len(found(small_team)) == 1


def test_a_pod_that_was_made_anew_has_a_new_key_and_the_old_token_ends(small_team):
    trust(small_team)
    before = enrol(small_team).json()["access_token"]

    after = enrol(small_team, OTHER).json()["access_token"]

    assert small_team.of(after).principal == POD
    with pytest.raises(Unauthenticated):
        small_team.of(before)
    assert {key.state for key in found(small_team).values()} == {"live", "retired"}
    assert "has ended" in why(enrol(small_team))  # nobody brings the first key back


MUTATIONS = {
    "another account": {"sub": "system:serviceaccount:deltareg:other"},
    "another account twice": {
        "sub": "system:serviceaccount:deltareg:other",
        "kubernetes.io": CLUSTER | {"serviceaccount": {"name": "other"}},
    },
    "another namespace": {
        "sub": "system:serviceaccount:evil:reg-worker-cpu",
        "kubernetes.io": CLUSTER | {"namespace": "evil"},
    },
    "no pod": {"kubernetes.io": {name: part for name, part in CLUSTER.items() if name != "pod"}},
    "a pod by number": {"kubernetes.io": CLUSTER | {"pod": {"name": 7}}},
    "nothing of a cluster": {"kubernetes.io": None},
    "another audience": {"aud": ["https://kubernetes.default.svc"]},
    "two audiences": {"aud": [AUDIENCE, "https://kubernetes.default.svc"]},
    "a list of lists": {"aud": [[AUDIENCE]]},
    "long ago": {"iat": 1, "exp": 3601},
    "for a year": {"exp": documented("kubernetes")["iat"] + 31_536_000},
}


@pytest.mark.parametrize("changed", MUTATIONS.values(), ids=MUTATIONS)
def test_what_is_nearly_right_is_refused(small_team, changed):
    trust(small_team)

    assert why(enrol(small_team, **changed))
    assert found(small_team) == {}


def test_a_key_that_one_does_not_hold_is_not_enrolled(small_team):
    trust(small_team)

    assert "not signed with its key" in why(enrol(small_team, KEY, signer=OTHER))
    assert small_team.http.post(f"{API}/workers:enrol", json={"assertion": "x", "key": "y"}).status_code == 422


def test_whose_trust_ended_or_whose_key_was_revoked_is_no_worker(small_team):
    made = trust(small_team)
    first = enrol(small_team).json()["access_token"]
    keys.revoke_key(small_team.registry, small_team.root, KEY.keyid, KeyRevoke(reason="stolen"))
    revoked = enrol(small_team)
    second = enrol(small_team, OTHER).json()["access_token"]
    worker_trusts.end_worker_trust(small_team.registry, small_team.root, made.id)

    assert "has ended" in why(revoked)
    assert "no workers of the issuer" in why(enrol(small_team, OTHER))
    for secret in (first, second):
        with pytest.raises(Unauthenticated):
            small_team.of(secret)
    assert worker_trusts.list_worker_trusts(small_team.registry, small_team.root).items == []


def test_a_worker_that_an_admin_enrolled_is_not_taken_over(small_team):
    trust(small_team)
    theirs = SigningKey.generate()
    keys.enrol_worker(small_team.registry, small_team.root, KeyEnrol(name=POD, key=str(theirs.public)))

    assert "an admin has enrolled" in why(enrol(small_team))
    assert found(small_team)[theirs.keyid].state == "live"


def test_only_admins_say_whose_pods_are_workers(small_team):
    with pytest.raises(Forbidden):
        trust(small_team, by=small_team.olga)
    with pytest.raises(InvalidInput, match="does not ask the issuer"):
        trust(small_team, issuer="https://elsewhere.example")
    with pytest.raises(InvalidInput, match="no service account"):
        trust(small_team, account="deltareg/*")
    assert trust(small_team).id == trust(small_team).id
    assert json.loads(trust(small_team).model_dump_json())["workers"] == "pod-1-*"
