"""The page of the kinds is current, and every kind is in it."""

from deltareg.delta.kinds import all_kinds
from tests.architecture.generate_kinds_docs import PAGE, generate, modules, summary
from tests.architecture.generated import is_current


def test_every_kind_of_ours_lies_in_a_file_of_its_own_folder():
    assert modules().keys() == all_kinds().keys()


def test_every_kind_says_in_a_sentence_what_it_is():
    told = {layout: summary(module) for layout, module in modules().items()}

    assert [layout for layout, text in told.items() if not 10 < len(text) < 240] == []


def test_the_page_lists_every_kind():
    assert is_current(PAGE, generate()), "docs/kinds.md is behind the code; run: make docs"
