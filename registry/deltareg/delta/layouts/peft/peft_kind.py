"""A kind that peft writes, as a value: its names, its configuration and its formula.

Everything that such kinds share is here: parsing names, finding modules in the base, modules saved
whole, checking targets against the tensors, tied weights. A kind's file adds the rest.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from deltareg.delta.kind import AGAIN, BaseView, DeltaFiles, Effect, Match, Tensors, WeightUpdate
from deltareg.delta.kind_value import DeltaOfValue
from deltareg.delta.layouts.peft.config import (
    CONFIG_FILE,
    Fields,
    adapter_config,
    canonical_number,
    missing_config,
    peft_source,
    peft_type,
)
from deltareg.delta.layouts.peft.keys import PREFIX, read_keys
from deltareg.delta.layouts.peft.marks import is_adapterhub, marks
from deltareg.delta.layouts.peft.modules import (
    Roles,
    by_module,
    has_one_adapter,
    is_stored_transposed,
    refuse_half_grown,
    refuse_unapplied,
    refuse_without_modules,
    untie,
    weight_of,
)
from deltareg.delta.layouts.peft.saved import EffectPlan, SavedModules, plan_saved
from deltareg.delta.layouts.peft.selection import hold_against_config
from deltareg.delta.layouts.peft.standardised import standardised_kernels
from deltareg.delta.layouts.peft.statistics import unmoved_statistics
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers, format_entry
from deltareg.delta.layouts.peft.targets import TargetModules, read_saved, read_targets
from deltareg.delta.layouts.peft.tied_rows import two_readings
from deltareg.delta.layouts.peft.trained import TrainedNetwork, read_trained
from deltareg.delta.maths.formula import Tensor, Update
from deltareg.delta.older_reading import OlderReading
from deltareg.delta.traits import PLAIN, Traits
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S")
_ROOT = "base_model."


@dataclass(frozen=True, slots=True)
class Site:
    """An adapted module, with everything that a formula may need to know about it.

    Attributes:
        module: By the path that the training process used.
        tensors: The module's own tensors by role, and the delta's shared ones by theirs.
        target: The weight that changes, by its name in the base's files.
        reads: The base's weight, when the module only shares it; else empty.
        shape: The weight's shape, including any added rows.
        own: Names of the tensors that this site consumes -> their roles.
        base: The base.
        told_transposed: `fan_in_fan_out` of the config.
        modules: Every module that the delta adapts.
        grown: The weight's shape if rows were added to it; else None.
    """

    module: str
    tensors: Mapping[str, Tensor]
    target: str
    reads: str
    shape: tuple[int, ...]
    own: Mapping[str, str]
    base: BaseView = field(repr=False)
    told_transposed: bool = False
    modules: frozenset[str] = field(default=frozenset(), repr=False)
    grown: tuple[int, ...] | None = None

    @property
    def bias(self) -> str:
        """The module's bias in the base's files; empty if it has none."""
        return self.base.names.tensor(f"{self.module}.bias") or ""

    @property
    def path(self) -> str:
        """The module's path in the running network."""
        weight = self.base.names.memory(self.target) or self.target
        return weight.removesuffix(".weight")

    def is_transposed(self, n_out: int, n_in: int) -> bool:
        """Whether the weight of a layer n_in -> n_out is stored (in, out)."""
        weight = self.reads or self.target
        product, declared = (n_out, n_in), self.told_transposed
        return is_stored_transposed(weight, self.shape, product, self.base, told=declared)

    def out_in(self) -> tuple[int, int]:
        """Return n_out and n_in of the layer; a kernel (out, in, h, w) has in·h·w inputs.

        Uses the base's type alone; formulas whose tensors show more use `is_transposed`.
        """
        height, width = self.shape[0], 1
        for size in self.shape[1:]:
            width *= size
        is_flipped = self.base.names.is_transposed(self.reads or self.target)
        return (width, height) if is_flipped else (height, width)

    def changes(self, update: Update) -> WeightUpdate:
        """Build a formula's effect on this site's weight, which consumes the site's own tensors."""
        return WeightUpdate(self.target, update, self.own, self.reads, self.grown)

    def refuse(self, code: str, message: str, role: str = "", fix: str = "") -> Refused:
        """Build the refusal of this site, with one of its tensors."""
        tensor = self.tensors[role].name if role else next(iter(self.own), "")
        return Refused([Problem(code, message, tensor=tensor, fix=fix)])


def _no_older(_: Fields) -> None:
    return None


