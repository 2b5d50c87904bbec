"""Every error has a status on the wire, an exit status and a page; nothing has one for no error."""

import pytest

from deltareg.errors import PROBLEM_CODES, error_classes
from tests.architecture.tree import PACKAGES

CLASSES = sorted(error_classes().values(), key=lambda cls: cls.__name__)
EXPLAIN = PACKAGES["deltareg"] / "explain"


def tree_in_docstring():
    """Read class, exit status and HTTP status off the tree drawn in `deltareg.errors`."""
    import deltareg.errors

    rows = {}
    for line in deltareg.errors.__doc__.splitlines():
        words = line.replace("*", "").translate({ord(mark): " " for mark in "│├└─"}).split()
        if len(words) >= 3 and words[1].isdigit() and words[2].isdigit():
            rows[words[0]] = (int(words[1]), int(words[2]))
    return rows


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_tree_is_drawn_in_the_docstring(cls):
    assert cls.__name__ in {"DeltaregError", *tree_in_docstring()}


@pytest.mark.parametrize("code", sorted(PROBLEM_CODES | set(error_classes())))
def test_every_code_has_a_page(code):
    page = EXPLAIN / f"{code}.md"

    assert page.is_file(), f"deltareg explain {code}: write {page}"
    assert page.read_text().startswith("# ")


def test_no_page_explains_a_code_that_does_not_exist():
    pages = {path.stem for path in EXPLAIN.glob("*.md")}

    assert pages - PROBLEM_CODES - set(error_classes()) == set()
