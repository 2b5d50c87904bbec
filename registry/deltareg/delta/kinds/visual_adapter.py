"""Adapters for networks that see, in a format of our own: bottlenecks, some with a 2-D kernel.

No library has a format for these, so `adapter_config.json` says all of it: `"kind":
"visual_adapter"`, a `variant`, where it goes in, and the numbers of its formula. Tensors stand
under the layer that they are for: `vit.layers.0.convpass.down.weight`.

- `convpass`: up(f(K * f(down(x)))), a convolution K over the grid of patches; every other position,
  such as the class token, is an image of one point (Jie and Deng 2022, arXiv 2207.07039).
- `adaptformer`: up(f(down(x))) (Chen et al. 2022, arXiv 2205.13535).
- `vl_adapter`: the same after sublayers (Sung et al. 2022, arXiv 2112.06825).

Where words look at images, or a decoder at what an encoder has made, the sublayer is a
cross-attention: an adapter there changes how the two are fused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, cast

from deltareg.delta.kind import ActivationHook, BaseView, DeltaFiles, Effect, HookInputs, Match, Tap, Tensors
from deltareg.delta.layouts.adapterhub.bottleneck_config import read_activation
from deltareg.delta.layouts.adapterhub.bottlenecks import LinearProjection
from deltareg.delta.layouts.adapterhub.config import layer_numbers
from deltareg.delta.layouts.adapterhub.parameters import ModuleParameters
from deltareg.delta.layouts.adapterhub.places import BaseLayers
from deltareg.delta.layouts.peft.config import CONFIG_FILE, Fields, adapter_config, canonical_number, missing_config
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.formula import Array, Function, Ops, Tensor
from deltareg.delta.shapes import header_tensors
from deltareg.delta.sites import Layer
from deltareg.delta.sites.sites import Part
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.manifest import Source

_BESIDE: Mapping[str, Part] = {
    "parallel_mlp": "ffn",
    "parallel_attention": "attention",
    "parallel_cross_attention": "cross",
}
_AFTER: Mapping[str, Part] = {"after_mlp": "ffn", "after_attention": "attention", "after_cross_attention": "cross"}
_INSERTS: Mapping[str, Part] = {**_BESIDE, **_AFTER}
_VARIANTS = frozenset({"convpass", "adaptformer", "vl_adapter"})
_READ = "read"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A 2-D convolution over the positions that are patches, the others each on its own.

    Attributes:
        kernel: (r, r, k, k), k odd.
        bias: (r,).
        height: Patches from top to bottom.
        width: Patches from left to right; patches are the last positions, row by row.
    """

    kernel: Tensor
    bias: Tensor
    height: int
    width: int

    def over(self, array: Array, ops: Ops) -> Array:
        """Return the convolved values (rows, positions, r) for an array of the same shape."""
        rows, length, size = array.shape
        prefix = length - self.height * self.width
        if prefix < 0:
            raise InvalidInput(f"{length} positions are no grid {self.height} x {self.width}")
        images = self._images(array[:, prefix:], self.height, self.width, ops)
        if not prefix:
            return images
        points = array[:, :prefix].reshape(rows * prefix, 1, size)
        points = self._images(points, 1, 1, ops).reshape(rows, prefix, size)
        return ops.concat([points, images], 1)

    def _images(self, array: Array, height: int, width: int, ops: Ops) -> Array:
        rows, _, size = array.shape
        kernel = ops.load(self.kernel)
        images = ops.permute(array.reshape(rows, height, width, size), 0, 3, 1, 2)
        convolved = ops.convolve(images, kernel, kernel.shape[-1] // 2)
        flat = ops.permute(convolved, 0, 2, 3, 1).reshape(rows, height * width, size)
        return flat + ops.load(self.bias)


@dataclass(frozen=True, slots=True)
class Bypass:
    """h + scale · up(f(K * f(down(x)))), or without K * f.

    Attributes:
        down: To r features.
        up: Back.
        convolution: K, if there is one.
        function: f; None for none.
        scale: The factor.
    """

    down: LinearProjection
    up: LinearProjection
    convolution: Convolution | None
    function: Function | None
    scale: float

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        narrow = self._activate(self.down.project(seen.arrays.get(_READ, value), ops), ops)
        if self.convolution is not None:
            narrow = self._activate(self.convolution.over(narrow, ops), ops)
        return value + self.up.project(narrow, ops) * self.scale

    def _activate(self, array: Array, ops: Ops) -> Array:
        return array if self.function is None else ops.apply(self.function, array)


@dataclass(frozen=True, slots=True)
class VisualAdapter:
    """Settings of the config.

    Attributes:
        variant: Which formula.
        insert: Where it goes in.
        rank: r.
        grid: Patches from top to bottom and from left to right; empty without a convolution.
        function: f; None for none.
        scale: The factor.
        layers: Numbers of the layers that have one, in each stack; None for all.
    """

    variant: str
    insert: str
    rank: int
    grid: tuple[int, ...]
    function: Function | None
    scale: float
    layers: tuple[int, ...] | None
    name: ClassVar[str] = "visual_adapter"
    layout: ClassVar[str] = "visual adapter"
    foldable: ClassVar[bool] = False
    source: ClassVar[Source] = Source("", "")

    @classmethod
    def recognise(cls, files: DeltaFiles, base: BaseView) -> Match | None:
        if (adapter_config(files) or {}).get("kind") != cls.name:
            return None
        return Match(cls.name, f'kind "{cls.name}" in {CONFIG_FILE}', 3)

    @classmethod
    def parse(cls, files: DeltaFiles, base: BaseView) -> Self:
        config = adapter_config(files)
        if config is None:
            raise missing_config()
        fields = Fields(config)
        fields.ignore("kind")
        variant = fields.choice("variant", "", _VARIANTS)
        has_layers = fields.value("layers") is not None
        delta = cls(
            variant=variant,
            insert=fields.choice("insert", "", frozenset(_INSERTS)),
            rank=fields.integer("rank", 0),
            grid=_grid(fields, is_needed=variant == "convpass"),
            function=read_activation(fields, "activation", optional=True),
            scale=fields.number("scale", 1.0),
            layers=layer_numbers(fields, "layers") if has_layers else None,
        )
        for name in ("variant", "insert", "rank"):
            if not getattr(delta, name):
                fields.refuse(name, "is not said")
        if delta.grid and _INSERTS.get(delta.insert) == "cross":
            fields.refuse("insert", "is no place for a convolution: the words are no grid")
        fields.finish()
        return delta

    def config(self) -> dict[str, object]:
        return {
            "variant": self.variant,
            "insert": self.insert,
            "rank": self.rank,
            "grid": list(self.grid),
            "activation": self.function,
            "scale": canonical_number(self.scale),
            "layers": None if self.layers is None else list(self.layers),
        }

    def problems(self, files: DeltaFiles, base: BaseView) -> list[Problem]:
        try:
            return self._plan(header_tensors(files), base).problems
        except Refused as refused:
            return list(refused.problems)

    def effects(self, tensors: Tensors, base: BaseView) -> list[Effect]:
        return self._plan(tensors, base).effects

    def _plan(self, tensors: Tensors, base: BaseView) -> EffectPlan:
        plan, places = EffectPlan(), BaseLayers.of(base)
        claimed: dict[str, dict[str, str]] = {}
        for name in sorted(tensors):
            holder, mark, parameter = name.partition(f".{self.variant}.")
            place = places.layer(holder) if mark else None
            if place is not None and not place[2]:
                claimed.setdefault(place[1].path, {})[parameter] = name
        stacks = {layer.stack for layer in places.layers if layer.path in claimed}
        part = _INSERTS[self.insert]
        for layer in places.layers:
            is_asked = self.layers is None or layer.number in self.layers
            if part not in layer.parts:
                if layer.path in claimed:
                    first = next(iter(claimed[layer.path].values()))
                    message = f"{layer.path} has no sublayer for {self.insert}"
                    plan.refuse("unexpected_tensors", message, first, "take it out")
            elif layer.path in claimed and is_asked:
                self._plan_layer(plan, layer, claimed[layer.path], tensors, places)
            elif layer.stack in stacks and is_asked:
                message = f"the config asks for a {self.variant} at {layer.path}, and none came"
                plan.refuse("missing_tensors", message, layer.path, "save it again")
        return plan

    def _plan_layer(
        self, plan: EffectPlan, layer: Layer, names: Mapping[str, str], tensors: Tensors, places: BaseLayers
    ) -> None:
        parameters = ModuleParameters(f"the {self.variant} at {layer.path}", names, tensors, plan)
        sublayer = layer.parts[_INSERTS[self.insert]]
        features, rank = (*parameters.shape("up.bias"), 0)[0], self.rank
        width = places.width(sublayer) or features
        down, up = _linear(parameters, "down", width, rank), _linear(parameters, "up", rank, width)
        convolution = self._convolution(parameters) if self.grid else None
        if not parameters.finish():
            return
        hook = Bypass(down, up, convolution, self.function, self.scale)
        taps: dict[str, Tap] = {}
        if self.insert in _BESIDE:  # what the sublayer reads: normalised, where the norm is first
            normalised = Tap(sublayer.residual.module, "output")
            taps = {_READ: sublayer.residual if sublayer.norm else normalised}
        effect = ActivationHook(sublayer.hook, "after", taps, parameters.roles, hook)
        plan.effects.append(effect)

    def _convolution(self, parameters: ModuleParameters) -> Convolution:
        size = (1, *parameters.shape("conv.weight"))[-1]
        size = size if size % 2 else size + 1  # an even one would move the grid: it cannot fit
        kernel = parameters.take("conv.weight", (self.rank, self.rank, size, size))
        bias = parameters.take("conv.bias", (self.rank,))
        return Convolution(kernel, bias, self.grid[0], self.grid[1])


def _linear(parameters: ModuleParameters, name: str, n_in: int, n_out: int) -> LinearProjection:
    weight = parameters.take(f"{name}.weight", (n_out, n_in))
    return LinearProjection(weight, parameters.take(f"{name}.bias", (n_out,)))


def _grid(fields: Fields, *, is_needed: bool) -> tuple[int, ...]:
    value = fields.value("grid")
    if not is_needed:
        if value is not None:
            fields.refuse("grid", "has no meaning without a convolution")
        return ()
    sizes = cast("list[object]", value) if isinstance(value, list) else []
    numbers = tuple(n for n in sizes if isinstance(n, int) and not isinstance(n, bool) and n > 0)
    if len(numbers) != 2 or len(sizes) != 2:
        fields.refuse("grid", "is not two counts of patches, from top to bottom and left to right")
    return numbers
