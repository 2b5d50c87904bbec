"""What policies ask of what others say: read strictly, and met by whom they name alone."""

import math
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.errors import Blocked, GateFailed, GatePending, InvalidInput
from deltareg.gate.card_terms import allowed_by_both
from deltareg.gate.floors import over, parse_floor
from deltareg.gate.judge import judge, refusal
from deltareg.gate.outside_facts import CardFact, OutsideFact, OutsideFacts
from deltareg.gate.policy import parse_policy, policy_digest, policy_fields, read_stored, stored_fields
from deltareg.gate.policy_judgement import judge_with_floors
from deltareg.signing.signatories import Signatory
from tests.gate.test_judge import CANDIDATE, NOW

KIND = "https://slsa.dev/provenance/v1"
ANA, EVE = "a" * 64, "e" * 64
BY_ANA = {"key": ANA}
FULL: dict[str, Any] = {
    "suites": [],
    "attestations": [{"type": KIND, "from": BY_ANA}, {"type": "urn:x", "from": {"any": [BY_ANA, {"ca": EVE}]}}],
    "metrics": [
        {"name": "mmlu/acc", "at_least": 0.6, "from": BY_ANA},
        {"name": "ppl", "at_most": 12.0, "from": "anyone"},
        {"name": "ece", "at_least": 0.0, "at_most": 0.1, "from": {"any": [BY_ANA, {"key": EVE}]}},
    ],
    "licences": ["apache-2.0", "mit"],
    "datasets": ["squad", "my-org/*"],
    "smoke": False,
}
PATTERNS = st.lists(st.from_regex(r"[ab/]{1,3}\*?|\*", fullmatch=True), min_size=1, max_size=4, unique=True)


def said(metric=None, *, by=ANA, kind=KIND, sender="ci", **more):
    """Let somebody say something; `by` None: unsigned."""
    signatory = None if by is None else Signatory(keyid=by)
    metrics = {} if metric is None else {"mmlu/acc": metric}
    return OutsideFact(f"sha256:{'d' * 64}", kind, sender, signatory, metrics=metrics, **more)


def rulings(asked, *facts, card=None):
    policy = parse_policy({"smoke": False, **asked})
    candidate = replace(CANDIDATE, outside=OutsideFacts(facts, card))
    rules = {"attestation", "metric", "refuted", "licence", "dataset"}
    return [one for one in judge(candidate, policy, [], now=NOW) if one.rule in rules]


def ruling(asked, *facts, card=None):
    (one,) = rulings(asked, *facts, card=card)
    return one


def error_of(one):
    return type(refusal([one]))


def test_every_key_is_read_and_written_again():
    policy = parse_policy(FULL)

    assert policy_fields(policy) == FULL
    assert read_stored(stored_fields(policy)) == policy
    assert policy_digest(parse_policy({"smoke": False})) != policy_digest(policy)


def test_the_order_of_writing_makes_no_other_policy():
    turned = {key: value[::-1] if isinstance(value, list) else value for key, value in FULL.items()}
    turned["attestations"][0]["from"]["any"].reverse()

    assert policy_digest(parse_policy(turned)) == policy_digest(parse_policy(FULL))


