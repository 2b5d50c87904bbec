"""A LoRA as mlx-lm reads it: one rank, one scale, and the modules by name or layer by layer."""

from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.folders.folder import open_folder
from deltareg.client.push.convert import mlx
from deltareg.client.push.convert.levelled import of_one_rank, of_one_scale
from deltareg.client.push.convert.lora import Adapted, Lora, is_same
from deltareg.client.push.convert.matrices import Turned
from deltareg.client.push.convert.ties import check_untied
from deltareg.client.push.convert.to_peft import as_document
from deltareg.client.push.convert.writing import Conversion, Part, copied
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.errors import IntegrityFailure, InvalidInput

# Their networks in mlx-lm name each module as transformers does, and in the same shape.
_SAME_NAMES = frozenset({
    "cohere", "cohere2", "ernie4_5", "gemma", "gemma2", "gemma3_text", "glm", "granite", "helium",
    "hunyuan_v1_dense", "internlm3", "llama", "ministral3", "mistral", "nemotron", "olmo2", "phi",
    "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "starcoder2",
})  # fmt: skip
_DTYPES = frozenset({"F32", "F16", "BF16"})


def plan(lora: Lora, known: KnownBase) -> Conversion:
    """Say what to write.

    Raises:
        InvalidInput: mlx-lm has no place for it, or only after a rounding.
        Refused: It changes a weight that two modules share.
    """
    _check(lora, known)
    is_decomposed = lora.is_decomposed
    modules = of_one_scale(of_one_rank(lora.modules), "mlx-lm")
    config = {
        mlx.TYPE: "dora" if is_decomposed else "lora",
        **({"model": lora.trained_on} if lora.trained_on else {}),
        **_places(modules, known),
    }

    def reread(draft: Path) -> None:
        with open_folder(draft) as written:
            if not is_same(modules, mlx.read(written, known).modules):
                raise IntegrityFailure("what was written for MLX is not what was read")

    return Conversion(
        source=lora.source,
        result="mlx",
        files={mlx.WEIGHTS_FILE: [part for module in modules for part in _parts(module)]},
        source_bytes=lora.source_bytes,
        metadata={"format": "mlx"},
        beside={**lora.documents, CONFIG_FILE: as_document(config)},
        left_out=lora.left_out,
        reread=reread,
    )


def _check(lora: Lora, known: KnownBase) -> None:
    model_type = known.view.names.model_type
    if model_type not in _SAME_NAMES:
        raise InvalidInput(
            f"how mlx-lm names the modules of {model_type or 'such a network'} is not known here",
            fix=f"known are {', '.join(sorted(_SAME_NAMES))}",
        )
    check_untied(lora.modules, known.view, "MLX")
    for module in lora.modules:
        why = _misfit(module)
        if why:
            raise InvalidInput(
                f"mlx-lm has no place for {module.module}: {why}",
                fix="leave it out of what is trained, or serve it in peft's layout",
            )


def _misfit(module: Adapted) -> str:
    if len(module.a.shape) != 2:
        return "it is a convolution"
    if module.is_embedding and module.magnitude is not None:
        return "over an embedding it takes the norm of DoRA along the other side"
    if not {module.a.dtype, module.b.dtype} <= _DTYPES:
        return f"its factors are {module.a.dtype} and {module.b.dtype}"
    return "" if module.scale else "its scale is zero"


def _places(modules: Sequence[Adapted], known: KnownBase) -> dict[str, object]:
    """Say which modules it is on: alike in the last layers by their names there, else one by one.

    Whole names are written where layers differ, since a name within a layer means all of them.
    """
    count = mlx.layer_count(known.view)
    layers: dict[int, set[str]] = defaultdict(set)
    whole: set[str] = set()
    for module in modules:
        match = mlx.LAYER.fullmatch(module.module)
        if match is None:
            whole.add(module.module)
        else:
            layers[int(match[1])].add(match[2])
    used = len(layers)
    is_alike = sorted(layers) == list(range(count - used, count)) and used > 0
    if is_alike and len({frozenset(names) for names in layers.values()}) == 1:
        keys = whole | layers[count - 1]
    else:
        keys, used = {module.module for module in modules}, count
    settings = {
        "rank": modules[0].rank, "scale": modules[0].scale, "dropout": 0.0, "keys": sorted(keys),
    }  # fmt: skip
    return {mlx.LAYERS: used, mlx.SETTINGS: settings}


def _parts(module: Adapted) -> list[Part]:
    parts = [
        copied(f"{module.module}.lora_a", Turned(module.a)),
        copied(f"{module.module}.lora_b", Turned(module.b)),
    ]
    if module.magnitude is not None:
        flat = (prod(module.magnitude.shape),)
        parts.append(copied(f"{module.module}.m", module.magnitude, flat))
    return parts
