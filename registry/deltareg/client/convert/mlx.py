"""Reads LoRA and DoRA of mlx-lm: transposed factors, and the scale as it is.

`model.layers.0.self_attn.q_proj.lora_a` is (n_in, r) and `lora_b` (r, n_out); `m` is DoRA's
magnitude, one number for each output. The config counts layers from the last one, and its keys are
names within a layer or whole ones. Modules that the keys do not name do not exist in the network
that mlx-lm builds, which refuses the file or drops the tensors, depending on its version.
"""

import re
from collections.abc import Mapping
from typing import cast

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import mlx_experts
from deltareg.client.convert.expert_stacks import matrix
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora, path_of
from deltareg.client.convert.matrices import TransposedTensor
from deltareg.client.convert.mlx_config import LAYER, LAYERS, SETTINGS, TYPE, MlxSettings, read_settings
from deltareg.client.convert.ties import check_untied
from deltareg.client.convert.writing import documents
from deltareg.client.folders.folder import Folder
from deltareg.delta.examine import examine
from deltareg.delta.kind import Account, BaseView, Tensors
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.written import alpha_for
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Problem, Refused

WEIGHTS_FILE = "adapters.safetensors"
_ENDINGS = (".lora_a", ".lora_b")
_MOST_SHOWN = 8
_GGUF = (".weight.lora_a", ".weight.lora_b")
_ROLES = {"lora_a": "a", "lora_b": "b", "m": "m"}
_CHECKPOINT = re.compile(r"\d{7}_adapters\.safetensors")


def is_in(folder: Folder) -> bool:
    """Whether a folder holds what mlx-lm writes."""
    names = folder.files.names
    is_told = TYPE in folder.documents.get(CONFIG_FILE, {})
    has_pairs = any(name.endswith(_ENDINGS) and not name.endswith(_GGUF) for name in names)
    return has_pairs or (is_told and any(path.endswith(WEIGHTS_FILE) for path in folder.contents))


def read(folder: Folder, known: KnownBase) -> ConvertedLora:
    """Read the factors.

    Raises:
        Refused: The config is missing or contradicts the tensors, or their numbers are not those of
            a sound delta.
    """
    path, left_out = _weights(folder)
    settings = read_settings(folder.documents.get(CONFIG_FILE), known.view)
    tensors = cast("Tensors", folder.tensors_of(path))
    problems = examine(Account([], {}), tensors, None, folder.files)
    if problems:
        raise Refused(problems)
    by_path = _by_module(tensors)
    dropped = sorted(place for place in by_path if not settings.selects(place))
    if dropped:
        raise Refused([_not_selected(dropped)])
    modules = [
        module for place, roles in sorted(by_path.items()) for module in _modules(place, roles, settings, known.view)
    ]
    check_untied(modules, known.view, "MLX")
    return ConvertedLora(
        source="mlx",
        modules=modules,
        source_bytes=folder.contents[path].size_bytes,
        documents={k: v for k, v in documents(folder).items() if k != CONFIG_FILE},
        trained_on=settings.trained_on,
        left_out=left_out,
    )


def _weights(folder: Folder) -> tuple[str, tuple[str, ...]]:
    """Return the file with the factors, and the training run's checkpoints that are left out."""
    candidates = [path for path, file in folder.contents.items() if file.header is not None]
    older = tuple(path for path in candidates if _CHECKPOINT.fullmatch(path))
    newest = [path for path in candidates if path not in older] or list(older[-1:])
    if len(newest) != 1:
        message = f"{' and '.join(sorted(newest)[:2])} could each be the factors"
        raise Refused([Problem("ambiguous", message, fix=f"keep {WEIGHTS_FILE} alone")])
    return newest[0], tuple(f"{p} (an earlier checkpoint)" for p in older if p != newest[0])


def _by_module(tensors: Tensors) -> dict[str, dict[str, Tensor]]:
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, _, end = name.rpartition(".")
        if end not in _ROLES or not path:
            message = "its name says nothing to a LoRA in the layout of mlx-lm"
            raise Refused([Problem("unexpected_tensors", message, tensor=name, fix="take it out")])
        modules.setdefault(path, {})[_ROLES[end]] = tensor
    return modules


