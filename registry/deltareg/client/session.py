"""One user's way to a registry: address, token, cache and progress, and who is at both ends."""

from typing import TYPE_CHECKING, Self

from deltareg.client import use_cases
from deltareg.client.cache.cache import Cache
from deltareg.client.config import ClientConfig, load_config
from deltareg.client.context import Context
from deltareg.client.http.answers import read_answer
from deltareg.client.http.api import Api
from deltareg.client.progress import SILENT, Progress
from deltareg.client.resources.cached import CachedThings
from deltareg.host.lean_httpx import httpx
from deltareg.wire import Meta, WhoAmI

if TYPE_CHECKING:
    from deltareg.client.compare.behavior import Behavior
    from deltareg.client.compare.bisect import Bisection
    from deltareg.client.compare.bisect_by_hand import HandBisection
    from deltareg.client.resources.suites import Suites


class Session:
    """What every method of a client needs."""

    def __init__(
        self,
        config: ClientConfig | None = None,
        *,
        progress: Progress = SILENT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Use the given settings, or those of the environment and the settings files."""
        self.config = config if config is not None else load_config().config
        self.cache = Cache(self.config.cache_dir)
        self._api = Api(self.config, transport=transport, progress=progress)
        self._context = Context(self._api, self.cache, self.config, progress)
        self.cached = CachedThings(self._context)

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close at the end of the block."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    @property
    def suites(self) -> "Suites":
        """The suites that versions are verified with."""
        return use_cases.suites.Suites(self._context)

    @property
    def behavior(self) -> "Behavior":
        """Comparisons of what versions do."""
        return use_cases.behavior.Behavior(self._context)

    @property
    def bisection(self) -> "Bisection":
        """Searches for the version that made a line bad."""
        return use_cases.bisect.Bisection(self._context)

    @property
    def bisection_by_hand(self) -> "HandBisection":
        """The same searches with a person as the judge, remembered between judgements."""
        return use_cases.bisect_by_hand.HandBisection(self._context)

    # The server and access

    def ready(self) -> bool:
        """Whether the server answers and is ready."""
        return self._api.is_ready()

    def whoami(self) -> WhoAmI:
        """Whose token is in use."""
        return self._api.get("/whoami", WhoAmI)

    def meta(self) -> Meta:
        """What the server is; who asks wants to know at once that it is not there."""
        return read_answer(self._api.send("GET", "/meta", is_patient=False), Meta)
