"""Reads a folder of safetensors into what kinds look at: a small stand-in without any transfer."""

import json
from dataclasses import dataclass

from deltareg.delta.kind import BaseView, DeltaFiles
from deltareg.delta.names import name_map_for
from deltareg.digest import Digest, tensor_digest
from deltareg.identity.fingerprint import TensorRecord, fingerprint
from deltareg.tensors.header import TensorInfo, parse_header, strict_json_object

DOCUMENTS = {
    "config.json", "adapter_config.json", "adapter_interface.json", "head_config.json",
    "model.safetensors.index.json",
}  # fmt: skip


@dataclass(frozen=True)
class FileTensor:
    """A tensor in a file's bytes."""

    info: TensorInfo
    data: memoryview

    @property
    def name(self):
        return self.info.name

    @property
    def dtype(self):
        return self.info.dtype

    @property
    def shape(self):
        return self.info.shape

    def read(self, start=0, stop=None):
        data = self.data[self.info.begin : self.info.end]
        if not self.shape:
            return data
        size = len(data) // self.shape[0]
        start, stop, _ = slice(start, stop).indices(self.shape[0])
        return data[start * size : stop * size]


@dataclass(frozen=True)
class Folder:
    """A delta's folder."""

    files: DeltaFiles
    tensors: dict


def read_file(path):
    raw = path.read_bytes()
    header = parse_header(raw[: 8 + int.from_bytes(raw[:8], "little")], len(raw))
    data = memoryview(raw)[header.size_bytes :]
    return header, {name: FileTensor(info, data) for name, info in header.tensors.items()}


def open_folder(path, *, convention=""):
    """Read every header and JSON document of a folder."""
    headers, tensors, documents, sizes = {}, {}, {}, {}
    for file in sorted(path.iterdir()):
        sizes[file.name] = file.stat().st_size
        if file.suffix == ".safetensors":
            headers[file.name], found = read_file(file)
            tensors.update(found)
        elif file.name in DOCUMENTS:
            documents[file.name] = strict_json_object(file.read_bytes())
    return Folder(DeltaFiles(sizes, headers, documents, convention), tensors)


def open_base(path, *, digests=False):
    """Read a base; without `digests` every tensor has the same digest, which most tests ignore."""
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
    config = json.loads((path / "config.json").read_text())
    view = BaseView(fingerprint(records.values()), records, config, name_map_for(config, records))
    return view, folder.tensors
