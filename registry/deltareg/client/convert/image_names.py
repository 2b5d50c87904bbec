"""Reads LoRA files of image tools that no kind reads: ComfyUI, LyCORIS, and kohya with DoRA.

ComfyUI writes `diffusion_model.` and the module's own path; LyCORIS, like kohya, a prefix and the
path with its dots as underscores, so the base's names say which module is meant. A file without an
`alpha` has a scale of one. `dora_scale` is (n_out, 1) where the norm is taken over each output, as
peft takes it, and (1, n_in) where it is taken over each input, for which peft has no form.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

from deltareg.client.bases.bases import KnownBase
from deltareg.client.convert import original_names
from deltareg.client.convert.image_prefixes import DOTTED, PREFIXES, split
from deltareg.client.convert.lora import AdaptedModule, ConvertedLora, modules_of
from deltareg.client.convert.writing import documents
from deltareg.client.folders.folder import Folder
from deltareg.delta.examine import examine
from deltareg.delta.kind import Account, BaseView, Tensors, WeightUpdate
from deltareg.delta.kinds import kohya
from deltareg.delta.layouts.bare_pairs.pair_kind import Finder
from deltareg.delta.layouts.bare_pairs.plan import PairTensorName, Where, plan_pairs
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Problem, Refused

_ENDINGS = {
    "lora_up.weight": "up",
    "lora_down.weight": "down",
    "lora_mid.weight": "core",
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "alpha": "alpha",
}
_MAIN = ("unet", "transformer")
DORA = ".dora_scale"
_ROLES = frozenset({*_ENDINGS, DORA.removeprefix(".")})


def is_in(folder: Folder, known: KnownBase) -> bool:
    """Whether a folder holds such a file, and nothing that a kind reads."""
    names = folder.files.names
    ours = [name for name in names if (parts := split(name)) and parts.role in _ROLES]
    pairs = [name for name in ours if name.endswith((".lora_up.weight", ".lora_B.weight"))]
    if not pairs or CONFIG_FILE in folder.documents:
        return False
    is_plain = all(name.startswith(tuple(kohya.PREFIXES)) for name in ours)
    has_dora = any(name.endswith(DORA) for name in ours)
    return not is_plain or has_dora or original_names.are_in(folder, known.view)


def read(folder: Folder, known: KnownBase) -> ConvertedLora:
    """Pair the factors, find their modules, and put each magnitude beside its pair.

    Raises:
        Refused: A tensor's name has no meaning, a module matches none or two of the base's, or a
            norm is taken along the other side.
    """
    tensors = original_names.respell_names(folder.tensors, known.view)
    magnitudes = {name: tensor for name, tensor in tensors.items() if name.endswith(DORA)}
    updates = _updates(folder, {n: t for n, t in tensors.items() if n not in magnitudes}, known)
    modules = _with_magnitudes(modules_of(updates, known.view), magnitudes, known.view)
    alphas = sum(name.endswith(".alpha") for name in folder.tensors)
    return ConvertedLora(
        source=source_of(folder.tensors),
        modules=modules,
        source_bytes=sum(f.size_bytes for f in folder.contents.values() if f.header is not None),
        effects=[] if any(m.magnitude is not None for m in modules) else updates,
        documents=documents(folder),
        metadata={k: v for h in folder.files.headers.values() for k, v in h.metadata.items()},
        left_out=(f"{alphas} tensors .alpha (now in {CONFIG_FILE})",) if alphas else (),
    )


def _updates(folder: Folder, pairs: Tensors, known: KnownBase) -> list[WeightUpdate]:
    plan = plan_pairs(pairs, known.view, read=_read, find=finder(known.view))
    problems = [*plan.problems, *kohya.find_lost_alphas(folder.files)]
    if problems:
        raise Refused(problems)
    updates = [effect for effect in plan.effects if isinstance(effect, WeightUpdate)]
    problems = examine(Account(updates, {}), folder.tensors, None, folder.files)
    if problems:
        raise Refused(problems)
    cores = [name for name in pairs if name.endswith(".lora_mid.weight")]
    if cores:
        message = "it lies between two factors, and peft has no such layer"
        fix = "train it without Tucker's form (use_tucker), which kohya's layout alone has"
        raise Refused([Problem("unknown_kind", message, tensor=cores[0], fix=fix)])
    return updates


def finder(base: BaseView) -> Finder:
    """Return a finder of the weights that a module's name fits, whatever tool wrote it."""
    by_kohya, underscored = kohya.finder(base), kohya.index_spellings(base)
    parts = [part for part in _MAIN if part in base.components]

    def find(module: str) -> Where:
        prefix = next(prefix for prefix in PREFIXES if module.startswith(prefix))
        path = module.removeprefix(prefix)
        if prefix in kohya.PREFIXES:
            return by_kohya(module)
        if prefix == DOTTED:
            spellings = [path, *(f"{part}.{path}" for part in parts)]
            names = (base.names.tensor(f"{spelling}.weight") for spelling in spellings)
            return tuple(sorted({name for name in names if name is not None}))
        spellings = [path, *(f"{part}_{path}" for part in parts)]
        return tuple(sorted({name for one in spellings for name in underscored.get(one, ())}))

    return find


def source_of(names: Iterable[str]) -> str:
    """Return the tool that wrote a file, judging by its names."""
    first = min(names)
    if first.startswith(DOTTED):
        return "comfyui"
    return "lycoris" if first.startswith("lycoris_") else "kohya"


def _read(name: str) -> PairTensorName | None:
    parts = split(name)
    role = None if parts is None else _ENDINGS.get(parts.role)
    return None if parts is None or role is None else PairTensorName(parts.module, role)


def _with_magnitudes(
    modules: Sequence[AdaptedModule], magnitudes: Mapping[str, Tensor], base: BaseView
) -> list[AdaptedModule]:
    """Put each magnitude beside its module's pair of factors."""
    find = finder(base)
    by_target = {find(name.removesuffix(DORA)): (name, t) for name, t in magnitudes.items()}
    unmatched = sorted(set(magnitudes) - {by_target[(m.target,)][0] for m in modules if (m.target,) in by_target})
    if unmatched:
        message = f"no pair of factors goes with {', '.join(magnitudes[n].name for n in unmatched[:3])}"
        raise Refused([Problem("unexpected_tensors", message)])
    return [
        _with_magnitude(module, by_target[(module.target,)][1], base) if (module.target,) in by_target else module
        for module in modules
    ]


def _with_magnitude(module: AdaptedModule, magnitude: Tensor, base: BaseView) -> AdaptedModule:
    shape = base.tensors[module.target].shape
    outputs = shape[1] if module.is_flipped else shape[0]
    if magnitude.shape[:1] != (outputs,) or prod(magnitude.shape) != outputs:
        message = (
            f"it is {list(magnitude.shape)} for a weight {list(shape)}: its norm is taken over each"
            " input, and peft takes it over each output"
        )
        fix = "train it with the norm over outputs (wd_on_output), or without DoRA"
        raise Refused([Problem("unknown_kind", message, tensor=magnitude.name, fix=fix)])
    return replace(module, magnitude=magnitude)
