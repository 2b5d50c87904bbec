"""What the client's use cases share: the server, the cache, the settings, where progress goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.cache.cache import Cache
from deltareg.client.config import ClientConfig
from deltareg.client.http.api import Api
from deltareg.client.progress import Progress
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import StorageMap


@dataclass(frozen=True, slots=True)
class EncodedStorage:
    """What is stored of a version or a base, brought here as it lies in packs.

    Attributes:
        manifest: What it is to be.
        storage: How it is stored.
        chunks: A file with its encoded chunks, as `deltareg.client.packs.proof` reads them.
        base: The folder of the base that it is decoded against, its root checked; None for none.
        base_manifest: The manifest of that.
    """

    manifest: Manifest
    storage: StorageMap
    chunks: Path
    base: Path | None
    base_manifest: Manifest | None


Decode = Callable[[EncodedStorage, Path], None]
"""Writes the files of something stored into an empty folder.

Raises `IntegrityFailure` where it is not what its manifest says.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """One client's surroundings.

    Attributes:
        api: The server.
        cache: What is on this machine.
        config: The settings.
        progress: Told of long work.
        decode: Who decodes what others sent, where that is not this process.
    """

    api: Api
    cache: Cache
    config: ClientConfig
    progress: Progress
    decode: Decode | None = None
