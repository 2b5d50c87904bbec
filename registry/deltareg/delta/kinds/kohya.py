"""LoRA in the layout of sd-scripts (kohya): module names joined by underscores, alpha as a tensor.

`lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight` could be read in many ways, so the
names of the base decide; one that fits two of its modules is refused. LoCon's convolutions come in
the same file, with or without a core (`lora_mid`). A module may go by its name in the model's original code; where
the base has several in its place, as q, k and v of Flux, each takes its own rows of the up projection.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from deltareg.delta.formats import CONVERT_FIX
from deltareg.delta.kind import BaseView, DeltaFiles
from deltareg.delta.layouts.bare_pairs.pair_kind import Finder, PairKind
from deltareg.delta.layouts.bare_pairs.plan import PairTensorName, Where
from deltareg.delta.layouts.originals import OriginalModule, by_spelling
from deltareg.errors import Problem

PREFIXES = {
    "lora_te1_": ("text_encoder",),
    "lora_te2_": ("text_encoder_2",),
    "lora_te3_": ("text_encoder_3",),
    "lora_te_": ("text_encoder",),
    "lora_unet_": ("unet", "transformer"),
    "lora_vision_": ("image_encoder",),
}
"""What stands before modules, and which component of a pipeline these are of."""
_ENDINGS = {".lora_up.weight": "up", ".lora_down.weight": "down", ".lora_mid.weight": "core", ".alpha": "alpha"}
_ALPHA_TOLD = "ss_network_alpha"
_DORA = ".dora_scale"
_MAIN = "lora_unet_"
_LEVEL = "text_model_"


def read(name: str) -> PairTensorName | None:
    """Parse a name by its prefix and its ending."""
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    is_ours = ending and name.startswith(tuple(PREFIXES))
    return PairTensorName(name.removesuffix(ending), _ENDINGS[ending]) if is_ours else None


def index_spellings(base: BaseView) -> Mapping[str, set[str]]:
    """Index the base's weights by every spelling of their modules, dots as underscores."""
    index: dict[str, set[str]] = defaultdict(set)
    names = base.names
    for tensor, record in base.tensors.items():
        if len(record.shape) > 1 and tensor.endswith(".weight"):
            for path in {tensor, names.canonical(tensor), names.memory(tensor) or tensor}:
                index[path.removesuffix(".weight").replace(".", "_")].add(tensor)
    return index


def finder(base: BaseView) -> Finder:
    """Return a finder of the weights that a module's name fits."""
    table = index_spellings(base)

    def at(path: str, parts: Sequence[str]) -> Where:
        spellings = [f"{part}_{path}" for part in parts] if base.components else [path]
        return tuple(sorted({one for spelling in spellings for one in table.get(spelling, ())}))

    def find(module: str) -> Where:
        prefix = next(prefix for prefix in PREFIXES if module.startswith(prefix))
        path = module.removeprefix(prefix)
        parts = [part for part in PREFIXES[prefix] if part in base.components]
        # CLIP's text model lay one level deeper when these files got their names (transformers 4).
        return at(path, parts) or at(path.removeprefix(_LEVEL), parts)

    return find


def find_lost_alphas(files: DeltaFiles) -> list[Problem]:
    """Find an alpha that metadata gives and no tensor holds."""
    if any(name.endswith(".alpha") for name in files.names):
        return []
    alphas = (header.metadata.get(_ALPHA_TOLD) for header in files.headers.values())
    return [_lost_alpha(alpha) for alpha in alphas if alpha is not None and alpha != "None"]


def find_unreadable(files: DeltaFiles, base: BaseView) -> list[Problem]:
    """Find what is not read in this layout: DoRA."""
    names = sorted(name for name in files.names if name.endswith(_DORA))
    if not names:
        return []
    message = f"{len(names)} modules come with a dora_scale, and DoRA is not read in this layout"
    return [Problem("unknown_kind", message, tensor=names[0], fix=CONVERT_FIX)]


def originals(base: BaseView) -> Callable[[str], OriginalModule | None]:
    """Return a finder of modules that go by their names in the model's original code."""
    table = by_spelling(base)
    return lambda module: table.get(module.removeprefix(_MAIN)) if module.startswith(_MAIN) else None


def _lost_alpha(told: str) -> Problem:
    message = f"metadata says {_ALPHA_TOLD} {told[:40]!r}, and no tensor holds an alpha"
    return Problem("missing_tensors", message, fix="save it again, with the alpha of every module")


KOHYA = PairKind("kohya", read, finder, find_lost_alphas, find_unreadable, originals=originals)
