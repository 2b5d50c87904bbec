"""Every type of event says what happened, has a name of its form, and stands on its page."""

import re

from deltareg.service.events import Action
from deltareg.service.telling.types import TYPES
from tests.architecture.generate_event_docs import PAGE, generate, named
from tests.architecture.generated import is_current


def test_a_type_says_what_happened():
    assert [each.name for each in named() if not each.about.endswith(".")] == []
    assert [each.name for each in TYPES if not re.fullmatch(r"[a-z]+\.[a-z_]+", each.name)] == []


def test_an_action_is_of_one_type():
    told = [action for each in TYPES if each.only is None for action in each.actions]

    assert len(told) == len(set(told))
    assert set(told) <= set(Action)


def test_the_page_lists_every_type():
    assert is_current(PAGE, generate()), "docs/events.md is behind the code; run: make docs"
