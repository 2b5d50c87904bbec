"""Faults that are put into deltas: each changes what it says it changes, and nothing else.

What is in a broken file is read by safetensors, and what a LoRA comes to is multiplied out here.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from deltareg.client.folders.folder import open_folder
from deltareg.delta.delta_manifest import assess
from deltareg_verify.workbench.faults import FAULTS, MutableDelta
from deltareg_verify.workbench.faults.delta_files import is_changed, open_parts, write_parts
from tests.verify.bench import sample_bench

CONFIG = "adapter_config.json"
LORAS = ("tinyllama/lora", "tinyllama/lora_modules_to_save", "tinyllama/lora_embeddings")
OTHERS = (
    "tinyllama_bf16/lora",
    "tinygpt2/lora",
    "tinyllama/full",
    "tinygpt2/bitfit",
    "tinygpt2/bitfit_delta",
    "tinyllama/lora_dora",
)


def broken(bench, name, out, *, seed=1, other=None):
    """Put a fault into a sample; gives the folder of the broken one, None where it has no hold."""
    whole = open_parts(bench.folder, bench.assessment.account, bench.base.tensors)
    opened = MutableDelta(dict(whole.parts), dict(whole.config), whole.config_file, other or {})
    FAULTS[name].inject(opened, np.random.default_rng(seed))
    if not is_changed(whole, opened):
        return None
    write_parts(opened, bench.folder, out)
    return out


def all_of(folder):
    """Read the tensors of all shards."""
    shards = sorted(Path(folder).glob("*.safetensors"))
    return {name: value for path in shards for name, value in load_file(path).items()}


def updates(folder):
    """Multiply a LoRA out: scale x B x A, by module."""
    config = json.loads((folder / CONFIG).read_text())
    (path,) = folder.glob("*.safetensors")
    tensors = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config["use_rslora"] else config["r"])
    return {
        name.removesuffix(".lora_A.weight"): scale * tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
        for name in tensors
        if name.endswith(".lora_A.weight")
    }


@pytest.fixture
def lora(tmp_path):
    return sample_bench("tinyllama/lora", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("scaled-up", 4),
        ("applied-twice", 2),
        ("scaled-down", 1 / 8),
        ("half-trained", 0.5),
        ("sign-turned", -1),
        ("never-trained", 0),
        ("wrong-alpha", 0.25),
    ],
)
def test_a_fault_of_amount_scales_all_of_the_change(lora, tmp_path, name, factor):
    whole = updates(lora.folder.path)

    found = updates(broken(lora, name, tmp_path / "out"))

    assert found.keys() == whole.keys()
    for module, update in found.items():
        np.testing.assert_allclose(update, factor * whole[module], rtol=1e-5, atol=1e-9)


def test_swapped_and_shifted_layers_hold_each_others_changes(lora, tmp_path):
    whole = updates(lora.folder.path)
    mirror = {key: key.replace(".0.", ".?.").replace(".1.", ".0.").replace(".?.", ".1.") for key in whole}

    for name in ("layers-swapped", "layers-shifted"):  # of two layers, both are the same
        found = updates(broken(lora, name, tmp_path / name))
        for module in whole:
            np.testing.assert_array_equal(found[module], whole[mirror[module]])


def test_lost_layers_and_modules_change_nothing_and_the_rest_is_whole(lora, tmp_path):
    whole = updates(lora.folder.path)

    upper = updates(broken(lora, "upper-layers-lost", tmp_path / "upper"))
    one = updates(broken(lora, "module-type-zero", tmp_path / "one"))

    for module, update in upper.items():
        assert np.array_equal(update, 0 * update if ".1." in module else whole[module])
    empty = {module for module, update in one.items() if not update.any()}
    assert len({module.rpartition(".")[2] for module in empty}) == 1
    assert len(empty) == 2  # of both layers


def test_one_direction_is_left_of_a_truncated_product(lora, tmp_path):
    for update in updates(broken(lora, "rank-truncated", tmp_path / "out")).values():
        assert np.linalg.matrix_rank(update, tol=1e-6 * np.abs(update).max()) == 1


def test_faults_of_value_keep_size_and_place(lora, tmp_path):
    (path,) = lora.folder.path.glob("*.safetensors")
    whole = load_file(path)
    last = [name for name in whole if "lora_B" in name]

    found = {
        name: load_file(broken(lora, name, tmp_path / name) / path.name)
        for name in ("noise-added", "quantised-badly", "saturated", "rows-exploded", "wrong-dtype")
    }

    for name in last:
        noise = found["noise-added"][name] - whole[name]
        assert np.std(noise) == pytest.approx(np.sqrt(np.mean(whole[name] ** 2)), rel=0.3)
        assert len(np.unique(found["quantised-badly"][name])) <= 3
        assert np.abs(found["saturated"][name]).max() <= np.quantile(np.abs(whole[name]), 0.1001)
        rows = np.abs(found["rows-exploded"][name]).max(1) > 20 * np.abs(whole[name]).max(1)
        assert rows.sum() == 3
        assert len(np.unique(found["wrong-dtype"][name])) < len(np.unique(whole[name]))
        error = np.abs(found["wrong-dtype"][name] - whole[name])
        assert np.all(error <= np.abs(whole[name]) / 8 + 2**-17)  # two bits of fraction
        assert all(np.isfinite(one[name]).all() for one in found.values())


def test_another_run_gives_one_factor_and_the_own_layers_where_there_is_none(lora, tmp_path):
    second = sample_bench("tinyllama/lora_v2", tmp_path / "cache")
    other = open_parts(second.folder, second.assessment.account, second.base.tensors).parts
    (path,) = lora.folder.path.glob("*.safetensors")
    mine, theirs = load_file(path), load_file(next(second.folder.path.glob("*.safetensors")))

    mixed = load_file(broken(lora, "factors-of-two-runs", tmp_path / "a", other=other) / path.name)
    alone = load_file(broken(lora, "factors-of-two-runs", tmp_path / "b") / path.name)

    for name in mixed:
        expected = theirs[name] if "lora_B" in name else mine[name]
        np.testing.assert_array_equal(mixed[name], expected)
        layer = name.replace(".0.", ".?.").replace(".1.", ".0.").replace(".?.", ".1.")
        np.testing.assert_array_equal(alone[name], mine[layer if "lora_B" in name else name])


def test_rows_of_tokens_move_by_one(tmp_path):
    bench = sample_bench("tinyllama/full", tmp_path / "cache")
    base, whole = (all_of(one) for one in (bench.base.path, bench.folder.path))
    name = "model.embed_tokens.weight"

    found = all_of(broken(bench, "other-tokenizer", tmp_path / "out"))

    np.testing.assert_allclose(found[name] - base[name], np.roll(whole[name] - base[name], 1, 0), atol=1e-6)
    other = "model.layers.0.mlp.down_proj.weight"
    np.testing.assert_array_equal(found[other], whole[other])


@pytest.mark.parametrize("sample", [*LORAS, *OTHERS])
def test_what_is_broken_still_looks_like_a_delta(tmp_path, sample):
    bench = sample_bench(sample, tmp_path / "cache")

    had_a_hold = []
    for name in FAULTS:
        out = broken(bench, name, tmp_path / name)
        if out is not None:
            with open_folder(out, convention=bench.folder.convention) as folder:
                found = assess(folder.files, folder.tensors, bench.base.view)
                assert found.errors == [], name
                assert folder.files.names == bench.folder.files.names
            had_a_hold.append(name)

    assert len(had_a_hold) >= 8
    assert "scaled-down" in had_a_hold


def test_there_are_enough_and_each_says_what_happened():
    assert len(FAULTS) >= 14
    assert all(one.about.endswith(".") and len(one.about) > 30 for one in FAULTS.values())


def test_one_seed_gives_one_fault(lora, tmp_path):
    (path,) = lora.folder.path.glob("*.safetensors")
    a, b, c = (
        (broken(lora, "noise-added", tmp_path / str(n), seed=seed) / path.name).read_bytes()
        for n, seed in enumerate((4, 4, 5))
    )

    assert a == b != c
