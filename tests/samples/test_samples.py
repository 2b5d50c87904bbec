"""The samples are what their manifest and the head of `make.py` say."""

import hashlib
import json
import pickletools
from pathlib import Path

import numpy as np
import pytest

from deltareg.errors import FILE_CODES, PROBLEM_CODES, Refused
from deltareg.tensors.header import parse_header
from tests.samples import broken
from tests.samples.surgery import CANARY, handmade_pickle, read_tensors

HERE = Path(__file__).parent
MANIFEST = json.loads((HERE / "manifest.json").read_text())
BASES, DELTAS, BAD = MANIFEST["bases"], MANIFEST["deltas"], MANIFEST["bad"]
LIMIT = 4_500_000
MADE = ("bases", "deltas", "bad", "expected")
PLAIN = [  # one rank and one scale for all, full precision
    d
    for d in DELTAS
    if d["kind"] == "lora"
    and d["id"].startswith(("tinyllama/", "tinygpt2/"))
    and not d["id"].endswith(("_dora", "_patterns", "_bf16"))
]

BROKEN_FILES = [  # what is wrong shows in the header of the weights
    b for b in BAD if b["expect"] in FILE_CODES - {"code_file", "pickle"} and b["id"] != "bad/repeated_config_key"
]


def named(entries):
    return pytest.mark.parametrize("entry", entries, ids=[entry["id"] for entry in entries])


def listed_files():
    """Map every file of the manifest to its record."""
    yield HERE / "probes.safetensors", MANIFEST["probes"]
    for entry in [*BASES.values(), *DELTAS, *BAD]:
        for name, record in entry["files"].items():
            yield HERE / entry["path"] / name, record
        if "expected" in entry:
            yield HERE / entry["expected"], entry["expected_file"]


def folder_tensors(path):
    """Read all tensors of a folder, whatever its shards."""
    found: dict[str, np.ndarray] = {}
    for file in sorted((HERE / path).glob("*.safetensors")):
        found |= read_tensors(file)
    return found


def test_every_file_is_listed_with_its_size_and_digest():
    records = dict(listed_files())

    found = {path for name in MADE for path in (HERE / name).rglob("*") if path.is_file()}
    raw = {path: path.read_bytes() for path in records}

    assert found | {HERE / "probes.safetensors"} == set(records)
    assert {p: len(b) for p, b in raw.items()} == {p: r["size"] for p, r in records.items()}
    assert {p: hashlib.sha256(b).hexdigest() for p, b in raw.items()} == {p: r["sha256"] for p, r in records.items()}


def test_all_of_it_is_small():
    sizes = [p.stat().st_size for p in HERE.rglob("*") if p.is_file() and p.suffix != ".pyc"]

    assert sum(sizes) < LIMIT


def test_ids_are_unique_and_answers_are_known():
    entries = [*DELTAS, *BAD]

    assert len({entry["id"] for entry in entries}) == len(entries)
    assert {entry["stage"] for entry in entries} == {"push", "verify"}
    assert {entry["expect"] for entry in DELTAS} == {"accept"}
    assert {entry["expect"] for entry in BAD} <= PROBLEM_CODES
    assert {entry["base"] for entry in entries} <= set(BASES)


def test_nothing_tells_where_it_was_made():
    kinds = (path for path in (HERE / "kinds").rglob("*") if path.is_file())
    raw = [path.read_bytes() for path in (*kinds, *(path for path, _ in listed_files()))]

    tops = [f"/{top}/".encode() for top in ("tmp", "home", "root")]
    assert [top for top in tops if any(top in data for data in raw)] == []


def test_shards_hold_the_same_tensors():
    whole, shards = folder_tensors("bases/tinyllama"), folder_tensors("bases/tinyllama_sharded")

    assert whole.keys() == shards.keys()
    assert all(np.array_equal(whole[name], shards[name]) for name in whole)
    assert len(list((HERE / "bases/tinyllama_sharded").glob("*.safetensors"))) > 2


def test_the_cast_is_the_base_rounded_to_nearest_even():
    whole, cast = folder_tensors("bases/tinyllama"), folder_tensors("bases/tinyllama_bf16")

    bits = {name: np.ascontiguousarray(t).view(np.uint32) for name, t in whole.items()}
    rounded = {n: ((b + 0x7FFF + ((b >> 16) & 1)) >> 16).astype(np.uint16) for n, b in bits.items()}

    assert all(np.array_equal(rounded[name], cast[name]) for name in whole)


def test_the_other_base_fits_and_differs():
    one, other = folder_tensors("bases/tinyllama"), folder_tensors("bases/tinyllama_other")

    assert {n: t.shape for n, t in one.items()} == {n: t.shape for n, t in other.items()}
    assert not any(np.array_equal(one[name], other[name]) for name in one)


@named(DELTAS)
def test_a_healthy_delta_is_better_in_its_domain_than_its_base(entry):
    assert entry["loss_code"] < BASES[entry["base"]]["loss_code"] - 0.02


def test_second_versions_are_better_than_first():
    loss = {entry["id"]: entry["loss_code"] for entry in DELTAS}

    assert loss["tinyllama/lora_v2"] < loss["tinyllama/lora"]
    assert loss["tinyllama/full_v2"] < loss["tinyllama/full"]


