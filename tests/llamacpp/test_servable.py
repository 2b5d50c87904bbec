"""What we say that llama.cpp can serve is what can be written for it."""

import json

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg.delta.serving import ServableDelta, engine_limits
from deltareg.errors import DeltaregError
from tests.client.convert.converting import client_of
from tests.fixtures.registries import SAMPLES

pytest.importorskip("gguf", reason="needs gguf")
BASE = SAMPLES / "bases" / "tinyllama"
DELTAS = SAMPLES / "deltas" / "tinyllama"
LORAS = sorted(
    path.parent.name
    for path in DELTAS.glob("*/adapter_config.json")
    if json.loads(path.read_text()).get("peft_type") == "LORA"
)
# What is seen only in the numbers, or of the base.
ROUNDED = {"lora_patterns"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with open_base(BASE, Cache(tmp_path_factory.mktemp("cache"))) as found:
        yield found


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_is_judged_as_the_conversion_judges_it(name, base, tmp_path):
    with open_folder(DELTAS / name) as opened:
        kind = assess(opened.files, opened.tensors, base.view).kind
        delta = ServableDelta(kind.name, kind.variant, kind.config(), list(opened.contents))

    found = engine_limits("llamacpp").judge(delta)

    assert found.is_servable == is_written(DELTAS / name, tmp_path) or name in ROUNDED


def is_written(folder, tmp_path):
    """Whether the conversion takes it; what is refused leaves nothing."""
    with client_of(tmp_path) as client:
        try:
            client.folders.convert(folder, tmp_path / "out", base=str(BASE), layout="gguf")
        except DeltaregError:
            return False
    return True
