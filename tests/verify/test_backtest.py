"""A suite over versions and faults, in this process: what is caught and missed, how it ends."""

import json
from dataclasses import replace

import pytest

from deltareg.client.resources.suites import read_suite_file
from deltareg.errors import InvalidInput
from deltareg_verify.workbench.backtest import BacktestRequest, BacktestVersion, run
from tests.verify.bench import SAMPLES

pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")

SUITE = """\
name: mine
sets: {texts: {file: texts.txt}}
checks:
  - digests
  - accounting
  - finite
  - norm_ratio
  - idle
  - effect
  - check: perplexity
    name: kept
    probes: texts
    against: promoted
    parameters: {least_samples: 2, undecided: fail}
    threshold: {min_relative_change: -0.5, greater_is_better: false}
"""
DELTAS = SAMPLES / "deltas" / "tinyllama"


@pytest.fixture
def request_(tmp_path):
    """Ask for two versions, and for one fault that is caught and one that changes little."""
    (tmp_path / "texts.txt").write_text("".join(f"some text number {n}\n" for n in range(4)))
    (tmp_path / "mine.yaml").write_text(SUITE)
    document = tmp_path / "suite.json"
    document.write_bytes(read_suite_file(tmp_path / "mine.yaml")[0].document)
    versions = (BacktestVersion("me/chat:v1", DELTAS / "lora"), BacktestVersion("me/chat:v2", DELTAS / "lora_v2"))
    return BacktestRequest(
        SAMPLES / "bases" / "tinyllama",
        document,
        tmp_path,
        versions,
        tmp_path / "cache",
        faults=("never-trained", "wrong-dtype", "other-tokenizer"),
        device="cpu",
    )


def tried(request, *, say=lambda _: None):
    return run(request, say=say)


def test_faults_are_caught_missed_or_do_not_apply(request_):
    told: list = []

    found = tried(BacktestRequest.decode(request_.encode()), say=told.append)

    rows = {row["name"]: row for row in found["items"]}
    assert found["items"][0]["name"] == "me/chat:v2"
    assert rows["me/chat:v1"]["verdict"] == rows["me/chat:v2"]["verdict"] == "pass"
    assert (rows["never-trained"]["verdict"], rows["never-trained"]["caught_by"]) == ("fail", ["idle"])
    assert (rows["wrong-dtype"]["verdict"], rows["wrong-dtype"]["caught_by"]) == ("pass", [])
    assert rows["other-tokenizer"]["verdict"] == "n/a"
    (measured,) = rows["wrong-dtype"]["measures"]
    assert measured["check"] == "kept"
    assert abs(measured["loses"]) < 0.05
    assert [one["done"] for one in told] == [1, 2, 3, 4, 5]
    assert found["ended"] == "done"
    assert json.dumps(found)


def test_out_of_time_and_interrupted_it_gives_what_it_has(request_):
    late = tried(replace(request_, seconds=0.0), say=lambda _: None)

    def interrupt(step):
        if step["done"] == 2:
            raise KeyboardInterrupt

    stopped = tried(request_, say=interrupt)

    assert (late["ended"], len(late["items"])) == ("out of time", 1)
    assert (stopped["ended"], len(stopped["items"])) == ("interrupted", 2)


def test_a_fault_that_does_not_exist_is_refused_with_those_that_do(request_):
    with pytest.raises(InvalidInput, match="no fault 'gremlins'") as error:
        tried(replace(request_, faults=("gremlins",)), say=lambda _: None)

    assert "layers-swapped" in str(error.value.fix)


def test_what_push_refuses_is_caught_by_push(request_, tmp_path):
    versions = (BacktestVersion("me/chat:v1", SAMPLES / "bad" / "nan"), *request_.versions[1:])

    found = tried(replace(request_, versions=versions, faults=("wrong-dtype",)), say=lambda _: None)

    row = next(one for one in found["items"] if one["name"] == "me/chat:v1")
    assert (row["verdict"], row["caught_by"]) == ("refused", ["push"])


def test_what_a_suite_pins_is_compared_with_as_far_as_it_is_there(request_, tmp_path):
    pinned = SUITE.replace("against: promoted", "against: me/chat:v1")
    (tmp_path / "mine.yaml").write_text(pinned.replace("name: kept", "name: pinned"))
    request_.suite.write_bytes(read_suite_file(tmp_path / "mine.yaml")[0].document)

    found = tried(replace(request_, faults=("never-trained",)), say=lambda _: None)

    newest = found["items"][0]
    (check,) = (one for one in newest["checks"] if one["name"] == "pinned")
    assert newest["verdict"] == "pass"
    assert check["baseline"] is not None


def test_a_training_on_the_users_rows_is_judged_on_the_others(request_, tmp_path):
    (tmp_path / "texts.txt").write_text("".join(f"Some Text of Number {n} that stays\n" for n in range(24)))

    found = tried(replace(request_, faults=("lowercased",)))

    rows = {row["name"]: row for row in found["items"]}
    harm = rows["lowercased"]["harm"]
    assert harm["on"] == "texts"
    assert harm["is_material"] is (harm["value"] >= 0.05)  # the sample has never learnt these texts
    (kept,) = (one for one in rows["lowercased"]["checks"] if one["name"] == "kept")
    assert kept["comparison"]["n"] == 16
    assert json.dumps(found)


def test_where_nothing_can_be_trained_the_row_says_why(request_):
    found = tried(replace(request_, faults=("forgetting",)))

    row = next(one for one in found["items"] if one["is_fault"])
    assert (row["verdict"], row["caught_by"]) == ("n/a", [])
    assert row["why"] == "the suite has no 12 rows to learn from: --training"


def test_rows_of_ones_own_are_trained_on_and_all_of_the_suite_judges(request_, tmp_path):
    (tmp_path / "mine.txt").write_text("".join(f"Other Words of Row {n}\n" for n in range(12)))

    found = tried(replace(request_, faults=("lowercased",), training=tmp_path / "mine.txt"))

    row = next(one for one in found["items"] if one["is_fault"])
    (kept,) = (one for one in row["checks"] if one["name"] == "kept")
    assert kept["comparison"]["n"] == 4


def test_what_passes_says_whether_golden_outputs_would_stop_it(request_):
    found = tried(replace(request_, faults=("wrong-dtype", "never-trained")))

    rows = {row["name"]: row for row in found["items"]}
    assert rows["wrong-dtype"]["is_seen_by_golden"] is True
    assert "is_seen_by_golden" not in rows["never-trained"]
    assert found["has_golden"] is False
