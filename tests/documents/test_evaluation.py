"""Evaluations of other systems: what lm-evaluation-harness wrote is read, and no number is made up."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.documents.evaluation import MOST_METRICS, read_evaluation
from deltareg.errors import InvalidInput
from tests.fixtures.registries import SAMPLES

WRITTEN = SAMPLES / "evaluations" / "lm_eval.json"
NAMES = st.text("abc/_-0123", min_size=1, max_size=9)


def test_what_lm_eval_wrote_is_read_by_task_and_metric():
    written = json.loads(Path(WRITTEN).read_text())

    metrics = read_evaluation(written)

    series = written["results"]["series"]
    assert metrics == {"series/acc": series["acc,none"], "series/acc_norm": series["acc_norm,none"]}


def test_a_filter_stands_behind_the_metric_unless_it_is_none():
    found = {"exact_match,strict-match": 0.25, "exact_match_stderr,strict-match": 0.1, "f1": 1, "alias": "- gsm8k"}

    metrics = read_evaluation({"results": {"gsm8k": found | {"f1_stderr": "N/A", "ok,none": True}}})

    assert metrics == {"gsm8k/exact_match/strict-match": 0.25, "gsm8k/f1": 1.0}


@given(st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_plain_metrics_are_read_as_they_are(metrics):
    assert read_evaluation({"metrics": metrics, "date": 7}) == metrics


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "`metrics` or `results`"),
        ({"metrics": {"a": 1}, "results": {"a": {"b": 1}}}, "one of them"),
        ({"metrics": {}}, "it has 0 metrics"),
        ({"metrics": {f"m{n}": 1 for n in range(MOST_METRICS + 1)}}, f"1 to {MOST_METRICS} are read"),
        ({"metrics": [1]}, "no names and numbers"),
        ({"metrics": {"a": "0.9"}}, "a is no finite number"),
        ({"metrics": {"a": True}}, "a is no finite number"),
        ({"metrics": {"a": None}}, "a is no finite number"),
        ({"metrics": {"a": float("nan")}}, "a is no finite number"),
        ({"metrics": {"a": json.loads("1e999")}}, "a is no finite number"),
        ({"metrics": {"a": 10**400}}, "a is no finite number"),
        ({"results": {"t": {"acc,none": -float("inf")}}}, "t/acc is no finite number"),
        ({"metrics": {"": 1}}, "a metric has no name"),
        ({"metrics": {"a\nb": 1}}, "a metric has no name"),
        ({"metrics": {"a" * 201: 1}}, "a metric has no name"),
        ({"results": {"t": {"acc": 1, "acc,none": 0.1}}}, "says t/acc twice"),
        ({"results": {"a/b": {"c": 1}, "a": {"b/c": 0.1}}}, "says a/b/c twice"),
        ({"results": 7}, "results are no tasks"),
        ({"results": {"t": 7}}, "results of t are no metrics"),
        ({"results": {"t": {"alias": "t"}}}, "it has 0 metrics"),
    ],
)
def test_what_says_nothing_clear_is_refused(fields, why):
    with pytest.raises(InvalidInput) as refused:
        read_evaluation(fields)

    assert why in refused.value.message
    assert "results.json" in refused.value.fix
