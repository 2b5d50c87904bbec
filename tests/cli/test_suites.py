"""Suites on the command line."""

import pytest

from deltareg.suites.suite import built_in_names

SUITE = """\
name: mine
about: What matters to us.
sets: {code: {file: code.txt}}
checks:
  - digests
  - {check: perplexity, name: code, probes: code, required: false}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "code.txt").write_text("import os\n")
    (tmp_path / "mine.yaml").write_text(SUITE)
    return tmp_path


def test_a_suite_is_pushed_listed_and_shown(user, folder):
    looked = user("suite", "push", folder / "mine.yaml", "--dry-run")
    before = user("--dry-run", "suite", "push", folder / "mine.yaml")
    pushed = user("suite", "push", folder / "mine.yaml", "--json")
    again = user("suite", "push", folder / "mine.yaml")
    listed = user("suite", "ls")
    shown = user("suite", "show", "mine")

    assert (looked.status, before.status, pushed.status, again.status) == (0, 0, 0, 0)
    assert "not pushed" in looked.out
    assert "not pushed" in before.out
    assert (pushed.json["name"], pushed.json["version"], pushed.json["created"]) == ("mine", 1, True)
    assert "mine v1 is that already" in again.err
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == [*built_in_names(), "mine"]
    assert "code (perplexity)" in shown.out
    assert "What matters to us." in shown.out
    assert user("suite", "ls", "--quiet").out.split() == [*built_in_names(), "mine"]
    assert "v1" in user("suite", "show", "mine", "--versions").out


def test_what_is_shown_as_yaml_is_the_same_suite(user, folder, tmp_path):
    pushed = user("suite", "push", folder / "mine.yaml", "--json").json
    (folder / "again.yaml").write_text(user("suite", "show", "mine", "--yaml").out)

    again = user("suite", "push", folder / "again.yaml", "--json")

    assert (again.json["digest"], again.json["created"]) == (pushed["digest"], False)


def test_mistakes_are_told_with_their_place(user, folder):
    (folder / "mine.yaml").write_text(SUITE.replace("digests", "digest"))
    (folder / "torn.yaml").write_text("name: [mine\n")

    wrong = user("suite", "push", folder / "mine.yaml")
    torn = user("suite", "push", folder / "torn.yaml")
    absent = user("suite", "push", folder / "absent.yaml")
    (folder / "code.txt").unlink()
    (folder / "mine.yaml").write_text(SUITE)
    bare = user("suite", "push", folder / "mine.yaml")

    assert (wrong.status, torn.status, absent.status, bare.status) == (2, 2, 3, 3)
    assert "check 1: 'digest' is no check; did you mean 'digests'?" in wrong.err
    assert "at line 2, column 1" in torn.err
    assert "code.txt" in bare.err
    assert user("suite", "show", "never").status == 3
    assert user("verify", "me/chat:v1", "--suite", "never").status == 3


def test_the_checks_that_a_suite_may_name(user):
    found = user("suite", "checks", "--json").json["items"]

    assert {"accuracy", "perplexity", "norm_ratio"} <= {one["name"] for one in found}
    assert "how likely texts are" in user("suite", "checks").out
