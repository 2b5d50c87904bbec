"""A LoRA by its config, peft's own or an equivalent one: read, planned, turned into effects.

W + s·B·A over linear layers, GPT-2's Conv1D, convolutions and embeddings; s = alpha / r, or
alpha / sqrt(r) when rank-stabilised. The formulas and their sources are in
`deltareg.delta.maths.updates`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from deltareg.delta.kind import BaseView, DeltaFiles, Effect, Tensors
from deltareg.delta.layouts.peft.config import Fields, canonical_number, peft_source
from deltareg.delta.layouts.peft.experts import plan_experts
from deltareg.delta.layouts.peft.factors import MARKERS, ROLES, FactorSettings, plan_factors
from deltareg.delta.layouts.peft.keys import read_keys
from deltareg.delta.layouts.peft.modules import (
    by_module,
    has_one_adapter,
    refuse_unapplied,
    refuse_without_modules,
    untie,
    weight_of,
)
from deltareg.delta.layouts.peft.saved import EffectPlan, SavedModules, plan_saved
from deltareg.delta.layouts.peft.selection import hold_against_config
from deltareg.delta.layouts.peft.standardised import standardised_kernels
from deltareg.delta.layouts.peft.statistics import unmoved_statistics
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers, Suffix, format_entry, suffix
from deltareg.delta.layouts.peft.targets import (
    TargetModules,
    read_numbers,
    read_parameters,
    read_saved,
    read_targets,
    with_weights,
)
from deltareg.delta.layouts.peft.tied_rows import two_readings
from deltareg.delta.layouts.peft.trained import TrainedNetwork, read_trained
from deltareg.delta.shapes import header_tensors
from deltareg.errors import Problem
from deltareg.identity.manifest import Source

_PLAIN_STARTS = frozenset({"gaussian", "eva", "orthogonal", "mica"})
_LOST_STARTS = ("pissa_niter_", "corda", "loftq", "lora_ga")
_TIED_ENDS = frozenset({"embed_tokens", "lm_head"})
_UNSUPPORTED = (
    "alora_invocation_tokens",
    "arrow_config",
    "enable_lora",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
_TRAINING_ONLY = ("corda_config", "eva_config", "loftq_config", "lora_ga_config", "megatron_core", "qalora_group_size")


@dataclass(frozen=True, slots=True)
class LoraDelta:
    """A LoRA, as its config describes it.

    Attributes:
        factoring: Ranks, scales and variant.
        targets: The modules that the config asks for.
        declared: The modules that are saved whole.
        trained: The network that was trained.
        foldable: Whether every effect is on weights.
        source: The library and its version.
    """

    name: ClassVar[str] = "lora"
    factoring: FactorSettings
    targets: TargetModules
    declared: SavedModules
    trained: TrainedNetwork
    foldable: bool
    source: Source

    @property
    def variant(self) -> str:
        """`dora`, `pissa`, `olora` or `rslora`; empty for a plain one."""
        if self.factoring.is_decomposed:
            return "dora"
        return self.factoring.start or ("rslora" if self.factoring.is_rank_stabilised else "")

    def config(self) -> dict[str, object]:
        """All fields that change the maths, and the modules that are saved whole."""
        factoring = self.factoring
        parameters = sorted(entry.text for entry in factoring.parameters.entries)
        return {
            **({"target_parameters": parameters} if parameters else {}),
            "r": factoring.r,
            "lora_alpha": canonical_number(factoring.alpha),
            "rank_pattern": _numbers(factoring.ranks),
            "alpha_pattern": _numbers(factoring.alphas),
            "use_rslora": factoring.is_rank_stabilised,
            "use_dora": factoring.is_decomposed,
            "lora_bias": factoring.has_bias,
            "init_lora_weights": factoring.start,
            "fan_in_fan_out": factoring.is_transposed,
            "ensure_weight_tying": self.declared.with_twins,
            "bias": self.declared.bias,
            "modules_to_save": sorted(self.declared.required),
            "trainable_token_indices": [
                [entry.text if entry else "", list(rows)] for entry, rows in self.declared.tokens
            ],
        }

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        """See `deltareg.delta.kind.DeltaKind`."""
        return self._plan(header_tensors(files), base).problems

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        """See `deltareg.delta.kind.DeltaKind`."""
        return self._plan(tensors, base).effects

    def _plan(self, tensors: Tensors, base: BaseView) -> EffectPlan:
        keys = read_keys(tensors, MARKERS)
        modules, odd = by_module(keys.read.values(), ROLES)
        plan = EffectPlan()
        if not has_one_adapter(plan, keys):
            return plan
        if not modules:
            refuse_without_modules(plan, tensors, "LORA")
            return plan
        rest = [key for key in keys.read.values() if key.marker not in MARKERS]
        weights = {m: target for m in modules if (target := weight_of(m, base)[0])}
        adapted = frozenset(weights)
        plan_saved(plan, rest, self.declared, tensors=tensors, base=base, adapted=adapted)
        adapted_modules = {module: modules[module] for module in weights}
        plan_factors(plan, adapted_modules, self.factoring, tensors=tensors, base=base)
        unplaced = {module: roles for module, roles in modules.items() if module not in weights}
        experts = plan_experts(plan, unplaced, self.factoring, tensors=tensors, base=base)
        applied = {**weights, **dict.fromkeys(experts, "")}
        refuse_unapplied(plan, modules, applied, [*keys.unread, *odd], kind="LoRA", base=base)
        if weights:
            plan.problems += hold_against_config(
                weights, modules, self.targets, self.trained, base, with_twins=self.declared.with_twins, converts=True
            )
        plan.problems += two_readings(plan.effects, self.trained, base)
        if not self.declared.with_twins:
            untie(plan, base)
        plan.problems += unmoved_statistics(plan.effects, base)
        plan.problems += standardised_kernels(plan.effects, base)
        return plan


def read_lora(config: Mapping[str, object], files: DeltaFiles, base: BaseView) -> LoraDelta:
    """Read a LoRA's config.

    Args:
        config: As peft writes it.
        files: The files, with names as peft writes them.
        base: The base.

    Raises:
        Refused: `bad_config` and the like, with every problem.
    """
    fields = Fields(config)
    if config.get("peft_type") != "LORA":
        fields.refuse("peft_type", "does not say LORA, and the tensors are those of a LoRA")
    fields.refuse_unsupported(*_UNSUPPORTED)
    fields.ignore(*_TRAINING_ONLY)
    saved = read_saved(fields, task_type=config.get("task_type"))
    factoring = _factoring(fields)
    targets = read_targets(fields, saved=saved)
    lora = LoraDelta(
        factoring=factoring,
        targets=with_weights(targets, factoring.parameters),
        declared=_read_declared(fields, saved, targets, base),
        trained=read_trained(config, base),
        foldable=not (factoring.has_bias and _has_homeless_bias(files, base)),
        source=peft_source(config),
    )
    fields.finish()
    return lora


def _factoring(fields: Fields) -> FactorSettings:
    factoring = FactorSettings(
        r=fields.integer("r", 8),
        alpha=fields.number("lora_alpha", 8),
        ranks=read_numbers(fields, "rank_pattern", whole=True),
        alphas=read_numbers(fields, "alpha_pattern"),
        is_rank_stabilised=fields.flag("use_rslora"),
        is_decomposed=fields.flag("use_dora"),
        has_bias=fields.flag("lora_bias"),
        start=_start(fields),
        is_transposed=fields.flag("fan_in_fan_out"),
        parameters=read_parameters(fields),
    )
    own = (factoring.is_decomposed, factoring.has_bias, factoring.start, factoring.is_transposed)
    if factoring.parameters.entries and any(own):
        fields.refuse("target_parameters", "goes with plain LoRA only, and this is another variant")
    return factoring


def _start(fields: Fields) -> str:
    """Read `init_lora_weights`: most values only say how training began, some changed the base."""
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


def _read_declared(fields: Fields, saved: tuple[str, ...], targets: TargetModules, base: BaseView) -> SavedModules:
    required = tuple(text for text in fields.texts("modules_to_save"))
    bias = fields.choice("bias", "none", frozenset({"none", "all", "lora_only"}))
    is_asked = fields.flag("ensure_weight_tying")
    is_told = not base.names.ties.is_of_part  # the library asks the class alone what it ties
    with_twins = is_asked and is_told and _names_an_end(required, targets)
    return SavedModules(saved, required, bias, _token_rows(fields), with_twins, is_asked)


def _names_an_end(saved: tuple[str, ...], targets: TargetModules) -> bool:
    """Whether the config names an embedding or a head by a name that the library knows.

    If a network calls them otherwise (`word_embeddings`, `wte`), the library ties nothing and only
    warns.
    """
    if any(name.rpartition(".")[2] in _TIED_ENDS for name in saved):
        return True
    if any(targets.listed.first(end) is not None for end in _TIED_ENDS):
        return True
    names = {format_entry(entry).rpartition(".")[2] for entry in targets.listed.entries}
    return not names.isdisjoint(_TIED_ENDS)


def _token_rows(fields: Fields) -> tuple[tuple[Suffix | None, tuple[int, ...]], ...]:
    value = fields.value("trainable_token_indices")
    if value is None:
        return ()
    tables: dict[str, object] = cast("dict[str, object]", value) if isinstance(value, dict) else {"": value}
    row_groups: list[tuple[Suffix | None, tuple[int, ...]]] = []
    for name, rows in tables.items():
        module, numbers = suffix(name) if name else None, _row_numbers(rows)
        if numbers is None or (name and module is None):
            fields.refuse("trainable_token_indices", "is not a list of distinct row numbers")
            return ()
        row_groups.append((module, numbers))
    return tuple(row_groups)


def _row_numbers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    rows = cast("list[object]", value)
    numbers = tuple(n for n in rows if isinstance(n, int) and not isinstance(n, bool) and n >= 0)
    return numbers if len(set(numbers)) == len(rows) > 0 else None


def _has_homeless_bias(files: DeltaFiles, base: BaseView) -> bool:
    modules, _ = by_module(read_keys(files.names, MARKERS).read.values(), ROLES)
    biased = [module for module, roles in modules.items() if "lora_bias" in roles]
    return any(base.names.tensor(f"{module}.bias") is None for module in biased)


def _numbers(numbers: ModuleNumbers) -> list[object]:
    entries = zip(numbers.modules.entries, numbers.values, strict=True)
    return [[format_entry(entry), canonical_number(number)] for entry, number in entries]
