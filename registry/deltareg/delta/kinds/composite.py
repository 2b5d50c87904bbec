"""Several methods of the adapters library in one delta: MAM, UniPELT, or any other union.

MAM is a prefix and parallel bottlenecks (He et al. 2021, arXiv 2110.04366), UniPELT a prefix,
bottlenecks and LoRA with a gate on each (Mao et al. 2021, arXiv 2110.07577). Each method does what
it does alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from deltareg.delta.layouts.adapterhub.bottleneck_config import Bottleneck, read_bottleneck
from deltareg.delta.layouts.adapterhub.bottleneck_plan import plan_bottleneck
from deltareg.delta.layouts.adapterhub.config import architecture, method_fields
from deltareg.delta.layouts.adapterhub.hub_kind import Adapter, HubKind
from deltareg.delta.layouts.adapterhub.lora_config import AdapterLoraConfig, read_lora
from deltareg.delta.layouts.adapterhub.lora_plan import plan_lora
from deltareg.delta.layouts.adapterhub.prefix_config import AdapterPrefixConfig, read_prefix
from deltareg.delta.layouts.adapterhub.prefix_plan import plan_prefix
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.saved import EffectPlan


@dataclass(frozen=True, slots=True)
class MethodUnion:
    """The methods of a delta; None for one that it does not have.

    Attributes:
        prefix: Prefixes.
        bottleneck: Bottleneck adapters.
        lora: LoRA, or what the library builds on it.
    """

    prefix: AdapterPrefixConfig | None
    bottleneck: Bottleneck | None
    lora: AdapterLoraConfig | None

    @property
    def variant(self) -> str:
        """The name of the union if it has one."""
        prefix, bottleneck, lora = self.prefix, self.bottleneck, self.lora
        if prefix is None or bottleneck is None:
            return ""
        if lora is None:
            return "mam" if bottleneck.is_parallel else ""
        return "unipelt" if prefix.gates and bottleneck.has_gate and lora.has_gate else ""


def read_union(fields: Fields) -> MethodUnion:
    """Read the config of every method; refusals are recorded in `fields`."""
    value = fields.value("configs")
    entries = cast("list[object]", value) if isinstance(value, list) else []
    methods: dict[str, Fields] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            fields.refuse("configs", "holds something that is no config")
            continue
        method = cast("Mapping[str, object]", entry)
        word = architecture(method)
        if word in methods:
            fields.refuse("configs", f"names {word[:40]} twice, which is not supported")
        elif word not in {"prefix_tuning", "bottleneck", "lora"}:
            fields.refuse("configs", f"names {word[:40]}, which is not supported in a union")
        methods[word] = method_fields(method)
    if not methods:
        fields.refuse("configs", "is not a list of configs")
    prefix, bottleneck = methods.get("prefix_tuning"), methods.get("bottleneck")
    lora = methods.get("lora")
    union = MethodUnion(
        prefix=None if prefix is None else read_prefix(prefix),
        bottleneck=None if bottleneck is None else read_bottleneck(bottleneck),
        lora=None if lora is None else read_lora(lora),
    )
    for method_reader in (prefix, bottleneck, lora):
        if method_reader is not None:
            method_reader.finish()
    return union


def plan_union(plan: EffectPlan, adapter: Adapter, settings: MethodUnion) -> None:
    """Add the effects of each method to a plan."""
    if settings.lora is not None:
        plan_lora(plan, adapter, settings.lora)
    if settings.prefix is not None:
        plan_prefix(plan, adapter, settings.prefix)
    if settings.bottleneck is not None:
        plan_bottleneck(plan, adapter, settings.bottleneck)


def is_foldable(settings: MethodUnion) -> bool:
    """Whether every effect is on weights: only LoRA's can be."""
    lora = settings.lora
    is_alone = settings.prefix is None and settings.bottleneck is None
    return is_alone and lora is not None and not (lora.has_gate or lora.is_vector_based)


COMPOSITE = HubKind[MethodUnion](
    name="composite",
    method="union",
    is_method=lambda method: architecture(method) == "union",
    container="",
    read=read_union,
    plan=plan_union,
    variant=lambda settings: settings.variant,
    is_foldable=is_foldable,
    is_named_by_tensors=False,
)
