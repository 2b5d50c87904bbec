"""Converts pickles of peft, of the adapters library and of transformers to safetensors files."""

import json

from deltareg.client.convert.torch_archive import read_archive
from deltareg.client.convert.writing import Conversion, OutputTensor, copy_tensor, documents
from deltareg.client.folders.folder import Folder, in_file, is_pickle
from deltareg.documents.json_values import is_object
from deltareg.errors import Problem, Refused
from deltareg.tensors.header import strict_json_object

_SUFFIX = ".safetensors"
_INDEX = ".bin.index.json"
# The adapters library and transformers give the two forms of a file different names.
_NAMES = (("pytorch_adapter", "adapter"), ("pytorch_model_head", "model_head"), ("pytorch_model", "model"))


def names(folder: Folder) -> list[str]:
    """List the pickles in a folder."""
    return sorted(name for name in folder.contents if is_pickle(name))


def plan(folder: Folder) -> Conversion:
    """Plan the conversion of every pickle; the bytes of tensors are read when they are written.

    Raises:
        Refused: A file holds something other than tensors, or would overwrite another.
    """
    files: dict[str, list[OutputTensor]] = {}
    beside = documents(folder)
    for name in names(folder):
        target = _rename_stem(name.rpartition(".")[0]) + _SUFFIX
        if target in files or target in folder.contents:
            message = f"{name} would be written as {target}, and there is one"
            raise Refused([Problem("ambiguous", message, fix="keep one of the two")])
        files[target] = _parts(folder, name)
        del beside[name]
    beside |= {name: file.data for name, file in folder.contents.items() if file.header is not None}
    beside |= {
        _rename_stem(name.removesuffix(_INDEX)) + f"{_SUFFIX}.index.json": _index(bytes(file.data))
        for name, file in folder.contents.items()
        if name.endswith(_INDEX)
    }
    size = sum(folder.contents[name].size_bytes for name in names(folder))
    return Conversion("pickle", "safetensors", files, size, beside=beside)


def _parts(folder: Folder, name: str) -> list[OutputTensor]:
    try:
        tensors = read_archive(folder.contents[name].data)
    except Refused as error:
        raise in_file(error, name) from error
    return [copy_tensor(tensor.name, tensor) for tensor in tensors.values()]


def _rename_stem(stem: str) -> str:
    folder, slash, name = stem.rpartition("/")
    for old, new in _NAMES:
        if name == old or name.startswith(f"{old}-"):
            name = new + name.removeprefix(old)
    return f"{folder}{slash}{name}"


def _index(raw: bytes) -> bytes:
    """Rewrite the list of shards with their new names."""
    document = strict_json_object(raw)
    table = document.get("weight_map")
    if is_object(table):
        document["weight_map"] = {
            tensor: _rename_stem(str(file).removesuffix(".bin")) + _SUFFIX for tensor, file in sorted(table.items())
        }
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
