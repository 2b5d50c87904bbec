"""Pushing suites over the API, on both databases: versions, files, what verdicts are bound to."""

import base64
import json

import pytest
import sqlalchemy as sa

from deltareg.client.resources.suites import read_suite_file
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.gate.verifier import VERIFIER
from deltareg.suites.suite import read_suite
from deltareg.wire import CheckResult, LeaseRequest, SuiteInfo, SuitePush, VerdictReport
from tests.fixtures.registries import SAMPLES

BUILT_IN = ["deep", "fast", "golden", "golden-in-training", "smoke", "static"]
CHECKS = "checks: [digests, effect, {check: perplexity, probes: code}]\n"
SUITE = f"name: mine\nsets: {{code: {{file: code.txt}}}}\n{CHECKS}"


@pytest.fixture
def client(registry_server):
    return registry_server.client(("read", "push", "promote", "admin"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "code.txt").write_text("import os\nimport sys\n")
    (tmp_path / "mine.yaml").write_text(SUITE)
    return tmp_path


def test_each_push_makes_a_version_and_the_same_again_makes_none(client, folder):
    first = client.suites.push(folder / "mine.yaml")
    again = client.suites.push(folder / "mine.yaml")
    (folder / "code.txt").write_text("import re\n")
    second = client.suites.push(folder / "mine.yaml")

    assert (first.version, first.created) == (1, True)
    assert (again.version, again.created, again.digest) == (1, False, first.digest)
    assert (second.version, second.created) == (2, True)
    assert second.digest != first.digest
    assert [one.version for one in client.suites.versions("mine", cursor=None, limit=5).items] == [2, 1]
    assert client.suites.show("mine").version == 2
    assert client.suites.show("mine", digest=first.digest).version == 1
    assert [one.name for one in client.suites.list().items] == [*BUILT_IN, "mine"]


def test_its_files_come_back_by_digest(client, folder):
    pushed = client.suites.push(folder / "mine.yaml")

    suite = client.suites.fetch("mine", pushed.digest)

    assert client.suites.fetch_file(suite.sets["code"].digest) == b"import os\nimport sys\n"
    assert read_suite(client.suites.as_yaml(client.suites.show("mine")).encode()) == suite


def test_what_the_client_would_not_send_the_server_does_not_take(client, folder):
    document = client.suites.look(folder / "mine.yaml")
    text = SUITE.replace("code.txt", "code.txt, digest: 'sha256:" + "0" * 64 + "'")

    with pytest.raises(Conflict, match=r"does not have code\.txt"):
        client._api.post("/suites", SuitePush(document=text), type(document))
    with pytest.raises(InvalidInput, match="has no digest"):
        client._api.post("/suites", SuitePush(document=SUITE), type(document))
    with pytest.raises(InvalidInput, match="built-in"):
        client._api.post("/suites", SuitePush(document="name: smoke\nchecks: [effect]"), type(document))
    stray = {"x": base64.b64encode(b"stray").decode()}
    with pytest.raises(InvalidInput, match="names no file"):
        client._api.post("/suites", SuitePush(document=text, files=stray), type(document))
    for odd in ("§", "a", "a b c"):
        with pytest.raises(InvalidInput, match="no base64"):
            client._api.post("/suites", SuitePush(document=text, files={"x": odd}), type(document))
    assert [one.name for one in client.suites.list().items] == BUILT_IN


def test_a_suite_that_was_changed_meanwhile_is_not_overwritten(registry_server, client):
    http = registry_server.http(registry_server.admin_token)

    def push(seed, seen):
        body = {"document": f"name: told\nseed: {seed}\nchecks: [effect]\n"}
        return http.post("/suites", json=body, headers={} if seen is None else {"If-Match": seen})

    first = push(1, None).json()
    unseen, wrong = push(2, '"sha256:0"'), push(2, "*")
    second = push(2, f'"{first["digest"]}"')
    again = push(2, f'"{first["digest"]}"')  # the answer to the one before may have been lost
    late = push(3, f'"{first["digest"]}"')

    assert (unseen.status_code, wrong.status_code, late.status_code) == (412, 412, 412)
    assert late.json()["code"] == "stale_revision"
    assert (second.json()["version"], second.json()["created"]) == (2, True)
    assert (again.json()["version"], again.json()["created"]) == (2, False)
    assert client.suites.show("told").version == 2


def test_only_who_may_administer_pushes_suites(registry_server, folder):
    with pytest.raises(Forbidden, match="'admin'"):
        registry_server.client(("read", "push", "promote")).suites.push(folder / "mine.yaml")


def test_a_suite_that_does_not_exist_is_told_with_those_that_do(client):
    with pytest.raises(NotFound) as told:
        client.suites.show("never")

    assert told.value.fix == f"suites: {', '.join(BUILT_IN)}"


def test_too_few_samples_for_a_threshold_are_refused_at_push(client, folder):
    asks = "{check: perplexity, probes: code, threshold: {threshold: 9, greater_is_better: false}}"
    (folder / "mine.yaml").write_text(SUITE.replace("{check: perplexity, probes: code}", asks))

    with pytest.raises(InvalidInput, match="has 2 samples, too few for a threshold"):
        client.suites.push(folder / "mine.yaml")


TASK = """\
task: even
dataset_path: json
dataset_kwargs: {data_files: {test: even.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Is {{number}} even?"
doc_to_choice: ["no", "yes"]
doc_to_target: label
"""
ASKED = "{check: lm_eval, probes: even, parameters: {metric: METRIC}, threshold: {threshold: 0.5}}"


@pytest.fixture
def asking(tmp_path):
    """Write a suite that asks a task of so many rows for a metric."""

    def write(*, rows=30, metric="acc", task=TASK):
        lines = [f'{{"number": {n}, "label": {1 - n % 2}}}\n' for n in range(rows)]
        (tmp_path / "even.jsonl").write_text("".join(lines))
        (tmp_path / "even.yaml").write_text(task)
        check = ASKED.replace("METRIC", metric)
        sets = "sets: {even: {file: even.yaml}}"
        (tmp_path / "asks.yaml").write_text(f"name: asks\n{sets}\nchecks: [effect, {check}]\n")
        return tmp_path / "asks.yaml"

    return write


def test_a_task_of_lm_eval_brings_the_data_that_it_names(client, asking):
    pushed = client.suites.push(asking())
    again = client.suites.push(asking())
    more = client.suites.push(asking(rows=31))

    assert (again.digest, again.created) == (pushed.digest, False)
    assert more.digest != pushed.digest
    suite = client.suites.fetch("asks", pushed.digest)
    files = suite.sets["even"].files
    assert list(files) == ["even.yaml", "even.jsonl"]
    assert client.suites.fetch_file(files["even.yaml"]) == TASK.encode()
    assert client.suites.fetch_file(files["even.jsonl"]).count(b"\n") == 30
    assert read_suite(client.suites.as_yaml(client.suites.show("asks")).encode()).sets


def test_what_was_shown_is_the_same_suite_when_it_is_pushed_again(client, asking):
    path = asking()
    pushed = client.suites.push(path)

    path.write_text(client.suites.as_yaml(client.suites.show("asks")))

    assert client.suites.push(path).digest == pushed.digest
    (path.parent / "even.jsonl").write_text('{"number": 1, "label": 0}\n')
    with pytest.raises(InvalidInput, match=r"even\.jsonl is sha256:.*, the suite says sha256"):
        client.suites.push(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": 0}, "even.jsonl: has 0 rows"),
        ({"rows": 7}, "has 7 samples, too few for a threshold"),
        ({"metric": "f1"}, "even reports acc, acc_norm, not f1"),
        ({"task": f"{TASK}process_docs: !function x.y\n"}, "the tag !function"),
        ({"task": TASK.replace("json\n", "glue\n")}, "dataset_path is json"),
        ({"task": "a: ["}, "the task even.yaml is no valid YAML at line 1"),
    ],
)
def test_a_task_that_is_wrong_is_refused_at_push(client, asking, changes, said):
    with pytest.raises(InvalidInput, match=said):
        client.suites.push(asking(**changes))


