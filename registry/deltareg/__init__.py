"""Delta Registry: the artifact registry and versioning service for fine-tuning deltas.

The public Python interface is `deltareg.Client` and what it gives, and `deltareg.errors`, the
classes that it raises; the command line `deltareg` calls the same methods::

    from deltareg import Client
    from deltareg.errors import GatePending

    with Client("https://registry", token="...") as client:
        try:
            client.promote("team/chat:v3", "prod")
        except GatePending as error:
            print(error.fix)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltareg import errors
    from deltareg.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__", "errors"]


def __getattr__(name: str) -> object:
    """Load the client on first use, so that the server and the worker never import it."""
    if name == "Client":
        from deltareg.client import Client  # lazy on purpose, see above

        return Client
    if name == "errors":
        return import_module("deltareg.errors")
    raise AttributeError(f"module 'deltareg' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is public, the client among it although it is not loaded yet."""
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "import_module"})
