"""Unpacks a base with packed weights into the numbers that they stand for.

A variant is verified on the unpacked weights. They compute what the scheme's library computes,
except that some schemes also round activations. The folder is kept in the cache like a fetched
base, under its own fingerprint.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.cache.cache import Cache
from deltareg.client.disk.kept_files import make_read_only, out_of_space, remove
from deltareg.client.disk.weights_file import TensorSlot, write_header, write_stream
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.progress import SILENT, Meter, Progress
from deltareg.delta.kind import BaseView
from deltareg.delta.quantised.packed import PackedWeight, contents
from deltareg.delta.quantised.scheme import read_quantisation
from deltareg.delta.quantised.values import values
from deltareg.digest import Digest
from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput
from deltareg.tensors.array import rounded_bytes
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg.words import Scheme

_FORM = 2  # raised when a formula is mended: what was unpacked before is written anew
_WEIGHTS = "model.safetensors"
_INDEX = ".safetensors.index.json"
_CONFIG = "config.json"
_ROOT = "register it as a variant of the base that it was packed from"
_OF_PACKING = ("quantization_config", "compression_config")


def unpack(
    cache: Cache, base: BaseFolder, scheme: Scheme, root: BaseView, *, progress: Progress = SILENT
) -> BaseFolder:
    """Open the unpacked form of a base; write it into the cache first if it is not there.

    Args:
        cache: The cache that keeps it.
        base: The base with packed weights, its fingerprint checked.
        scheme: The scheme that it is packed with.
        root: The base that was packed, for the dtype and the shape of each weight.
        progress: Told of written bytes.

    Raises:
        InvalidInput: The packing is unknown here, or its shapes are not those of the root.
    """
    note = f"unpacked-{_FORM}-{scheme}-{base.identity.whole.identity.hex}-{root.root.hex[:16]}"
    cached = _open_cached(cache, note)
    if cached is not None:
        return cached
    job = _Unpacking.of(base, scheme, root)
    meter = progress.task(f"unpacking {base.path.name}", sum(s.size_bytes for s in job.slots))
    with cache.draft() as draft:
        draft.mkdir()
        _write(job, draft, meter)
        with open_base(draft, cache, progress=progress) as unpacked:
            own = unpacked.identity.whole.identity
        target = cache.folder_path("bases", own)
        target.parent.mkdir(parents=True, exist_ok=True)
        make_read_only(draft)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # else another process made the same at the same time
                raise
    cache.keep_note(note, str(own).encode())
    return open_base(target, cache, progress=progress)


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """One base that is being unpacked.

    Attributes:
        base: The base.
        scheme: The scheme that it is packed with.
        fields: What its config says about the packing.
        packed: Its packed weights by name.
        slots: The tensors to write, in order.
    """

    base: BaseFolder
    scheme: Scheme
    fields: Mapping[str, object]
    packed: Mapping[str, PackedWeight]
    slots: list[TensorSlot]

    @classmethod
    def of(cls, base: BaseFolder, scheme: Scheme, root: BaseView) -> "_Unpacking":
        """Sort a base's tensors into packed ones and others."""
        scheme_fields = read_quantisation(base.view.config)
        fields: Mapping[str, object] = {} if scheme_fields is None else scheme_fields.fields
        packed_weights = contents(base.tensors, scheme, fields)
        slots: list[TensorSlot] = []
        for name in sorted([*packed_weights.packed, *packed_weights.plain]):
            if name in packed_weights.packed:
                slots.append(_slot(name, root))
            else:
                tensor = base.tensors[name]
                slots.append(TensorSlot(name, tensor.dtype, tensor.shape))
        return cls(base, scheme, fields, packed_weights.packed, slots)


def _slot(name: str, root: BaseView) -> TensorSlot:
    record = root.tensors.get(root.names.tensor(name) or name)
    if record is None or record.dtype not in FLOAT_DTYPES:
        raise InvalidInput(f"the base in full precision has no weight {name}", fix=_ROOT)
    return TensorSlot(name, record.dtype, record.shape)


def _open_cached(cache: Cache, note: str) -> BaseFolder | None:
    raw = cache.note(note)
    try:
        root = None if raw is None else Digest.parse(raw.decode())
    except (InvalidInput, UnicodeDecodeError):  # damaged: it is made anew
        return None
    place = None if root is None else cache.find_folder("bases", root)
    if place is None:
        return None
    folder = open_base(place, cache)
    if folder.identity.whole.identity == root:
        return folder
    folder.folder.close()
    remove(place)
    return None


def _write(job: _Unpacking, draft: Path, meter: Meter) -> None:
    with out_of_space(draft):
        write_stream(draft / _WEIGHTS, _body(job), meter=meter)
        for name, file in job.base.folder.contents.items():
            if file.header is None and not name.endswith(_INDEX) and name != _CONFIG:
                target = draft / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.data)
        config = _without_packing(job.base.view.config)
        (draft / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _body(job: _Unpacking) -> Iterator[bytes | memoryview]:
    yield write_header(job.slots, {"format": "pt"})
    tensors = job.base.tensors
    for slot in job.slots:
        weight = job.packed.get(slot.name)
        if weight is None:
            yield tensors[slot.name].read()
            continue
        remaining_bytes = slot.size_bytes
        for block in values(weight, tensors, job.scheme, job.fields):
            if block.shape[1:] != slot.shape[1:]:
                message = f"{slot.name} holds {list(block.shape)}, not {list(slot.shape)}"
                raise InvalidInput(message, fix=_ROOT)
            data = rounded_bytes(block, slot.dtype)
            remaining_bytes -= len(data)
            yield data
        if remaining_bytes:
            raise InvalidInput(f"{slot.name} does not hold {list(slot.shape)}", fix=_ROOT)


def _without_packing(config: Mapping[str, object]) -> dict[str, object]:
    """Return a config, its nested parts included, without what it says about packing."""
    return {
        key: _without_packing(value) if is_object(value) else value
        for key, value in config.items()
        if key not in _OF_PACKING
    }
