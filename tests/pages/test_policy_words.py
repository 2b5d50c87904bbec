"""What a channel asks, told to who reads no YAML."""

import pytest

from deltareg.gate.policy import KEYS
from deltareg.pages.policy_words import _TITLES, policy_words


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"suites": ["smoke"]}, {"1 suite: smoke", "none: whoever may promote moves it alone"}),
        (
            {"suites": ["smoke", {"suite": "deep", "max_age": "30d"}], "approvals": 2},
            {"2 suites: smoke, deep (a verdict of 30d at most)", "2 other people, who neither asked nor pushed"},
        ),
        (
            {"suites": [], "approvals": 1, "protected": True, "rollback": {"revisions": 3, "days": 7}},
            {"none", "1 other person, who neither asked nor pushed", "needed", "3 revisions or 7 days back"},
        ),
        (
            {
                "suites": [],
                "approvals": 1,
                "kinds": ["lora", "ia3"],
                "freeze": [{"from": "fri 16:00", "to": "mon 08:00", "zone": "UTC", "reason": "calm"}],
            },
            {"none", "1 other person, who neither asked nor pushed", "lora, ia3", "fri 16:00 to mon 08:00 UTC: calm"},
        ),
        (
            {
                "suites": [],
                "approvals": 1,
                "attestations": [{"type": "urn:x", "from": {"any": [{"key": "a" * 64}, {"ca": "b" * 64}]}}],
                "metrics": [{"name": "ppl", "at_least": 1, "at_most": 9, "from": "anyone"}],
                "licences": ["mit", "apache-2.0"],
            },
            {
                "none",
                "1 other person, who neither asked nor pushed",
                f"urn:x by key {'a' * 12} or anybody, by authority {'b' * 12}",
                "ppl at least 1 at most 9, by anyone who may push the line, signed or not",
                "mit, apache-2.0",
            },
        ),
    ],
)
def test_a_policy_is_told_in_words(fields, told):
    assert {words for _, words in policy_words(fields)} == told


def test_a_floor_asks_nothing_that_it_does_not_say():
    assert policy_words({"approvals": 1}, is_floor=True) == [
        ("Approvals", "1 other person, who neither asked nor pushed")
    ]


def test_every_key_of_a_policy_has_a_title():
    assert set(KEYS) - {"smoke"} == set(_TITLES)


def test_a_channel_says_what_it_asks_in_words(pages):
    shown = pages.get("/ui/deltas/team/lora/channels/staging/standing").text

    assert "1 suite: smoke" in shown
    assert "1 other person" in shown
    assert "[&#39;smoke&#39;]" not in shown
