"""LoRA as peft writes it, with its variants rsLoRA, DoRA, PiSSA and OLoRA.

W + s·B·A over linear layers, GPT-2's Conv1D, convolutions and embeddings; s = alpha / r, or
alpha / sqrt(r) when rank-stabilised. The formulas and their sources are in `deltareg.updates`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from deltareg.errors import Problem
from deltareg.formats import is_adapterhub, marks
from deltareg.kind import BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.manifest import Source
from deltareg.peft_layout.config import (
    CONFIG_FILE,
    Fields,
    adapter_config,
    auto_class,
    canonical_number,
    missing_config,
    peft_source,
    peft_type,
)
from deltareg.peft_layout.factors import MARKERS, ROLES, Factoring, plan_factors, weight_of
from deltareg.peft_layout.keys import PREFIX, Key, read_keys
from deltareg.peft_layout.saved import Declared, Plan, plan_saved
from deltareg.peft_layout.suffixes import Numbers, Suffix, suffix
from deltareg.peft_layout.targets import (
    Targets,
    read_numbers,
    read_saved,
    read_targets,
    unadapted,
)
from deltareg.shapes import header_tensors
from deltareg.updates import Extend, ReplaceRows, Unchanged

_PLAIN_STARTS = frozenset({"gaussian", "eva", "orthogonal", "mica"})
_LOST_STARTS = ("pissa_niter_", "corda", "loftq", "lora_ga")
_UNSUPPORTED = (
    "alora_invocation_tokens", "arrow_config", "enable_lora", "kasa_config", "layer_replication",
    "megatron_config", "monteclora_config", "target_parameters", "use_bdlora", "use_qalora",
    "velora_config",
)  # fmt: skip
_TRAINING_ONLY = (
    "corda_config", "eva_config", "loftq_config", "lora_ga_config", "megatron_core",
    "qalora_group_size",
)  # fmt: skip
_CLASS_OF_TASK = {
    "CAUSAL_LM": ("ForCausalLM", "LMHeadModel"),
    "SEQ_2_SEQ_LM": ("ForConditionalGeneration",),
}


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA, as its config describes it.

    Attributes:
        factoring: Ranks, scales and variant.
        keeps_ties: Whether tied weights stay tied.
        targets: The modules that the config asks for.
        declared: What is saved whole.
        same_class: Whether it was trained on the class that the base's config names.
        foldable: Whether every effect is on weights.
        source: The library and its version.
    """

    name: ClassVar[str] = "lora"
    factoring: Factoring
    keeps_ties: bool
    targets: Targets
    declared: Declared
    same_class: bool
    foldable: bool
    source: Source

    @property
    def variant(self) -> str:
        if self.factoring.is_decomposed:
            return "dora"
        return self.factoring.start or ("rslora" if self.factoring.is_rank_stabilised else "")

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        named = peft_type(files)
        if named:
            told = f'peft_type "LORA" in {CONFIG_FILE}'
            return Match(cls.name, told, 3) if named == "LORA" else None
        if is_adapterhub(files) or "LORA" not in marks(files.names):
            return None
        has_prefix = any(name.startswith(PREFIX) for name in files.names)
        return Match(cls.name, "tensor names lora_A, lora_B", 2) if has_prefix else None

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        config = adapter_config(files)
        if config is None:
            raise missing_config()
        fields = Fields(config)
        if peft_type(files) != "LORA":
            fields.refuse("peft_type", "does not say LORA, and the tensors are those of a LoRA")
        fields.unsupported(*_UNSUPPORTED)
        fields.ignored(*_TRAINING_ONLY)
        saved = read_saved(fields, task_type=config.get("task_type"))
        factoring = _factoring(fields)
        lora = cls(
            factoring=factoring,
            keeps_ties=fields.flag("ensure_weight_tying"),
            targets=read_targets(fields, saved=saved),
            declared=_declared(fields, saved),
            same_class=_is_same_class(config, base),
            foldable=not (factoring.has_bias and _has_homeless_bias(files, base)),
            source=peft_source(config),
        )
        fields.finish()
        return lora

    def config(self) -> dict[str, object]:
        factoring = self.factoring
        return {
            "r": factoring.r,
            "lora_alpha": canonical_number(factoring.alpha),
            "rank_pattern": _numbers(factoring.ranks),
            "alpha_pattern": _numbers(factoring.alphas),
            "use_rslora": factoring.is_rank_stabilised,
            "use_dora": factoring.is_decomposed,
            "lora_bias": factoring.has_bias,
            "init_lora_weights": factoring.start,
            "fan_in_fan_out": factoring.is_transposed,
            "ensure_weight_tying": self.keeps_ties,
            "bias": self.declared.bias,
            "modules_to_save": sorted(self.declared.required),
            "trainable_token_indices": [
                [entry.text if entry else "", list(rows)] for entry, rows in self.declared.tokens
            ],
        }

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        return self._plan(header_tensors(files), base).problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        return self._plan(tensors, base).effects

    def _plan(self, tensors: Tensors, base: BaseView) -> Plan:
        keys = read_keys(tensors, MARKERS)
        modules, odd = _modules(keys.read.values())
        plan = Plan()
        if not modules:
            _refuse_without_factors(plan, tensors)
            return plan
        rest = [key for key in keys.read.values() if key.marker not in MARKERS]
        hit = {m: target for m in modules if (target := weight_of(m, base)[0])}
        adapted = frozenset(hit)
        plan_saved(plan, rest, self.declared, tensors=tensors, base=base, adapted=adapted)
        found = {module: modules[module] for module in hit}
        plan_factors(plan, found, self.factoring, tensors=tensors, base=base)
        _refuse_unapplied(plan, modules, hit, [*keys.unread, *odd])
        if hit:
            same_class = self.same_class
            plan.problems += unadapted(hit, self.targets, base, same_class=same_class)
        if not self.keeps_ties:
            _untie(plan, base)
        return plan