@pytest.mark.parametrize(
    ("asked", "why", "fix"),
    [
        ({"attestations": []}, "attestations: is empty", "leave the key out"),
        ({"attestations": [{"type": KIND}]}, "attestations[0]: has no `from`", "from: {key: KEYID}"),
        ({"attestations": [{"from": BY_ANA}]}, "has no `type`", "type: https"),
        ({"attestations": [{"type": "provenance", "from": BY_ANA}]}, "is no URI", "attest ls"),
        ({"attestations": [{"type": KIND, "from": "anyone"}]}, "attestations[0].from: takes keys", "keys: key"),
        ({"attestations": [{"type": KIND, "from": {"key": "x"}}]}, "no key or fingerprint", "64 hex digits"),
        ({"attestations": [{"type": KIND, "form": BY_ANA}]}, "there is no such key", "did you mean from?"),
        (
            {"attestations": [{"type": "https://model_signing/signature/v1.0", "from": BY_ANA}]},
            "is a signature of files",
            "`signatures`",
        ),
        ({"attestations": [{"type": KIND, "from": BY_ANA}] * 2}, "asks the same twice", "once"),
        ({"metrics": [{"name": "a", "at_least": 1}]}, "does not say whose word counts", "from: anyone"),
        ({"metrics": [{"name": "a", "from": "anyone"}]}, "has no bound", "at_least"),
        ({"metrics": [{"name": "a", "from": "ana", "at_least": 1}]}, "takes keys and values", "keys: key"),
        ({"metrics": [{"at_least": 1, "from": "anyone"}]}, "names no metric", "name: mmlu/acc"),
        ({"metrics": [{"name": "a", "at_least": 2, "at_most": 1, "from": "anyone"}]}, "nothing could pass", "exchange"),
        ({"metrics": [{"name": "a", "at_least": math.nan, "from": "anyone"}]}, "takes a number", "write 0.6"),
        ({"metrics": [{"name": "a", "at_most": math.inf, "from": "anyone"}]}, "takes a number", "write 0.6"),
        ({"metrics": [{"name": "a", "at_most": True, "from": "anyone"}]}, "takes a number", "write 0.6"),
        ({"metrics": [{"name": "a", "at_most": "12", "from": "anyone"}]}, "takes a number", "write 0.6"),
        ({"metrics": [{"name": "a", "at_most": 10**400, "from": "anyone"}]}, "takes a number", "write 0.6"),
        ({"metrics": [{"name": "a", "at_most": n, "from": "anyone"} for n in (1, 2)]}, "asks for a twice", "one line"),
        ({"licences": []}, "nothing could pass", "leave the key out"),
        ({"licences": ["Apache 2.0"]}, "is no licence as a card names it", "apache-2.0"),
        ({"licences": ["mit", "MIT"]}, "names mit twice", "once"),
        ({"licences": "mit"}, "takes a list", "[apache-2.0, mit]"),
        ({"datasets": ["*/squad"]}, "is no data set", "my-org/*"),
        ({"datasets": ["a b"]}, "is no data set", "my-org/*"),
        ({"licenses": ["mit"]}, "there is no such key", "did you mean licences?"),
    ],
)
def test_what_is_not_clear_or_could_never_be_met_is_refused(asked, why, fix):
    with pytest.raises(InvalidInput) as refused:
        parse_policy(asked)

    assert why in refused.value.message
    assert fix in refused.value.fix


def test_an_attestation_counts_by_its_type_and_signer():
    asked = {"attestations": [{"type": KIND, "from": BY_ANA}]}

    met = ruling(asked, said())
    assert (met.is_met, len(met.evidence)) == (True, 1)
    assert f"key {ANA[:12]} attests {KIND}" in met.message
    for facts in ((), [said(by=EVE)], [said(kind="urn:x")], [said(by=None)], [said(revoked="stolen")]):
        one = ruling(asked, *facts)
        assert (one.rule, one.is_met, error_of(one)) == ("attestation", False, GatePending)
        assert "deltareg attest add me/x:v3 FILE --key PUB" in one.fix
    assert "is revoked: stolen" in ruling(asked, said(revoked="stolen")).message
    assert "of the weights alone" in ruling(asked, said(is_whole=False)).message


def test_one_that_says_that_it_failed_refutes_until_the_same_signer_says_otherwise():
    asked = {"attestations": [{"type": KIND, "from": {"any": [BY_ANA, {"key": EVE}]}}]}
    bad, good = said(outcome="fail"), said(outcome="pass")

    assert error_of(ruling(asked, good, bad)) is GateFailed
    assert ruling(asked, bad, good).is_met
    assert error_of(ruling(asked, bad, said(by=EVE, outcome="pass"))) is GateFailed, "another does not outvote"
    assert ruling(asked, said(outcome="fail", revoked="stolen"), said(by=EVE)).is_met


def test_a_metric_is_within_its_bounds_by_whose_word_counts():
    asked = {"metrics": [{"name": "mmlu/acc", "at_least": 0.6, "from": BY_ANA}]}

    met = ruling(asked, said(0.6))
    assert met.is_met
    assert f"mmlu/acc of me/x:v3 is 0.6, says key {ANA[:12]} (sha256:" in met.message
    low = ruling(asked, said(0.5999999))
    assert (low.rule, error_of(low)) == ("refuted", GateFailed)
    assert "is 0.5999999, says key" in low.message
    for facts in ((), [said(0.9, by=EVE)], [said(0.9, by=None)], [said(0.9, revoked="x")], [said(0.9, is_whole=False)]):
        one = ruling(asked, *facts)
        assert (one.rule, one.is_met, error_of(one)) == ("metric", False, GatePending)
    assert ruling(asked, said(0.1, by=EVE), said(0.1, by=None), said(0.7)).is_met, "who is not asked refutes nothing"
    assert "what ci, unsigned says of it does not count" in ruling(asked, said(0.9, by=None)).message


