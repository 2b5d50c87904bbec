"""The library's prefixes, checked against config and base and turned into inserts.

One pool has the prefixes of all layers. It hangs on the network and again on every attention, so a
file may hold it many times over; the copies are accounted for, and must be equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.delta.kind import AGAIN, PrefixInsert, PrefixVectors
from deltareg.delta.layouts.adapterhub.bottlenecks import SequenceGate
from deltareg.delta.layouts.adapterhub.hub_kind import Adapter
from deltareg.delta.layouts.adapterhub.parameters import ModuleParameters
from deltareg.delta.layouts.adapterhub.prefix_config import AdapterPrefixConfig
from deltareg.delta.layouts.adapterhub.prefixes import ComputedKeyValues, FlatKeyValues, PrefixGate
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.sites import Layer
from deltareg.delta.sites.attention import KeyShape, key_shape
from deltareg.delta.sites.sites import Part

POOLS = "prefix_tunings"
_GATES = "prefix_gates"
_POOL = "prefix_tuning"
# Types of network whose attentions the library has patched by hand, and that are known here.
_PATCHED = frozenset({"bert", "gpt2", "llama", "mistral", "mt5", "roberta", "t5", "vit", "xlm-roberta"})
# Those whose first layer makes the position bias of all; it does not fit layers that differ.
_BIASED = frozenset({"mt5", "t5"})


@dataclass(frozen=True, slots=True)
class _Site:
    """An attention with a prefix.

    Attributes:
        layer: Its layer.
        part: Which attention of it.
        key: The pool's name for all attentions of this sort.
        row: Its number among them.
    """

    layer: Layer
    part: Part
    key: str
    row: int

    @property
    def path(self) -> str:
        return self.layer.parts[self.part].attention


def plan_prefix(plan: EffectPlan, adapter: Adapter, settings: AdapterPrefixConfig) -> None:
    """Add the effects of the prefixes to a plan.

    Args:
        plan: Receives effects and problems.
        adapter: The tensors and the base.
        settings: The settings of the config.
    """
    model_type, shape = adapter.base.names.model_type, key_shape(adapter.base)
    if model_type not in _PATCHED or shape is None:
        message = f"the library puts no prefix that is known here into networks of type {model_type!r}"
        plan.refuse("unknown_kind", message, "", "ask for it")
        return
    sites = _sites(adapter, settings)
    if model_type in _BIASED and _is_partial(adapter, settings):
        message = "leave_out names a part of a stack: the library then loses position biases of others"
        plan.refuse("bad_config", message, "", "train it with a prefix in every layer, or in none")
        return
    pool, copies = _pool(plan, adapter)
    gates = _gates(plan, adapter, sites)
    counts = {site.key: 0 for site in sites}
    for site in sites:
        counts[site.key] += 1
    if not _has_keys(plan, pool, counts):
        return
    vectors = {key: _Maker(plan, adapter, settings, shape, key, count, pool) for key, count in counts.items()}
    for site in sites:
        maker = vectors[site.key]
        inserted, consumes = maker.make(site.row)
        if inserted is None:
            return
        gate, roles = _gate(plan, adapter, settings, site, gates)
        again = {n: f"{consumes[o]}{AGAIN}" for n, o in copies.items() if o in consumes}
        consumes = {**consumes, **again, **roles}
        plan.effects.append(PrefixInsert("attention", site.path, 0, inserted, consumes, gate))


def _sites(adapter: Adapter, settings: AdapterPrefixConfig) -> list[_Site]:
    """List the attentions with a prefix, in the library's order."""
    stacks = {layer.stack for layer in adapter.places.layers}
    is_double = {"encoder", "decoder"} <= stacks
    sites: list[_Site] = []
    counts: dict[str, int] = {}
    for number, layer in enumerate(adapter.places.layers):
        inner = "encoder" if is_double and layer.stack == "encoder" else "self"
        words: dict[Part, str] = {"attention": inner, "cross": "cross"}
        flags = {"self": True, "encoder": settings.encoder, "cross": settings.cross}
        for part, word in words.items():
            if part in layer.parts and flags[word] and number not in settings.leaves_out:
                key = f"{word}_prefix"
                sites.append(_Site(layer, part, key, counts.get(key, 0)))
                counts[key] = sites[-1].row + 1
    return sites


def _is_partial(adapter: Adapter, settings: AdapterPrefixConfig) -> bool:
    """Whether some layers of a stack have a prefix and others do not."""
    has: dict[str, set[bool]] = {}
    for number, layer in enumerate(adapter.places.layers):
        has.setdefault(layer.stack, set()).add(number in settings.leaves_out)
    return any(len(kinds) > 1 for kinds in has.values())


