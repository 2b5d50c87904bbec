"""Representation fine-tuning of the adapters library: LoReFT, NoReFT, and DiReFT where it is said.

The library does not save whether the state's own part is subtracted. With orthonormal rows it is;
without, one and the same config is written with it (NoReFT) and without it (DiReFT), so a field of
our own must tell: `subtract_projection`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.delta.kind import ActivationHook, Tap
from deltareg.delta.layouts.adapterhub.bottleneck_config import read_activation
from deltareg.delta.layouts.adapterhub.config import architecture, layer_numbers
from deltareg.delta.layouts.adapterhub.hub_kind import Adapter, HubKind
from deltareg.delta.layouts.adapterhub.interventions import (
    MASK,
    Intervention,
    InterventionUnit,
    OrthonormalProjection,
    StoredProjection,
)
from deltareg.delta.layouts.adapterhub.parameters import ModuleParameters
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.formula import Function

CONTAINER = "refts"
_PROJECTION = "projection.parametrizations.weight"


@dataclass(frozen=True, slots=True)
class Reft:
    """Settings of the config.

    Attributes:
        rank: r.
        layers: Numbers of the layers that have one; None for all.
        leading: How many first positions of each row are edited.
        trailing: How many last ones.
        is_shared: Whether first and last positions share one edit.
        is_orthonormal: Whether R has orthonormal rows.
        subtracts: Whether the state's own part in the subspace is subtracted.
        function: The activation; None for none.
    """

    rank: int
    layers: tuple[int, ...] | None
    leading: int
    trailing: int
    is_shared: bool
    is_orthonormal: bool
    subtracts: bool
    function: Function | None

    @property
    def variant(self) -> str:
        """The name of the variant."""
        if self.is_orthonormal:
            return "loreft"
        return "noreft" if self.subtracts else "direft"


def read(fields: Fields) -> Reft:
    """Read the method's fields; refusals are recorded in `fields`."""
    if not fields.flag("output_reft", default=True):
        fields.refuse("output_reft", "is off, and nothing else can be adapted")
    is_orthonormal = fields.flag("orthogonality", default=True)
    return Reft(
        rank=fields.integer("r", 1),
        layers=_layers(fields),
        leading=fields.integer("prefix_positions", 3, least=0),
        trailing=fields.integer("suffix_positions", 0, least=0),
        is_shared=fields.flag("tied_weights"),
        is_orthonormal=is_orthonormal,
        subtracts=_subtracts(fields, is_orthonormal=is_orthonormal),
        function=read_activation(fields, "non_linearity", optional=True),
    )


def plan(found: EffectPlan, adapter: Adapter, settings: Reft) -> None:
    """Plan an intervention at the output of every layer that has one."""
    stacks = {layer.stack for layer in adapter.places.layers}
    if len(stacks) > 1:
        message = f"interventions in a network of {' and '.join(sorted(stacks))} are not known here"
        found.refuse("unknown_kind", message, "", "it has not been held against the library")
        return
    named_parts: dict[int, Mapping[str, str]] = {}
    for holder, names in adapter.within(CONTAINER).items():
        place = adapter.places.layer(holder)
        first = next(iter(names.values()))
        if place is None or place[2] != "reft_layer":
            message = f"the base has no layer for {holder}"
            code = "partial_application" if len(adapter.keys) > len(names) else "no_tensor_applied"
            found.refuse(code, message, first, "check the base")
        else:
            named_parts[place[0]] = names
    for number, layer in enumerate(adapter.places.layers):
        is_wanted = settings.layers is None or number in settings.layers
        if is_wanted and number not in named_parts:
            message = f"the config asks for an intervention at {layer.path}, and none came"
            found.refuse("missing_tensors", message, layer.path, "save the adapter again")
        elif number in named_parts and not is_wanted:
            message = f"the config asks for no intervention at {layer.path}"
            found.refuse("unexpected_tensors", message, next(iter(named_parts[number].values())))
        elif is_wanted:
            _plan_layer(found, adapter, settings, number, named_parts[number])


def _plan_layer(found: EffectPlan, adapter: Adapter, settings: Reft, number: int, names: Mapping[str, str]) -> None:
    layer = adapter.places.layers[number]
    parameters = ModuleParameters(f"the intervention at {layer.path}", names, adapter.tensors, found)
    features = (*parameters.shape("units.0.learned_source.weight"), 0, 0)[1]
    width = adapter.places.width(layer.parts["ffn"]) or features
    if settings.rank >= width and settings.is_orthonormal:
        message = f"r = {settings.rank} of {width} features is parametrised in another way"
        found.refuse("bad_config", message, next(iter(names.values())))
        return
    first = _unit(parameters, "units.0", settings, width)
    last = first if settings.is_shared else _unit(parameters, "units.1", settings, width)
    if parameters.finish():
        hook = Intervention(first, last, settings.leading, settings.trailing)
        taps = {} if layer.stack == "vision" else {MASK: Tap("", "input", MASK)}
        effect = ActivationHook(layer.path, "after", taps, parameters.roles, hook, is_placed=True)
        found.effects.append(effect)


def _unit(parameters: ModuleParameters, name: str, settings: Reft, width: int) -> InterventionUnit:
    rank, projection = settings.rank, f"{name}.{_PROJECTION}"
    rows: StoredProjection | OrthonormalProjection
    if settings.is_orthonormal:
        original = parameters.take(f"{projection}.original", (rank, width))
        rows = OrthonormalProjection(original, parameters.take(f"{projection}.0.base", (width, width)))
    else:
        rows = StoredProjection(parameters.take(f"{name}.projection.weight", (rank, width)))
    return InterventionUnit(
        weight=parameters.take(f"{name}.learned_source.weight", (rank, width)),
        bias=parameters.take(f"{name}.learned_source.bias", (rank,)),
        projection=rows,
        function=settings.function,
        subtracts=settings.subtracts,
    )


def _layers(fields: Fields) -> tuple[int, ...] | None:
    value = fields.value("layers")
    return None if value is None or value == "all" else layer_numbers(fields, "layers")


def _subtracts(fields: Fields, *, is_orthonormal: bool) -> bool:
    value = fields.value("subtract_projection")
    if value is None and not is_orthonormal:
        fields.refuse(
            "subtract_projection",
            "is not said, and NoReFT and DiReFT differ in nothing else",
            code="not_self_contained",
            fix="add it to the config: true for NoReFT, false for DiReFT",
        )
    return fields.flag("subtract_projection", default=True)


REFT = HubKind[Reft](
    name="intervention",
    method="ReFT",
    is_method=lambda method: architecture(method) == "reft",
    container=CONTAINER,
    read=read,
    plan=plan,
    variant=lambda settings: settings.variant,
    is_foldable=lambda _: False,
)
