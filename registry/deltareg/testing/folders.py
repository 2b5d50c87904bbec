"""Reads a folder of safetensors into what kinds look at; for small samples only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.folders.folder import MappedTensor
from deltareg.delta.kind import BaseView, DeltaFiles, Tensors
from deltareg.delta.names import name_map_for
from deltareg.digest import Digest, tensor_digest
from deltareg.identity.fingerprint import TensorRecord, fingerprint
from deltareg.tensors.header import SafetensorsHeader, parse_header, strict_json_object

DOCUMENTS = frozenset(
    {"config.json", "adapter_config.json", "adapter_interface.json", "head_config.json", "model.safetensors.index.json"}
)


@dataclass(frozen=True, slots=True)
class SampleFolder:
    """A delta's folder: what a kind may see, and the tensors with their data."""

    files: DeltaFiles
    tensors: Mapping[str, MappedTensor]


def read_file(path: Path) -> tuple[SafetensorsHeader, dict[str, MappedTensor]]:
    """Read a safetensors file."""
    raw = path.read_bytes()
    header = parse_header(raw[: 8 + int.from_bytes(raw[:8], "little")], len(raw))
    data = memoryview(raw)[header.size_bytes :]
    return header, {name: MappedTensor(info, data[info.begin : info.end]) for name, info in header.tensors.items()}


def open_folder(path: Path, *, convention: str = "") -> SampleFolder:
    """Read every header and JSON document of a folder."""
    headers: dict[str, SafetensorsHeader] = {}
    tensors: dict[str, MappedTensor] = {}
    documents: dict[str, Mapping[str, object]] = {}
    sizes: dict[str, int] = {}
    for file in sorted(path.iterdir()):
        sizes[file.name] = file.stat().st_size
        if file.suffix == ".safetensors":
            headers[file.name], file_tensors = read_file(file)
            tensors.update(file_tensors)
        elif file.name in DOCUMENTS:
            documents[file.name] = strict_json_object(file.read_bytes())
    return SampleFolder(DeltaFiles(sizes, headers, documents, convention), tensors)


def open_base(path: Path, *, digests: bool = False) -> tuple[BaseView, Tensors]:
    """Read a base; without `digests` every tensor has the same one, as few tests need it."""
    folder = open_folder(path)
    nothing = Digest("blake3", "0" * 64)
    records = {
        name: TensorRecord(
            name,
            tensor.dtype,
            tensor.shape,
            tensor_digest(tensor.dtype, tensor.shape, [tensor.read()]) if digests else nothing,
        )
        for name, tensor in folder.tensors.items()
    }
    config = strict_json_object((path / "config.json").read_bytes())
    view = BaseView(fingerprint(records.values()), records, config, name_map_for(config, records))
    return view, folder.tensors
