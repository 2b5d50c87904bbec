"""Full fine-tuning: every weight of the base with a new value, in one file or in shards."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

from deltareg.conventions import convention, vocabulary
from deltareg.errors import Problem
from deltareg.kind import Addition, BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.manifest import Source
from deltareg.peft_layout.config import CONFIG_FILE as PEFT_CONFIG
from deltareg.tensors import FLOAT_DTYPES, TensorInfo
from deltareg.updates import Replace

_INDEX = "model.safetensors.index.json"
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Full:
    """All weights anew.

    Attributes:
        source: The library that wrote the config.
    """

    name: ClassVar[str] = "full"
    foldable: ClassVar[bool] = True
    layout: ClassVar[str] = "transformers weights"
    source: Source

    @property
    def variant(self) -> str:
        return ""

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if PEFT_CONFIG in files.documents or not files.headers:
            return None
        if not all(_is_weight_file(path) for path in files.headers):
            return None
        if convention(files) == "additive" or all(name.endswith(".bias") for name in files.names):
            return None
        if not base.tensors:  # no base is at hand: files that look like all of one
            has_config = "config.json" in files.documents
            return Match(cls.name, "weight files beside a config.json", 1) if has_config else None
        weights = [name for name in base.tensors if not base.names.is_buffer(name)]
        found = {base.names.tensor(name) for name in files.names}
        here = sum(name in found for name in weights)
        if here * 2 <= len(weights):
            return None
        told = f"{here} of the base's {len(weights)} weights, in {', '.join(sorted(files.headers))}"
        return Match(cls.name, told[:300], 1)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        config = files.documents.get("config.json", {})
        version = config.get("transformers_version")
        return cls(Source("transformers" if version else "", str(version or "")))

    def config(self) -> dict[str, object]:
        return {"convention": "absolute"}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        problems = _index_problems(files)
        given: dict[str, str] = {}
        for name, info in sorted(
            (n, i) for h in files.headers.values() for n, i in h.tensors.items()
        ):
            target, _ = _target(name, base)
            if not target:
                problems += _unknown(name, base)
            elif target in given:
                told = f"it and {given[target]} are both {target} of the base"
                problems.append(Problem("unexpected_tensors", told, tensor=name))
            else:
                given[target] = name
                problems += _misfits(info, target, base)
        return [*problems, *_missing(given.keys(), files.names, base)]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(tensors):
            tensor = tensors[name]
            target, reads = _target(name, base)
            if not target:
                role = "buffer" if base.names.is_buffer(name) else "head"
                effects.append(Addition(name, tensor, {name: role}))
                continue
            record = base.tensors[reads or target]
            shape = tensor.shape if tensor.shape != record.shape else None
            consumes = {name: "weight"}
            effects.append(
                WeightUpdate(target, Replace(tensor), consumes, reads, shape, tensor.dtype)
            )
        return [*effects, *_followers(effects, base)]


def _target(name: str, base: BaseView) -> tuple[str, str]:
    """Give the weight that a tensor replaces, and the base's that it shares if it has none."""
    own = base.names.tensor(name)
    if own is not None:
        return own, ""
    twin = base.names.stored_twin(name)
    return (base.names.spelled_like(name, twin), twin) if twin is not None else ("", "")


def _followers(effects: Sequence[Effect], base: BaseView) -> list[Effect]:
    """Let a name that the base stores twice follow the one that the delta stores once."""
    given = {e.target: e for e in effects if isinstance(e, WeightUpdate)}
    found: list[Effect] = []
    for twin, stored in _stored_twice(base).items():
        leader = given.get(stored)
        if leader is not None and twin not in given:
            found.append(replace(leader, target=twin, consumes={}))
    return found


def _stored_twice(base: BaseView) -> dict[str, str]:
    """Give tied names that the base stores both: twin -> the one that is kept."""
    names = base.names
    pairs = [(names.tensor(t), names.tensor(s)) for t, s in names.rules.tied if names.ties]
    return {twin: stored for twin, stored in pairs if twin is not None and stored is not None}


def _unknown(name: str, base: BaseView) -> list[Problem]:
    if base.names.is_buffer(name) or base.names.is_head(base.names.canonical(name)):
        return []
    told = "the base has no such tensor, and it is part of no head"
    return [Problem("unexpected_tensors", told, tensor=name, fix="take it out, or check the base")]


def _misfits(info: TensorInfo, target: str, base: BaseView) -> list[Problem]:
    record = base.tensors.get(target) or base.tensors[base.names.stored_twin(target) or ""]
    is_number = info.dtype in FLOAT_DTYPES and record.dtype in FLOAT_DTYPES
    if not is_number and info.dtype != record.dtype:
        told = f"it is {info.dtype}, and {target} of the base is {record.dtype}"
        return [Problem("shape", told, tensor=info.name)]
    own, shape = info.shape, record.shape
    if own == shape or (
        base.names.is_head(base.names.canonical(target)) and len(own) == len(shape)
    ):
        return []
    more_tokens = len(own) > 1 and own[1:] == shape[1:] and own[0] > shape[0]
    if more_tokens and shape[0] == vocabulary(base.config):
        return []
    told = f"{list(own)} does not fit {target} {list(shape)}"
    return [Problem("shape", told, tensor=info.name, fix="check the base")]


def _missing(given: Collection[str], names: frozenset[str], base: BaseView) -> list[Problem]:
    twice = _stored_twice(base)
    has_other_head = any(
        not _target(name, base)[0] and base.names.is_head(base.names.canonical(name))
        for name in names
    )
    lost = [
        name
        for name in sorted(base.tensors)
        if name not in given
        and not base.names.is_buffer(name)
        and twice.get(name) not in given
        and not (has_other_head and base.names.is_head(base.names.canonical(name)))
    ]
    told = f"{len(lost)} of the base's {len(base.tensors)} tensors did not come"
    fix = "push all shards; a part of the weights is a delta of another kind"
    return [Problem("missing_tensors", told, tensor=name, fix=fix) for name in lost[:_MOST_LISTED]]


def _index_problems(files: DeltaFiles) -> list[Problem]:
    index = files.documents.get(_INDEX)
    if index is None:
        if len(files.headers) == 1:
            return []
        told = f"there are {len(files.headers)} weight files and no {_INDEX}"
        return [Problem("bad_config", told, fix="save it again, or push the index too")]
    table = index.get("weight_map")
    if not isinstance(table, dict):
        return [Problem("bad_config", f"{_INDEX} has no weight_map")]
    listed = {(name, str(path)) for name, path in cast("dict[str, object]", table).items()}
    held = {(name, path) for path, header in files.headers.items() for name in header.tensors}
    lost = sorted(f"{name} in {path}" for name, path in listed - held)
    more = sorted(f"{name} in {path}" for name, path in held - listed)
    problems = [Problem("missing_tensors", f"{_INDEX} lists {text}, not there") for text in lost]
    problems += [Problem("unexpected_tensors", f"{_INDEX} lacks {text}") for text in more]
    return problems[:_MOST_LISTED]


def _is_weight_file(path: str) -> bool:
    return path.startswith(("model.", "model-")) and path.endswith(".safetensors")
