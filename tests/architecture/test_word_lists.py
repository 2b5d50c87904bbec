"""Each list of words stands once, and tables, messages and commands take it from there."""

import ast
import re
from collections import defaultdict
from functools import cache
from typing import get_args

import pytest
import sqlalchemy as sa

from deltareg import words
from deltareg.db.tables import metadata
from deltareg.service.authority.grants import SCOPES
from deltareg.service.authority.roles import Role
from tests.architecture.generate_words_docs import PAGE, SOURCE, generate, word_lists, words_in
from tests.architecture.generated import is_current
from tests.architecture.tree import REPOSITORY, modules

PRODUCT = [path for path in modules() if "versions" not in path.parts and REPOSITORY / path != SOURCE]
LISTS = {each.name: frozenset(each.words) for each in word_lists()}
PARTIAL = {
    "approvals.py rejected, stale, withdrawn",  # how a request ends without a move
    "opening.py llamacpp, sglang, vllm",  # the engines that have a port
    "prompts.py base, version",  # whose template there is, where there is one
    "prove.py base, version",  # what has bytes to prove, and no list of words
    "verdicts.py answer, compare",  # the runs that find something else than a verdict
}
"""Maps that are indexed by some words of a list, each after its caller has ruled out the others."""


def test_no_type_of_words_stands_twice():
    found = defaultdict(list)
    for path in PRODUCT:
        for literal in literals(path):
            if len(told := frozenset(words_in(literal.slice))) > 1:
                found[told].append(f"{path}:{literal.lineno}")

    twice = {", ".join(sorted(told)): places for told, places in found.items() if places[1:]}
    again = {name: found[told] for name, told in LISTS.items() if told in found}

    assert twice == {}
    assert again == {}


def test_no_choice_of_a_command_is_a_list_written_anew():
    again = [
        f"{path}:{call.lineno}"
        for path in PRODUCT
        for call in ast.walk(tree_of(path))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "click.Choice"
        and frozenset(words_in(call.args[0])) in LISTS.values()
    ]

    assert again == []


def test_a_column_that_holds_one_of_a_few_words_holds_those_of_a_list():
    checks = {
        f"{table.name}.{each.name}": frozenset(re.findall(r"'([^']*)'", text))
        for table in metadata.tables.values()
        for each in table.constraints
        if isinstance(each, sa.CheckConstraint) and re.fullmatch(r"\w+ IN \([^)]*\)", text := str(each.sqltext))
    }

    assert len(checks) >= 20
    assert {name for name, told in checks.items() if told not in LISTS.values()} == set()


@pytest.mark.parametrize("each", word_lists(), ids=lambda each: each.name)
def test_a_list_says_what_it_is(each):
    assert each.about.endswith(".")
    assert each.words == get_args(getattr(words, each.name))
    assert len(each.words) == len({*each.words}) > 1


def test_a_tuple_has_the_words_of_its_type():
    tuples = {name: value for name, value in vars(words).items() if isinstance(value, tuple)}

    assert all(frozenset(value) in LISTS.values() for value in tuples.values())


def test_who_decides_knows_the_rights_and_roles_of_the_lists():
    assert {right.value for right in SCOPES} == {*words.SCOPES}
    assert [role.value for role in Role] == [*words.ROLES]


def test_the_page_lists_all_words():
    assert is_current(PAGE, generate()), "docs/words.md is behind the code; run: make docs"


@cache
def tree_of(path):
    return ast.parse((REPOSITORY / path).read_text())


def literals(path):
    """List the types of a module that are words."""
    nodes = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Subscript))
    return [node for node in nodes if ast.unparse(node.value) == "Literal"]


def test_a_map_that_is_indexed_by_a_word_has_all_words_of_a_list():
    found = {
        f"{path.name} {', '.join(sorted(keys))}"
        for path in PRODUCT
        for keys in indexed_maps(tree_of(path))
        if keys not in LISTS.values() and any(keys < each for each in LISTS.values())
    }

    assert found == PARTIAL


def indexed_maps(tree):
    """Yield the keys of the maps of text that a module indexes by what it does not know beforehand."""
    named = {}
    for each in ast.walk(tree):
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            target = each.targets[0] if isinstance(each, ast.Assign) else each.target
            if isinstance(target, ast.Name) and (keys := keys_of(each.value)):
                named[target.id] = keys
    for each in ast.walk(tree):
        if isinstance(each, ast.Subscript) and not isinstance(each.slice, ast.Constant | ast.Slice):
            keys = named.get(each.value.id) if isinstance(each.value, ast.Name) else keys_of(each.value)
            if keys:
                yield keys


def keys_of(value):
    """Return the keys of a map that is written out; nothing where they are not all text."""
    if isinstance(value, ast.Call) and value.args:  # MappingProxyType({...})
        value = value.args[0]
    if not isinstance(value, ast.Dict) or len(value.keys) < 2:
        return None
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return frozenset(keys) if len(keys) == len(value.keys) else None
