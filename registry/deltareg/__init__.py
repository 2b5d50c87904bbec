"""Delta Registry: the artifact registry and versioning service for fine-tuning deltas.

`from deltareg import Client` is the whole of the public Python interface; the command line
`deltareg` calls the same methods.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltareg.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    """Load the client on first use, so that the server and the worker never import it."""
    if name == "Client":
        from deltareg.client import Client  # lazy on purpose, see above

        return Client
    raise AttributeError(f"module 'deltareg' has no attribute {name!r}")
