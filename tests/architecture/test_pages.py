"""Links between the project's pages lead somewhere."""

import re

import pytest

from tests.architecture.tree import REPOSITORY, pages

LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", pages(), ids=str)
def test_a_link_leads_to_a_file(page):
    text = re.sub(r"^```.*?^```", "", (REPOSITORY / page).read_text(), flags=re.M | re.S)
    folder = (REPOSITORY / page).parent

    broken = [target for target in LINK.findall(text) if not (folder / target).exists()]

    assert broken == []


def test_every_decision_is_listed():
    adr = REPOSITORY / "docs" / "adr"
    index = (adr / "README.md").read_text()

    missing = [p.name for p in sorted(adr.glob("[0-9]*.md")) if f"]({p.name})" not in index]

    assert missing == []
