"""A LoRA as peft writes it: same factors and scales, modules by their paths in the network."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert.differences import is_same_fold
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora
from deltareg.client.convert.writing import Conversion, OutputTensor, copy_tensor
from deltareg.delta.delta_manifest import Assessment
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.errors import IntegrityFailure

WEIGHTS_FILE = "adapter_model.safetensors"


def plan(lora: ConvertedLora, known: KnownBase) -> Conversion:
    """Plan the files.

    Raises:
        InvalidInput: Some modules are DoRA and others are not.
    """
    config = {**adapter_config("LORA", lora.trained_on), **factor_config(lora.modules), "use_dora": lora.is_decomposed}
    files = {WEIGHTS_FILE: [part for m in lora.modules for part in parts(m, known)]}
    beside = {**lora.documents, CONFIG_FILE: as_document(config)}
    return plan_with_proof(lora, known, files, beside=beside, metadata=lora.metadata)


def plan_with_proof(
    lora: ConvertedLora,
    known: KnownBase,
    files: Mapping[str, list[OutputTensor]],
    *,
    beside: Mapping[str, bytes | memoryview],
    metadata: Mapping[str, str],
) -> Conversion:
    """Plan files in a layout that push accepts, and a proof that they equal the LoRA."""
    effects = lora.effects or [module.effect for module in lora.modules]

    def prove(written: Assessment) -> None:
        # Without the base's weights there is nothing to fold into; the factors are the same bytes.
        if known.tensors is not None and not is_same_fold(effects, written.account.effects, known.tensors):
            raise IntegrityFailure("the converted LoRA does not fold into the same weights")

    return Conversion(
        source=lora.source,
        result="lora",
        files=files,
        source_bytes=lora.source_bytes,
        metadata={**metadata, "format": "pt"},
        beside=beside,
        left_out=lora.left_out,
        prove=prove,
    )


def adapter_config(peft_type: str, trained_on: str = "") -> dict[str, object]:
    """Return the settings that every config of peft has."""
    return {
        "peft_type": peft_type,
        "base_model_name_or_path": trained_on or None,
        "bias": "none",
        "inference_mode": True,
        "task_type": None,
    }


def factor_config(modules: Sequence[AdaptedModule]) -> dict[str, object]:
    """Return the settings for ranks, scales and targets."""
    ranks = {module.module: module.rank for module in modules}
    alphas = {module.module: module.alpha for module in modules}
    is_flipped = any(module.is_flipped and not module.is_embedding for module in modules)
    return {
        **_spread("r", "rank_pattern", ranks),
        **_spread("lora_alpha", "alpha_pattern", alphas),
        "fan_in_fan_out": is_flipped,
        "target_modules": sorted(ranks),
    }


def pattern_config(rank: Mapping[str, int], alpha: Mapping[str, float], *, alpha_key: str) -> dict[str, object]:
    """Return ranks and numerators of scales, each as the commonest value and the exceptions."""
    return {**_spread("r", "rank_pattern", rank), **_spread(alpha_key, "alpha_pattern", alpha)}


def as_document(config: Mapping[str, object]) -> bytes:
    """Format a config as a JSON document."""
    return json.dumps(config, indent=2, sort_keys=True).encode() + b"\n"


def short(number: float) -> float | int:
    """Return a whole number as an int, any other as it is."""
    return int(number) if float(number).is_integer() else number


def _spread(key: str, pattern: str, numbers: Mapping[str, float]) -> dict[str, object]:
    commonest = Counter(numbers.values()).most_common(1)[0][0]
    odd = {f"^{name}": short(n) for name, n in sorted(numbers.items()) if n != commonest}
    return {key: short(commonest), pattern: odd}


def parts(module: AdaptedModule, known: KnownBase, *, before: str = PREFIX) -> list[OutputTensor]:
    """Return A and B, in the shapes of such a layer in peft, and a magnitude if there is one."""
    shape = known.view.tensors[module.target].shape
    key, rank = f"{before}{module.module}.", module.rank
    if module.is_embedding:
        word, end, a, b = "lora_embedding_", "", module.a.shape, module.b.shape
    else:
        word, end = "lora_", ".weight"
        inner = shape[:1] if module.is_flipped else shape[1:]
        ones = (1,) * (len(shape) - 2)
        a, b = (rank, *inner), (module.b.shape[0], rank, *ones)
    tensors = [copy_tensor(f"{key}{word}A{end}", module.a, a), copy_tensor(f"{key}{word}B{end}", module.b, b)]
    if module.magnitude is not None:
        ones = (1,) * (len(shape) - 2)
        outputs = prod(module.magnitude.shape)
        whole = (1, outputs, *ones) if ones else (outputs,)
        tensors.append(copy_tensor(f"{key}lora_magnitude_vector", module.magnitude, whole))
    return tensors
