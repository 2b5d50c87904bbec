"""Prefix tuning of the adapters library: keys and values before those of attentions.

The library does not move the real tokens, which is where its prefixes differ from peft's.
"""

from deltareg.delta.layouts.adapterhub.config import architecture
from deltareg.delta.layouts.adapterhub.hub_kind import HubKind
from deltareg.delta.layouts.adapterhub.prefix_config import AdapterPrefixConfig, read_prefix
from deltareg.delta.layouts.adapterhub.prefix_plan import POOLS, plan_prefix

PREFIX = HubKind[AdapterPrefixConfig](
    name="prefix",
    method="prefix_tuning",
    is_method=lambda method: architecture(method) == "prefix_tuning",
    container=POOLS,
    read=read_prefix,
    plan=plan_prefix,
    variant=lambda settings: "flat" if settings.is_flat else "",
    is_foldable=lambda _: False,
)
