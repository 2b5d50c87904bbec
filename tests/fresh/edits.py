"""Recipes of folders that are no longer what the library saved: each has to be refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from tests.fresh.anatomy import Anatomy
from tests.fresh.lora import Options, lora, some
from tests.fresh.recipes import Random, Recipe
from tests.fresh.whole import WHOLE

_WEIGHTS = ("adapter_model.safetensors", "model.safetensors")
_CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."


def _two(anatomy: Anatomy, random: Random) -> Options | None:
    """Adapt two kinds of layers, both of which there are in several blocks."""
    if len(anatomy.linears) < 2:
        return None
    return {"target_modules": some(random, anatomy.linears[:4], 2)}


def narrowed(change: Callable[[Options], bool]) -> Recipe:
    """Let the config ask for less than the file holds."""

    def edit(folder: Path, _: Anatomy, __: Random) -> bool:
        config = json.loads((folder / _CONFIG).read_text())
        if not change(config):
            return False
        (folder / _CONFIG).write_text(json.dumps(config))
        return True

    return replace(lora(_two), edit=edit, refused="not_selected")


def _fewer(config: Options) -> bool:
    config["target_modules"] = sorted(config["target_modules"])[:1]
    return True


def _one_layer(config: Options) -> bool:
    config["layers_to_transform"] = [0]
    return True


def _excluded(config: Options) -> bool:
    config["exclude_modules"] = sorted(config["target_modules"])[1:]
    return True


def _by_expression(config: Options) -> bool:
    first = sorted(config["target_modules"])[0]
    config["target_modules"] = rf".*\.{first}"
    return True


def renamed(recipe: Recipe, rename: Callable[[str], str], *, refused: str) -> Recipe:
    """Give tensors other names."""

    def edit(folder: Path, _: Anatomy, __: Random) -> bool:
        path = next(folder / name for name in _WEIGHTS if (folder / name).exists())
        tensors = load_file(path)
        changed = {rename(name): value for name, value in tensors.items()}
        if changed.keys() == tensors.keys():
            return False
        _rewrite(path, changed)
        return True

    return replace(recipe, edit=edit, refused=refused)


def _wrapped(part: str) -> Callable[[str], str]:
    """Put a wrapper before the blocks' own names."""

    def rename(name: str) -> str:
        pieces = name.split(".")
        at = next((n + 1 for n, piece in enumerate(pieces) if piece.isdecimal()), None)
        return name if at is None else ".".join([*pieces[:at], part, *pieces[at:]])

    return rename


def _without_first(name: str) -> str:
    first, _, rest = name.removeprefix(_PREFIX).partition(".")
    return f"{_PREFIX}{rest}" if first in {"model", "transformer", "bert", "roberta"} else name


def _dropped(folder: Path, _: Anatomy, random: Random) -> bool:
    """Lose the tensors of one module."""
    path = folder / _WEIGHTS[0]
    tensors = load_file(path)
    modules = sorted({name.partition(".lora_")[0] for name in tensors})
    if len(modules) < 2:
        return False
    lost = modules[int(random.integers(len(modules)))]
    kept = {name: value for name, value in tensors.items() if not name.startswith(lost)}
    _rewrite(path, kept)
    return True


def _rewrite(path: Path, tensors: dict[str, Any]) -> None:
    """Write a file anew beside the old one, which may still be mapped."""
    draft = path.with_suffix(".draft")
    save_file(tensors, draft, metadata={"format": "pt"})
    draft.replace(path)


def _whole(rename: Callable[[str], str], refused: str) -> Recipe:
    return renamed(WHOLE["all of it"], rename, refused=refused)


def _plain(**more: Any) -> Recipe:
    return replace(lora(_two), **more)


EDITED: dict[str, Recipe] = {
    "fewer targets than tensors": narrowed(_fewer),
    "fewer layers than tensors": narrowed(_one_layer),
    "more exclusions than before": narrowed(_excluded),
    "an expression for half of it": narrowed(_by_expression),
    "names of FSDP": renamed(_plain(), _wrapped("_fsdp_wrapped_module"), refused="wrapped_names"),
    "names of compile": renamed(
        _plain(), lambda n: n.replace(_PREFIX, f"{_PREFIX}_orig_mod.", 1), refused="wrapped_names"
    ),
    "names of DDP": renamed(_plain(), lambda n: n.replace(_PREFIX, f"{_PREFIX}module.", 1), refused="wrapped_names"),
    "no prefix of the class": renamed(_plain(), _without_first, refused="not_selected"),
    "a module lost": _plain(edit=_dropped, refused="missing_tensors"),
    "all of it, names of compile": _whole(lambda n: f"_orig_mod.{n}", "wrapped_names"),
    "all of it, names of DDP": _whole(lambda n: f"module.{n}", "wrapped_names"),
}
