"""Whether a rollback would get where it would go: each light by the facts that decide it."""

from dataclasses import replace

import pytest

from deltareg.gate.readiness import TargetFacts, gravest, judge_readiness

READY = TargetFacts(
    ref="me/chat:v1",
    is_deleted=False,
    revoked="",
    packs=2,
    packs_lost=0,
    objects_lost=0,
    base="tiny",
    is_base_stored=True,
    verdict="smoke: pass",
    verdict_age_s=7_300.0,
    is_verdict_counting=True,
    behind=1,
    age_s=90.0,
    is_in_window=True,
)
LONG_AGO = {"is_in_window": False, "behind": 9, "age_s": 4e6}


def test_a_target_that_is_ready_has_only_good_lights():
    lights = judge_readiness(READY)

    assert gravest(lights) == "ok"
    assert [light.message for light in lights] == [
        "neither revoked nor deleted",
        "2 packs on record, and the store has them",
        "tiny is stored",
        "smoke: pass, 2 h old",
        "served 1 move and 1 min ago: the old verdict is enough",
    ]


@pytest.mark.parametrize(
    ("changed", "name", "light"),
    [
        ({"is_deleted": True}, "version", "no"),
        ({"revoked": "me/chat:v1 was revoked by ada"}, "version", "no"),
        ({"packs_lost": 1}, "bytes", "no"),
        ({"objects_lost": 1}, "bytes", "no"),
        ({"objects_lost": None}, "bytes", "ok"),
        ({"base": ""}, "base", "warn"),
        ({"is_base_stored": False}, "base", "ok"),
        ({"is_verdict_counting": False}, "verdict", "warn"),
        ({"verdict": ""}, "verdict", "warn"),
        ({"is_verdict_counting": False, **LONG_AGO}, "verdict", "no"),
        ({"verdict": "", **LONG_AGO}, "verdict", "no"),
        (LONG_AGO, "window", "warn"),
        ({**LONG_AGO, "unmet": ("v1 failed smoke",)}, "window", "no"),
    ],
)
def test_a_fact_decides_its_light(changed, name, light):
    lights = judge_readiness(replace(READY, **changed))

    assert next(one.light for one in lights if one.name == name) == light


def test_a_frozen_channel_is_not_ready():
    lights = judge_readiness(READY, frozen="prod was frozen by ada")

    assert gravest(lights) == "no"
    assert lights[-1].message == "prod was frozen by ada; break-glass goes through it"


def test_nothing_to_judge_is_not_ready():
    assert gravest([]) == "no"
