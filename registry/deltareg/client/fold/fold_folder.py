"""Folds a delta's folder into a base's folder, a block at a time, to the folder of one model.

The result has the base's file names and shards. Weights that the delta does not touch are copied;
others are folded in float32 and rounded once (`deltareg.delta.fold`). Memory holds only a few
blocks of rows, whatever the size of the base. Tensors that the delta holds in their final form are
written as they are.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from math import prod
from pathlib import Path
from typing import Protocol, cast

from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.weights_file import TensorSlot, write_header, write_stream
from deltareg.client.disk.whole_folder import place_folder
from deltareg.client.fold.made_ahead import made_ahead
from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import MappedFile, MappedTensor
from deltareg.client.packs.stored_delta import StoredTensor
from deltareg.client.progress import SILENT, Meter
from deltareg.delta.delta_manifest import assess
from deltareg.delta.fold import BLOCK_ROWS, FoldedBase
from deltareg.delta.kind import DeltaFiles
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.stack import BESIDE_WEIGHTS, stacked_config
from deltareg.digest import Digest, open_tensor_hasher
from deltareg.documents.json_values import parse_json
from deltareg.errors import IntegrityFailure, Refused
from deltareg.identity.fingerprint import TensorRecord, fingerprint
from deltareg.tensors.array import rounded_bytes, to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES, ITEM_BYTES, SafetensorsHeader

_CONFIG_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_INDEX = ".safetensors.index.json"
_CONFIG = "config.json"


class FoldableDelta(Protocol):
    """A delta that can be folded: an open folder, or its stored form."""

    @property
    def contents(self) -> Mapping[str, MappedFile]:
        """Every file by path; tensor files with their headers, maybe without their data."""
        ...

    @property
    def files(self) -> DeltaFiles:
        """The files as a kind sees them."""
        ...

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors by name."""
        ...

    def stream(self, names: Iterable[str]) -> Iterator[memoryview]:
        """Yield the bytes of tensors, one after another."""
        ...


@dataclass(frozen=True, slots=True)
class _FolderFold:
    """One fold under way."""

    base: BaseFolder
    delta: FoldableDelta
    folding: FoldedBase
    dtype: str | None
    meter: Meter
    records: list[TensorRecord]


def fold_folder(
    base: BaseFolder,
    delta: FoldableDelta,
    out: Path,
    *,
    dtype: str | None = None,
    expect: str | None = None,
    meter: Meter | None = None,
) -> Digest:
    """Fold a delta into its base, write the full model and return its root.

    Args:
        base: The base, open.
        delta: The delta, open.
        out: The target folder, empty or not there.
        dtype: The dtype to write floats in; None keeps that of each tensor.
        expect: The root that the result must have.
        meter: Receives the written bytes.

    Raises:
        Refused: The delta is not for this base.
        InvalidInput: The delta acts on activations.
        IntegrityFailure: The result's root is not the expected one.
    """
    assessment = assess(delta.files, delta.tensors, base.view)
    if assessment.errors:
        raise Refused(assessment.account.problems)
    account = assessment.account
    folding = FoldedBase(account.effects, base.tensors, network_class=account.network_class)
    job = _FolderFold(base, delta, folding, dtype, meter or SILENT.task("folding", None), [])
    with place_folder(out) as draft, out_of_space(draft):
        _write_weights(job, draft)
        _copy_rest(job, draft)
        root = fingerprint(job.records)
        if expect is not None and expect != str(root):
            raise IntegrityFailure(
                f"the result has the root {root}, not {expect}",
                fix="check base and version; folds of other machines may differ in last bits",
            )
    return root


def _write_weights(job: _FolderFold, draft: Path) -> None:
    headers = job.base.folder.files.headers
    untied = [t for t in job.folding.changed if t not in job.base.view.tensors]
    extra = _by_last_file([*sorted(untied), *sorted(job.folding.additions)], job)
    for path, header in headers.items():
        own = {job.base.manifest.base_name(path, name): name for name in header.tensors}
        own |= {name: _in_file(job, path, name) for name in extra.get(path, ())}
        slots = {name: _slot(job, header, name, inside) for name, inside in own.items()}
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        body = _body(job, slots, header.metadata)
        write_stream(target, made_ahead(body), meter=job.meter)
    _write_index(job, draft, extra)


def _by_last_file(names: Iterable[str], job: _FolderFold) -> dict[str, list[str]]:
    """Return the file for each tensor that the base does not have: the last of its component."""
    by_file: dict[str, list[str]] = defaultdict(list)
    headers = job.base.folder.files.headers
    for name in names:
        fitting = [path for path in headers if _in_file(job, path, name) != name]
        by_file[max(fitting or headers)].append(name)
    return by_file


def _in_file(job: _FolderFold, path: str, name: str) -> str:
    """Return a base tensor's name inside a file."""
    return name.removeprefix(job.base.manifest.base_name(path, ""))


