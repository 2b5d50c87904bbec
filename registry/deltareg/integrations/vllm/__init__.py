"""A plug-in for vLLM: loads adapters from the registry when a client of vLLM asks for their name.

vLLM finds it by the entry point `vllm.general_plugins` and calls `register` in every process that
it starts, some of them more than once. If adapters may be loaded at runtime, the server then asks
the resolver for each name that it does not know. With `ChannelNames` as its middleware, clients may
name channels.
"""

import logging

from deltareg.integrations.vllm.channel_names import ChannelNames

__all__ = ["NAME", "ChannelNames", "register"]

log = logging.getLogger(__name__)
NAME = "deltareg"


def register() -> None:
    """Register the resolver with vLLM; a second call does nothing. No registry is asked yet."""
    from deltareg.integrations.vllm.library import load_library

    try:
        library = load_library()
    except (ImportError, AttributeError) as error:
        log.warning("this vLLM has no resolvers of adapters, as 0.9 and newer have: %s", error)
        return
    if NAME in library.registry.get_supported_resolvers():
        return
    from deltareg.integrations.vllm.resolver import make_resolver

    library.registry.register_resolver(NAME, make_resolver(library))
