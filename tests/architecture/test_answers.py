"""What the server says and holds is built and asked for where a type checker sees each field."""

import ast
import re

from tests.architecture.tree import PACKAGES, REPOSITORY, modules

ROOMS = ("service", "api", "pages")


def test_no_answer_is_built_of_a_dict():
    """`model_validate` reads a document; of a dict display it lets misspelt fields through."""
    rooms = tuple(PACKAGES["deltareg"].relative_to(REPOSITORY) / room for room in ROOMS)
    built = [
        f"{path}:{call.lineno}"
        for path in modules()
        if any(path.is_relative_to(room) for room in rooms)
        for call in validations(ast.parse((REPOSITORY / path).read_text()))
        if any(holds_display(part) for part in call.args)
    ]

    assert built == []


def test_what_an_app_holds_is_asked_for_by_its_type():
    """Starlette's state takes any name and says of none what it is; ours is one value on it."""
    holders = {"registry/deltareg/shared_state.py", "registry/deltareg/api/app_state.py"}
    untyped = [
        f"{path}:{number}"
        for path in modules()
        if str(path) not in {*holders, "registry/deltareg/api/app.py"}
        for number, line in enumerate((REPOSITORY / path).read_text().splitlines(), 1)
        if re.search(r"\bapp\.state\.", line)
    ]

    assert untyped == []


def validations(tree):
    """List the calls of `model_validate` of messages; settings are read."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for call in calls:
        name = ast.unparse(call.func)
        if name.endswith(".model_validate") and name != "ServerSettings.model_validate":
            yield call


def holds_display(node):
    """Tell whether a value is written as a dict that holds something, or put together of two."""
    return any(
        (isinstance(part, ast.Dict) and bool(part.values))
        or isinstance(part, ast.DictComp)
        or (isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitOr))
        for part in ast.walk(node)
    )
