"""Breaks healthy deltas in every way that a registry must notice.

`FAULTS` says for each broken delta what is wrong with it, which problem code a correct registry
answers and when: `push` from the files alone, `verify` once it is applied to its base.
"""

import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.samples.surgery import (
    CONFIG,
    Q0,
    Change,
    add_code,
    as_pickle,
    as_torch_archive,
    drop_half,
    duplicate_key,
    handmade_pickle,
    hole,
    lfs_pointer,
    narrow,
    on_bytes,
    on_config,
    on_tensors,
    one_value,
    overlap,
    rename_file,
    renamed,
    repeat_config_key,
    scaled,
    swap_factors,
    with_tensor,
    without,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a broken delta.

    Attributes:
        code: The problem code of a correct answer.
        note: What was done to the files.
        break_it: Breaks a copy of the source in place; None where training itself made it so.
        stage: When it can be noticed at the latest: `push` or `verify`.
        source: The healthy delta that it comes from.
        base: The base that it is pushed against.
        kind: The kind that it claims to be.
    """

    code: str
    note: str
    break_it: Change | None = None
    stage: str = "push"
    source: str = "tinyllama/lora_qv"
    base: str = "tinyllama"
    kind: str = "lora"


def break_all(deltas: Path, out: Path) -> None:
    """Write every broken delta that is derived from a healthy one below `out`."""
    for name, fault in FAULTS.items():
        if fault.break_it is not None:
            shutil.copytree(deltas / fault.source, out / name)
            fault.break_it(out / name)


_NORM = "base_model.model.model.norm.weight"
_WRAPPED = "base_model.model.language_model.model."

FAULTS: dict[str, Fault] = {
    # the file itself
    "empty_file": Fault("empty", "no bytes at all", on_bytes(lambda _: b"")),
    "truncated": Fault("truncated", "the last 100 bytes are gone", on_bytes(lambda raw: raw[:-100])),
    "trailing_bytes": Fault("trailing_bytes", "5 bytes follow the last tensor", on_bytes(lambda raw: raw + b"extra")),
    "header_huge": Fault(
        "header", "claims a header of 2**60 bytes", on_bytes(lambda raw: struct.pack("<Q", 1 << 60) + raw[8:])
    ),
    "duplicate_key": Fault("duplicate_key", "a tensor is named twice in the header", on_bytes(duplicate_key)),
    "overlap_offsets": Fault("overlap", "two tensors share 16 bytes", on_bytes(overlap)),
    "hole": Fault("hole", "16 bytes belong to no tensor", on_bytes(hole)),
    "lfs_pointer": Fault("not_safetensors", "the pointer that Git LFS leaves, not the file", on_bytes(lfs_pointer)),
    "pickle_bin": Fault("pickle", "a plain pickle; executed, it would create PICKLE_CANARY", as_pickle),
    "pickle_archive": Fault("pickle", "the same pickle in a zip, as torch writes them", as_torch_archive),
    "pickle_renamed": Fault(
        "pickle", "the same pickle under the name of a safetensors file", on_bytes(lambda _: handmade_pickle())
    ),
    "code_file": Fault("code_file", "a Python file beside the weights", add_code),
    # the configuration
    "missing_config": Fault("missing_config", "no adapter_config.json", without(CONFIG)),
    "unknown_kind": Fault("unknown_kind", "a peft_type that does not exist", on_config(peft_type="FUTURE_TUNER")),
    "custom_code": Fault(
        "custom_code",
        "names a module to import",
        on_config(auto_mapping={"base_model_class": "Tiny", "parent_library": "tiny_code"}),
    ),
    "slow_pattern": Fault(
        "bad_config",
        "a regular expression that takes for ever",
        on_config(target_modules=r"((model|layers|\.|\d|self_attn|q_proj)*)*X"),
    ),
    "unsupported_flag": Fault(
        "bad_config", "a flag that changes the maths and is not supported", on_config(use_qalora=True)
    ),
    "rank_mismatch": Fault("rank", "the config says r = 4, the tensors have 2", on_config(r=4)),
    "dora_without_magnitudes": Fault(
        "missing_tensors", "the config says DoRA, the magnitudes are not there", on_config(use_dora=True)
    ),
    "repeated_config_key": Fault("duplicate_key", "lora_alpha twice in adapter_config.json", repeat_config_key),
    # the tensors
    "nan": Fault("non_finite", "one NaN", one_value(float("nan"))),
    "inf": Fault("non_finite", "one infinity", one_value(float("inf"))),
    "missing_half": Fault("missing_tensors", "layer 1 has A factors and no B", on_tensors(drop_half)),
    "wrong_prefix": Fault(
        "no_tensor_applied",
        "every name begins as in a multimodal wrapper: peft applies none",
        renamed("base_model.model.model.", _WRAPPED),
    ),
    "half_prefix": Fault(
        "partial_application", "layer 1 is addressed to layer 7, which is not there", renamed("layers.1.", "layers.7.")
    ),
    "swapped_factors": Fault(
        "rank", "A and B under each other's name: their rank is not the config's", on_tensors(swap_factors)
    ),
    "shape_mismatch": Fault("shape", "one A is eight columns too narrow", on_tensors(narrow)),
    "norm_override": Fault(
        "undeclared_base_override",
        "brings the base's final norm, which no config declares",
        with_tensor(_NORM, np.zeros(40)),
    ),
    "extra_keys": Fault(
        "unexpected_tensors", "a tensor that no formula uses", with_tensor(f"{Q0}.lora_C.weight", np.ones((2, 2)))
    ),
    "dead_zero_b": Fault("no_effect", "every B is zero: loads, fits, changes nothing", scaled("lora_B", 0), "verify"),
    "exploding": Fault(
        "norm_ratio", "every B times 1000: changes 300 times as large as the weights", scaled("lora_B", 1000), "verify"
    ),
    "other_base": Fault(
        "base_mismatch", "trained on tinyllama_other: only worse behaviour in its domain shows it", None, "verify"
    ),
    "other_base_embeddings": Fault("base_mismatch", "trained on tinyllama_other: its copy of the embedding shows it"),
    # bitfit
    "bitfit_convention": Fault(
        "convention_needed",
        "a file name that says neither absolute nor difference",
        rename_file("biases.safetensors"),
        source="tinygpt2/bitfit_delta",
        base="tinygpt2",
        kind="bitfit",
    ),
    "bitfit_contradiction": Fault(
        "convention_needed",
        "differences under the file name of absolute values",
        rename_file("model.safetensors"),
        source="tinygpt2/bitfit_delta",
        base="tinygpt2",
        kind="bitfit",
    ),
}
