"""Writes a merged version's files into a folder, which is then pushed like any other."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from deltareg.client.disk.weights_file import TensorSlot, write_header, write_stream
from deltareg.client.folders.folder import Folder
from deltareg.client.progress import Progress
from deltareg.delta.base_manifest import TOKENIZER_FILES
from deltareg.delta.kind import BaseView
from deltareg.delta.kinds.merged import LAYOUT
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.written import lora_config
from deltareg.delta.merge.factors import FactorMerging, MergedModule
from deltareg.delta.merge.weights import ValueMerging
from deltareg.tensors.array import from_f32

_BESIDE = frozenset({"config.json", "generation_config.json"}) | TOKENIZER_FILES
_HELD_BYTES = 32 << 20  # of a result, until what was read for it leaves memory
_TRAINED = ("base_model_name_or_path", "revision", "task_type", "auto_mapping")


def write_weights(
    merging: ValueMerging,
    folder: Path,
    view: BaseView,
    parents: Sequence[Folder],
    progress: Progress,
    *,
    base: Folder | None = None,
) -> None:
    """Write merged values; as a full delta if every weight of the base has one.

    What was read of the parents, and of the base's folder, does not stay in memory.

    Files beside the weights (a config, a tokenizer) come from the first parent that has them. A new
    tensor whose values cancel out is left out.
    """
    names = [n for n in merging.targets if not (merging.is_new(n) and merging.is_zero(n))]
    is_full = {n for n in view.tensors if not view.names.is_buffer(n)} <= set(names)
    path = folder / ("model.safetensors" if is_full else "merged.safetensors")
    metadata = {"convention": "absolute", "format": "pt"}
    metadata |= {} if is_full else {"layout": LAYOUT}
    slots = [TensorSlot(name, merging.dtype(name), merging.shape(name)) for name in names]
    meter = progress.task("merging", sum(slot.size_bytes for slot in slots))
    try:
        opened = [*parents] if base is None else [base, *parents]
        write_stream(path, _body(merging, slots, metadata, opened), meter=meter)
    finally:
        meter.close()
    for parent in parents:
        for name, file in parent.contents.items():
            if name in _BESIDE and not (folder / name).exists():
                (folder / name).write_bytes(file.data)


def write_lora(
    merging: FactorMerging, folder: Path, parents: Sequence[Folder], dtype: str, progress: Progress
) -> list[MergedModule]:
    """Write a LoRA in peft's layout, and return how each module was merged."""
    meter = progress.task("merging", len(merging.targets))
    merged_modules: list[MergedModule] = []
    try:
        for target in merging.targets:
            merged_modules.append(merging.module(target))
            meter.add(1)
    finally:
        meter.close()
    modules = [merged.module for merged in merged_modules]
    tensors = sorted((pair for module in modules for pair in module.tensors()), key=lambda p: p[0])
    slots = [TensorSlot(name, dtype, values.shape) for name, values in tensors]
    with (folder / "adapter_model.safetensors").open("xb") as out:
        out.write(write_header(slots, {"format": "pt"}))
        for _, values in tensors:
            out.write(from_f32(values, dtype).tobytes())
    config = lora_config(modules, trained=_find_shared_training(parents), keeps_ties=merging.keeps_ties)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    return merged_modules


def _body(
    merging: ValueMerging, slots: list[TensorSlot], metadata: Mapping[str, str], opened: Sequence[Folder]
) -> Iterator[bytes | memoryview]:
    yield write_header(slots, metadata)
    held = 0
    for rows in chain.from_iterable(merging.rows(slot.name) for slot in slots):
        yield rows
        held += len(rows)
        if held >= _HELD_BYTES:
            held = 0
            for folder in opened:
                folder.release_pages()


def _find_shared_training(parents: Sequence[Folder]) -> dict[str, object]:
    """Return the training settings on which all parents' configs agree."""
    configs = [parent.documents.get(CONFIG_FILE, {}) for parent in parents]
    first: Mapping[str, object] = configs[0] if configs else {}
    agreed = [name for name in _TRAINED if all(c.get(name) == first.get(name) for c in configs)]
    return {name: first[name] for name in agreed if name in first}