def _factoring(fields: Fields) -> Factoring:
    return Factoring(
        r=fields.integer("r", 8),
        alpha=fields.number("lora_alpha", 8),
        ranks=read_numbers(fields, "rank_pattern", whole=True),
        alphas=read_numbers(fields, "alpha_pattern"),
        is_rank_stabilised=fields.flag("use_rslora"),
        is_decomposed=fields.flag("use_dora"),
        has_bias=fields.flag("lora_bias"),
        start=_start(fields),
        is_transposed=fields.flag("fan_in_fan_out"),
    )


def _start(fields: Fields) -> str:
    """Read `init_lora_weights`: most only say how training began, some changed the base."""
    value = fields.value("init_lora_weights")
    if value is None or isinstance(value, bool) or value in _PLAIN_STARTS:
        return ""
    if isinstance(value, str) and value.lower() in {"pissa", "olora"}:
        return value.lower()
    if isinstance(value, str) and value.startswith(_LOST_STARTS):
        fields.refuse(
            "init_lora_weights",
            "changed the base before training, in a way that cannot be done again exactly",
            code="not_self_contained",
            fix="save it with path_initial_model_for_weight_conversion, which writes a plain LoRA",
        )
    else:
        fields.refuse("init_lora_weights", "is not a start that is known here")
    return ""


def _declared(fields: Fields, saved: tuple[str, ...]) -> Declared:
    required = tuple(text for text in fields.texts("modules_to_save"))
    bias = fields.choice("bias", "none", frozenset({"none", "all", "lora_only"}))
    return Declared(saved, required, bias, _token_rows(fields))


def _token_rows(fields: Fields) -> tuple[tuple[Suffix | None, tuple[int, ...]], ...]:
    value = fields.value("trainable_token_indices")
    if value is None:
        return ()
    tables: dict[str, object] = (
        cast("dict[str, object]", value) if isinstance(value, dict) else {"": value}
    )
    found: list[tuple[Suffix | None, tuple[int, ...]]] = []
    for name, rows in tables.items():
        module, numbers = suffix(name) if name else None, _row_numbers(rows)
        if numbers is None or (name and module is None):
            fields.refuse("trainable_token_indices", "is not a list of distinct row numbers")
            return ()
        found.append((module, numbers))
    return tuple(found)


