"""Factors with the module names of a model's original code, renamed to those of the base.

Where the base splits a module's weight into several, as q, k and v of Flux, each takes its own rows
of the up projection and the whole down projection. Alpha is copied, so all products stay the same.
Nothing is computed: rows are copied.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from deltareg.client.convert.image_prefixes import DOTTED, ImageTensorName, split
from deltareg.client.folders.folder import Folder
from deltareg.delta.kind import BaseView, Tensors
from deltareg.delta.layouts.originals import OriginalModule, by_path, by_spelling
from deltareg.delta.layouts.originals.shares import rows_of
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Problem, Refused

_PREFIXES = (DOTTED, "lora_unet_", "lycoris_")
"""What stands before modules of the network that makes the image."""
_OF_OUTPUTS = frozenset({"lora_up.weight", "lora_B.weight", "dora_scale", "hada_w1_a", "hada_w2_a"})
"""Factors of which a row is an output of the module."""
_SHARED = frozenset({"lora_down.weight", "lora_A.weight", "alpha", "hada_w1_b", "hada_w2_b"})


def are_in(folder: Folder, base: BaseView) -> bool:
    """Whether a folder holds factors of modules that the base has under another name."""
    if not any(name.startswith(_PREFIXES) for name in folder.files.names):
        return False
    find = _finder(base)
    return any(find(parts.module) for name in folder.files.names if (parts := split(name)))


def respell_names(tensors: Tensors, base: BaseView) -> dict[str, Tensor]:
    """Return tensors under the names of the base's own modules, in ComfyUI's spelling.

    Tensors with other names stay as they are.

    Raises:
        Refused: A factor does not have the rows of its modules, it cannot be split that way, or the
            file holds it under the base's own name as well.
    """
    find = _finder(base)
    respelled: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for own, part in _parts(name, tensor, find, base):
            if own in respelled:
                message = f"it and {respelled[own].name} are both {own.removeprefix(DOTTED)} of the base"
                _refuse("overlap", message, name, "keep one of them")
            respelled[own] = part
    return respelled


def _finder(base: BaseView) -> Callable[[str], OriginalModule | None]:
    dotted, underscored = by_path(base), by_spelling(base)

    def find(module: str) -> OriginalModule | None:
        prefix = next((prefix for prefix in _PREFIXES if module.startswith(prefix)), "")
        table: Mapping[str, OriginalModule] = dotted if prefix == DOTTED else underscored
        return table.get(module.removeprefix(prefix)) if prefix else None

    return find


def _parts(
    name: str, tensor: Tensor, find: Callable[[str], OriginalModule | None], base: BaseView
) -> Iterator[tuple[str, Tensor]]:
    parts = split(name)
    original = None if parts is None else find(parts.module)
    if parts is None or original is None:
        yield name, tensor
        return
    for module, part in zip(original.modules, _shares(tensor, parts, original, base), strict=True):
        yield f"{DOTTED}{module}.{parts.role}", part


def _shares(tensor: Tensor, named: ImageTensorName, original: OriginalModule, base: BaseView) -> list[Tensor]:
    """Return what each module of the base gets of a factor."""
    modules = original.modules
    if original.is_renamed_only or named.role in _SHARED:
        return [tensor] * len(modules)
    if named.role not in _OF_OUTPUTS:
        message = f"the base has this module as {' and '.join(modules)}, with its rows in other places"
        fix = "train it as LoRA or LoHa, which have rows of their own for each output"
        _refuse("unknown_kind", f"{message}; {named.role} has no such split", tensor.name, fix)
    heights = [base.tensors[f"{module}.weight"].shape[0] for module in modules]
    height = sum(heights)
    if tensor.shape[:1] != (height,):
        if named.role == "dora_scale":  # its norm is over inputs, which is refused for what it is
            return [tensor] * len(modules)
        message = f"it has {list(tensor.shape)}, and {' and '.join(modules)} have {height} rows"
        _refuse("shape", message, tensor.name, "check the base")
    return rows_of(tensor, original, heights)


def _refuse(code: str, told: str, tensor: str, fix: str) -> NoReturn:
    raise Refused([Problem(code, told, tensor=tensor, fix=fix)])
