"""Renames the modules of one of peft's deltas from those of another class or release to those of its base.

A LoRA, an IA3 or a LoKr of a language model alone does not match that model inside a vision-language network, nor the
other way round; transformers 5 moved others. The tensors stay as they are, and the result is
accounted for like any push, so that what does not fit after all is refused.
"""

import json
from collections.abc import Iterable, Mapping
from typing import cast

from deltareg.client.convert.writing import Conversion, copy_tensor, documents
from deltareg.client.folders.folder import Folder
from deltareg.delta.kind import BaseView, DeltaFiles
from deltareg.delta.kinds import all_kinds
from deltareg.delta.layouts.peft.config import CONFIG_FILE, adapter_config, peft_type
from deltareg.delta.layouts.peft.factors import MARKERS
from deltareg.delta.layouts.peft.keys import PREFIX, PeftTensorName, read_keys
from deltareg.delta.layouts.peft.modules import weight_of
from deltareg.delta.layouts.peft.peft_kind import PeftKind
from deltareg.delta.layouts.peft.spellings import SuffixFinder, served_path

_TARGETS = ("target_modules", "feedforward_modules")


def find_moved(folder: Folder, base: BaseView) -> dict[str, str]:
    """Return the path in the running network of each module that the delta names otherwise.

    Empty if all are named as in the base, if one is nowhere in the base, or if no adapters have names.
    """
    markers = _markers(folder.files)
    if not markers:
        return {}
    keys = read_keys(folder.files.names, markers).read.values()
    modules = {key.module for key in keys if key.marker}
    current = {m: served_path(target, base) for m in modules if (target := weight_of(m, base)[0])}
    lost = sorted(modules - current.keys())
    moved = SuffixFinder(base).paths(lost)
    if len(moved) != len(lost) or len({*current.values(), *moved.values()}) != len(modules):
        return {}
    return {module: path for module, path in (current | moved).items() if path != module}


def plan(folder: Folder, paths: Mapping[str, str]) -> Conversion:
    """Plan the renaming.

    Args:
        folder: The delta.
        paths: The result of `find_moved`.
    """
    keys = read_keys(folder.files.names, _markers(folder.files)).read
    files = {
        path: [
            copy_tensor(_rename_key(keys[name], paths) if name in keys else name, tensor)
            for name, tensor in folder.tensors_of(path).items()
        ]
        for path, file in folder.contents.items()
        if file.header
    }
    config = dict(adapter_config(folder.files) or {})
    config |= {name: _targets(config[name], paths) for name in _TARGETS if name in config}
    document = json.dumps(config, indent=2, sort_keys=True).encode() + b"\n"
    size = sum(folder.contents[path].size_bytes for path in files)
    beside = {**documents(folder), CONFIG_FILE: document}
    old, new = next(iter(sorted(paths.items())))
    return Conversion(f"{old}, …", f"{new}, …", files, size, beside=beside)


def _markers(files: DeltaFiles) -> frozenset[str]:
    """Return the parts that only this type of delta has in its names; empty where no module is in them."""
    declared = peft_type(files)
    if declared == "LORA":
        return MARKERS
    kinds = (cast("PeftKind[object]", kind) for kind in all_kinds().values() if isinstance(kind, PeftKind))
    return next((kind.markers for kind in kinds if kind.peft_type == declared), frozenset[str]())


def _rename_key(key: PeftTensorName, paths: Mapping[str, str]) -> str:
    path = paths.get(key.module, key.module)
    return PREFIX + path + key.name.removeprefix(PREFIX + key.module)


def _targets(value: object, paths: Mapping[str, str]) -> object:
    """Return the name endings by which the config selects the same modules."""
    if not isinstance(value, list):
        return value
    return sorted({end for text in cast("list[str]", value) for end in _ends(text, paths)})


def _ends(text: str, paths: Mapping[str, str]) -> Iterable[str]:
    """Yield an ending for each new name of an entry's modules; the entry itself if it has none."""
    size = text.count(".") + 1
    hit = [path for m, path in paths.items() if m == text or m.endswith(f".{text}")]
    return {".".join(path.split(".")[-size:]) for path in hit} or {text}
