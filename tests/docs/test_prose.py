"""Pages, help and problem texts say what happens in the field's words, once read."""

import re

import pytest

from tests.conftest import REPOSITORY
from tests.docs.pages import every_page

# What has to be read twice, and a plainer way to say it.
PHRASES = {
    "is told of": "hears, learns, knows",
    "are told of": "hear, learn, know",
    "goes by": "uses, trusts, depends on",
    "go by": "use, trust, depend on",
    "comes to": "is, costs, results in",
    "came to": "was, resulted in",
    "is served on": "it keeps serving it",
    "by which": "that, with which",
    "held against": "compared with, checked against",
    "asks for the suite": "requires the suite",
    "what came of": "the result of",
    "is mended": "is fixed",
}
_WORDS = re.compile(r"\b(" + "|".join(map(re.escape, PHRASES)) + r")\b", re.IGNORECASE)
_GENERATED = {"cli", "events", "fresh", "kinds", "planted-more", "settings", "words"}
_PAGES = [path for path in every_page() if path.stem not in _GENERATED]
_EXPLAIN = sorted((REPOSITORY / "registry" / "deltareg" / "explain").glob("*.md"))
_HELP = sorted((REPOSITORY / "cli" / "deltareg_cli" / "commands").rglob("*.py"))


def prose_of(path):
    """Give what people read of a page or a program, without blocks of code and comments."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return "\n".join(re.findall(r'""".*?"""|help="[^"]*"', text, re.DOTALL))
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("paths", [_PAGES, _EXPLAIN, _HELP], ids=["pages", "problems", "help"])
def test_no_sentence_has_to_be_read_twice(paths):
    found = [
        f"{path.relative_to(REPOSITORY)}: {match[0]!r}; say {PHRASES[match[0].lower()]}"
        for path in paths
        for match in _WORDS.finditer(prose_of(path))
    ]

    assert found == []
