"""LoRA as diffusers writes it today: peft's tensors below a part of the pipeline.

`unet.down_blocks.0.….to_q.lora_A.weight` is a LoRA of peft on the part `unet`, and the file's
metadata holds the config of each part, `unet.lora_alpha`. Which modules there are the library reads
off the tensors, whatever the config asks for; without metadata it takes the rank for alpha. A file
of several parts is a delta of the pipeline; of bases that are each a part, it is one for each.

`save_lora_adapter` of a model writes the same without the part: the metadata is the config itself.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from deltareg.delta.kind import ActivationHook, BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.delta.layouts.peft.config import CONFIG_FILE
from deltareg.delta.layouts.peft.keys import PREFIX
from deltareg.delta.layouts.peft.lora_delta import LoraDelta, read_lora
from deltareg.delta.pipeline import component_of, in_pipeline
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source
from deltareg.tensors.header import SafetensorsHeader, strict_json_object

_PARTS = "unet|transformer|text_encoder(?:_[23])?"
_MARKERS = "A|B|embedding_A|embedding_B|magnitude_vector"
_FACTOR = rf".+\.lora_(?:{_MARKERS})\b.*"
_NAME = re.compile(rf"({_PARTS})\.({_FACTOR})")
_BARE = re.compile(_FACTOR)
_CLASS = "_class_name"
_MAIN = ("transformer", "unet")
_ALPHA = ".alpha"
_METADATA = "lora_adapter_metadata"
_LEFT_TO_THE_TENSORS = frozenset({"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"})


class DiffusersLora:
    """The reader of such files."""

    name: ClassVar[str] = "lora"
    layout: ClassVar[str] = "diffusers peft"

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if CONFIG_FILE in files.documents:
            return None
        if any(name.endswith(_ALPHA) for name in files.names) and not _has_metadata(files):
            return None  # a layout of its own
        pattern = _BARE if _is_bare(files, base) else _NAME
        first = next((name for name in sorted(files.names) if pattern.fullmatch(name)), "")
        return Match(cls.name, f"tensor names such as {first[:80]}", 2) if first else None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> "PartsOfPipeline":
        if _is_bare(files, base):
            return PartsOfPipeline((_part(_main_part(base), files, base, is_bare=True),))
        parts = sorted({match[1] for name in files.names if (match := _NAME.fullmatch(name))})
        if len(parts) > 1 and not base.components:
            message = f"the file holds a LoRA for each of {', '.join(parts)}, which are bases apart"
            fix = "register the pipeline as the base, or save each alone: "
            fix += "save_lora_weights(DIR, unet_lora_layers=…)"
            raise Refused([Problem("ambiguous", message, fix=fix)])
        return PartsOfPipeline(tuple(_part(part, files, base) for part in parts))


@dataclass(frozen=True, slots=True)
class PartOfPipeline:
    """A LoRA on one part of a pipeline; the base is that part, or the pipeline.

    Attributes:
        part: Its name in the pipeline.
        lora: The LoRA, under names as peft writes them.
        is_bare: Whether the file's names do not begin with the part.
    """

    part: str
    lora: LoraDelta
    is_bare: bool = False

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """Return the delta's problems, under the names of the file."""
        problems = self.lora.problems(_rename_to_peft(files, self._start), component_of(base, self.part))
        return [replace(problem, tensor=self._own(problem.tensor)) for problem in problems]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        """Return the delta's effects, under the names of the base."""
        start = self._start
        own = {_plain(name, start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        effects = map(self._under_own_names, self.lora.effects(own, component_of(base, self.part)))
        is_inside = self.part in base.components
        return [in_pipeline(effect, self.part) if is_inside else effect for effect in effects]

    def _under_own_names(self, effect: Effect) -> Effect:
        consumes = {self._own(name): role for name, role in effect.consumes.items()}
        match effect:
            case WeightUpdate() | ActivationHook():
                return replace(effect, consumes=consumes)
            case _:
                return effect

    def _own(self, name: str) -> str:
        is_renamed = name.startswith(PREFIX)
        return f"{self._start}{name.removeprefix(PREFIX)}" if is_renamed else name

    @property
    def _start(self) -> str:
        return "" if self.is_bare else f"{self.part}."


@dataclass(frozen=True, slots=True)
class PartsOfPipeline:
    """LoRAs on one part of a pipeline or on several.

    Attributes:
        parts: The LoRA of each part.
    """

    name: ClassVar[str] = "lora"
    parts: tuple[PartOfPipeline, ...]

    @property
    def variant(self) -> str:
        variants = {part.lora.variant for part in self.parts}
        return variants.pop() if len(variants) == 1 else ""

    @property
    def foldable(self) -> bool:
        return all(part.lora.foldable for part in self.parts)

    @property
    def source(self) -> Source:
        return Source("diffusers")

    def config(self) -> dict[str, object]:
        if len(self.parts) == 1:
            return {"part": self.parts[0].part, **self.parts[0].lora.config()}
        return {"parts": {part.part: part.lora.config() for part in self.parts}}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        return [problem for part in self.parts for problem in part.problems(files, base)]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        return [effect for part in self.parts for effect in part.effects(tensors, base)]


def _is_bare(files: DeltaFiles, base: BaseView) -> bool:
    """Whether the names are those of one model of diffusers, which do not begin with a part."""
    if any(name.startswith(PREFIX) or _NAME.fullmatch(name) for name in files.names):
        return False
    return _has_metadata(files) or _CLASS in base.config or bool(base.components)


def _has_metadata(files: DeltaFiles) -> bool:
    return any(_METADATA in header.metadata for header in files.headers.values())


def _main_part(base: BaseView) -> str:
    """Return the part that makes the image, as `load_lora_adapter` is a method of it; by its class outside of any."""
    own = next((part for part in _MAIN if part in base.components), "")
    return own or ("unet" if str(base.config.get(_CLASS, "")).startswith("UNet") else "transformer")


def _part(part: str, files: DeltaFiles, base: BaseView, *, is_bare: bool = False) -> PartOfPipeline:
    own = _rename_to_peft(files, "" if is_bare else f"{part}.")
    declared = _read_config("" if is_bare else part, files.headers.values())
    try:
        lora = read_lora(declared or _read_off(own), own, component_of(base, part))
    except Refused as error:
        if declared is None:
            raise
        raise Refused([_of_metadata(problem) for problem in error.problems]) from error
    return PartOfPipeline(part, lora, is_bare)


def _of_metadata(problem: Problem) -> Problem:
    """Rephrase a problem of a config that stands in metadata instead of a file."""
    detail = problem.message.removeprefix(f"{CONFIG_FILE}: ")
    return replace(problem, message=f"{_METADATA}: {detail}")


def _plain(name: str, start: str) -> str:
    return f"{PREFIX}{name.removeprefix(start)}" if name.startswith(start) else name


def _rename_to_peft(files: DeltaFiles, start: str) -> DeltaFiles:
    """Return the files as peft would have written them for one part, without the tensors of others."""
    headers = {
        path: replace(
            header,
            tensors={_plain(name, start): info for name, info in header.tensors.items() if _belongs(name, start)},
        )
        for path, header in files.headers.items()
    }
    return replace(files, headers=headers)


def _belongs(name: str, start: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is None or not start or f"{match[1]}." == start


def _read_config(part: str, headers: Iterable[SafetensorsHeader]) -> Mapping[str, object] | None:
    """Read the part's config from the metadata, or all of it for no part; None if there is none.

    Raises:
        Refused: It is no config.
    """
    for header in headers:
        text = header.metadata.get(_METADATA)
        if text is not None:
            start = f"{part}." if part else ""
            own = {k.removeprefix(start): v for k, v in _document(text).items() if k.startswith(start)}
            return {"peft_type": "LORA", **{k: v for k, v in own.items() if k not in _LEFT_TO_THE_TENSORS}}
    return None


def _document(text: str) -> Mapping[str, object]:
    try:
        return strict_json_object(text.encode())
    except Refused as error:
        raise Refused([_of_metadata(problem) for problem in error.problems]) from error


def _read_off(files: DeltaFiles) -> Mapping[str, object]:
    """Build the config that the library derives from the shapes if there is none.

    Raises:
        Refused: The ranks differ: the scale would depend on the order of the tensors.
    """
    ranks: dict[int, list[str]] = defaultdict(list)
    for header in files.headers.values():
        for name, info in header.tensors.items():
            if name.endswith(".lora_B.weight") and len(info.shape) > 1:
                ranks[info.shape[1]].append(name)
    if len(ranks) > 1:
        first = min(ranks)
        message = f"the ranks are {', '.join(map(str, sorted(ranks)))}, and no alpha is told"
        fix = "save it with the library of today, which tells it"
        raise Refused([Problem("missing_config", message, tensor=ranks[first][0], fix=fix)])
    rank = next(iter(ranks), 1)
    has_bias = any(name.endswith(".lora_B.bias") for name in files.names)
    has_dora = any(".lora_magnitude_vector" in name for name in files.names)
    return {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "lora_bias": has_bias, "use_dora": has_dora}
