"""The stand-in of SGLang, and the driver, say what stands in its source: routes, fields, texts.

SGLang needs a GPU to run; its wheel is fetched, and read without being imported.
"""

import ast
import re
import subprocess
import sys
import zipfile

import pytest

from tests.fixtures.sglang_stub import GETS, POSTS, SAID

VERSION = "0.5.23"
SERVER = "sglang/srt/entrypoints/http_server.py"
STRUCTS = "sglang/srt/managers/io_struct.py"
SPEAKING = (
    "sglang/srt/managers/tokenizer_control_mixin.py", "sglang/srt/lora/lora_manager.py",
    "sglang/srt/lora/lora_registry.py",
)  # fmt: skip

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Read some modules of the wheel, as trees by their path."""
    folder = tmp_path_factory.mktemp("sglang")
    wanted = [f"sglang=={VERSION}", "--no-deps", "--quiet", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *wanted], check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"SGLang {VERSION} cannot be fetched: {done.stderr.strip()[-200:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {path: ast.parse(archive.read(path)) for path in (SERVER, STRUCTS, *SPEAKING)}


def routes_of(tree):
    """Give every path with the methods that it answers, of one module of FastAPI."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        first = call.args[0] if call.args else None
        if not (isinstance(first, ast.Constant) and str(first.value).startswith("/")):
            continue
        told = {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in call.keywords
            if keyword.arg == "methods"
        }
        yield str(first.value), tuple(told.get("methods") or [call.func.attr.upper()])


def fields_of(tree, name):
    """Give the fields of a class, and whether each has to be given."""
    (found,) = (
        node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name
    )
    lines = [line for line in found.body if isinstance(line, ast.AnnAssign)]
    return {
        line.target.id: line.value is None for line in lines if isinstance(line.target, ast.Name)
    }


def texts_of(tree):
    """Give all texts, with `{}` where a value stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_routes_are_there(source):
    found = set(routes_of(source[SERVER]))

    assert {(path, ("GET",)) for path in GETS} <= found
    assert {(path, ("POST",)) for path in POSTS} <= found


def test_what_is_sent_is_what_is_asked_for(source):
    load = fields_of(source[STRUCTS], "LoadLoRAAdapterReqInput")
    unload = fields_of(source[STRUCTS], "UnloadLoRAAdapterReqInput")
    said = fields_of(source[STRUCTS], "LoRAUpdateOutput")

    assert {name for name, is_needed in load.items() if is_needed} == {"lora_name", "lora_path"}
    assert {name for name, is_needed in unload.items() if is_needed} == {"lora_name"}
    assert {"success", "error_message", "loaded_adapters"} <= said.keys()


@pytest.mark.parametrize("name", SAID)
def test_what_the_stand_in_says_is_said_there(source, name):
    texts = {re.sub(r"\s+", " ", text) for path in SPEAKING for text in texts_of(source[path])}

    assert SAID[name] in texts


def test_the_base_is_told_by_its_path(source):
    (function,) = (
        node
        for node in ast.walk(source[SERVER])
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "model_info"
    )

    assert "model_path" in set(texts_of(function))