def test_a_task_whose_data_is_missing_is_refused_at_push(client, asking):
    path = asking()
    (path.parent / "even.jsonl").unlink()

    with pytest.raises(NotFound, match=r"there is no file .*even\.jsonl"):
        client.suites.push(path)


def test_a_task_without_digests_of_its_data_is_not_taken(registry_server, client, asking):
    suite, files = read_suite_file(asking())
    lost = json.loads(suite.document)
    del lost["sets"]["even"]["data"]
    brought = {"even.yaml": base64.b64encode(files["even.yaml"]).decode()}
    wanted = SuitePush(document=json.dumps(lost), files=brought)

    with pytest.raises(InvalidInput, match="names data that has none"):
        client._api.post("/suites", wanted, SuiteInfo)


def test_no_suite_is_ever_changed_or_deleted_by_sql(registry_server, client, folder):
    client.suites.push(folder / "mine.yaml")
    engine = registry_server.registry.engine

    for table in (t.suites, t.suite_files, t.suite_uses):
        for change in (sa.delete(table), sa.update(table).values(id=table.c.id + 1)):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), write(engine) as conn:
                conn.execute(change)


def judge(registry_server, ref, suite, *, outcome="pass"):
    """Have a scripted worker judge a version by a suite that was pushed."""
    worker = registry_server.client(("read", "verify"), principal="worker", kind="wrk")
    run = registry_server.client(("read", "push"), principal="asker").verify(ref, suite=suite)
    while (grant := worker.lease(LeaseRequest(worker="scripted"))).run != run.id:
        pass
    found = worker.suites.fetch(grant.suite, grant.suite_digest)
    checks = [CheckResult(name=spec.name, verdict=outcome) for spec in found.checks]
    report = VerdictReport(
        fence=grant.fence,
        verdict=outcome,
        verifier=VERIFIER,
        suite_digest=grant.suite_digest,
        dtype="F32",
        seed=found.seed,
        base_evidence="shapes",
        checks=checks,
        environment={},
    )
    return worker.complete_run(grant.run, report)


def test_a_verdict_counts_while_the_suite_is_what_it_was(registry_server, client, folder):
    registry_server.line("lora_qv")
    client.suites.push(folder / "mine.yaml")

    given = judge(registry_server, "team/lora:v1", "mine")
    assert given.counts
    (folder / "mine.yaml").write_text(SUITE + "seed: 2\n")
    client.suites.push(folder / "mine.yaml")

    assert not client.verdicts.show(given.id).counts
    assert client.verify("team/lora:v1", suite="mine").verdict is None


def test_a_suite_against_the_promoted_version_is_bound_to_it(registry_server, client, folder):
    registry_server.line("lora_qv")
    against = CHECKS.replace("probes: code}", "probes: code, against: promoted}")
    (folder / "mine.yaml").write_text(SUITE.replace(CHECKS, against))
    client.suites.push(folder / "mine.yaml")

    first = judge(registry_server, "team/lora:v1", "mine")
    path = SAMPLES / "deltas" / "tinyllama" / "lora"
    client.push(path, "team/lora", base="tinyllama")
    registry_server.verified("team/lora:v2")
    client.promote("team/lora:v2", "prod")
    second = judge(registry_server, "team/lora:v1", "mine")

    assert first.compared_with == ""
    assert second.id != first.id
    assert second.compared_with == client.show("team/lora:v2").digest
