"""IA3 of the adapters library: a factor on every output of a projection, its bias included.

The library's own merge leaves the bias as it is, so its merged network is not its attached one;
here both are scaled. (What it calls the intermediate projection of a Llama is its `down_proj`.)
"""

from deltareg.delta.layouts.adapterhub.config import architecture
from deltareg.delta.layouts.adapterhub.hub_kind import HubKind
from deltareg.delta.layouts.adapterhub.lora_config import AdapterLoraConfig, read_lora
from deltareg.delta.layouts.adapterhub.lora_plan import CONTAINER, plan_lora

IA3 = HubKind[AdapterLoraConfig](
    name="ia3",
    method="IA3",
    is_method=lambda method: architecture(method) == "lora" and method.get("composition_mode") == "scale",
    container=CONTAINER,
    read=read_lora,
    plan=plan_lora,
    variant=lambda _: "",
    is_foldable=lambda _: True,
    is_named_by_tensors=False,
)
