"""Adaption prompts (LLaMA-Adapter): a second attention, over learned tokens, let in by a gate.

y + g · o(softmax(q Kᵀ / √width) V) for the output y of an attention (Zhang et al. 2023, arXiv
2303.16199), where K and V are what the layer's own projections make of the prompt, without a
rotation, q are its queries, rotated, and g is one number. All of that happens beside the network's
own attention: the prompt takes no share of its softmax, has no place in a cache and moves no token.
In GPT-2 peft leaves out the output projection o. The last layers are adapted, as many as asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deltareg.delta.kind import ActivationHook, BaseView, DeltaFiles, Match, Tap, Tensors
from deltareg.delta.kind_value import DeltaOfValue
from deltareg.delta.layouts.peft.config import (
    CONFIG_FILE,
    Fields,
    adapter_config,
    missing_config,
    peft_source,
    peft_type,
)
from deltareg.delta.layouts.peft.keys import read_keys
from deltareg.delta.layouts.peft.marks import marks
from deltareg.delta.layouts.peft.modules import by_module, refuse_unapplied, refuse_without_modules
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.layouts.peft.second_attention import COSINES, KEYS, OUT, QUERIES, SINES, VALUES, SecondAttention
from deltareg.delta.sites.attention import KeyShape, key_shape, self_attentions, text_config
from deltareg.identity.manifest import Source
from deltareg.tensors.header import FLOAT_DTYPES

_TYPE = "ADAPTION_PROMPT"
_PROMPT, _GATE = "adaption_prompt", "adaption_gate"
_MARKERS = frozenset({_PROMPT, _GATE})
_ROLES = {(marker, ""): marker for marker in _MARKERS}
_FUSED = "c_attn"


@dataclass(frozen=True, slots=True)
class AttentionLayout:
    """How a type of base lays out an attention; peft knows no others.

    Attributes:
        attention: What the module is called.
        projections: What makes queries, keys and values: three names, or one for all of them.
        out: What takes the result further; empty when nothing does.
    """

    attention: str
    projections: tuple[str, ...]
    out: str


_SEPARATE = AttentionLayout("self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj")
_FAMILIES = {"llama": _SEPARATE, "mistral": _SEPARATE, "gpt2": AttentionLayout("attn", (_FUSED,), "")}


@dataclass(frozen=True)
class AdaptionPrompt:
    """The kind as peft writes it.

    Attributes:
        name: The kind.
        variant: The variant within the kind.
        foldable: Never: the prompt changes no weight.
    """

    name: str
    variant: str
    foldable: bool = field(default=False, init=False)

    @property
    def layout(self) -> str:
        """What it reads."""
        return f"peft {_TYPE}"

    def recognise(self, files: DeltaFiles, base: BaseView) -> Match | None:
        """Recognise a folder by `peft_type`, else by tensor names that only this type has."""
        declared = peft_type(files)
        if declared == _TYPE:
            return Match(self.name, f'peft_type "{_TYPE}" in {CONFIG_FILE}', 3)
        if declared or _TYPE not in marks(files.names):
            return None
        return Match(self.name, f"tensor names {_GATE}, {_PROMPT}", 2)

    def parse(self, files: DeltaFiles, base: BaseView) -> "Adaption":
        """Read the config; see `deltareg.delta.kind.KindReader`."""
        config = adapter_config(files)
        if config is None:
            raise missing_config()
        fields = Fields(config)
        if peft_type(files) != _TYPE:
            message = f"does not say {_TYPE}, and the tensors are those of one"
            fields.refuse("peft_type", message)
        family = _FAMILIES.get(base.names.model_type, _SEPARATE)
        fields.choice("target_modules", family.attention, frozenset({family.attention}))
        delta = Adaption(
            self, fields.integer("adapter_len", 0), fields.integer("adapter_layers", 0), peft_source(config)
        )
        fields.finish()
        return delta


@dataclass(frozen=True)
class Adaption(DeltaOfValue[AdaptionPrompt]):
    """A delta of the kind.

    Attributes:
        tokens: How many tokens a layer's prompt has; zero where the config does not say.
        layers: How many layers have one, the last ones; likewise.
        source: The library and its version.
    """

    tokens: int
    layers: int
    source: Source

    def config(self) -> dict[str, object]:
        """The numbers of tokens and of layers."""
        return {"adapter_len": self.tokens, "adapter_layers": self.layers}

    def plan(self, tensors: Tensors, base: BaseView) -> EffectPlan:
        """Plan a second attention beside that of every layer that has a prompt."""
        plan, keys = EffectPlan(), read_keys(tensors, _MARKERS)
        modules, odd = by_module(keys.read.values(), _ROLES)
        if not modules:
            refuse_without_modules(plan, tensors, _TYPE)
            return plan
        family, shape = _FAMILIES.get(base.names.model_type), key_shape(base)
        if family is None or shape is None:
            message = f"where a second attention goes in a {base.names.model_type or 'base'}"
            fix = "ask for this type of base to be added"
            plan.refuse("unknown_kind", f"{message} is not known here", min(keys.read), fix)
            return plan
        placed = {m: path for m in modules if (path := _path(m, family, base))}
        for module, path in placed.items():
            self._adapt(plan, path, modules[module], tensors, family, shape, base)
        odd += [key.name for key in keys.read.values() if key.marker not in _MARKERS]
        refuse_unapplied(plan, modules, placed, [*keys.unread, *odd], kind=_TYPE, base=base)
        last = self_attentions(base)[-(self.layers or len(placed)) :]
        if placed and set(placed.values()) != set(last):
            message = f"prompts came for {len(placed)} layers, and the last {len(last)} should have one"
            plan.refuse("missing_tensors", message, min(keys.read), "save the delta again")
        return plan

    def _adapt(
        self,
        plan: EffectPlan,
        path: str,
        names: Mapping[str, str],
        tensors: Tensors,
        family: AttentionLayout,
        shape: KeyShape,
        base: BaseView,
    ) -> None:
        lost = sorted(_MARKERS - names.keys())
        if lost:
            plan.refuse("missing_tensors", f"its {lost[0]} is missing", next(iter(names.values())))
            return
        prompt, gate = tensors[names[_PROMPT]], tensors[names[_GATE]]
        heads, features = _sizes(base)
        tokens = self.tokens or (prompt.shape[1] if len(prompt.shape) == 3 else 0)
        for tensor, of in ((prompt, (1, tokens, features)), (gate, (1,))):
            if tensor.shape != of or tensor.dtype not in FLOAT_DTYPES:
                message = f"{tensor.dtype} {list(tensor.shape)} is not {list(of)}"
                plan.refuse("shape", message, tensor.name)
                return
        if heads * shape.width != features or heads % shape.heads:
            message = f"{heads} heads of {shape.width} numbers are not the {features} of the base"
            plan.refuse("shape", message, prompt.name, "the library takes no such base")
            return
        second = SecondAttention(prompt, gate, shape, heads)
        own = {prompt.name: _PROMPT, gate.name: _GATE}
        plan.effects.append(ActivationHook(path, "after", _taps(path, family), own, second))


def _path(module: str, family: AttentionLayout, base: BaseView) -> str:
    """Return an attention's path in the running network; empty if the base has no attention there."""
    projection = family.projections[0]
    weight = base.names.tensor(f"{module}.{projection}.weight")
    if weight is None:
        return ""
    return (base.names.memory(weight) or weight).removesuffix(f".{projection}.weight")


def _sizes(base: BaseView) -> tuple[int, int]:
    """Return the number of query heads and of features per token."""
    config = text_config(base)
    heads = config.get("num_attention_heads", config.get("n_head"))
    features = config.get("hidden_size", config.get("n_embd"))
    return (heads if isinstance(heads, int) else 0), (features if isinstance(features, int) else 0)


def _taps(path: str, family: AttentionLayout) -> dict[str, Tap]:
    projections: Sequence[str] = [f"{path}.{name}" for name in family.projections]
    taps = {QUERIES: Tap(projections[0], "output")}
    if len(projections) == 1:
        return taps | {KEYS: Tap(projections[0], "function")}
    rotary = f"{path.partition('layers.')[0]}rotary_emb"
    return taps | {
        KEYS: Tap(projections[1], "function"),
        VALUES: Tap(projections[2], "function"),
        OUT: Tap(f"{path}.{family.out}", "function"),
        COSINES: Tap(rotary, "output", 0),
        SINES: Tap(rotary, "output", 1),
    }


ADAPTION_PROMPT = AdaptionPrompt("prefix", "adaption")
