"""Tiny deltas of the LoRA family's variants, by the shapes of their tensors for n_in -> n_out.

delta = lora_family.write(tmp_path / "delta", base, "loha")
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tests import tiny

ROLES = ("q_proj", "down_proj")
CONV1D = ("c_attn", "c_fc")


@dataclass(frozen=True)
class Sample:
    """One variant.

    Attributes:
        config: Its own fields of the config.
        shapes: (n_out, n_in) -> the shapes of a module's tensors.
        shared: The shapes of the tensors that all modules share.
        is_on_conv1d: Whether the library has it for weights that are stored (in, out).
        is_factored: Whether it is a low-rank product.
        is_by_rows: Whether a run of rows needs only those.
    """

    config: dict
    shapes: Callable
    shared: dict = field(default_factory=dict)
    is_on_conv1d: bool = True
    is_factored: bool = False
    is_by_rows: bool = True


def _lora(prefix, r=3):
    return lambda o, i: {f"{prefix}A": (r, i), f"{prefix}B": (o, r)}


SAMPLES = {
    "adalora": Sample(
        {"init_r": 3, "lora_alpha": 4}, lambda o, i: {**_lora("lora_")(o, i), "lora_E": (3, 1)}, is_factored=True
    ),
    "loha": Sample(
        {"r": 2, "alpha": 3},
        lambda o, i: {"hada_w1_a": (o, 2), "hada_w1_b": (2, i), "hada_w2_a": (o, 2), "hada_w2_b": (2, i)},
        is_on_conv1d=False,
    ),
    "lokr": Sample(
        {"r": 1, "alpha": 3},
        lambda o, i: {"lokr_w1": (2, 4), "lokr_w2_a": (o // 2, 1), "lokr_w2_b": (1, i // 4)},
        is_on_conv1d=False,
    ),
    "vera": Sample(
        {"r": 3},
        lambda o, _: {"vera_lambda_b": (o,), "vera_lambda_d": (3,)},
        {"vera_A": (3, 40), "vera_B": (40, 3)},
        is_factored=True,
    ),
    "randlora": Sample(
        {"r": 3, "randlora_alpha": 2},
        lambda o, i: {"randlora_lambda": (3, -(-min(o, i) // 3)), "randlora_gamma": (-(-min(o, i) // 3), min(o, i))},
        {"randlora_A": (3, 1, 40), "randlora_B": (40, 14, 3)},
        is_factored=True,
    ),
    "vblora": Sample(
        {"r": 2, "num_vectors": 6, "vector_length": 4},
        lambda o, i: {"vblora_logits_A": (2, i // 4, 6), "vblora_logits_B": (o // 4, 2, 6)},
        {"vblora_vector_bank": (6, 4)},
        is_factored=True,
    ),
    "delora": Sample(
        {"r": 3},
        lambda o, i: {**_lora("delora_")(o, i), "delora_lambda": (1,), "delora_w_norm": (i,)},
        is_on_conv1d=False,
        is_factored=True,
    ),
    "gralora": Sample(
        {"r": 4, "alpha": 3, "gralora_k": 2, "hybrid_r": 3},
        lambda o, i: {
            "gralora_A": (2, i // 2, 4),
            "gralora_B": (2, 4, o // 2),
            "gralora_A_general.weight": (3, i),
            "gralora_B_general.weight": (o, 3),
        },
    ),
    "hira": Sample({"r": 3}, _lora("hira_")),
    "fourierft": Sample(
        {"n_frequency": 20, "scaling": 3.5}, lambda *_: {"fourierft_spectrum": (20,)}, is_by_rows=False
    ),
    "c3a": Sample({"block_size": 4}, lambda o, i: {"c3a_kernel": (o // 4, i // 4, 4)}, is_on_conv1d=False),
    "waveft": Sample(
        {"n_frequency": 20, "wavelet_family": "sym3", "scaling": 2}, lambda *_: {"waveft_spectrum": (20,)}
    ),
    "miss": Sample({"r": 5}, lambda o, _: {"miss_block": (5, o)}, is_on_conv1d=False, is_factored=True),
    "miss, bat": Sample(
        {"r": 4, "init_weights": "bat"}, lambda o, _: {"miss_block": (o // 4, 4, 4)}, is_on_conv1d=False
    ),
}


def write(path, base, sample, *, drop="", reshape=None, **config):
    """Write a delta on two kinds of modules.

    Args:
        path: Where.
        base: A base of `tests.tiny`.
        sample: Which of `SAMPLES`.
        drop: A tensor to leave out of the first module.
        reshape: The same -> another shape, in the first module.
        config: Fields to change.
    """
    rng, found, tensors = np.random.default_rng(5), SAMPLES[sample], {}
    is_conv1d = base.config["model_type"] == "gpt2"
    ends = CONV1D if is_conv1d else ROLES
    for at, module in enumerate(base.modules(*ends)):
        shape = base.weights[f"{module}.weight"].shape
        shapes = found.shapes(*(shape[::-1] if is_conv1d else shape))
        changed = {} if at else (reshape or {})
        for name, size in {**shapes, **changed}.items():
            if at or name != drop:
                key = f"{tiny.PREFIX}{module}.{name}"
                tensors[key] = np.abs(tiny.normal(rng, *size)) + np.float32(0.1)
    for name, size in found.shared.items():
        if name != drop:
            tensors[f"base_model.{name}"] = tiny.normal(rng, *size)
    filled = {
        "peft_type": sample.partition(",")[0].upper(),
        "peft_version": "0.21.2",
        "target_modules": list(ends),
        "task_type": "CAUSAL_LM",
        **({"fan_in_fan_out": True} if is_conv1d else {}),
        **found.config,
        **config,
    }
    return tiny.write(path, tensors, adapter_config=filled)
