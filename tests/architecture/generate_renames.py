"""What transformers renames in the files of its classes, as runs of components, each proved.

The library says it by regular expressions for parts of a network. They are written here as runs,
and kept of a class only where these tell every name of a network of it that the library has saved.
"""

import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from deltareg.delta.names import NameMap
from deltareg.delta.names.rules import rules_for
from deltareg.delta.names.ties import ties_of

_RUN = re.compile(r"\^?[A-Za-z0-9_]+(\.([A-Za-z0-9_]+|\{n\}))*")
_LEVEL = re.compile(r"\^(\w+)\\\.\(\.\+\)")  # a level that was taken out of the names of a part
_COUNTS = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "n_layer", "n_layers", "depth")
Rename = tuple[str, str]


def renames_of(classes: Iterable[type[Any]]) -> list[dict[str, Any]]:
    """Give the renames of every class whose names they tell, and the classes that share them.

    Types that have a file of their own in `deltareg.delta.names` go by that.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping

    groups: dict[str, list[str]] = defaultdict(list)
    for cls in classes:
        is_known = rules_for(getattr(cls.config_class, "model_type", "")).is_known
        network = None if is_known or cls.__name__.endswith("PreTrainedModel") else outline(cls)
        if network is None:
            continue
        transforms = get_model_conversion_mapping(network, add_legacy=False)
        found = list(dict.fromkeys(run for t in transforms if (run := as_runs(t)) is not None))
        if found and is_told(network, found):
            groups[json.dumps(found)].append(cls.__name__)
    return [
        {"renames": json.loads(found), "classes": sorted(names)}
        for found, names in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def as_runs(transform: Any) -> Rename | None:
    """Write one renaming of the library as two runs; None where it is more than that."""
    from transformers.core_model_loading import PrefixChange, WeightRenaming

    if type(transform) is PrefixChange and transform.scope_prefix:
        level = _LEVEL.fullmatch(transform._original_source_patterns[0])
        if level is None or transform._original_target_patterns != [r"\1"]:
            return None
        return f"{transform.scope_prefix}.{level[1]}", transform.scope_prefix
    if type(transform) is not WeightRenaming:
        return None
    old, new = (
        _plain(patterns[0]) for patterns in (transform._original_source_patterns, transform._original_target_patterns)
    )
    if transform.scope_prefix is not None and old.startswith("^"):
        scope = f"{transform.scope_prefix}." if transform.scope_prefix else ""
        old, new = scope + old[1:], scope + new
    told = _RUN.fullmatch(old) and _RUN.fullmatch(new) and old.count("{n}") == new.count("{n}")
    return (old, new) if told else None


def outline(cls: type[Any]) -> Any:
    """Make a network without numbers, of few layers; None where the class cannot be made alone."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for is_completed in (False, True):
            try:
                config = cls.config_class()
                if is_completed:
                    _complete(config)
                _shorten(config)
                with torch.device("meta"):
                    return cls(config)
            except Exception:  # noqa: BLE001  # whatever keeps a class from being made of its config
                continue
    return None


def is_told(network: Any, renames: list[Rename]) -> bool:
    """Whether the renames tell the names in memory from those in files, and leave the former."""
    from transformers.core_model_loading import revert_weight_conversion

    memory = network.state_dict()
    try:
        files = revert_weight_conversion(network, dict(memory))
    except (ValueError, RuntimeError, NotImplementedError, KeyError):
        return False
    names = _names_with(renames, network, files)
    parts = {name: part.whole for name in files if (part := names.part(name))}
    told = {names.memory(name) for name in files if name not in parts} - {None}
    reached = {*parts.values(), *told, *names.absent_twins()}
    is_stable = all(names.apply_renames(name) == name for name in memory)
    return is_stable and reached == memory.keys()


def _names_with(renames: list[Rename], network: Any, files: Iterable[str]) -> NameMap:
    """Give the map that a type without a file of its own gets, with these renames in it."""
    plain, cls = rules_for(""), type(network).__name__
    rules = replace(plain, renames=(*plain.renames, *renames))
    config = json.loads(network.config.to_json_string(use_diff=False))
    empty = NameMap(config["model_type"], {}, rules, cls, ties_of(cls, config, rules))
    spelled = {spelling: name for name in files for spelling in (empty.canonical(name), name)}
    return replace(empty, files=spelled)


def _plain(pattern: str) -> str:
    text = re.sub(r"\((\\d\+|\[0-9\]\+)\)|\\1", "{n}", pattern).replace("\\.", ".")
    start = "^" if text.startswith("^") else ""
    return start + text.removeprefix("^").strip(".")


def _complete(config: Any) -> None:
    """Give the numbers of heads that a default leaves out, or that do not divide its width."""
    width, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    if isinstance(width, int) and isinstance(heads, int) and heads and width % heads:
        heads = next(count for count in range(heads, 0, -1) if width % count == 0)
        config.num_attention_heads = heads
    if isinstance(width, int) and isinstance(heads, int) and heads:
        defaults = {"num_key_value_heads": heads, "head_dim": width // heads}
        for name in (name for name in defaults if getattr(config, name, 0) is None):
            setattr(config, name, defaults[name])
    for part in _parts(config):
        _complete(part)


def _shorten(config: Any) -> None:
    """Leave two layers of each stack, so that an outline is made in a moment; some count in another way."""
    for name in _COUNTS:
        count = getattr(config, name, None)
        if isinstance(count, int) and count > 3:
            with suppress(AttributeError, NotImplementedError):
                setattr(config, name, 2)
    kinds, count = getattr(config, "layer_types", None), getattr(config, "num_hidden_layers", None)
    if isinstance(kinds, list) and count:
        with suppress(AttributeError):
            config.layer_types = kinds[:count]
    for part in _parts(config):
        _shorten(part)


def _parts(config: Any) -> Iterator[Any]:
    from transformers import PreTrainedConfig

    for value in list(vars(config).values()):
        if isinstance(value, PreTrainedConfig):
            yield value
