"""Bottleneck adapters of the adapters library: after sublayers, beside them, or hypercomplex."""

from deltareg.delta.layouts.adapterhub.bottleneck_config import Bottleneck, read_bottleneck
from deltareg.delta.layouts.adapterhub.bottleneck_plan import CONTAINER, plan_bottleneck
from deltareg.delta.layouts.adapterhub.config import architecture
from deltareg.delta.layouts.adapterhub.hub_kind import HubKind

BOTTLENECK = HubKind[Bottleneck](
    name="bottleneck",
    method="bottleneck",
    is_method=lambda method: architecture(method) == "bottleneck",
    container=CONTAINER,
    read=read_bottleneck,
    plan=plan_bottleneck,
    variant=lambda settings: settings.variant,
    is_foldable=lambda _: False,
)