def _modules(path: str, roles: Mapping[str, Tensor], settings: MlxSettings, base: BaseView) -> list[AdaptedModule]:
    """Return one module, or one for each expert of a stack."""
    name = next(iter(roles.values())).name
    expected = {"a", "b", "m"} if settings.is_decomposed else {"a", "b"}
    if set(roles) != expected:
        odd = sorted(set(roles) ^ expected)
        message = f"{path} does not have just {', '.join(sorted(expected))}: {', '.join(odd)}"
        raise Refused([Problem("missing_tensors", message, tensor=name, fix="save it again")])
    is_switch = mlx_experts.is_switch(path)
    weight = base.names.tensor(f"{path}.weight")
    targets = mlx_experts.targets_of(path, base) if is_switch else [weight] if weight else []
    if not targets:
        message = f"the base has no {path}"
        raise Refused([Problem("no_tensor_applied", message, tensor=name, fix="check the base")])
    if not is_switch:
        return [
            _module(
                targets[0], TransposedTensor(roles["a"]), TransposedTensor(roles["b"]), settings, base, roles.get("m")
            )
        ]
    a, b = roles["a"], roles["b"]
    if {len(a.shape), len(b.shape)} != {3} or {a.shape[0], b.shape[0]} != {len(targets)}:
        message = f"lora_a {list(a.shape)} and lora_b {list(b.shape)} are not of {len(targets)} experts"
        raise Refused([Problem("shape", message, tensor=name, fix="check the base")])
    return [_module(target, matrix(a, n), matrix(b, n), settings, base) for n, target in enumerate(targets)]


def _module(
    target: str, a: Tensor, b: Tensor, settings: MlxSettings, base: BaseView, magnitude: Tensor | None = None
) -> AdaptedModule:
    """Check a module's factors, (r, n_in) and (n_out, r), against its weight, and return it."""
    is_embedding = target == settings.embedding
    is_flipped = is_embedding or base.names.is_transposed(target)
    _check_shapes(a, b, base.tensors[target].shape[:: -1 if is_flipped else 1], settings, target)
    if is_embedding and magnitude is not None:
        message = "MLX takes the norm of DoRA over each token of an embedding, and peft over features"
        raise Refused([Problem("unknown_kind", message, tensor=a.name, fix="train it without DoRA")])
    return AdaptedModule(
        path_of(target, base),
        target,
        a,
        b,
        alpha_for(settings.scale, a.shape[0]),
        magnitude,
        is_flipped=is_flipped,
        is_embedding=is_embedding,
    )


def _check_shapes(a: Tensor, b: Tensor, shape: tuple[int, ...], settings: MlxSettings, target: str) -> None:
    """Check the shapes of a module's factors against its weight, (n_out, n_in)."""
    is_pair = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1]
    if not is_pair or (b.shape[0], a.shape[1]) != shape:
        message = f"factors {list(a.shape)} and {list(b.shape)} do not fit {target} {list(shape)}"
        raise Refused([Problem("shape", message, tensor=a.name, fix="check the base")])
    if settings.rank not in {None, a.shape[0]}:
        message = f"{CONFIG_FILE}: {SETTINGS}.rank is {settings.rank}, and it has {a.shape[0]}"
        raise Refused([Problem("rank", message, tensor=a.name, fix="write the rank that it has")])


def _not_selected(paths: list[str]) -> Problem:
    keys = sorted({match[2] if (match := LAYER.fullmatch(path)) else path for path in paths})
    names = ", ".join(keys[:_MOST_SHOWN]) + (" and more" if len(keys) > _MOST_SHOWN else "")
    return Problem(
        "not_selected",
        f"{SETTINGS}.keys and {LAYERS} do not ask for {len(paths)} of the modules that tensors"
        " came for: mlx-lm refuses such a folder, or drops them without an error",
        tensor=f"{paths[0]}.lora_a",
        fix=f"if it was trained on {names} of these layers as well, say so in {CONFIG_FILE}: keys"
        f" name modules, and {LAYERS} counts layers from the last one",
    )
