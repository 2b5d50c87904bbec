"""What somebody probably meant who named a folder or a file that holds no delta by itself."""

import os
import re
from pathlib import Path

from deltareg.errors import NotFound, Problem, Refused

_CHECKPOINT = re.compile(r"(?:checkpoint-|global_step)(\d+)")
_CONFIG, _TENSORS = "adapter_config.json", ".safetensors"
_WEIGHTS = (_TENSORS, ".bin", ".pt", ".pth", ".gguf")


def check_exists(path: Path) -> None:
    """Refuse a path that leads nowhere.

    Raises:
        NotFound: There is nothing.
    """
    if not path.exists():
        raise NotFound(f"there is nothing at {path}", fix="name the folder that holds the files")


def means_folder(text: str | Path) -> bool:
    """Whether a folder of this machine is meant where a base's name could stand.

    A plain name of a folder without weights, such as one for the notes on a base, is none.
    """
    path = Path(text)
    if not path.is_dir() or os.fspath(text).startswith((".", "/")):
        return path.exists()
    return any(file.suffix in _WEIGHTS for level in ("*", "*/*") for file in path.glob(level))


def newest_checkpoint(folder: Path) -> Path | None:
    """Give the newest checkpoint with tensors in what a trainer has written."""
    found = {
        int(match[1]): place
        for place in folder.iterdir()
        if (match := _CHECKPOINT.fullmatch(place.name)) and any(place.glob("*.safetensors"))
    }
    return found[max(found)] if found else None


def empty(folder: Path) -> Refused:
    """Give the refusal of a folder without tensors, which says what to name instead."""
    fix = "name the folder that does"
    newest = newest_checkpoint(folder)
    if any(folder.glob("*.gguf")):
        fix = "convert the GGUF file: deltareg convert PATH --out DIR --base BASE"
    elif newest:
        fix = f"name its newest checkpoint: {newest}"
    return Refused([Problem("empty", f"{folder} holds no safetensors file", fix=fix)])


def fix_of_two(folder: Path, one: str, other: str) -> str:
    """Say what to do about two files of a folder that hold the same tensors."""
    places = sorted({str((folder / path).parent) for path in (one, other)} - {str(folder)})
    if not places:
        return "keep one"
    if len(places) == 1:
        return f"push {places[0]} alone, or move it out to push the other"
    return f"push one of them alone: {' or '.join(places)}"


def check_is_whole(path: Path) -> None:
    """Make sure that what is to be pushed is there, and is one adapter or more than a file of it.

    Raises:
        NotFound: There is nothing at the path.
        Refused: It is one file of an adapter, or a folder around an adapter, a trainer's or one of
            several.
    """
    check_exists(path)
    beside = path.parent
    if path.name == _CONFIG and path.is_file():
        raise _is_part_of(beside, path, "the tensors lie")
    if path.name.endswith(_TENSORS) and path.is_file() and (beside / _CONFIG).is_file():
        raise _is_part_of(beside, path, f"{_CONFIG} lies")
    if path.is_dir() and not (path / _CONFIG).exists() and not any(path.glob(f"*{_TENSORS}")):
        _check_is_none_around(path)


def _is_part_of(folder: Path, path: Path, what_lies: str) -> Refused:
    told = f"{path.name} is one file of an adapter: {what_lies} beside it"
    return Refused([Problem("missing_config", told, fix=f"name the folder: {folder}")])


def _check_is_none_around(folder: Path) -> None:
    """Refuse a folder that holds nothing itself and adapters in its own folders."""
    if newest_checkpoint(folder):
        raise empty(folder)
    configs = sorted(folder.glob(f"*/{_CONFIG}"))
    places = [str(c.parent) for c in configs if any(c.parent.glob(f"*{_TENSORS}"))]
    if len(places) == 1:
        told = f"the adapter lies one folder below, in {places[0]}"
        raise Refused([Problem("missing_config", told, fix=f"name that folder: {places[0]}")])
    if places:
        told = f"the folder holds {len(places)} adapters, each in a folder of its own"
        fix = f"push one of them alone: {' or '.join(places[:4])}"
        raise Refused([Problem("ambiguous", told, fix=fix)])
