"""Materialize: base + delta = a full model, streamed a block of rows at a time.

The result has the base's file names and shards. Weights that the delta does not touch are copied;
others are folded in float32 and rounded once (`deltareg.fold`).
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import cast

from deltareg.array import from_f32, to_f32, view
from deltareg.base_manifest import TOKENIZER_FILES
from deltareg.client.base_folder import BaseFolder
from deltareg.client.bases import need_base
from deltareg.client.cache import out_of_space
from deltareg.client.context import Context
from deltareg.client.fetch import write_checked
from deltareg.client.folder import Folder, open_folder
from deltareg.client.placing import is_free, placed
from deltareg.client.progress import Meter
from deltareg.client.pull import fetch, fetch_base, fetch_manifest, resolve
from deltareg.client.reports import PullReport
from deltareg.client.weights_file import Slot, write_header
from deltareg.delta_manifest import assess
from deltareg.digest import Digest, open_tensor_hasher
from deltareg.errors import Conflict, IntegrityFailure, InvalidInput
from deltareg.fingerprint import TensorRecord, fingerprint
from deltareg.fold import BLOCK_ROWS, RECIPE, Folding
from deltareg.formula import Tensor
from deltareg.refs import Ref
from deltareg.tensors import FLOAT_DTYPES, ITEM_BYTES, SafetensorsHeader
from deltareg.wire import BaseInfo

_DTYPES = {"keep": None, "bf16": "BF16", "f16": "F16", "f32": "F32"}
_CONFIG_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_INDEX = ".safetensors.index.json"
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class _Job:
    """One materialization under way."""

    base: BaseFolder
    delta: Folder
    folding: Folding
    dtype: str | None
    meter: Meter
    records: list[TensorRecord]


def materialize(
    context: Context,
    ref: Ref,
    out: Path,
    *,
    base: Path | None,
    dtype: str,
    expect: str | None,
) -> PullReport:
    """Fold a version into its base and write the full model.

    Raises:
        InvalidInput: The delta cannot be folded, or the dtype is none of keep, bf16, f16, f32.
        BaseMismatch: `base` is not the base that the delta was made for.
        IntegrityFailure: The result's root is not the expected one.
    """
    started = time.monotonic()
    if dtype not in _DTYPES:
        raise InvalidInput(f"no dtype {dtype!r}", fix=f"use {', '.join(_DTYPES)}")
    if not is_free(out):
        raise Conflict(f"{out} exists and is not empty", fix="name another folder with --out")
    version = resolve(context, ref, bare="prod")
    if not version.foldable:
        raise InvalidInput(
            f"{version.ref} ({version.kind}) cannot be folded into weights",
            fix="attach it to the running base instead",
        )
    root = Digest.parse(version.base.root)
    folder = (
        fetch_base(context, context.api.get(f"/bases/{version.base.name}", BaseInfo))
        if base is None
        else need_base(context.cache, root, version.base.name, base, progress=context.progress)
    )
    with folder:
        pulled = fetch(context, version, fetch_manifest(context, version))
        meter = context.progress.task(f"folding {version.ref}", folder.manifest.logical_bytes)
        try:
            with open_folder(pulled.path, convention=_convention(version.config)) as delta:
                found = _write(folder, delta, out, _DTYPES[dtype], meter, expect)
        finally:
            meter.close()
    return PullReport(
        version.ref, out, version.digest, pulled.fetched_bytes, pulled.cached_bytes,
        time.monotonic() - started, root=str(found), recipe=_recipe(),
    )  # fmt: skip


def _recipe() -> str:
    return f"{RECIPE.library}, {RECIPE.block_rows} rows at a time, in {RECIPE.dtype}"


def _convention(config: Mapping[str, object]) -> str:
    return str(config.get("convention", ""))


def _write(
    base: BaseFolder, delta: Folder, out: Path, dtype: str | None, meter: Meter, expect: str | None
) -> Digest:
    assessment = assess(delta.files, delta.tensors, base.view)
    if assessment.errors:
        raise IntegrityFailure(f"the stored delta is refused now: {assessment.errors[0].message}")
    folding = Folding(assessment.account.effects, base.tensors)
    job = _Job(base, delta, folding, dtype, meter, [])
    with placed(out) as draft, out_of_space(draft):
        _write_weights(job, draft)
        _copy_rest(job, draft)
        root = fingerprint(job.records)
        if expect is not None and expect != str(root):
            raise IntegrityFailure(
                f"the result has the root {root}, not {expect}",
                fix="check base and version; folds of other machines may differ in last bits",
            )
    return root


def _write_weights(job: _Job, draft: Path) -> None:
    headers = job.base.folder.files.headers
    untied = [t for t in job.folding.changed if t not in job.base.view.tensors]
    extra = [*sorted(untied), *sorted(job.folding.additions)]
    added: dict[str, str] = {}
    for path, header in headers.items():
        is_last = path == max(headers)
        names = [*header.tensors, *(extra if is_last else [])]
        added |= dict.fromkeys(extra if is_last else [], path)
        slots = [_slot(job, header, name) for name in names]
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        body = _body(job, slots, header.metadata)
        write_checked(target, body, expected=None, meter=job.meter)
    _write_index(job, draft, added)


def _slot(job: _Job, header: SafetensorsHeader, name: str) -> Slot:
    if name in job.folding.changed:
        dtype, shape = job.folding.dtype(name), job.folding.shape(name)
    elif name in job.folding.additions:
        tensor = job.folding.additions[name]
        dtype, shape = tensor.dtype, tensor.shape
    else:
        info = header.tensors[name]
        dtype, shape = info.dtype, info.shape
    if job.dtype is not None and dtype in FLOAT_DTYPES:
        dtype = job.dtype
    return Slot(name, dtype, shape)


def _body(job: _Job, slots: list[Slot], metadata: Mapping[str, str]) -> Iterator[bytes]:
    yield write_header(slots, metadata)
    for slot in slots:
        hasher = open_tensor_hasher(slot.dtype, slot.shape)
        for block in _rows(job, slot):
            hasher.update(block)
            yield block
        digest = Digest("blake3", hasher.hexdigest())
        job.records.append(TensorRecord(slot.name, slot.dtype, slot.shape, digest))


def _rows(job: _Job, slot: Slot) -> Iterator[bytes]:
    """Give a tensor's bytes by blocks of rows: folded, added or as the base has it."""
    folding, name = job.folding, slot.name
    if name in folding.changed:
        if slot.dtype == folding.dtype(name):
            yield from folding.rows(name)
        else:
            yield from (from_f32(block, slot.dtype).tobytes() for block in folding.blocks(name))
        return
    tensor = folding.additions.get(name) or job.base.tensors[name]
    yield from _cast(tensor, slot.dtype)


