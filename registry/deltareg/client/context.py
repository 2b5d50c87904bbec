"""What the client's use cases share: the server, the cache, the settings, the progress."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client.cache.cache import Cache
from deltareg.client.config import ClientConfig
from deltareg.client.http.api import Api
from deltareg.client.progress import Progress

if TYPE_CHECKING:
    from deltareg.identity.manifest import Manifest
    from deltareg.identity.storage_map import StorageMap


@dataclass(frozen=True, slots=True)
class EncodedStorage:
    """A version or base in its stored form, fetched but not yet decoded.

    Attributes:
        manifest: Its manifest.
        storage: Its storage map.
        chunks: A file with its encoded chunks, as `deltareg.client.packs.proof` reads them.
        base: The folder of the base that it is decoded against, with its root checked; None if it
            needs none.
        base_manifest: The manifest of that base.
    """

    manifest: "Manifest"
    storage: "StorageMap"
    chunks: Path
    base: Path | None
    base_manifest: "Manifest | None"


Decode = Callable[[EncodedStorage, Path], None]
"""Writes the files of something stored into an empty folder.

Raises `IntegrityFailure` where it is not what its manifest says.
"""


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings that a client's use cases work in.

    Attributes:
        api: The server.
        cache: The cache on this machine.
        config: The settings.
        progress: Receives the progress of long work.
        decode: Decodes stored bytes in place of this process, if set.
    """

    api: Api
    cache: Cache
    config: ClientConfig
    progress: Progress
    decode: Decode | None = None
