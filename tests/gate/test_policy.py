"""The policy document: read strictly, written canonically, the same whatever way it was written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.digest import sha256_of
from deltareg.errors import InvalidInput
from deltareg.gate.policy import (
    EVIDENCE,
    MOST_APPROVALS,
    SANDBOX_LAYERS,
    Policy,
    RollbackWindow,
    parse_policy,
    policy_digest,
    policy_fields,
    read_stored,
    stored_fields,
)
from deltareg.gate.required_suites import RequiredSuite
from deltareg.identity.manifest import canonical_json

FULL = {
    "suites": ["smoke", {"suite": "deep", "max_age": "30d"}],
    "sandbox": ["network", "files", "calls"],
    "evidence": "exact",
    "kinds": ["lora", "ia3"],
    "bases": ["llama-3.1-8b", "sha256:" + "a" * 64],
    "protected": True,
    "approvals": 1,
    "freeze": [
        {"from": "Fri 16:00", "to": "Mon 08:00", "zone": "Europe/Berlin", "reason": "weekend"},
        {"from": "2026-12-20T00:00:00Z", "to": "2027-01-04T00:00:00Z"},
    ],
    "rollback": {"revisions": 9, "days": 60},
    "environment": "strict",
    "signatures": [
        {"key": "a" * 64},
        {"any": [{"ca": "b" * 64, "identity": "ana@x"}, {"issuer": "https://i", "identity": "c"}]},
    ],
}
_KEYS = st.sampled_from([{"key": digit * 64} for digit in "abc"] + [{"ca": "d" * 64}])
_METRICS = st.sampled_from(["mmlu/acc", "ppl"])
_NAMES = st.lists(st.text("abcdefgh-0123456789", min_size=1, max_size=12), min_size=1, max_size=4, unique=True)
_DAY_TIMES = st.builds(
    "{} {:02}:{:02}".format,
    st.sampled_from(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
    st.integers(0, 23),
    st.integers(0, 59),
)
_WINDOWS = st.one_of(
    st.fixed_dictionaries(
        {"from": _DAY_TIMES, "to": _DAY_TIMES, "zone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"])}
    ).filter(lambda window: window["from"] != window["to"]),
    st.builds(
        lambda start, days: {"from": f"{start}T00:00:00Z", "to": f"{start}T00:00:0{days}Z"},
        st.dates().map(lambda day: f"{day.year:04}-{day.month:02}-{day.day:02}"),
        st.integers(1, 9),
    ),
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "suites": _NAMES.map(lambda names: [names[0], *({"suite": name, "max_age": "36h"} for name in names[1:])]),
        "sandbox": st.lists(st.sampled_from(SANDBOX_LAYERS)),
        "evidence": st.sampled_from(EVIDENCE),
        "kinds": _NAMES,
        "bases": _NAMES,
        "protected": st.booleans(),
        "approvals": st.integers(0, MOST_APPROVALS),
        "freeze": st.lists(_WINDOWS, max_size=3),
        "rollback": st.fixed_dictionaries({}, optional={"revisions": st.integers(0, 99)}),
        "environment": st.sampled_from(["any", "strict"]),
        "signatures": st.lists(
            st.one_of(_KEYS, st.just({"any": [{"key": "e" * 64}, {"ca": "f" * 64}]})),
            min_size=1,
            max_size=3,
            unique_by=str,
        ),
        "attestations": st.lists(
            st.fixed_dictionaries({"type": st.sampled_from(["urn:a", "urn:b"]), "from": _KEYS}),
            min_size=1,
            max_size=3,
            unique_by=lambda term: (term["type"], str(term["from"])),
        ),
        "metrics": st.lists(
            st.fixed_dictionaries(
                {"name": _METRICS, "at_least": st.floats(0, 1), "from": st.one_of(_KEYS, st.just("anyone"))}
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda term: (term["name"], str(term["from"])),
        ),
        "licences": st.lists(st.sampled_from(["mit", "apache-2.0", "llama3.1"]), min_size=1, unique=True),
        "datasets": st.lists(st.sampled_from(["squad", "a/*", "a/b", "b/*", "*"]), min_size=1, unique=True),
    },
)


def test_every_key_is_read():
    policy = parse_policy(FULL)

    assert policy.suites == (RequiredSuite("smoke"), RequiredSuite("deep", 30 * 86_400))
    assert policy.sandbox == ("network", "files", "calls")
    assert policy.evidence == "exact"
    assert policy.kinds == ("lora", "ia3")
    assert policy.is_protected
    assert policy.approvals == 1
    assert len(policy.freeze) == 2
    assert policy.rollback == RollbackWindow(9, 60)
    assert policy.environment == "strict"
    assert policy_fields(policy) == FULL


def test_an_empty_document_asks_for_a_passing_smoke():
    assert parse_policy({}) == Policy()
    assert policy_fields(Policy()) == {"suites": ["smoke"]}


@pytest.mark.parametrize(
    ("document", "asked"),
    [
        ({"suites": []}, ["smoke"]),
        ({"suites": ["deep"]}, ["smoke", "deep"]),
        ({"suites": ["deep"], "smoke": True}, ["smoke", "deep"]),
        ({"suites": ["deep", {"suite": "smoke", "max_age": "30d"}]}, ["deep", "smoke"]),
        ({"suites": ["deep"], "smoke": False}, ["deep"]),
        ({"smoke": False}, []),
    ],
)
def test_suites_are_asked_for_beside_smoke_unless_it_is_said(document, asked):
    assert [suite.name for suite in parse_policy(document).suites] == asked


@pytest.mark.parametrize(("stored", "asked"), [({"suites": ["deep"]}, ["deep"]), ({"suites": []}, []), ({}, ["smoke"])])
def test_what_was_written_down_before_asks_for_what_it_always_did(stored, asked):
    policy = read_stored(stored)

    assert [suite.name for suite in policy.suites] == asked
    assert read_stored(stored_fields(policy)) == policy
    assert parse_policy(policy_fields(policy)) == policy


def test_a_window_that_was_written_down_without_a_zone_goes_by_utc():
    weekly = {"from": "Fri 16:00", "to": "Mon 08:00"}
    policy = read_stored({"suites": ["smoke"], "freeze": [weekly]})

    assert policy_fields(policy)["freeze"] == [{**weekly, "zone": "UTC"}]
    assert stored_fields(policy)["freeze"] == [weekly]
    assert policy_digest(policy) == sha256_of(canonical_json({"suites": ["smoke"], "freeze": [weekly]}))


@given(DOCUMENTS)
def test_what_is_written_is_read_again_as_the_same_policy(document):
    policy = parse_policy(document)

    written = policy_fields(policy)

    assert parse_policy(json.loads(json.dumps(written))) == policy
    assert policy_fields(parse_policy(written)) == written


@given(DOCUMENTS)
def test_the_digest_is_of_what_is_asked_and_not_of_how_it_is_written(document):
    policy = parse_policy(document)
    lists = {"suites", "sandbox", "kinds", "bases", "freeze", "signatures"} & set(document)
    turned = {key: document[key][::-1] if key in lists else document[key] for key in document}

    assert policy_digest(parse_policy(turned)) == policy_digest(policy)
    assert policy_digest(parse_policy({"approvals": 0, **document})) == policy_digest(policy)


@pytest.mark.parametrize("key", FULL)
def test_each_key_is_in_the_digest(key):
    without = {name: value for name, value in FULL.items() if name != key}

    assert policy_digest(parse_policy(without)) != policy_digest(parse_policy(FULL))


@pytest.mark.parametrize(
    ("document", "message", "fix"),
    [
        ({"suite": ["smoke"]}, "suite: there is no such key", "did you mean suites?"),
        ({"xyzzy": 1}, "xyzzy: there is no such key", "keys: suites, sandbox"),
        (["smoke"], "takes keys and values, not a list", "keys: suites"),
        ({"suites": "smoke"}, "suites: takes a list, not 'smoke'", "write [smoke"),
        ({"suites": [7]}, "suites[0]: takes keys and values, not 7", "keys: suite, max_age"),
        ({"suites": ["a", "a"]}, "suites[1]: names a twice", "once"),
        ({"suites": [{"max_age": "3d"}]}, "suites[0]: names no suite", "write {suite: deep"),
        ({"suites": [{"suite": "deep", "max_age": 30}]}, "max_age: is no age: 30", "write 30d"),
        ({"suites": [{"suite": "deep", "max_age": "0d"}]}, "is no age: '0d'", "write 30d"),
        ({"sandbox": ["networks"]}, "sandbox[0]: does not know 'networks'", "mean network?"),
        ({"evidence": "exakt"}, "evidence: does not know 'exakt'", "did you mean exact?"),
        ({"kinds": []}, "kinds: is empty", "leave the key out"),
        ({"bases": None}, "bases: takes a list, not nothing", "write [llama"),
        ({"protected": "yes"}, "protected: takes true or false", "write true or false"),
        ({"approvals": True}, "approvals: takes a whole number, not true", "from 0 to 20"),
        ({"approvals": 21}, "approvals: takes a whole number, not 21", "from 0 to 20"),
        ({"approvals": 1.0}, "approvals: takes a whole number, not 1.0", "from 0 to 20"),
        ({"rollback": {"day": 3}}, "rollback.day: there is no such key", "did you mean days?"),
        ({"signatures": []}, "signatures: is empty", "leave the key out"),
        ({"signatures": [{"key": "AB"}]}, "signatures[0]: no key or fingerprint", "64 hex digits"),
        ({"signatures": [{}]}, "signatures[0]: it names no signer", "write {key: KEYID}"),
        ({"signatures": [{"keys": "a"}]}, "signatures[0].keys: there is no such key", "mean key?"),
        ({"signatures": [{"any": [{"issuer": "x"}]}]}, "signatures[0].any[0]", "write {key"),
        (
            {"signatures": [{"key": "a" * 64, "ca": "b" * 64}]},
            "signatures[0]: it names no signer, or more than one",
            "write {key: KEYID}",
        ),
        ({"signatures": [{"key": "a" * 64}, {"key": "a" * 64}]}, "signatures[1]: asks the same twice", "ask it once"),
        ({"environment": True}, "environment: does not know true", "one of: any, strict"),
        ({"freeze": [{"from": "Fri 16:00"}]}, "freeze[0]: has no `to`", "write to:"),
        (
            {"freeze": [{"from": "Fri 16:00", "to": "2026-12-20"}]},
            "freeze[0]: one end is a day of the week",
            "Fri 16:00",
        ),
        (
            {"freeze": [{"from": "Fri 16:00", "to": "Fri 16:00", "zone": "UTC"}]},
            "freeze[0]: begins and ends at one time",
            "later end",
        ),
        (
            {"freeze": [{"from": "Fri 16:00", "to": "Mon 08:00", "zone": "Europe/Berlim"}]},
            "freeze[0].zone: there is no time zone 'Europe/Berlim'",
            "Europe/Berlin",
        ),
        (
            {"freeze": [{"from": "Fri 16:00", "to": "Mon 08:00", "zone": "../etc/passwd"}]},
            "freeze[0].zone: there is no time zone",
            "Europe/Berlin",
        ),
        (
            {"freeze": [{"from": "2026-12-20", "to": "2026-12-19", "zone": "UTC"}]},
            "freeze[0]: ends before it begins",
            "after",
        ),
        ({"freeze": [{"from": "Freitag", "to": "Montag"}]}, "freeze[0].from: is no time: 'Freitag'", "Fri 16:00"),
        ({"freeze": [{"from": "Fri 16:00", "to": "Mon 08:00"}]}, "freeze[0]: says no zone", "add zone: Europe/Berlin"),
        (
            {"freeze": [{"from": "2026-12-20", "to": "2026-12-21T00:00:00Z"}]},
            "freeze[0].from: 2026-12-20 says no zone",
            "write 2026-12-20T00:00:00Z",
        ),
        (
            {"freeze": [{"from": "0001-01-01T00:00:00+14:00", "to": "2026-12-21"}]},
            "freeze[0].from: is no time",
            "write",
        ),
        ({"suites": ["smoke"], "smoke": False}, "smoke: is false, and `suites` names", "take one"),
        ({"smoke": "no"}, "smoke: takes true or false, not 'no'", "write true or false"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_repair(document, message, fix):
    with pytest.raises(InvalidInput) as caught:
        parse_policy(document)

    assert message in caught.value.message
    assert fix in caught.value.fix


def test_a_mistake_in_a_text_names_its_line():
    with pytest.raises(InvalidInput, match=r"^line 7: freeze\[0\]\.zone: "):
        parse_policy(
            {"freeze": [{"from": "Fri 16:00", "to": "Mon 08:00", "zone": "Mars"}]},
            lines={"freeze": 4, "freeze[0].zone": 7},
        )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*FULL, "from", "to", "zone", "max_age"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_anything_is_a_policy_or_refused(document):
    try:
        policy = parse_policy(document)
    except InvalidInput as error:
        policy, fix = Policy(), error.fix
    else:
        fix = "none is due"

    assert fix
    assert parse_policy(policy_fields(policy)) == policy
