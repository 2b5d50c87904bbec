"""A LoRA as mlx-lm reads it: one rank, one scale, and the modules by name or layer by layer."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import mlx, mlx_experts
from deltareg.client.convert.expert_stacks import by_stack, stack_factors
from deltareg.client.convert.levelled import of_one_rank, of_one_scale
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora, is_same
from deltareg.client.convert.matrices import TransposedTensor
from deltareg.client.convert.mlx_config import LAYER, LAYERS, SETTINGS, TYPE, layer_count
from deltareg.client.convert.ties import check_untied
from deltareg.client.convert.to_peft import as_document
from deltareg.client.convert.writing import Conversion, OutputTensor, copy_tensor
from deltareg.client.folders.folder import open_folder
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.errors import IntegrityFailure, InvalidInput

# Their networks in mlx-lm name each module as transformers does, and in the same shape, but for
# the experts of those that have some.
_SAME_NAMES = frozenset(
    {
        "cohere",
        "cohere2",
        "ernie4_5",
        "gemma",
        "gemma2",
        "gemma3_text",
        "glm",
        "glm4",
        "granite",
        "helium",
        "hunyuan_v1_dense",
        "internlm3",
        "llama",
        "ministral3",
        "mistral",
        "mixtral",
        "nemotron",
        "olmo2",
        "olmoe",
        "phi",
        "phi3",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "seed_oss",
        "smollm3",
        "stablelm",
        "starcoder2",
    }
)
_DTYPES = frozenset({"F32", "F16", "BF16"})


def plan(lora: ConvertedLora, known: KnownBase) -> Conversion:
    """Plan the files.

    Raises:
        InvalidInput: mlx-lm cannot express it, or only after rounding.
        Refused: It changes a weight that two modules share.
    """
    _check(lora, known)
    is_decomposed = lora.is_decomposed
    level = of_one_scale(of_one_rank(lora.modules), "mlx-lm")
    plain, stacks = by_stack(level, known.view, mlx_experts.switch_path)
    by_path = {module.module: [module] for module in plain} | stacks
    modules = [module for found in by_path.values() for module in found]
    config = {
        TYPE: "dora" if is_decomposed else "lora",
        **({"model": lora.trained_on} if lora.trained_on else {}),
        **_places(by_path, known),
    }

    def reread(draft: Path) -> None:
        with open_folder(draft) as result:
            if not is_same(modules, mlx.read(result, known).modules):
                raise IntegrityFailure("what was written for MLX is not what was read")

    return Conversion(
        source=lora.source,
        result="mlx",
        files={mlx.WEIGHTS_FILE: [part for path, found in by_path.items() for part in _parts(path, found)]},
        source_bytes=lora.source_bytes,
        metadata={"format": "mlx"},
        beside={**lora.documents, CONFIG_FILE: as_document(config)},
        left_out=lora.left_out,
        reread=reread,
    )


def _check(lora: ConvertedLora, known: KnownBase) -> None:
    model_type = known.view.names.model_type
    if model_type not in _SAME_NAMES:
        raise InvalidInput(
            f"how mlx-lm names the modules of {model_type or 'such a network'} is not known here",
            fix=f"known are {', '.join(sorted(_SAME_NAMES))}",
        )
    check_untied(lora.modules, known.view, "MLX")
    if lora.is_decomposed and any(mlx_experts.switch_path(m.target) for m in lora.modules):
        raise InvalidInput("mlx-lm has no DoRA of experts", fix="leave them out of what is trained")
    for module in lora.modules:
        why = _misfit(module)
        if why:
            raise InvalidInput(
                f"mlx-lm has no place for {module.module}: {why}",
                fix="leave it out of what is trained, or serve it in peft's layout",
            )


def _misfit(module: AdaptedModule) -> str:
    if len(module.a.shape) != 2:
        return "it is a convolution"
    if module.is_embedding and module.magnitude is not None:
        return "over an embedding it takes the norm of DoRA along the other side"
    if not {module.a.dtype, module.b.dtype} <= _DTYPES:
        return f"its factors are {module.a.dtype} and {module.b.dtype}"
    return "" if module.scale else "its scale is zero"


def _places(by_path: Mapping[str, Sequence[AdaptedModule]], known: KnownBase) -> dict[str, object]:
    """Return the config's modules: names within the last layers if alike, else full names.

    Full names are used where layers differ, since a name within a layer means every layer.
    """
    count = layer_count(known.view)
    layers: dict[int, set[str]] = defaultdict(set)
    whole: set[str] = set()
    for path in by_path:
        match = LAYER.fullmatch(path)
        if match is None:
            whole.add(path)
        else:
            layers[int(match[1])].add(match[2])
    layer_total = len(layers)
    is_alike = sorted(layers) == list(range(count - layer_total, count)) and layer_total > 0
    if is_alike and len({frozenset(names) for names in layers.values()}) == 1:
        keys = whole | layers[count - 1]
    else:
        keys, layer_total = set(by_path), count
    first = next(iter(by_path.values()))[0]
    settings = {"rank": first.rank, "scale": first.scale, "dropout": 0.0, "keys": sorted(keys)}
    return {LAYERS: layer_total, SETTINGS: settings}


def _parts(path: str, modules: Sequence[AdaptedModule]) -> list[OutputTensor]:
    """Return the factors of a module, or of all experts of a stack, to be written."""
    if mlx_experts.is_switch(path):
        pair = zip("ab", stack_factors(modules), strict=True)
        return [copy_tensor(f"{path}.lora_{letter}", tensor) for letter, tensor in pair]
    module = modules[0]
    parts = [
        copy_tensor(f"{path}.lora_a", TransposedTensor(module.a)),
        copy_tensor(f"{path}.lora_b", TransposedTensor(module.b)),
    ]
    if module.magnitude is not None:
        parts.append(copy_tensor(f"{path}.m", module.magnitude, (prod(module.magnitude.shape),)))
    return parts
