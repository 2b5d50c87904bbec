"""LoRA files of image tools that no kind reads: ComfyUI's names, LyCORIS's, and kohya's with DoRA.

ComfyUI writes `diffusion_model.` and the module's own path; LyCORIS, like kohya, a prefix and the
path with its dots as underscores, so the base's names say which module is meant. A file without an
`alpha` has a scale of one. `dora_scale` is (n_out, 1) where the norm is taken over each output, as
peft takes it, and (1, n_in) where it is taken over each input, for which peft has no form.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import cast

from deltareg.client.bases.bases import KnownBase
from deltareg.client.folders.folder import Folder
from deltareg.client.push.convert.lora import Adapted, Lora, modules_of
from deltareg.client.push.convert.writing import documents
from deltareg.delta.examine import examine
from deltareg.delta.kind import Account, BaseView, WeightUpdate
from deltareg.delta.kinds import kohya
from deltareg.delta.layouts.bare_pairs.pair_kind import Finder
from deltareg.delta.layouts.bare_pairs.plan import Name, Where, plan_pairs
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Problem, Refused

DOTTED = "diffusion_model."
UNDERSCORED = (*kohya.PREFIXES, "lycoris_")
_PREFIXES = (DOTTED, *UNDERSCORED)
_ENDINGS = {
    ".lora_up.weight": "up", ".lora_down.weight": "down", ".lora_mid.weight": "core",
    ".lora_A.weight": "down", ".lora_B.weight": "up", ".alpha": "alpha",
}  # fmt: skip
DORA = ".dora_scale"


def is_in(folder: Folder) -> bool:
    """Whether a folder holds such a file, and nothing that a kind reads."""
    names = folder.files.names
    ours = [n for n in names if n.startswith(_PREFIXES) and n.endswith((*_ENDINGS, DORA))]
    pairs = [name for name in ours if name.endswith((".lora_up.weight", ".lora_B.weight"))]
    is_plain = all(name.startswith(tuple(kohya.PREFIXES)) for name in ours)
    has_dora = any(name.endswith(DORA) for name in ours)
    return bool(pairs) and CONFIG_FILE not in folder.documents and (not is_plain or has_dora)


def read(folder: Folder, known: KnownBase) -> Lora:
    """Pair the factors, find their modules, and put each magnitude beside its pair.

    Raises:
        Refused: A tensor says nothing, a module is not the base's or is two of them, or its norm
            is taken along the other side.
    """
    tensors = folder.tensors
    magnitudes = {name: tensor for name, tensor in tensors.items() if name.endswith(DORA)}
    rest = {name: tensor for name, tensor in tensors.items() if name not in magnitudes}
    plan = plan_pairs(rest, known.view, read=_read, find=finder(known.view))
    if plan.problems:
        raise Refused(plan.problems)
    updates = [effect for effect in plan.effects if isinstance(effect, WeightUpdate)]
    problems = examine(Account(updates, {}), tensors, None, folder.files)
    if problems:
        raise Refused(problems)
    cores = [name for name in rest if name.endswith(".lora_mid.weight")]
    if cores:
        told = "it lies between two factors, and peft has no such layer"
        fix = "train it without Tucker's form (use_tucker), which kohya's layout alone has"
        raise Refused([Problem("unknown_kind", told, tensor=cores[0], fix=fix)])
    modules = [
        _with_magnitude(module, effect, magnitudes, known.view)
        for module, effect in zip(modules_of(updates, known.view), updates, strict=True)
    ]
    if magnitudes:
        left = ", ".join(sorted(magnitudes)[:3])
        raise Refused([Problem("unexpected_tensors", f"no pair of factors goes with {left}")])
    alphas = sum(name.endswith(".alpha") for name in rest)
    return Lora(
        source=source_of(tensors),
        modules=modules,
        source_bytes=sum(f.size_bytes for f in folder.contents.values() if f.header is not None),
        effects=[] if any(m.magnitude is not None for m in modules) else updates,
        documents=documents(folder),
        metadata={k: v for h in folder.files.headers.values() for k, v in h.metadata.items()},
        left_out=(f"{alphas} tensors .alpha (now in {CONFIG_FILE})",) if alphas else (),
    )


def finder(base: BaseView) -> Finder:
    """Give what finds the weights that a module's name fits, whatever tool wrote it."""
    underscored = kohya.spelled(base)

    def find(module: str) -> Where:
        prefix = next(prefix for prefix in _PREFIXES if module.startswith(prefix))
        path = module.removeprefix(prefix)
        if prefix != DOTTED:
            return tuple(sorted(underscored.get(path, ())))
        found = base.names.tensor(f"{path}.weight")
        return () if found is None else (found,)

    return find


def source_of(names: Iterable[str]) -> str:
    """Say which tool wrote a file, by its names."""
    first = min(names)
    if first.startswith(DOTTED):
        return "comfyui"
    return "lycoris" if first.startswith("lycoris_") else "kohya"


def _read(name: str) -> Name | None:
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    is_ours = ending and name.startswith(_PREFIXES)
    return Name(name.removesuffix(ending), _ENDINGS[ending]) if is_ours else None


def _with_magnitude(
    module: Adapted, effect: WeightUpdate, magnitudes: dict[str, Tensor], base: BaseView
) -> Adapted:
    """Put a magnitude beside a pair, and take it out of those that are left."""
    first = next(name for name, role in effect.consumes.items() if role == "lora_up")
    own = cast("Name", _read(first)).module + DORA
    magnitude = magnitudes.pop(own, None)
    if magnitude is None:
        return module
    shape = base.tensors[module.target].shape
    outputs = shape[1] if module.is_flipped else shape[0]
    if magnitude.shape[:1] != (outputs,) or prod(magnitude.shape) != outputs:
        told = (
            f"it is {list(magnitude.shape)} for a weight {list(shape)}: its norm is taken over each"
            " input, and peft takes it over each output"
        )
        fix = "train it with the norm over outputs (wd_on_output), or without DoRA"
        raise Refused([Problem("unknown_kind", told, tensor=magnitude.name, fix=fix)])
    return replace(module, magnitude=magnitude)
