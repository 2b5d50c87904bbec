"""The README is short: the first command, the first promotion, and the words that a stranger has to learn."""

import re

from tests.conftest import REPOSITORY
from tests.docs.blocks import read_blocks

README = REPOSITORY / "README.md"
MOST_WORDS = 1_600
MOST_BEFORE_A_COMMAND = 60
MOST_BEFORE_A_PROMOTION = 400
MOST_OF_OURS = 10
# Terms of the glossary that people know from Git, package registries, model hubs or machine learning.
KNOWN = frozenset(
    {"base", "check", "promote", "pull", "push", "registry", "run", "store", "verify", "version", "worker"}
)


def words_before(text, mark):
    """Count the words of a page before a mark, without markup and what only the test reads."""
    before = re.sub(r"<!--.*?-->", "", text[: text.index(mark)])
    before = re.sub(r"\]\([^)]*\)", "", before)
    return len(re.findall(r"[^\W_][\w.'/-]*", before))


def own_terms():
    """List the terms that the glossary defines and nobody knows from elsewhere."""
    glossary = (REPOSITORY / "docs" / "glossary.md").read_text("utf-8")
    defined = [term.lower() for term in re.findall(r"^\*\*(.+?)\*\*", glossary, re.MULTILINE)]
    return sorted(set(defined) - KNOWN)


def test_the_first_command_comes_at_once():
    text = README.read_text("utf-8")

    counted = words_before(text, "pip install")

    print(f"\n{counted} words before the first command")
    assert counted <= MOST_BEFORE_A_COMMAND


def test_the_first_promotion_comes_soon_and_in_words_of_the_field():
    text = README.read_text("utf-8")
    until = text.index("$ deltareg promote")

    counted = words_before(text, "$ deltareg promote")
    ours = [term for term in own_terms() if re.search(rf"\b{re.escape(term)}s?\b", text[:until].lower())]

    print(f"\n{counted} words before the first promotion, {len(ours)} of ours: {', '.join(ours)}")
    assert counted <= MOST_BEFORE_A_PROMOTION
    assert len(ours) <= MOST_OF_OURS, ours


def test_it_is_short():
    counted = len(README.read_text("utf-8").split())

    print(f"\n{counted} words in all")
    assert counted <= MOST_WORDS


def test_it_names_no_command_that_no_test_runs():
    assert [block.line for block in read_blocks(README) if block.language in ("", "text")] == []
