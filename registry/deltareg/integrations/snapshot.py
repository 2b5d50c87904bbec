"""The files of a checkpoint that a version may contain, kept unchanged during a push.

A trainer deletes its older checkpoints as it goes on, and keeps files beside the weights that only
it needs. So what is pushed is a separate folder: links to the same bytes, only of the files that a
version may contain.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

from safetensors import SafetensorError

from deltareg.errors import DeltaregError, InvalidInput
from deltareg.identity.carried import is_carried
from deltareg.identity.left_out import is_sent


def take_snapshot(checkpoint: Path, into: Path) -> Path:
    """Link the files of a checkpoint that a version may contain into a new folder; return that.

    Args:
        checkpoint: A folder that the trainer has finished writing.
        into: The folder to create, best on the same disk, where a link takes no space. An existing
            one is replaced.

    Raises:
        OSError: A file can be neither linked nor copied.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for path in sorted(checkpoint.rglob("*")):
        name = path.relative_to(checkpoint).as_posix()
        if path.is_file() and is_sent(name) and is_carried(name):
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(path, target)
    return into


def save_pretrained(
    folder: Path, model: object, processor: object = None, *, fix: str, state_dict: Mapping[str, object] | None = None
) -> Path:
    """Save a model as its library does, and its tokenizer or processor beside it.

    Args:
        folder: The target folder; an existing one is replaced.
        model: The model.
        processor: The tokenizer or processor to save beside it, if it can be saved.
        fix: The advice to give if the model cannot save itself.
        state_dict: Its weights, if they were gathered from several processes.

    Raises:
        InvalidInput: It is not a model of transformers or peft, or its library cannot save it.
        OSError: The disk is full.
    """
    if not hasattr(model, "save_pretrained"):
        raise InvalidInput(f"a {type(model).__name__} does not say how it is saved", fix=fix)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = {} if state_dict is None else {"state_dict": state_dict}
    _save(cast("_Saves", model), folder, weights)
    if hasattr(processor, "save_pretrained"):
        _save(cast("_Saves", processor), folder, {})
    return folder


class _Saves(Protocol):
    """Anything with `save_pretrained`."""

    def save_pretrained(self, save_directory: str, **gathered: object) -> object: ...


def _save(part: _Saves, folder: Path, gathered: Mapping[str, object]) -> None:
    try:
        part.save_pretrained(str(folder), **gathered)
    except SafetensorError as error:  # what a full disk is called there
        raise OSError(f"{folder} cannot be written: {error}") from error
    except (DeltaregError, OSError):
        raise
    except Exception as error:  # a library raises what it likes, and ends no training
        reason = f"{type(error).__name__}: {error}"
        raise InvalidInput(f"a {type(part).__name__} cannot be saved: {reason}") from error


def _link(path: Path, target: Path) -> None:
    """Link a file, or copy it if the disk has no links; a symlink stays one, to be refused."""
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, target, follow_symlinks=False)