def _row_numbers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    rows = cast("list[object]", value)
    numbers = tuple(n for n in rows if isinstance(n, int) and not isinstance(n, bool) and n >= 0)
    return numbers if len(set(numbers)) == len(rows) > 0 else None


def _is_same_class(config: Mapping[str, object], base: BaseView) -> bool:
    """Whether the network that was trained has every module of the base's own class."""
    named, architecture = auto_class(config), base.names.architecture
    if named:
        return named == architecture
    endings = _CLASS_OF_TASK.get(str(config.get("task_type")), ())
    return architecture.endswith(endings) if endings else False


def _modules(keys: Iterable[Key]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Sort factors by module and role; give what has no role, or one that is taken, apart."""
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    odd: list[str] = []
    for key in keys:
        if key.marker in MARKERS:
            role = ROLES.get((key.marker, key.parameter), "")
            if not role or role in modules[key.module]:
                odd.append(key.name)
            else:
                modules[key.module][role] = key.name
    return {module: roles for module, roles in modules.items() if roles}, odd


def _has_homeless_bias(files: DeltaFiles, base: BaseView) -> bool:
    modules, _ = _modules(read_keys(files.names, MARKERS).read.values())
    biased = [module for module, roles in modules.items() if "lora_bias" in roles]
    return any(base.names.tensor(f"{module}.bias") is None for module in biased)


def _refuse_without_factors(plan: Plan, names: Iterable[str]) -> None:
    listed = sorted(names)
    others = marks(listed) - {"LORA"}
    first = listed[0] if listed else ""
    if others:
        told = f"the config says LORA, and the tensors are those of {', '.join(sorted(others))}"
        plan.refuse("kind_mismatch", told, first, "push each delta with its own config")
    else:
        told = f"the config says LORA, and no factors came under {PREFIX}…"
        plan.refuse("no_tensor_applied", told, first, "save the delta again with the library")


def _refuse_unapplied(
    plan: Plan,
    modules: Mapping[str, Mapping[str, str]],
    hit: Mapping[str, str],
    odd: list[str],
) -> None:
    lost = [name for m, roles in modules.items() if m not in hit for name in roles.values()]
    if lost:
        total = sum(len(roles) for roles in modules.values())
        plan.refuse(
            "partial_application" if hit else "no_tensor_applied",
            f"{len(lost)} of {total} factors belong to modules that the base does not have",
            lost[0],
            "check the base, and the part of the name before the layers",
        )
    for name in odd:
        plan.refuse("unexpected_tensors", "its name says nothing to a LoRA", name, "take it out")


def _untie(plan: Plan, base: BaseView) -> None:
    """Give a name its own copy of a shared weight, when the weight changes under another name only.

    The library adapts modules and not weights, so the twin goes on with the weight as it was.
    """
    changed = {e.target: e for e in plan.effects if isinstance(e, WeightUpdate)}
    for twin, stored in base.names.absent_twins().items():
        effect = changed.get(stored)
        if twin in changed or effect is None or isinstance(effect.update, (ReplaceRows, Extend)):
            continue
        grown = plan.grown.get(stored)
        original = plan.originals.get(stored)
        if grown is None:
            plan.effects.append(WeightUpdate(twin, Unchanged(), {}, stored))
        elif original is not None:
            kept = base.tensors[stored].shape[0]
            plan.effects.append(WeightUpdate(twin, Extend(original, kept), {}, stored, grown))


def _numbers(numbers: Numbers) -> list[object]:
    entries = zip(numbers.modules.entries, numbers.values, strict=True)
    return [[f"^{s.text}" if s.anchored else s.text, canonical_number(n)] for s, n in entries]
