"""The stand-in of SGLang, and the driver, say what stands in its source: routes, fields, texts.

SGLang needs a GPU to run; its wheel is fetched, and read without being imported.
"""

import ast
import re
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest

from deltareg.delta.serving import ServableDelta, engine_limits
from tests.fixtures.sglang_stub import GETS, POSTS, SAID

VERSION = "0.5.23"
SERVER = "sglang/srt/entrypoints/http_server.py"
STRUCTS = "sglang/srt/managers/io_struct.py"
LORA = tuple(
    f"sglang/srt/lora/{name}.py" for name in ("lora", "lora_config", "lora_manager", "mem_pool", "utils", "layers")
)
SPEAKING = (
    "sglang/srt/managers/tokenizer_control_mixin.py",
    "sglang/srt/lora/lora_manager.py",
    "sglang/srt/lora/lora_registry.py",
)

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Read some modules of the wheel, as trees by their path."""
    folder = tmp_path_factory.mktemp("sglang")
    wanted = [f"sglang=={VERSION}", "--no-deps", "--quiet", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *wanted], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"SGLang {VERSION} cannot be fetched: {done.stderr.strip()[-200:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {path: ast.parse(archive.read(path)) for path in {SERVER, STRUCTS, *SPEAKING, *LORA}}


def routes_of(tree):
    """Give every path with the methods that it answers, of one module of FastAPI."""
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        first = call.args[0] if call.args else None
        if not (isinstance(first, ast.Constant) and str(first.value).startswith("/")):
            continue
        told = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "methods"}
        yield str(first.value), tuple(told.get("methods") or [call.func.attr.upper()])


def fields_of(tree, name):
    """Give the fields of a class, and whether each has to be given."""
    (found,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name)
    lines = [line for line in found.body if isinstance(line, ast.AnnAssign)]
    return {line.target.id: line.value is None for line in lines if isinstance(line.target, ast.Name)}


def texts_of(tree):
    """Give all texts, with `{}` where a value stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
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


def test_the_scale_is_alpha_by_rank_whatever_the_config_says(source):
    (value,) = (
        node.value
        for node in ast.walk(source["sglang/srt/lora/lora.py"])
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "self.scaling" and node.value is not None
    )
    config = SimpleNamespace(lora_alpha=16, r=4, use_rslora=True)

    scale = eval(ast.unparse(value), {"self": SimpleNamespace(config=config)})

    assert scale == 4.0, "rank-stabilised it is 16 / sqrt(4)"
    assert judged({"use_rslora": True}, "rslora") == ("rank-stabilised: it scales by alpha / r",)


@pytest.mark.parametrize(
    ("field", "value", "obstacle"),
    [
        ("use_rslora", True, "rank-stabilised: it scales by alpha / r"),
        ("rank_pattern", [["q_proj", 8]], "ranks or alphas of their own for some modules"),
        ("alpha_pattern", [["q_proj", 8]], "ranks or alphas of their own for some modules"),
        ("modules_to_save", ["lm_head"], "modules_to_save: lm_head"),
        ("lora_bias", True, "trained biases"),
        ("trainable_token_indices", [["", [3]]], "trained tokens"),
        ("target_parameters", ["w"], "factors of parameters (target_parameters)"),
    ],
)
def test_what_nothing_there_reads_is_said_not_to_be_served(source, field, value, obstacle):
    read = {name for path in LORA for name in words_of(source[path])}

    assert field not in read
    assert "use_dora" in read, "what is read is found so"
    assert judged({field: value}) == (obstacle,)


def test_what_is_refused_there_is_refused_here(source):
    told = " ".join(texts_of(source["sglang/srt/lora/lora_manager.py"]))
    pool = ast.unparse(source["sglang/srt/lora/mem_pool.py"])

    assert "currently doesn't support DoRA adapters" in told
    assert judged({"use_dora": True}, "dora") == ("DoRA",)
    assert "if config.r > self.max_lora_rank:" in pool
    plain = engine_limits("sglang").judge(delta({}))
    assert (plain.is_servable, plain.needs) == (True, "--max-lora-rank 4 or more")


def words_of(tree):
    """Give all names of fields that a module reads, and the words of its texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"[a-z_]+", node.value)


def delta(more, variant=""):
    files = ["adapter_config.json", "adapter_model.safetensors"]
    return ServableDelta("lora", variant, {"r": 4, "lora_alpha": "16", **more}, files)


def judged(more, variant=""):
    return engine_limits("sglang").judge(delta(more, variant)).obstacles