def test_of_one_sayer_the_newest_counts_and_several_must_agree():
    asked = {"metrics": [{"name": "mmlu/acc", "at_least": 0.6, "from": "anyone"}]}

    assert ruling(asked, said(0.1), said(0.7)).is_met
    assert not ruling(asked, said(0.7), said(0.1)).is_met
    assert not ruling(asked, said(0.1, by=None, sender="ada"), said(0.7, by=None, sender="bob")).is_met
    assert ruling(asked, said(0.1, by=None), said(0.7, by=None)).is_met
    assert ruling(asked, said(0.7), said(None)).is_met, "what says nothing of it takes nothing back"


def test_a_name_that_is_nearly_one_is_told():
    asked = {"metrics": [{"name": "mmlu", "at_least": 0.6, "from": "anyone"}]}

    assert ruling(asked, said(0.7)).message == "nobody has reported mmlu of me/x:v3; mmlu/acc is reported"


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (CardFact(["mit"]), ""),
        (CardFact(["MIT", "apache-2.0"]), ""),
        (None, "has no card"),
        (CardFact(), "names no licence"),
        (CardFact(["cc-by-nc-4.0"]), "names the licence cc-by-nc-4.0; allowed is apache-2.0, mit"),
        (CardFact(["mit", "other"]), "names the licence other"),
        (CardFact(["mit"], problems=["license has 400 characters"]), "cannot be read in full"),
        (CardFact(["mit-0"]), "names the licence mit-0"),
    ],
)
def test_licences_are_those_that_the_card_names(card, told):
    one = ruling({"licences": ["apache-2.0", "mit"]}, card=card)

    assert one.is_met is not bool(told)
    assert told in one.message
    assert one.is_met or error_of(one) is Blocked


@pytest.mark.parametrize(
    ("names", "is_met"),
    [
        (["squad"], True),
        (["my-org/a", "My-Org/b", "squad"], True),
        (["my-org"], False),
        (["my-orgs/a"], False),
        (["squad", "leaked"], False),
        (["squad_v2"], False),
        ([], False),
    ],
)
def test_data_sets_are_allowed_by_name_or_by_what_they_begin_with(names, is_met):
    one = ruling({"datasets": ["squad", "my-org/*"]}, card=CardFact(datasets=names))

    assert one.is_met is is_met


@given(PATTERNS, PATTERNS, st.text("ab/", max_size=4))
def test_two_lists_allow_what_both_allow(own, least, name):
    both = allowed_by_both(tuple(own), tuple(least)) or ()

    by_each = [any(fnmatchcase(name, pattern) for pattern in patterns) for patterns in (own, least)]
    assert any(fnmatchcase(name, pattern) for pattern in both) is all(by_each)
    assert allowed_by_both(both, tuple(least)) == both


def test_a_floor_adds_and_is_named():
    own = parse_policy({"smoke": False, "licences": ["mit", "apache-2.0"]})
    floor = parse_floor(
        {"licences": ["mit"], "metrics": [{"name": "mmlu/acc", "at_least": 0.6, "from": BY_ANA}]}, of="the server"
    )
    candidate = replace(CANDIDATE, outside=OutsideFacts([], CardFact(["apache-2.0"])))

    asked = over(own, [floor])
    judged = {one.rule: one for one in judge_with_floors(candidate, own, [floor], [], now=NOW)}

    assert (asked.outside.licences, len(asked.outside.metrics)) == (("mit",), 1)
    assert over(asked, [floor]) == asked
    assert judged["licence"].asked_by == judged["metric"].asked_by == ("the server",)
    assert parse_floor(floor.fields(), of="the server") == floor


def test_nothing_that_is_asked_beside_makes_it_easier():
    """Each term that is added leaves all that was unmet as it was."""
    facts = [said(0.1), said(outcome="fail")]
    keys = ["attestations", "metrics", "licences", "datasets"]

    for number in range(1, 1 << len(keys)):
        asked = {key: FULL[key] for n, key in enumerate(keys) if number >> n & 1}
        unmet = [one for one in rulings(asked, *facts) if not one.is_met]
        alone = [one for key in asked for one in rulings({key: FULL[key]}, *facts) if not one.is_met]
        assert sorted(map(str, unmet)) == sorted(map(str, alone))
