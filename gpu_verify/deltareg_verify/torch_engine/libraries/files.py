"""The one file of tensors that a library reads."""

from pathlib import Path

from deltareg.errors import InvalidInput


def tensors_file(folder: Path, library: str) -> Path:
    """Find the file of tensors in a delta's folder, whatever it is called.

    Raises:
        InvalidInput: There is none, or there are several.
    """
    found = sorted(folder.rglob("*.safetensors"))
    if len(found) != 1:
        raise InvalidInput(f"{library} reads one file of tensors, and there are {len(found)}")
    return found[0]
