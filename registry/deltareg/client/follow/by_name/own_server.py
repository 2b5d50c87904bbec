"""The engine that asks for names, as it is reached over its own HTTP."""

from deltareg.client.follow.adapter_server import AdapterListing
from deltareg.client.follow.vllm_server import VllmServer
from deltareg.errors import DeltaregError, InvalidInput

_ADDRESS = "DELTAREG_VLLM_URL names the address at which vLLM listens, from here"


def list_own(server: VllmServer, said_base: str) -> AdapterListing:
    """List what the engine has loaded, once it is certain that it is the one that asks.

    Args:
        server: The server at the address that is believed to be the engine's.
        said_base: The base that the engine reports to its plug-in.

    Raises:
        DeltaregError: It does not answer, or another program does.
    """
    try:
        listing = server.models()
    except DeltaregError as error:
        raise InvalidInput(f"{error.message}, so nothing can be unloaded", fix=_ADDRESS) from error
    if listing.base != said_base:
        raise InvalidInput(
            f"vLLM at {server.url} serves {listing.base or 'something else'}, and the one here {said_base}, so nothing"
            " can be unloaded",
            fix=_ADDRESS,
        )
    return listing
