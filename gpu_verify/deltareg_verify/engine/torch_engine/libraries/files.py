"""The one file of tensors that a library reads."""

from pathlib import Path

from deltareg.errors import InvalidInput


def tensors_file(folder: Path, library: str, usual: str) -> Path:
    """Find the file of tensors in a delta's folder: that of the usual name, or the only one.

    The library does not read files beside the usual one, such as a copy in its own folder.

    Args:
        folder: The delta's folder.
        library: The library, for the error.
        usual: The library's name for the file.

    Raises:
        InvalidInput: There is none, or there are several and none has that name.
    """
    if (folder / usual).is_file():
        return folder / usual
    files = sorted(folder.rglob("*.safetensors"))
    if len(files) != 1:
        raise InvalidInput(f"{library} reads one file of tensors, and there are {len(files)}")
    return files[0]
