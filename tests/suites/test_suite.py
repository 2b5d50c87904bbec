"""Suites as people write them: what is filled in, what is refused and how it is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.digest import sha256_of
from deltareg.errors import InvalidInput, NotFound
from deltareg.identity.manifest import canonical_json
from deltareg.suites.suite import LookSizes, built_in, built_in_names, parse_suite, read_stored_suite, read_suite

SETS = (
    "sets: {code: {file: code.txt}, says: {text: [one, two, three]}, seen: {file: x.safetensors},\n"
    "  asks: {file: asks.yaml}}\n"
)


def read(checks, head=""):
    return read_suite(f"name: mine\n{head}{SETS}checks:\n{checks}".encode())


@pytest.mark.parametrize("name", built_in_names())
def test_a_built_in_suite_is_its_own_document(name):
    suite = built_in(name)

    assert parse_suite(suite.document) == suite
    assert suite.name == name


def test_the_built_in_ones_are_these():
    assert built_in_names() == ("deep", "fast", "golden", "golden-in-training", "smoke", "static")
    with pytest.raises(NotFound, match="no suite 'never'"):
        built_in("never")


def test_defaults_are_filled_in():
    (norm,) = read("  - norm_ratio\n").checks

    assert (norm.name, norm.check, norm.required) == ("norm_ratio", "norm_ratio", True)
    assert norm.number("fail_above") == 30


def test_what_may_change_an_outcome_changes_the_digest_and_nothing_else_does():
    plain = read("  - norm_ratio\n")

    assert read("  - {check: norm_ratio, parameters: {fail_above: 30}}\n").digest == plain.digest
    assert read("  - norm_ratio   # a note\n").digest == plain.digest
    assert read("  - {check: norm_ratio, parameters: {fail_above: 31}}\n").digest != plain.digest
    assert read("  - norm_ratio\n", "seed: 1\n").digest != plain.digest
    assert read("  - norm_ratio\n", "dtype: bf16\n").digest != plain.digest


def test_a_check_runs_on_two_sets_under_two_names():
    suite = read(
        "  - {check: perplexity, name: code, probes: code, threshold: {min_relative_change: 0.05,"
        " greater_is_better: false}}\n"
        "  - {check: perplexity, name: promoted, probes: says, against: promoted}\n"
    )

    assert [spec.name for spec in suite.checks] == ["code", "promoted"]
    assert suite.checks[0].threshold.mark(100.0) == 95.0
    assert suite.needs_promoted
    assert suite.sets["says"].texts == ("one", "two", "three")


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ("  - norm_ration\n", r"check 1: 'norm_ration' is no check; did you mean 'norm_ratio'\?"),
        ("  - {check: effect, treshold: 1}\n", "has no key 'treshold'; did you mean 'threshold'"),
        ("  - {check: effect, parameters: {min: 1}}\n", "has no key 'min'"),
        ("  - {check: effect, parameters: {min_absolute_change: low}}\n", None),
        ("  - {check: effect, threshold: {threshold: 1}}\n", "nothing that a threshold is for"),
        ("  - {check: perplexity}\n", "needs `probes`, one of the suite's sets: code, says, "),
        ("  - {check: perplexity, probes: seen}\n", "x.safetensors holds tensors"),
        ("  - {check: effect, probes: code}\n", "takes no probe set"),
        ("  - {check: latency, against: promoted}\n", "is compared with base, not with 'promoted'"),
        ("  - {check: memory, threshold: {min_absolute_change: 1}}\n", "nothing to compare"),
        ("  - {check: accuracy, probes: code, threshold: {}}\n", "has threshold, min_absolute"),
        ("  - {check: accuracy, probes: code, threshold: {threshold: .nan}}\n", "a finite number"),
        (f"  - {{check: memory, threshold: {{threshold: 1{400 * '0'}}}}}\n", "a finite number"),
        (f"  - {{check: spectral, parameters: {{fail_above: 1{400 * '0'}}}}}\n", "a finite number"),
        ('  - {check: overflow, parameters: {dtypes: "\\ud800"}}\n', "dtypes: is text"),
        ("  - {check: latency, parameters: {forwards: 1.5}}\n", "forwards: is a whole number"),
        ("  - {check: latency, parameters: {forwards: '2'}}\n", "forwards: is a whole number"),
        ("  - effect\n  - effect\n", "names 'effect' twice"),
        ("  - {check: lm_eval, probes: code, parameters: {metric: acc}}\n", "no task: .yaml"),
        ("  - {check: lm_eval, probes: asks}\n", "needs the parameter metric"),
        ("  - {check: accuracy, probes: asks}\n", "asks.yaml is a task of lm-eval"),
        ("  []\n", "a list of 1 to 100"),
        ("  - {check: effect, required: 1}\n", "true or false, not 1"),
        ("  - 7\n", "a mapping of keys"),
    ],
)
def test_a_check_that_is_wrong_is_named_with_what_would_be_right(checks, said):
    if said is None:  # a word is a word until a check reads it as a number
        assert read(checks).checks[0].parameters["min_absolute_change"] == "low"
        return
    with pytest.raises(InvalidInput, match=said):
        read(checks)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("checks: [effect]", "name: is lower-case letters"),
        ("name: Mine\nchecks: [effect]", "not 'Mine'"),
        ("name: mine", "checks: is a list"),
        ("name: mine\nchecks: [effect]\nseeds: 1", "no key 'seeds'; did you mean 'seed'"),
        ("name: mine\nchecks: [effect]\nseed: -1", "a whole number from 0 on, not -1"),
        ("name: mine\nchecks: [effect]\nseed: true", "not True"),
        ('name: mine\nchecks: [effect]\nabout: "\\ud800"', "about: is text"),
        ("name: mine\nchecks: [effect]\ndtype: int8", "one of keep, f32, bf16, f16"),
        ("name: mine\nchecks: [effect]\nprobe: {tokens: 0}", "probe.tokens: is at least 1"),
        ("name: mine\nchecks: [effect]\nsets: {a: {file: ../x.txt}}", "a name beside the suite"),
        ("name: mine\nchecks: [effect]\nsets: {a: {file: x.pkl}}", "ending in .txt"),
        ("name: mine\nchecks: [effect]\nsets: {a: {file: x.txt, data: {}}}", "only a task"),
        (
            "name: mine\nsets: {a: {file: x.jsonl}}\nchecks: [{check: reranking, probes: a,"
            " parameters: {measure: best}}]",
            "measure: is one of recall, mrr, ndcg, not 'best'",
        ),
        (
            "name: mine\nsets: {a: {file: x.safetensors}}\nchecks: [{check: similarity, probes: a}]",
            "reads texts, and x.safetensors holds tensors",
        ),
        ("name: mine\nchecks: [effect]\nsets: {a: {file: x.yaml, data: {../x: y}}}", "beside the"),
        ("name: mine\nchecks: [effect]\nsets: {a: {file: x.yaml, data: {x: null}}}", "digest is"),
        ("name: mine\nchecks: [effect]\nsets: {a: {text: []}}", "1 to 10000 texts"),
        ("name: mine\nchecks: [effect]\nsets: {a: {}}", "either `text`"),
        ("name: mine\nchecks: [effect]\nsets: {a: {file: x.txt, digest: md5}}", "digest is sha256"),
    ],
)
def test_a_suite_that_is_wrong_is_told_where(document, said):
    with pytest.raises(InvalidInput, match=said):
        read_suite(document.encode())


PLAIN = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False)
WORDS = st.text(max_size=5)
JSON = st.recursive(
    PLAIN | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)
KEYS = st.sampled_from(["name", "seed", "checks", "sets", "probe", "budget", "dtype", "about"])


@given(st.dictionaries(KEYS, JSON))
def test_whatever_stands_in_it_it_is_read_or_refused(fields):
    try:
        suite = read_suite(json.dumps({"name": "mine", "checks": ["effect"], **fields}).encode())
    except InvalidInput:
        return
    assert parse_suite(suite.document) == suite


COMPARED = """\
name: mine
sets: {{texts: {{text: [a]}}, rows: {{file: a.safetensors}}}}
checks: [{{check: {check}, probes: {probes}, {more}}}]
"""
CHANGE = "threshold: {min_absolute_change: -0.1}"


def compared(more, check="perplexity", probes="texts"):
    return read_suite(COMPARED.format(check=check, probes=probes, more=more).encode())


def test_a_suite_names_versions_to_compare_with():
    suite = compared(f"against: promoted, reference: best of 5, looks: {{first: 20}}, {CHANGE}")
    spec = suite.checks[0]

    assert (spec.against, spec.reference, spec.looks) == ("promoted", "best of 5", LookSizes(20))
    assert list(suite.references) == ["best of 5 by perplexity"]
    assert (suite.needs_promoted, suite.drifting) == (True, ("perplexity",))
    assert parse_suite(suite.document) == suite
    assert list(compared("against: me/chat:v3").references) == ["me/chat:v3"]


def test_a_suite_of_an_earlier_release_has_the_digest_that_it_had():
    document = compared(f"against: promoted, {CHANGE}").document

    assert b"looks" not in document
    assert b"reference" not in document


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("against: best of 1", "best of 2 to 100, not with 'best of 1'"),
        ("against: me/chat@prod", "NS/NAME:vN"),
        ("against: other.org/me/chat:v3", "NS/NAME:vN"),
        (f"reference: base, {CHANGE}", "stands beside `against: promoted`"),
        (f"against: promoted, reference: promoted, {CHANGE}", "another one than the promoted"),
        ("against: promoted, reference: base", "needs a threshold with min_absolute_change"),
        (f"looks: {{first: 5}}, {CHANGE}", "at least 10"),
        (f"looks: {{first: 50, most: 40}}, {CHANGE}", "more than at first"),
        (f"looks: {{last: 50}}, {CHANGE}", "no key 'last'"),
        ("looks: {first: 50}, threshold: {threshold: 9}", "which looks decide"),
    ],
)
def test_a_comparison_that_is_wrong_is_told_where(more, said):
    with pytest.raises(InvalidInput, match=said):
        compared(more)


def test_a_measure_of_all_samples_at_once_takes_no_looks():
    with pytest.raises(InvalidInput, match="measures all samples at once"):
        compared(f"looks: {{first: 50}}, {CHANGE}", check="retrieval", probes="rows")


def test_a_suite_that_a_release_before_stored_keeps_its_digest():
    """A check had a parameter fewer then: it has its default now, and verdicts still name the suite."""
    suite = built_in("smoke")
    fields = json.loads(suite.document)
    check = next(each for each in fields["checks"] if each["check"] == "whole_training")
    del check["parameters"]["most_rate"]
    stored = canonical_json(fields)

    read = read_stored_suite(stored)

    assert (read.digest, read.document) == (sha256_of(stored), stored)
    assert read.digest != suite.digest
    assert [dict(each.parameters) for each in read.checks] == [dict(each.parameters) for each in suite.checks]
    assert read_stored_suite(suite.document) == suite
