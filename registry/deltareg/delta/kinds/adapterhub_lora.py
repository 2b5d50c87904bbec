"""LoRA and VeRA of the adapters library: pairs of factors, some of them on a fused projection.

LoRA is on weights. What has a gate depends on its input, so it is on activations; so is VeRA, whose
product takes factors that all layers share.
"""

from deltareg.delta.layouts.adapterhub.config import architecture
from deltareg.delta.layouts.adapterhub.hub_kind import HubKind
from deltareg.delta.layouts.adapterhub.lora_config import AdapterLoraConfig, read_lora
from deltareg.delta.layouts.adapterhub.lora_plan import CONTAINER, plan_lora

LORA = HubKind[AdapterLoraConfig](
    name="lora",
    method="LoRA",
    is_method=lambda method: architecture(method) == "lora" and method.get("composition_mode") != "scale",
    container=CONTAINER,
    read=read_lora,
    plan=plan_lora,
    variant=lambda settings: "vera" if settings.is_vector_based else "",
    is_foldable=lambda settings: not (settings.is_vector_based or settings.has_gate),
)
