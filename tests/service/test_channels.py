"""Channels in lists: the same as each by itself, without a question for each."""

import pytest

from tests.service import rows


@pytest.fixture
def eventful(local_registry):
    """Give a line whose channels were rolled back, waived for, broken through and frozen."""
    maker = local_registry.line("lora", "lora_v2")
    maker.rollback("team/lora", "prod")
    verdict = local_registry.verified("team/lora:v1", verdict="fail", fail="deterministic", again=True)
    local_registry.client(principal="bob").verdicts.waive(verdict.id, "deterministic", channel="prod", reason="known")
    maker.promote("team/lora:v2", "dev", reason="now", break_glass=True)
    maker.channels.freeze("team/lora", "prod", reason="weekend")
    return maker


def test_a_list_shows_each_channel_as_it_is_shown_by_itself(eventful):
    listed = {found.channel: found for found in eventful.channels.list("team/lora").items}

    assert listed == {name: eventful.channels.show("team/lora", name) for name in listed}
    assert listed["prod"].quarantined == [2]
    assert [waiver.check for waiver in listed["prod"].waivers] == ["deterministic"]
    assert listed["prod"].frozen_because.endswith(": weekend")
    assert [(move.version, move.actor) for move in listed["dev"].to_review] == [(2, "maker")]
    assert (listed["dev"].quarantined, listed["dev"].waivers) == ([], [])
    assert (listed["staging"].revision, listed["staging"].is_frozen) == (0, False)


def test_a_move_that_broke_the_glass_says_what_it_passed_over(local_registry):
    maker = local_registry.line("lora", "lora_v2")
    local_registry.verified("team/lora:v2", verdict="fail", fail="finite", again=True)

    maker.promote("team/lora:v2", "dev", reason="now", break_glass=True)

    told = maker.audit.list(action="channel.promote").items[0].after["passed_over"]
    assert [text.partition(": ")[0] for text in told] == ["failed"]
    assert "fail" in told[0]


def test_a_list_of_more_channels_asks_the_database_no_more(eventful, local_registry):
    engine = local_registry.registry.engine
    with rows.asked(engine) as few:
        eventful.channels.list("team/lora")
    for number in range(3):
        eventful.channels.create("team/lora", f"c{number}")
        eventful.promote("team/lora:v2", f"c{number}")

    with rows.asked(engine) as many:
        found = eventful.channels.list("team/lora").items

    assert len(found) == 6
    assert len(many) == len(few)