@named(DELTAS)
def test_a_healthy_delta_changes_what_the_library_computes(entry):
    expected = read_tensors(HERE / entry["expected"])
    base = read_tensors(HERE / BASES[entry["base"]]["expected"])

    assert expected["logits_attached"].shape == base["logits_base"].shape == (4, 2, 384)
    assert np.abs(expected["logits_attached"] - base["logits_base"]).max() > 0.1
    merged = {name.removeprefix("merged::") for name in expected} - {"logits_attached"}
    assert merged <= set(entry["changed"])


@named(PLAIN)
def test_merged_weights_agree_with_float64(entry):
    base, delta = folder_tensors(f"bases/{entry['base']}"), folder_tensors(entry["path"])
    config = json.loads((HERE / entry["path"] / "adapter_config.json").read_text())
    root = config["r"] ** 0.5 if config["use_rslora"] else config["r"]

    for name, merged in read_tensors(HERE / entry["expected"]).items():
        if name.startswith("merged::"):
            own = fold(base, delta, name.removeprefix("merged::"), config["lora_alpha"] / root)
            assert np.abs(own - merged).max() <= entry["tolerance"]["weights"]


def fold(base, delta, target, scale):
    """Give W + s·B·A, or the weight that is saved whole, in float64."""
    path = "base_model.model." + target.removesuffix(".weight")
    if f"{path}.weight" in delta:
        return delta[f"{path}.weight"]
    embedded = f"{path}.lora_embedding_A" in delta
    suffixes = ("lora_embedding_A", "lora_embedding_B") if embedded else ("lora_A.weight", "lora_B.weight")
    a, b = (delta[f"{path}.{suffix}"].astype(np.float64) for suffix in suffixes)
    is_transposed = embedded or target.startswith("transformer.")
    return base[target] + scale * ((b @ a).T if is_transposed else b @ a)


def test_both_bitfit_conventions_say_the_same():
    base = folder_tensors("bases/tinygpt2")
    absolute = folder_tensors("deltas/tinygpt2/bitfit")
    additive = folder_tensors("deltas/tinygpt2/bitfit_delta")

    assert absolute.keys() == additive.keys() == {n for n in base if n.endswith(".bias")}
    assert all(np.allclose(base[n] + additive[n], t, atol=1e-6) for n, t in absolute.items())


def test_full_fine_tunes_hold_what_the_base_holds():
    base = folder_tensors("bases/tinyllama")

    for path in ("deltas/tinyllama/full", "deltas/tinyllama/full_v2"):
        tuned = folder_tensors(path)
        assert {n: t.shape for n, t in tuned.items()} == {n: t.shape for n, t in base.items()}


def test_probes_are_token_ids():
    probes = parse_probes()

    assert {name: ids.shape for name, ids in probes.items()} == {
        "input_ids": (4, 16),
        "general_ids": (16, 64),
        "code_ids": (16, 64),
    }
    assert all(((ids >= 0) & (ids < 384)).all() for ids in probes.values())


def parse_probes():
    raw = (HERE / "probes.safetensors").read_bytes()
    header = parse_header(raw[: 8 + int.from_bytes(raw[:8], "little")], len(raw))
    data = raw[header.size_bytes :]
    return {
        name: np.frombuffer(data[info.begin : info.end], np.int64).reshape(info.shape)
        for name, info in header.tensors.items()
    }


def test_every_fault_is_in_the_manifest():
    told = {entry["id"].removeprefix("bad/"): entry["expect"] for entry in BAD}

    assert told == {name: fault.code for name, fault in broken.FAULTS.items()}


def test_broken_deltas_are_what_the_script_makes_of_healthy_ones(tmp_path):
    broken.break_all(HERE / "deltas", tmp_path)

    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    derived = {name for name, fault in broken.FAULTS.items() if fault.break_it is not None}
    kept = {
        path.relative_to(HERE / "bad"): path.read_bytes()
        for name in derived
        for path in (HERE / "bad" / name).iterdir()
    }
    assert made == kept


@named(BROKEN_FILES)
def test_a_broken_file_is_refused_for_what_was_done_to_it(entry):
    if entry["id"] == "bad/repeated_config_key":
        pytest.skip("its config is broken, not its weights; the tests of the client's folder see it")
    raw = (HERE / entry["path"] / "adapter_model.safetensors").read_bytes()

    with pytest.raises(Refused) as refusal:
        parse_header(raw[: 8 + int.from_bytes(raw[:8], "little")], len(raw))

    assert refusal.value.problem_code == entry["expect"]


def test_the_pickle_does_no_harm_and_was_never_run():
    codes = [(code.name, value) for code, value, _ in pickletools.genops(handmade_pickle())]

    assert codes == [
        ("PROTO", 2),
        ("GLOBAL", "builtins open"),
        ("BINUNICODE", CANARY),
        ("BINUNICODE", "w"),
        ("TUPLE2", None),
        ("REDUCE", None),
        ("STOP", None),
    ]
    assert list(HERE.rglob(CANARY)) == []
