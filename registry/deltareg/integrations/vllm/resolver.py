"""The resolver: turns a name that a client of vLLM asks for into a version's folder, or nothing."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.errors import DeltaregError
from deltareg.integrations.vllm.library import VllmLibrary

if TYPE_CHECKING:
    from deltareg.client.follow.by_name.opening import VersionsByName

log = logging.getLogger(__name__)
_THREADS = 4
_RETRIES, _PATIENCE_S = 2, 5.0
"""How long a registry that is away is waited for: somebody waits for an answer of the model."""


class AdapterFinder:
    """Finds adapters in the registry, which is first contacted when a name is asked for."""

    def __init__(self) -> None:
        """Prepare; no request is sent yet."""
        self._opening = threading.Lock()
        self._by_name: VersionsByName | None = None
        self._open = ExitStack()
        self._trouble = ""

    def find(self, name: str, base: str) -> Path | None:
        """Return the folder of a version; None if it may not be served, as the log explains."""
        # Names that are no references are other people's: not even the settings are read for them.
        if "/" not in name:
            return None
        try:
            by_name = self._open_once()
        except DeltaregError as error:
            if str(error) != self._trouble:
                log.warning("no adapter is taken from the registry: %s; %s", error, error.fix)
            self._trouble = str(error)
            return None
        return by_name.find(name, base)

    def resolve_channel(self, name: str) -> str | None:
        """Return the name of the revision that a channel is at; None for what is no channel."""
        try:
            return self._open_once().resolve_channel(name)
        except DeltaregError:  # which is told when vLLM asks for the name itself
            return None

    def look_up_channel(self, name: str) -> str | None:
        """Return the same without waiting; None for a channel that is not listened to."""
        return None if self._by_name is None else self._by_name.look_up_channel(name)

    def close(self) -> None:
        """Stop watching; loaded versions stay loaded."""
        self._open.close()

    def _open_once(self) -> "VersionsByName":
        with self._opening:
            if self._by_name is None:
                self._by_name = _open_names(self._open)
            return self._by_name


def _open_names(closing: ExitStack) -> "VersionsByName":
    """Connect to the registry that the environment and the settings files name.

    Raises:
        DeltaregError: A setting cannot be read.
    """
    from deltareg.client import Client
    from deltareg.client.config import load_config
    from deltareg.client.follow.by_name.finding import ByNameOptions
    from deltareg.integrations.vllm.surroundings import read_surroundings

    vllm, settings = read_surroundings(), load_config().config
    config = replace(
        settings, retries=min(settings.retries, _RETRIES), patience_s=min(settings.patience_s, _PATIENCE_S)
    )
    options = ByNameOptions(
        vllm.home or config.cache_dir / "vllm", vllm.max_bytes, engine="vllm", max_rank=vllm.max_rank, base=vllm.base
    )
    _log_as_vllm_does()
    client = closing.enter_context(Client(config))
    names = client.fleet.by_name(options, url=vllm.url, token=vllm.key)
    closing.callback(names.close)
    log.info("adapters by name come from %s into %s; vLLM is at %s", config.server, options.home, vllm.url)
    return names


_made: "list[AdapterFinder | VersionsByName]" = []


def newest_finder() -> "AdapterFinder | VersionsByName | None":
    """Return the finder of the newest resolver, which vLLM does not hand to its middleware."""
    return _made[-1] if _made else None


def make_resolver(library: VllmLibrary, names: "AdapterFinder | VersionsByName | None" = None) -> object:
    """Build a resolver of vLLM's own class, which vLLM may check for one day."""
    finder = names or AdapterFinder()
    _made[:] = [finder]
    # Of our own: a base that is hashed must not keep vLLM's threads from what they are for.
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="deltareg")

    async def resolve_lora(_: object, base_model_name: str, lora_name: str) -> object:
        """Return what vLLM has to load, or None."""
        loop = asyncio.get_running_loop()
        folder = await loop.run_in_executor(threads, finder.find, lora_name, base_model_name)
        if folder is None:
            return None
        return library.request(lora_name=lora_name, lora_int_id=1, lora_path=str(folder))

    members = {"resolve_lora": resolve_lora, "names": finder}
    kind = type("DeltaregResolver", (library.resolver,), members)
    resolver: object = kind()
    return resolver


def _log_as_vllm_does() -> None:
    """Write our log lines to vLLM's log, unless logging is configured otherwise."""
    ours = logging.getLogger("deltareg")
    if ours.handlers or logging.getLogger().handlers:
        return
    for handler in logging.getLogger("vllm").handlers:
        ours.addHandler(handler)
    ours.setLevel(logging.INFO)