@dataclass(frozen=True)
class PeftKind(Generic[S]):
    """One `peft_type`.

    Attributes:
        name: The kind.
        variant: The variant within the kind; may be empty.
        peft_type: As in the config.
        roles: (marker, parameter) in tensor names -> role: `("hada_w1_a", "")`.
        read: Reads the kind's own fields; those that change the maths are in the dataclass it
            returns.
        effects: Declares the effects of one site. May raise `Refused`, which refuses the delta.
        shared: Markers of tensors of the whole delta (`base_model.<marker>`) -> role.
        optional: Roles that a module may lack.
        foldable: Whether every effect is on weights.
        bias_words: The kind's name in `bias`, if its documentation uses another.
        has_vectors: Whether weights of one dimension are adapted, so that one may be missing.
        with_twins: Whether the library also adapts modules that share their weight with a target.
        older: Finds out, by what the config has and lacks, whether an earlier release read it otherwise.
        usual: What is usual for the kind, beside the tensors of the whole delta.
    """

    name: str
    variant: str
    peft_type: str
    roles: Roles
    read: Callable[[Fields], S]
    effects: Callable[[Site, S], Iterable[Effect]]
    shared: Mapping[str, str] = field(default_factory=dict[str, str])
    optional: frozenset[str] = frozenset()
    foldable: bool = True
    bias_words: tuple[str, ...] = ()
    has_vectors: bool = False
    with_twins: bool = False
    older: Callable[[Fields], OlderReading | None] = _no_older
    usual: Traits = PLAIN

    @property
    def traits(self) -> Traits:
        """What is usual for the kind; modules have the tensors of the whole delta in common."""
        common = (role.removesuffix(".") for role in self.shared.values())
        return replace(self.usual, shared=self.usual.shared.union(common))

    @property
    def layout(self) -> str:
        """What it reads."""
        return f"peft {self.peft_type}"

    @property
    def _bias_words(self) -> frozenset[str]:
        """The values that `bias` may have; the library treats any word that ends in `_only` alike."""
        own = {f"{word}_only" for word in (self.variant, self.peft_type.lower(), *self.bias_words)}
        return frozenset({"none", "all", *own})

    @property
    def markers(self) -> frozenset[str]:
        """The parts of tensor names that only this kind has."""
        return frozenset(marker for marker, _ in self.roles)

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Recognise a folder by `peft_type`, else by tensor names that only this type has."""
        declared = peft_type(files)
        if declared:
            evidence = f'peft_type "{self.peft_type}" in {CONFIG_FILE}'
            return Match(self.name, evidence, 3) if declared == self.peft_type else None
        if is_adapterhub(files) or self.peft_type not in marks(files.names):
            return None
        evidence = f"tensor names {', '.join(sorted(self.markers)[:3])}"
        return Match(self.name, evidence, 2) if _has_prefix(files.names) else None

    def parse(self, files: DeltaFiles, base: BaseView) -> "PeftDelta[S]":
        """Read the config; see `deltareg.delta.kind.KindReader`."""
        config = adapter_config(files)
        if config is None:
            raise missing_config()
        fields_ = Fields(config)
        if peft_type(files) != self.peft_type:
            message = f"does not say {self.peft_type}, and the tensors are those of one"
            fields_.refuse("peft_type", message)
        saved = read_saved(fields_, task_type=config.get("task_type"))
        required = fields_.texts("modules_to_save")
        bias = fields_.choice("bias", "none", self._bias_words)
        settings = self.read(fields_)
        delta = PeftDelta(
            kind=self,
            settings=settings,
            targets=read_targets(fields_, saved=saved),
            declared=SavedModules(saved, required, "lora_only" if bias.endswith("_only") else bias),
            trained=read_trained(config, base),
            told_transposed=fields_.flag("fan_in_fan_out"),
            source=peft_source(config),
        )
        fields_.finish()
        return replace(delta, older=self.older(fields_))


@dataclass(frozen=True)
class PeftDelta(DeltaOfValue[PeftKind[S]], Generic[S]):
    """A delta of such a kind.

    Attributes:
        settings: The settings of the formula.
        targets: The modules that the config asks for.
        declared: The modules that are saved whole.
        trained: The network that was trained.
        told_transposed: `fan_in_fan_out`.
        source: The library and its version.
        older: How an earlier release reads it, if that wrote it and today's reads it otherwise.
    """

    settings: S
    targets: TargetModules
    declared: SavedModules
    trained: TrainedNetwork
    told_transposed: bool
    source: Source
    older: OlderReading | None = None

    def config(self) -> dict[str, object]:
        """All fields of the settings, and the modules that are saved whole."""
        own = {f.name: _plain(getattr(self.settings, f.name)) for f in fields(cast("DataclassInstance", self.settings))}
        saved = {"bias": self.declared.bias, "modules_to_save": sorted(self.declared.required)}
        return {**own, **saved, "fan_in_fan_out": self.told_transposed}

    def plan(self, tensors: Tensors, base: BaseView) -> EffectPlan:
        """Find the module of every tensor, and plan the formula's effects."""
        plan, kind = EffectPlan(), self.kind
        shared = _find_shared(tensors, kind.shared)
        parameters = {parameter for _, parameter in kind.roles}
        own = (name for name in tensors if name not in shared)
        keys = read_keys(own, kind.markers, parameters=parameters)
        modules, odd = by_module(keys.read.values(), kind.roles)
        if not has_one_adapter(plan, keys):
            return plan
        if not modules:
            refuse_without_modules(plan, tensors, kind.peft_type)
            return plan
        weights = {m: target for m in modules if (target := weight_of(m, base)[0])}
        rest = [key for key in keys.read.values() if key.marker not in kind.markers]
        plan_saved(plan, rest, self.declared, tensors=tensors, base=base, adapted=frozenset(weights))
        consumed: Mapping[str, str] = shared  # by the first site, on behalf of all
        for module in weights:
            site = self._site(plan, module, modules[module], shared, consumed, tensors, base)
            site = replace(site, modules=frozenset(weights))
            if _has_roles(plan, site, kind):
                try:
                    plan.effects += kind.effects(site, self.settings)
                except Refused as refused:
                    plan.problems += refused.problems
            consumed = {}
        refuse_unapplied(plan, modules, weights, [*keys.unread, *odd], kind=kind.peft_type, base=base)
        if weights:
            plan.problems += hold_against_config(
                weights,
                modules,
                self.targets,
                self.trained,
                base,
                rank=1 if kind.has_vectors else 2,
                with_twins=kind.with_twins,
            )
        refuse_half_grown(plan, base)
        plan.problems += two_readings(plan.effects, self.trained, base)
        untie(plan, base)
        plan.problems += unmoved_statistics(plan.effects, base)
        plan.problems += standardised_kernels(plan.effects, base)
        plan.problems += [self.older.problem()] if self.older is not None else []
        return plan

    def _site(
        self,
        plan: EffectPlan,
        module: str,
        roles: Mapping[str, str],
        shared: Mapping[str, str],
        consumed: Mapping[str, str],
        tensors: Tensors,
        base: BaseView,
    ) -> Site:
        target, reads = weight_of(module, base)
        repeated = frozenset(shared.values())
        own = {n: f"{r}{AGAIN}" if r in repeated else r for r, n in roles.items()}
        by_role = {role: tensors[name] for name, role in {**shared, **own}.items()}
        grown = plan.grown.get(target)
        return Site(
            module,
            by_role,
            target,
            reads,
            grown or base.tensors[reads or target].shape,
            {**consumed, **own},
            base,
            self.told_transposed,
            grown=grown,
        )


