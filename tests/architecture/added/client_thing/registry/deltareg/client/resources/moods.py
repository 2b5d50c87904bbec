"""How the server is."""

from deltareg.client.resources.resource import Resource
from deltareg.wire import Meta


class Moods(Resource):
    """Moods of a registry."""

    __slots__ = ()

    def show(self) -> str:
        """Say which store makes it so."""
        return f"cheerful with {self._context.api.get('/meta', Meta).store}"
