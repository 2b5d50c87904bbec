"""Activated LoRA as peft writes it: a LoRA that acts from a phrase of its own on; attach only.

y + s·B·A·x for every token from the start of the phrase's last occurrence on, and y before it and
in rows without it (Greenewald et al. 2025, arXiv 2504.12397). A weight cannot tell one token from
another, so it cannot be folded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

from deltareg.delta.kind import ActivationHook, BaseView, DeltaFiles, Effect, Match, Tap, Tensors, WeightUpdate
from deltareg.delta.layouts.peft.activated import FIELD, INPUTS, PROMPT, ActivatedLowRank, invocation
from deltareg.delta.layouts.peft.config import CONFIG_FILE, Fields, adapter_config, peft_type
from deltareg.delta.layouts.peft.lora_delta import LoraDelta, read_lora
from deltareg.delta.maths.updates import Factor, IdentityUpdate, LowRank
from deltareg.delta.shapes import header_tensors
from deltareg.errors import Problem
from deltareg.identity.manifest import Source

_TASK = "CAUSAL_LM"
_LONGEST = 1024
_MOST_TOKENS = 1 << 24  # up to here each number is a float32 of its own
_LINEAR = frozenset({"lora_A", "lora_B"})
_FACTORS = _LINEAR | {"lora_embedding_A", "lora_embedding_B"}


@dataclass(frozen=True, slots=True)
class Alora:
    """An activated LoRA, as its config describes it.

    Attributes:
        lora: The LoRA without the phrase.
        phrase: The tokens from which on it acts.
    """

    lora: LoraDelta
    phrase: tuple[int, ...]
    name: ClassVar[str] = "alora"
    layout: ClassVar[str] = "peft LORA with alora_invocation_tokens"
    foldable: ClassVar[bool] = False

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if peft_type(files) != "LORA" or not invocation(adapter_config(files)):
            return None
        return Match(cls.name, f"{FIELD} in {CONFIG_FILE}", 3)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> "Alora":
        config = adapter_config(files) or {}
        lora = read_lora({n: v for n, v in config.items() if n != FIELD}, files, base)
        fields = Fields(config)
        phrase = _phrase(fields)
        if config.get("task_type") != _TASK:
            message = f"is not {_TASK}: the library activates a LoRA for that alone"
            fields.refuse("task_type", message, fix="load it for its task, and save it again")
        factoring = lora.factoring
        for name, is_set in (
            ("use_dora", factoring.is_decomposed),
            ("lora_bias", factoring.has_bias),
            ("init_lora_weights", bool(factoring.start)),
            ("target_parameters", bool(factoring.parameters.entries)),
        ):
            if is_set:
                fields.refuse(name, f"does not go with {FIELD}")
        fields.ignore(*config)
        fields.finish()
        return cls(lora, phrase)

    @property
    def variant(self) -> str:
        """`rslora`, or empty for a plain one."""
        return self.lora.variant

    @property
    def source(self) -> Source:
        """The library and its version."""
        return self.lora.source

    def config(self) -> dict[str, object]:
        return {**self.lora.config(), FIELD: list(self.phrase)}

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        problems = self.lora.problems(files, base)
        if any(problem.severity == "error" for problem in problems):
            return problems
        changes = _changes(self.lora.effects(header_tensors(files), base))
        return [*problems, *(p for e in changes if (p := _find_misplaced(e, base)) is not None)]

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        effects = self.lora.effects(tensors, base)
        changes = _changes(effects)
        own = {id(effect) for effect in changes}
        rest = [effect for effect in effects if id(effect) not in own]
        replaced = {effect.target for effect in rest if isinstance(effect, WeightUpdate)}
        adapted = {effect.source for effect in changes} - replaced
        # A layer that is adapted beside its weight leaves that to those who share it.
        unadapted = [effect for effect in rest if _kept_copy(effect) not in adapted]
        return [*unadapted, *(self._build_hook(effect, base) for effect in changes)]

    def _build_hook(self, effect: WeightUpdate, base: BaseView) -> ActivationHook:
        weight = base.names.memory(effect.target) or effect.target
        module, update = weight.removesuffix(".weight"), effect.update
        assert isinstance(update, LowRank)
        assert isinstance(update.left, Factor)
        hook = ActivatedLowRank(update, is_in_out=update.left.flipped, phrase=self.phrase)
        taps = {INPUTS: Tap(module, "input"), PROMPT: Tap("", "prompt", "input_ids")}
        return ActivationHook(module, "after", taps, effect.consumes, hook, self.phrase)


def _changes(effects: Iterable[Effect]) -> list[WeightUpdate]:
    """Return the weight updates that the factors make."""
    updates = (effect for effect in effects if isinstance(effect, WeightUpdate))
    return [update for update in updates if _FACTORS & {*update.consumes.values()}]


def _kept_copy(effect: Effect) -> str:
    """Return the weight that an effect copies to another name; empty if it copies none."""
    if isinstance(effect, WeightUpdate) and isinstance(effect.update, IdentityUpdate):
        return effect.source
    return ""


def _find_misplaced(effect: WeightUpdate, base: BaseView) -> Problem | None:
    """Return the problem of factors on anything but a linear layer, where the library has none."""
    is_linear = {*effect.consumes.values()} >= _LINEAR and isinstance(effect.update, LowRank)
    if is_linear and len(base.tensors[effect.source].shape) == 2:
        return None
    message = f"{effect.target} is no linear layer, and {FIELD} is for these alone"
    return Problem("bad_config", message, tensor=next(iter(effect.consumes)))


def _phrase(fields: Fields) -> tuple[int, ...]:
    value = fields.value(FIELD)
    entries = cast("list[object]", value) if isinstance(value, list) else []
    phrase = tuple(n for n in entries if isinstance(n, int) and not isinstance(n, bool) and n >= 0)
    if not 0 < len(phrase) == len(entries) <= _LONGEST:
        fields.refuse(FIELD, "is not a list of numbers of tokens")
    if max(phrase, default=0) >= _MOST_TOKENS:
        fields.refuse(FIELD, "has a number that no vocabulary has")
    return phrase