def _slot(job: _FolderFold, header: SafetensorsHeader, name: str, inside: str) -> TensorSlot:
    """Return the slot of a base tensor under its name inside the file."""
    if name in job.folding.changed:
        dtype, shape = job.folding.dtype(name), job.folding.shape(name)
    elif name in job.folding.additions:
        tensor = job.folding.additions[name]
        dtype, shape = tensor.dtype, tensor.shape
    else:
        info = header.tensors[inside]
        dtype, shape = info.dtype, info.shape
    if job.dtype is not None and dtype in FLOAT_DTYPES:
        dtype = job.dtype
    return TensorSlot(inside, dtype, shape)


def _body(
    job: _FolderFold, slots: Mapping[str, TensorSlot], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    yield write_header(slots.values(), metadata)
    blocks = made_ahead(_blocks(job, slots))
    for name, slot in slots.items():
        hasher = open_tensor_hasher(slot.dtype, slot.shape)
        remaining_bytes = slot.size_bytes
        while remaining_bytes > 0:
            block = next(blocks)
            remaining_bytes -= len(block)
            hasher.update(block)
            yield block
        digest = Digest("blake3", hasher.hexdigest())
        job.records.append(TensorRecord(name, slot.dtype, slot.shape, digest))


def _blocks(job: _FolderFold, slots: Mapping[str, TensorSlot]) -> Iterator[memoryview]:
    """Yield the bytes of all tensors; those that the delta holds in final form come in one go."""
    items = ((name, slot, _find_identical(job, name, slot)) for name, slot in slots.items())
    for is_held, run in groupby(items, key=lambda one: one[2] is not None):
        if is_held:
            yield from job.delta.stream(held for _, _, held in run if held is not None)
        else:
            yield from chain.from_iterable(_rows(job, name, slot) for name, slot, _ in run)


def _find_identical(job: _FolderFold, name: str, slot: TensorSlot) -> str | None:
    """Return the delta's tensor that is the result bit for bit, or None."""
    if name in job.folding.changed:
        tensor = job.folding.find_stored(name)
    else:
        tensor = job.folding.additions.get(name)
    is_plain = isinstance(tensor, (MappedTensor, StoredTensor)) and tensor.dtype == slot.dtype
    return tensor.name if tensor is not None and is_plain else None


def _rows(job: _FolderFold, name: str, slot: TensorSlot) -> Iterator[memoryview]:
    """Yield a tensor's bytes by blocks of rows: folded, added, or as in the base."""
    folding = job.folding
    if name in folding.changed:
        if slot.dtype == folding.dtype(name):
            yield from folding.rows(name)
        else:
            yield from map(partial(rounded_bytes, dtype=slot.dtype), folding.blocks(name))
        return
    tensor = folding.additions.get(name) or job.base.tensors[name]
    yield from _cast(tensor, slot.dtype)


def _cast(tensor: Tensor, dtype: str) -> Iterator[memoryview]:
    height = tensor.shape[0] if tensor.shape else 1
    for start in range(0, height, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, height)
        block = tensor.read(start, stop)
        if tensor.dtype == dtype:
            yield block
            continue
        shape = (stop - start, *tensor.shape[1:]) if tensor.shape else ()
        values = to_f32(view(block, tensor.dtype, shape), tensor.dtype)
        yield rounded_bytes(values, dtype)


def _write_index(job: _FolderFold, draft: Path, extra: Mapping[str, Sequence[str]]) -> None:
    """Rewrite the index of a sharded model if tensors or sizes differ from the base's."""
    for name, document in job.base.folder.documents.items():
        if not name.endswith(_INDEX):
            continue
        places = _mapping(document.get("weight_map"))
        start = job.base.manifest.base_name(name, "")
        own = [record for record in job.records if record.name.startswith(start)]
        files_by_name = {
            _in_file(job, path, one): path.rpartition("/")[2] if start else path
            for path, names in extra.items()
            for one in names
            if one.startswith(start)
        }
        total = sum(prod(r.shape) * ITEM_BYTES[r.dtype] for r in own)
        content = {**document, "metadata": {"total_size": total}, "weight_map": {**places, **files_by_name}}
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_text(json.dumps(content, indent=2) + "\n")


def _copy_rest(job: _FolderFold, draft: Path) -> None:
    """Copy the files beside the weights; the delta's own tokenizer and config take precedence."""
    for name, file in job.base.folder.contents.items():
        if file.header is None and not name.endswith(_INDEX):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
    for name, file in job.delta.contents.items():
        if file.header is None and name in BESIDE_WEIGHTS:
            (draft / name).write_bytes(file.data)
    path = draft / _CONFIG
    config = _mapping(parse_json(path.read_bytes())) if path.exists() else {}
    config_changes = stacked_config(job.folding, config, None)
    if job.dtype is not None:
        key = "torch_dtype" if "torch_dtype" in config else "dtype"
        config_changes[key] = _CONFIG_DTYPES[job.dtype]
    if config and config_changes != config:
        path.write_text(json.dumps(config_changes, indent=2) + "\n")


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