def _has_roles(plan: EffectPlan, site: Site, kind: PeftKind[S]) -> bool:
    """Whether every required role is there; the delta is refused if one is missing."""
    needed = {*kind.roles.values(), *kind.shared.values()} - kind.optional
    for role, tensor in site.tensors.items():
        first = site.tensors.get(role.removesuffix(AGAIN))
        if first is not None and first.shape != tensor.shape:
            message = f"{list(tensor.shape)} does not repeat {first.name} {list(first.shape)}"
            plan.refuse("shape", message, tensor.name)
    lost = sorted(needed - site.tensors.keys())
    if lost:
        plan.refuse("missing_tensors", f"its {lost[0]} is missing", next(iter(site.own)))
    return not lost


def _find_shared(names: Iterable[str], markers: Mapping[str, str]) -> dict[str, str]:
    """Find tensors of the whole delta, `base_model.<marker>`, with or without the adapter's name.

    A marker that ends in a dot, `tinylora_v.`, stands for several tensors: the rest of the name is
    part of the role.
    """
    shared: dict[str, str] = {}
    for name in names:
        marker, dot, rest = name.removeprefix(_ROOT).partition(".")
        if name.startswith(_ROOT) and marker in markers:
            shared[name] = markers[marker]
        elif name.startswith(_ROOT) and marker + dot in markers:
            shared[name] = markers[marker + dot] + rest
    return shared


def _has_prefix(names: Iterable[str]) -> bool:
    return any(name.startswith(PREFIX) for name in names)


def _plain(value: object) -> object:
    """Convert a setting for the manifest, which holds no floats and no types of ours."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return canonical_number(value)
        case ModuleNumbers():
            pairs = zip(value.modules.entries, value.values, strict=True)
            return [[format_entry(entry), canonical_number(number)] for entry, number in pairs]
        case _:
            return [_plain(item) for item in cast("Iterable[object]", value)]