def _cast(tensor: Tensor, dtype: str) -> Iterator[bytes]:
    height = tensor.shape[0] if tensor.shape else 1
    for start in range(0, height, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, height)
        block = tensor.read(start, stop)
        if tensor.dtype == dtype:
            yield bytes(block)
            continue
        shape = (stop - start, *tensor.shape[1:]) if tensor.shape else ()
        yield from_f32(to_f32(view(block, tensor.dtype, shape), tensor.dtype), dtype).tobytes()


def _write_index(job: _Job, draft: Path, added: Mapping[str, str]) -> None:
    """Write the index of a sharded model again when tensors or sizes differ from the base's."""
    for name, document in job.base.folder.documents.items():
        if not name.endswith(_INDEX):
            continue
        places = _mapping(document.get("weight_map"))
        total = sum(prod(r.shape) * ITEM_BYTES[r.dtype] for r in job.records)
        content = {**document, "metadata": {"total_size": total}, "weight_map": {**places, **added}}
        (draft / name).write_text(json.dumps(content, indent=2) + "\n")


def _copy_rest(job: _Job, draft: Path) -> None:
    """Copy what is beside the weights; the delta's own tokenizer and config win."""
    for name, file in job.base.folder.contents.items():
        if file.header is None and not name.endswith(_INDEX):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
    for name, file in job.delta.contents.items():
        if file.header is None and _is_own(name):
            (draft / name).write_bytes(file.data)
    path = draft / _CONFIG
    config = _mapping(json.loads(path.read_bytes())) if path.exists() else {}
    changes = dict(job.folding.config_changes(config))
    if job.dtype is not None:
        key = "torch_dtype" if "torch_dtype" in config else "dtype"
        changes[key] = _CONFIG_DTYPES[job.dtype]
    if changes and config:
        path.write_text(json.dumps(config | changes, indent=2) + "\n")


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _is_own(name: str) -> bool:
    return name in {_CONFIG, "generation_config.json"} or name in TOKENIZER_FILES
