"""What the client's use cases share: the server, the cache, the settings, where progress goes."""

from dataclasses import dataclass

from deltareg.client.cache.cache import Cache
from deltareg.client.config import ClientConfig
from deltareg.client.http.api import Api
from deltareg.client.progress import Progress


@dataclass(frozen=True, slots=True)
class Context:
    """One client's surroundings."""

    api: Api
    cache: Cache
    config: ClientConfig
    progress: Progress
