"""Merges through the client: what they fold to, what they are recorded as, what they refuse."""

import pytest

from deltareg.client import MergeOptions
from tests.fixtures.registries import SAMPLES
from tests.folders import read_file

BASES = SAMPLES / "bases"
FOLDABLE = {
    "tinyllama": [
        "lora", "lora_v2", "lora_rslora", "lora_dora", "lora_patterns", "lora_modules_to_save",
        "lora_embeddings", "lora_bf16", "full", "full_v2",
    ],
    "tinyllama_bf16": ["lora"],
    "tinygpt2": ["lora", "bitfit", "bitfit_delta"],
}  # fmt: skip
PAIRS = [(base, delta) for base, deltas in FOLDABLE.items() for delta in deltas]
CHECKED = [
    ("linear", {}),
    ("task_arithmetic", {}),
    ("ties", {"density": 1.0}),
    ("dare", {"density": 1.0}),
    ("dare_ties", {"density": 1.0}),
    ("magnitude_prune", {"density": 1.0}),
]


@pytest.fixture(scope="module")
def client(shared_registry):
    """Give a client of a registry that holds every sample, `team/<base>-<delta>` each."""
    found = shared_registry.client()
    for base, deltas in FOLDABLE.items():
        found.push_base(BASES / base, base)
        for delta in deltas:
            found.push(SAMPLES / "deltas" / base / delta, f"team/{base}-{delta}", base=base)
    return found


def folded(client, ref, out):
    """Give the bytes of every tensor of a folded version."""
    client.materialize(client.show(ref).ref, out)
    found = {}
    for path in out.glob("*.safetensors"):
        found |= {n: (t.dtype, t.shape, bytes(t.read())) for n, t in read_file(path)[1].items()}
    return found


@pytest.mark.parametrize(("base", "delta"), PAIRS)
def test_a_delta_alone_with_weight_one_folds_to_what_it_folds_to(client, tmp_path, base, delta):
    ref = f"team/{base}-{delta}"
    options = MergeOptions("linear")

    made = client.merge([(ref, 1.0)], f"team/one-{base}-{delta}", options=options)

    merged = folded(client, made.pushed.version.ref, tmp_path / "merged")
    assert merged == folded(client, ref, tmp_path / "own")


@pytest.mark.parametrize(("method", "parameters"), CHECKED)
def test_every_method_gives_back_a_delta_that_is_alone(client, tmp_path, method, parameters):
    options = MergeOptions(method, **parameters)

    made = client.merge([("team/tinyllama-full", 1.0)], f"team/one-{method}", options=options)

    merged = folded(client, made.pushed.version.ref, tmp_path / "merged")
    assert merged == folded(client, "team/tinyllama-full", tmp_path / "own")


@pytest.mark.parametrize(("base", "delta"), PAIRS)
def test_a_delta_less_itself_folds_to_the_base(client, tmp_path, base, delta):
    ref = f"team/{base}-{delta}"
    options = MergeOptions("linear")

    made = client.merge([(ref, 1.0), (ref, -1.0)], f"team/no-{base}-{delta}", options=options)

    merged = folded(client, made.pushed.version.ref, tmp_path / "merged")
    own = {}
    for path in (BASES / base).glob("*.safetensors"):
        own |= {n: (t.dtype, t.shape, bytes(t.read())) for n, t in read_file(path)[1].items()}
    assert merged == own
