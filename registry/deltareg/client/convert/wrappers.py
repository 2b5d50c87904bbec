"""Removes the training process's wrappers from tensor names."""

from deltareg.client.convert.writing import Conversion, OutputTensor, copy_tensor, documents
from deltareg.client.folders.folder import Folder
from deltareg.delta.layouts.wrappers import plain_names, wrapped_names
from deltareg.errors import Problem, Refused


def are_in(folder: Folder) -> bool:
    """Whether a folder has such names."""
    return bool(wrapped_names(folder.files.names))


def plan(folder: Folder) -> Conversion:
    """Plan the removal of wrappers from the names; the tensors stay as they are.

    Raises:
        Refused: Two tensors of a file would have one name.
    """
    files = {path: _parts(folder, path) for path, file in folder.contents.items() if file.header}
    size = sum(folder.contents[path].size_bytes for path in files)
    return Conversion("names with wrappers", "names without", files, size, beside=documents(folder))


def _parts(folder: Folder, path: str) -> list[OutputTensor]:
    parts: dict[str, OutputTensor] = {}
    tensors = folder.tensors_of(path)
    for name, plain in plain_names(tensors).items():
        if plain in parts:
            message = f"{path} holds it with a wrapper in its name and without"
            raise Refused([Problem("ambiguous", message, tensor=plain, fix="keep one of the two")])
        parts[plain] = copy_tensor(plain, tensors[name])
    return list(parts.values())
