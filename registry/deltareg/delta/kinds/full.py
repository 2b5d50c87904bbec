"""Full fine-tuning: every weight of the base with a new value, in one file or in shards."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from deltareg.delta.architectures import facts
from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Match, Tensors
from deltareg.delta.layouts.conventions import convention
from deltareg.delta.layouts.peft.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.delta.layouts.plain_weights import (
    all_infos,
    followers,
    is_most_of,
    is_weight_file,
    known_names,
    misfits,
    put_in_place,
    stored_twice,
    taken_twice,
    target_of,
)
from deltareg.delta.names.ties import ties_of
from deltareg.documents.json_values import is_list
from deltareg.errors import Problem
from deltareg.identity.manifest import Source

_INDEX = "model.safetensors.index.json"
_MOST_LISTED = 20
_TIES = "tie_word_embeddings"
_POOLER = "pooler."
_SCALE = "scale_decoder_outputs"


@dataclass(frozen=True, slots=True)
class Full:
    """A new value for every weight.

    Attributes:
        source: The library that wrote the config.
    """

    name: ClassVar[str] = "full"
    foldable: ClassVar[bool] = True
    holds_results: ClassVar[bool] = True
    layout: ClassVar[str] = "transformers weights"
    source: Source

    @property
    def variant(self) -> str:
        return ""

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents or not files.headers:
            return None
        if convention(files) == "additive" or all(name.endswith(".bias") for name in files.names):
            return None
        if not base.tensors:  # no base is at hand: files that look like all of one
            is_whole = "config.json" in files.documents and all(map(is_weight_file, files.headers))
            return Match(cls.name, "weight files beside a config.json", 1) if is_whole else None
        if not is_most_of(files, base):
            return None
        share = f"{known_names(files, base)} of the base's {len(base.tensors)} tensors"
        return Match(cls.name, f"{share}, in {', '.join(sorted(files.headers))}"[:300], 1)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        config = files.documents.get("config.json", {})
        version = config.get("transformers_version")
        return cls(Source("transformers" if version else "", str(version or "")))

    def config(self) -> dict[str, object]:
        return {"convention": "absolute"}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        problems = _index_problems(files)
        claimed: dict[str, str] = {}
        for info in all_infos(files):
            name = info.name
            target, _ = target_of(name, base)
            if not target:
                problems += _unknown(name, base)
            elif target in claimed:
                problems.append(taken_twice(name, claimed[target], target))
            else:
                claimed[target] = name
                problems += misfits(info, target, base)
        problems += _check_ties(claimed.keys(), files.documents.get("config.json", {}), base)
        return [*problems, *_missing(claimed.keys(), files, base)]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects = put_in_place(
            tensors, base, has_own_dtype=True, role=lambda name: "buffer" if base.names.is_buffer(name) else "head"
        )
        return [*effects, *followers(effects, base)]


def _unknown(name: str, base: BaseView) -> list[Problem]:
    if base.names.is_buffer(name) or base.names.is_head(base.names.canonical(name)):
        return []
    message = "the base has no such tensor, and it is part of no head"
    return [Problem("unexpected_tensors", message, tensor=name, fix="take it out, or check the base")]


def _check_ties(given: Collection[str], config: Mapping[str, object], base: BaseView) -> list[Problem]:
    """Find names that the delta's own config unties and that then have no tensor."""
    if config.get("model_type") != base.names.model_type:
        return []
    if _SCALE in config:  # the newest T5 and its like: these tie whatever the switch says
        return _check_scaling(config, base)
    ties = ties_of(base.names.architecture, config, base.names.rules)
    still_tied = {base.names.canonical(name) for group in ties.groups for name in group}
    lost = sorted(
        twin for twin in base.names.absent_twins().keys() - given if base.names.canonical(twin) not in still_tied
    )
    message = "its config unties it, and it did not come: the class would start it at random"
    fix = f"save it again, or leave {_TIES} as it was"
    problems = [Problem("missing_tensors", message, tensor=n, fix=fix) for n in lost[:_MOST_LISTED]]
    return [*problems, *_check_scaling(config, base)]


def _check_scaling(config: Mapping[str, object], base: BaseView) -> list[Problem]:
    """Find a config that unties although the class scales outputs by the same switch."""
    if base.names.model_type not in facts().scaled_by_ties:
        return []
    if _is_scaled(config) == _is_scaled(base.config):
        return []
    message = f"config.json: {_TIES} is another than the base's, and scales the outputs"
    fix = f"leave {_TIES} as it was: every name that came unties by being there"
    return [Problem("bad_config", message, fix=fix)]


def _is_scaled(config: Mapping[str, object]) -> bool:
    return bool(config.get(_SCALE, config.get(_TIES, True)))


def _missing(given: Collection[str], files: DeltaFiles, base: BaseView) -> list[Problem]:
    twice = {n: group for group in stored_twice(base) for n in group}
    has_other_head = any(
        not target_of(name, base)[0] and base.names.is_head(base.names.canonical(name)) for name in files.names
    )
    is_unpooled = _is_unpooled(files.documents.get("config.json", {}), base)
    lost = [
        name
        for name in sorted(base.tensors)
        if name not in given
        and not base.names.is_buffer(name)
        and not any(other in given for other in twice.get(name, ()))
        and not (has_other_head and base.names.is_head(base.names.canonical(name)))
        and not (is_unpooled and base.names.canonical(name).startswith(_POOLER))
    ]
    message = f"{len(lost)} of the base's {len(base.tensors)} tensors did not come"
    fix = 'push all shards; of a part of the weights, say so: metadata delta_kind "full_subset"'
    return [Problem("missing_tensors", message, tensor=name, fix=fix) for name in lost[:_MOST_LISTED]]


def _is_unpooled(config: Mapping[str, object], base: BaseView) -> bool:
    """Whether the class that the delta's config names has no place for the base's pooler.

    A classifier that was trained on an encoder with one is saved without it.
    """
    classes = config.get("architectures")
    unpooled = facts().headed.get(base.names.model_type, frozenset()) & facts().unpooled
    return is_list(classes) and len(classes) == 1 and classes[0] in unpooled


def _index_problems(files: DeltaFiles) -> list[Problem]:
    index = files.documents.get(_INDEX)
    if index is None:
        if len(files.headers) == 1:
            return []
        message = f"there are {len(files.headers)} weight files and no {_INDEX}"
        return [Problem("bad_config", message, fix="save it again, or push the index too")]
    table = index.get("weight_map")
    if not isinstance(table, dict):
        return [Problem("bad_config", f"{_INDEX} has no weight_map")]
    indexed = {(name, str(path)) for name, path in cast("dict[str, object]", table).items()}
    actual = {(name, path) for path, header in files.headers.items() for name in header.tensors}
    lost = sorted(f"{name} in {path}" for name, path in indexed - actual)
    more = sorted(f"{name} in {path}" for name, path in actual - indexed)
    problems = [Problem("missing_tensors", f"{_INDEX} lists {text}, not there") for text in lost]
    problems += [Problem("unexpected_tensors", f"{_INDEX} lacks {text}") for text in more]
    return problems[:_MOST_LISTED]
