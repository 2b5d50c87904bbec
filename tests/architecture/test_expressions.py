"""Regular expressions: those that others write are matched in one place, and ours take no more than linear time.

An expression of thirty characters can run for minutes, and one of ours can on a text that others wrote.
"""

import ast

import pytest

from deltareg.client.pull.written_card import without_sections
from deltareg.host.secrets_left_out import LEFT_OUT, leave_out_secrets
from deltareg.integrations.oci.registry import fields_of_challenge
from tests.architecture.tree import REPOSITORY, modules

OTHERS_EXPRESSIONS = "registry/deltareg/delta/layouts/peft/patterns.py"
# What is put together of our own words, or of others' that were escaped.
MADE_OF_OURS = {
    "gpu_verify/deltareg_verify/engine/torch_engine/room.py": {r"f'^{name}:\\s+(\\d+) kB$'"},
    "migrations/deltareg_migrations/planning.py": {"pattern.replace('TABLE_NAME', _NAME)"},
    "registry/deltareg/client/follow/sglang_server.py": {"words"},
    "registry/deltareg/client/follow/vllm_refusals.py": {"words"},
    "registry/deltareg/delta/names/runs.py": {r"f'{anchor}\\.{_escape_run(run)}(?=\\.)'"},
    "registry/deltareg/service/labels.py": {"f'(?<![a-z0-9]){words}(?![a-z0-9])'"},
}
FUNCTIONS = {"compile", "match", "search", "fullmatch", "findall", "finditer", "sub", "subn", "split"}
LONG = 1_000_000
"""Characters: what takes quadratic time takes hours with them."""


def is_ours(expression, constants):
    """Whether an expression is written in the source, whatever is put into it escaped or from a constant."""
    parts: list[ast.expr]
    match expression:
        case ast.Constant() | ast.Call(func=ast.Attribute(attr="escape" | "join")):
            return True
        case ast.Name(id=name):
            return name in constants
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.JoinedStr(values=values):
            parts = values
        case ast.FormattedValue(value=value):
            parts = [value]
        case _:
            return False
    return all(is_ours(part, constants) for part in parts)


def expressions_of(tree):
    """Give each expression that `re` or `regex` reads."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re" | "regex"), attr=attr), args=[first, *_]):
                if attr in FUNCTIONS:
                    yield first


def test_what_others_write_is_read_as_an_expression_in_one_place():
    found: dict[str, list[str]] = {}
    for path in modules():
        tree = ast.parse((REPOSITORY / path).read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        constants = {name for name in names if name.lstrip("_").isupper()}
        for first in expressions_of(tree):
            if not is_ours(first, constants):
                found.setdefault(path.as_posix(), []).append(ast.unparse(first))

    assert found.pop(OTHERS_EXPRESSIONS)
    assert {where: set(expressions) for where, expressions in found.items()} == MADE_OF_OURS


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pump", ["a-", "eyJ-", "eyJa.", "drg_a_", "://a", "secret", "token ", "-----BEGIN A", "sig_"])
def test_secrets_are_looked_for_in_linear_time(pump):
    text = pump * (LONG // len(pump))

    assert leave_out_secrets(f"{text} api_key=5up3r {text}").count("5up3r") == 0


def test_a_key_is_left_out_whatever_stands_before_its_name():
    for said in ("my-api_key=x9", "password: x9", '{"designsig":"x9"}', "AWS_SECRET=x9", "a=1&x-amz-signature=x9"):
        assert "x9" not in leave_out_secrets(said)
        assert LEFT_OUT in leave_out_secrets(said)


@pytest.mark.timeout(60)
def test_a_card_is_written_back_in_linear_time():
    begin, end = "<!-- deltareg: begin -->", "<!-- deltareg: end -->"

    assert without_sections("\n" * LONG) == "\n" * LONG
    assert without_sections(begin * (LONG // len(begin))) == begin * (LONG // len(begin))
    assert without_sections(f"a\n\n{begin} x {end}\n\nb{begin}{end}") == "a\nb\n"
    assert without_sections(f"a{end}{begin}") == f"a{end}{begin}"


@pytest.mark.timeout(60)
def test_the_challenge_of_another_registry_is_read_in_linear_time():
    assert fields_of_challenge("a" * LONG) == {}
    assert fields_of_challenge('realm="https://r.example/t",service="r"') == {
        "realm": "https://r.example/t",
        "service": "r",
    }
    assert fields_of_challenge('=" ' * LONG) == {}
