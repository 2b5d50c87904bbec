"""A LoRA of a pipeline as diffusers writes it: peft's factors per component, in one file.

Peft stores one network per folder; `load_lora_weights` takes one file for all models of a pipeline,
and reads the config of each from the file's metadata.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import to_peft
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora
from deltareg.client.convert.writing import Conversion
from deltareg.delta.layouts.peft.config import CONFIG_FILE

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
_METADATA = "lora_adapter_metadata"
_LOADED = frozenset({"unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3"})
_OF_ONE_NETWORK = frozenset({"base_model_name_or_path", "inference_mode", "task_type"})


def is_wanted(lora: ConvertedLora, known: KnownBase) -> bool:
    """Whether a LoRA is of components that diffusers loads one into."""
    return bool(known.view.components) and {_part(module) for module in lora.modules} <= _LOADED


def plan(lora: ConvertedLora, known: KnownBase) -> Conversion:
    """Plan the file.

    Raises:
        InvalidInput: Some modules of a component are DoRA and others are not.
    """
    by_part: dict[str, list[AdaptedModule]] = defaultdict(list)
    for module in lora.modules:
        by_part[_part(module)].append(module)
    configs = {
        f"{part}.{key}": value
        for part, modules in sorted(by_part.items())
        for key, value in _config(part, replace(lora, modules=modules)).items()
    }
    metadata = {**lora.metadata, _METADATA: json.dumps(configs, sort_keys=True)}
    files = {WEIGHTS_FILE: [p for m in lora.modules for p in to_peft.parts(m, known, before="")]}
    left_out = tuple(text.replace(CONFIG_FILE, "the metadata") for text in lora.left_out)
    renamed = replace(lora, left_out=left_out)
    return to_peft.plan_with_proof(renamed, known, files, beside=lora.documents, metadata=metadata)


def _part(module: AdaptedModule) -> str:
    return module.module.partition(".")[0]


def _config(part: str, lora: ConvertedLora) -> Mapping[str, object]:
    """Return the config of a component's modules, by their paths within it."""
    inner = [replace(m, module=m.module.removeprefix(f"{part}.")) for m in lora.modules]
    config = {**to_peft.adapter_config("LORA"), **to_peft.factor_config(inner), "use_dora": lora.is_decomposed}
    return {key: value for key, value in config.items() if key not in _OF_ONE_NETWORK}
