"""Every error has a status on the wire, an exit status and a page; nothing has one for no error."""

import pytest

import deltareg.errors
from deltareg.errors import PROBLEM_CODES, Problem, Refused, error_classes
from deltareg.wire import status_of
from deltareg_cli.exits import MEANINGS, ExitStatus, exit_status
from tests.architecture.tree import PACKAGES

CLASSES = sorted(error_classes().values(), key=lambda cls: cls.__name__)
EXPLAIN = PACKAGES["deltareg"] / "explain"


def tree_in_docstring():
    """Read class, exit status and HTTP status off the tree drawn in `deltareg.errors`."""
    rows = {}
    for line in deltareg.errors.__doc__.splitlines():
        words = line.replace("*", "").translate({ord(mark): " " for mark in "│├└─"}).split()
        if len(words) >= 3 and words[1].isdigit() and words[2].isdigit():
            rows[words[0]] = (int(words[1]), int(words[2]))
    return rows


def example(cls, code="header"):
    """Make an error without the facts that its class would ask for."""
    error = cls.__new__(cls)
    if isinstance(error, Refused):
        Refused.__init__(error, [Problem(code, "an example")])
    return error


def test_the_docstring_draws_the_whole_tree():
    assert {*tree_in_docstring(), "DeltaregError"} == {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_exit_and_http_status_are_as_drawn(cls):
    exit_drawn, http_drawn = tree_in_docstring().get(cls.__name__, (1, 500))

    error = example(cls)

    assert (exit_status(error), status_of(error)) == (exit_drawn, http_drawn)


@pytest.mark.parametrize(("code", "status"), [("digest", 6), ("base_mismatch", 7), ("shape", 2)])
def test_a_refusal_ends_with_the_status_of_its_first_problem(code, status):
    assert exit_status(example(Refused, code)) == status


def test_every_exit_status_is_explained():
    assert [meaning.status for meaning in MEANINGS] == sorted(ExitStatus)


@pytest.mark.parametrize("code", sorted(PROBLEM_CODES | set(error_classes())))
def test_every_code_has_a_page(code):
    page = EXPLAIN / f"{code}.md"

    assert page.is_file(), f"deltareg explain {code}: write {page}"
    assert page.read_text().startswith("# ")


def test_no_page_explains_a_code_that_does_not_exist():
    pages = {path.stem for path in EXPLAIN.glob("*.md")}

    assert pages - PROBLEM_CODES - set(error_classes()) == set()
