"""Floors: of each key the stricter holds, whatever the channel says, and who asks is told."""

from dataclasses import replace

import pytest
from hypothesis import given

from deltareg.errors import InvalidInput
from deltareg.gate.floors import FLOOR_KEYS, THE_SERVER, over, parse_floor
from deltareg.gate.judge import judge
from deltareg.gate.policy import Policy, parse_policy, policy_digest
from deltareg.gate.policy_judgement import judge_with_floors
from tests.gate.test_judge import CANDIDATE, NOW, VERDICT
from tests.gate.test_policy import DOCUMENTS

TEAM = "namespace team"


def floor(of=TEAM, **asked):
    return parse_floor(asked, of=of)


@pytest.mark.parametrize(
    ("own", "least", "both"),
    [
        ({"smoke": False}, {"suites": ["smoke"]}, {"suites": ["smoke"]}),
        ({}, {"suites": ["deep"]}, {"suites": ["smoke", "deep"]}),
        (
            {"suites": [{"suite": "deep", "max_age": "9d"}]},
            {"suites": [{"suite": "deep", "max_age": "3d"}, {"suite": "smoke", "max_age": "1d"}]},
            {"suites": [{"suite": "smoke", "max_age": "1d"}, {"suite": "deep", "max_age": "3d"}]},
        ),
        (
            {"suites": [{"suite": "deep", "max_age": "3d"}]},
            {"suites": ["deep"]},
            {"suites": ["smoke", {"suite": "deep", "max_age": "3d"}]},
        ),
        ({"sandbox": ["files"]}, {"sandbox": ["network"]}, {"sandbox": ["network", "files"]}),
        ({"evidence": "shapes"}, {"evidence": "exact"}, {"evidence": "exact"}),
        ({"evidence": "exact"}, {"evidence": "shapes"}, {"evidence": "exact"}),
        ({"kinds": ["lora", "ia3"]}, {"kinds": ["ia3", "full"]}, {"kinds": ["ia3"]}),
        ({}, {"kinds": ["ia3"]}, {"kinds": ["ia3"]}),
        ({"approvals": 1}, {"approvals": 2, "protected": True}, {"approvals": 2, "protected": True}),
        ({"approvals": 2}, {"approvals": 1}, {"approvals": 2}),
        ({}, {"rollback": {"revisions": 2}}, {"rollback": {"revisions": 2, "days": 30}}),
        (
            {"rollback": {"revisions": 1, "days": 90}},
            {"rollback": {"revisions": 9, "days": 60}},
            {"rollback": {"revisions": 1, "days": 60}},
        ),
        ({"environment": "strict"}, {"environment": "any"}, {"environment": "strict"}),
        ({"workers": ["a", "b"]}, {"workers": ["b", "c"]}, {"workers": ["b"]}),
        ({"independent": 1}, {"independent": 2}, {"independent": 2}),
        ({"local": True}, {"local": False}, {}),
        ({"local": True}, {}, {"local": True}),
        ({"fixed_reference": False}, {"fixed_reference": True}, {"fixed_reference": True}),
        ({"fixed_reference": False}, {}, {"fixed_reference": False}),
        ({}, {"fixed_reference": True}, {"fixed_reference": True}),
        (
            {"signatures": [{"key": "a" * 64}]},
            {"signatures": [{"key": "b" * 64}, {"key": "a" * 64}]},
            {"signatures": [{"key": "a" * 64}, {"key": "b" * 64}]},
        ),
    ],
)
def test_of_each_key_the_stricter_holds(own, least, both):
    asked = over(parse_policy(own), [floor(**least)])

    assert policy_digest(asked) == policy_digest(parse_policy(both))


@given(DOCUMENTS, DOCUMENTS)
def test_a_floor_only_adds(own, least):
    own = parse_policy(own)
    least = floor(**{key: value for key, value in least.items() if key in FLOOR_KEYS})
    asked = over(own, [least])

    assert {suite.name for suite in asked.suites} >= {suite.name for suite in own.suites}
    assert over(asked, [least]) == asked
    unmet = {(one.rule, one.suite) for one in judged(own) if not one.is_met}
    assert {(one.rule, one.suite) for one in judged(asked) if not one.is_met} >= {
        key
        for key in unmet
        if key[0]
        in {"kind", "base", "approvals", "missing", "signature", "attestation", "metric", "licence", "dataset"}
    }


def judged(policy):
    return judge(CANDIDATE, policy, [VERDICT], now=NOW)


@given(DOCUMENTS)
def test_what_is_written_is_read_again(document):
    read = floor(**{key: value for key, value in document.items() if key in FLOOR_KEYS})

    again = parse_floor(read.fields(), of=TEAM)

    assert (again, again.digest) == (read, read.digest)


def test_an_empty_one_asks_nothing():
    assert floor().fields() == {}
    assert over(Policy(), [floor()]) == Policy()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"smoke": False}, "smoke: is for a channel to say"),
        ({"variants": ["x"]}, "variants: is for a channel to say"),
        ({"worker_labels": {"device": "cuda"}}, "worker_labels: is for a channel to say"),
        ({"local": True}, "local: asks for less"),
        ({"aprovals": 1}, "aprovals: there is no such key"),
        ({"freeze": [{"from": "Fri 16:00", "to": "Mon 08:00"}]}, "says no zone"),
    ],
)
def test_what_no_floor_can_ask_is_refused(document, message):
    with pytest.raises(InvalidInput, match=message) as refused:
        parse_floor(document, of=TEAM)

    assert refused.value.fix


def told(own, *floors, **facts):
    rulings = judge_with_floors(replace(CANDIDATE, **facts), parse_policy(own), floors, [VERDICT], now=NOW)
    return {(one.rule, one.suite): one.asked_by for one in rulings if one.asked_by and not one.is_met}


def test_who_asks_is_told_where_the_channel_does_not():
    server, team = floor(THE_SERVER, approvals=2), floor(suites=["deep"], kinds=["ia3"])

    assert told({}) == {}
    assert told({}, server, team, kind="lora") == {
        ("approvals", ""): (THE_SERVER,),
        ("missing", "deep"): (TEAM,),
        ("kind", ""): (TEAM,),
    }
    assert told({"approvals": 2}, server) == {}, "the channel asks for approvals itself"
    assert told({}, server, floor(approvals=2)) == {("approvals", ""): (THE_SERVER, TEAM)}
    assert told({"bases": ["tiny"]}, floor(bases=["other"]), base_name="tiny") == {("base", ""): (TEAM,)}


def test_the_repair_of_what_a_floor_asks_is_not_the_channels():
    rulings = judge_with_floors(CANDIDATE, parse_policy({}), [floor(kinds=["ia3"])], [VERDICT], now=NOW)

    (kind,) = [one for one in rulings if one.rule == "kind"]
    assert kind.message.endswith("(asked by namespace team)")
    assert "channel policy set" not in kind.fix
    assert kind.fix.endswith("deltareg policy get --namespace team")