def _pool(plan: EffectPlan, adapter: Adapter) -> tuple[Mapping[str, str], dict[str, str]]:
    """Choose one of the pools; return its tensors by parameter, and copy -> original."""
    pools = adapter.within(POOLS)
    first = min(pools, key=len)  # the network's own, where it came
    copies: dict[str, str] = {}
    for holder, names in pools.items():
        is_own = adapter.places.layer(holder) is not None or holder.rpartition(".")[2] == _POOL
        for parameter, name in names.items():
            original = pools[first].get(parameter)
            if not is_own or original is None:
                message = "it belongs to no attention of the base, and to no prefix of the network"
                plan.refuse("unexpected_tensors", message, name, "check the base")
            elif name == original:
                continue
            elif adapter.tensors[name].shape != adapter.tensors[original].shape:
                plan.refuse("shape", f"it should repeat {original}, of another shape", name)
            else:
                copies[name] = original
    return pools[first], copies


def _has_keys(plan: EffectPlan, pool: Mapping[str, str], counts: Mapping[str, int]) -> bool:
    """Check the sorts of attention that the config asks for against those in the pool."""
    present = {parameter.partition(".")[0]: name for parameter, name in pool.items()}
    first = next(iter(pool.values()))
    for key in sorted(counts.keys() - present.keys()):
        plan.refuse("missing_tensors", f"the config asks for a {key}, and none came", first)
    for key in sorted(present.keys() - counts.keys()):
        message = f"the config asks for no {key[:80]}, or the base has no place for it"
        plan.refuse("unexpected_tensors", message, present[key], "take it out")
    return counts.keys() == present.keys()


class _Maker:
    """Builds the vectors of all attentions of one sort; the first one consumes the tensors."""

    def __init__(
        self,
        plan: EffectPlan,
        adapter: Adapter,
        settings: AdapterPrefixConfig,
        shape: KeyShape,
        key: str,
        count: int,
        pool: Mapping[str, str],
    ) -> None:
        own = {
            parameter.removeprefix(f"{key}."): name
            for parameter, name in pool.items()
            if parameter.startswith(f"{key}.")
        }
        self._parameters = ModuleParameters(f"the {key}", own, adapter.tensors, plan)
        self._key, self._settings, self._shape = key, settings, shape
        self._rows = 2 * count * shape.heads * shape.width
        self._tensors = self._take()
        self._is_sound = self._parameters.finish()

    def _take(self) -> "tuple[Tensor, ...]":
        take, settings = self._parameters.take, self._settings
        if settings.is_flat:
            return (take("control_trans", (settings.length * self._rows,)),)
        features = (*self._parameters.shape("wte.weight"), 0, 0)[1]
        return (
            take("wte.weight", (settings.length, features)),
            take("control_trans.0.weight", (settings.narrow, features)),
            take("control_trans.0.bias", (settings.narrow,)),
            take("control_trans.2.weight", (self._rows, settings.narrow)),
            take("control_trans.2.bias", (self._rows,)),
        )

    def make(self, row: int) -> tuple[PrefixVectors | None, Mapping[str, str]]:
        """Return the vectors of one attention, and the tensors that it consumes on behalf of all."""
        roles = {name: f"{self._key}.{role}" for name, role in self._parameters.roles.items()}
        consumes = {} if row else roles
        if not self._is_sound:
            return None, {}
        settings, shape = self._settings, self._shape
        if settings.is_flat:
            return FlatKeyValues(self._tensors[0], settings.length, row, shape), consumes
        vectors, *rest = self._tensors
        first, second = (rest[0], rest[1]), (rest[2], rest[3])
        return ComputedKeyValues(vectors, first, second, settings.function, row, shape), consumes


def _gates(plan: EffectPlan, adapter: Adapter, sites: list[_Site]) -> dict[str, Mapping[str, str]]:
    """Return, for every gate, attention -> parameter -> tensor name."""
    gates: dict[str, Mapping[str, str]] = {}
    paths = {site.path for site in sites}
    for holder, names in adapter.within(_GATES).items():
        path = _attention(adapter, holder)
        if path not in paths or path in gates:
            message = "it is on no attention of the base that has a prefix"
            plan.refuse("unexpected_tensors", message, next(iter(names.values())), "check the base")
        else:
            gates[path] = names
    return gates


def _attention(adapter: Adapter, holder: str) -> str:
    """Return the base's attention to which a module of the library's network belongs."""
    place = adapter.places.layer(holder)
    if place is None:
        return ""
    _, layer, rest = place
    paths = [part.attention for part in layer.parts.values() if part.attention]
    if len(paths) == 1:
        return paths[0]
    return next((p for p in paths if f"{layer.path}.{rest}.".startswith(f"{p}.")), "")


def _gate(
    plan: EffectPlan,
    adapter: Adapter,
    settings: AdapterPrefixConfig,
    site: _Site,
    gates: Mapping[str, Mapping[str, str]],
) -> tuple[PrefixGate | None, Mapping[str, str]]:
    names = gates.get(site.path, {})
    if not settings.gates and not names:
        return None, {}
    parameters = ModuleParameters(f"the gate on {site.path}", names, adapter.tensors, plan)
    if not settings.gates:
        parameters.finish()
        return None, {}
    features = (*parameters.shape("weight"), 0, 0)[1]
    gate = SequenceGate(
        parameters.take("weight", (settings.gates, features)), parameters.take("bias", (settings.gates,))
    )
    return (PrefixGate(gate), parameters.roles) if parameters.finish() else (None, {})
