"""What somebody probably meant who named a folder or a file that holds no delta by itself."""

import re
from pathlib import Path

from deltareg.errors import NotFound, Problem, Refused

_CHECKPOINT = re.compile(r"(?:checkpoint-|global_step)(\d+)")
_CONFIG = "adapter_config.json"


def check_exists(path: Path) -> None:
    """Refuse a path that leads nowhere.

    Raises:
        NotFound: There is nothing.
    """
    if not path.exists():
        raise NotFound(f"there is nothing at {path}", fix="name the folder that holds the files")


def newest_checkpoint(folder: Path) -> Path | None:
    """Give the newest checkpoint with tensors in what a trainer has written."""
    found = {
        int(match[1]): place
        for place in folder.iterdir()
        if (match := _CHECKPOINT.fullmatch(place.name)) and any(place.glob("*.safetensors"))
    }
    return found[max(found)] if found else None


def fix_of_empty(folder: Path) -> str:
    """Say what to name instead of a folder without tensors."""
    if any(folder.glob("*.gguf")):
        return "convert the GGUF file: deltareg convert PATH --out DIR --base BASE"
    newest = newest_checkpoint(folder)
    return f"name its newest checkpoint: {newest}" if newest else "name the folder that does"


def fix_of_two(folder: Path, one: str, other: str) -> str:
    """Say what to do about two files of a folder that hold the same tensors."""
    places = sorted({str((folder / path).parent) for path in (one, other)} - {str(folder)})
    if not places:
        return "keep one"
    if len(places) == 1:
        return f"push {places[0]} alone, or move it out to push the other"
    return f"push one of them alone: {' or '.join(places)}"


def check_is_whole(path: Path) -> None:
    """Make sure that what is to be pushed is there, and not one file of an adapter.

    Raises:
        NotFound: There is nothing at the path.
        Refused: The config that belongs to it lies beside it.
    """
    check_exists(path)
    is_part = path.name.endswith(".safetensors") and path.is_file()
    if is_part and (path.parent / _CONFIG).is_file():
        told = f"{path.name} is one file of an adapter: {_CONFIG} lies beside it"
        fix = f"name the folder: {path.parent}"
        raise Refused([Problem("missing_config", told, fix=fix)])
