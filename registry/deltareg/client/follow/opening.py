"""Which engine an agent gets, from what somebody typed."""

from collections.abc import Sequence
from pathlib import Path

from deltareg.client.follow.adapter_engine import AdapterEngine
from deltareg.client.follow.dir_engine import DirEngine
from deltareg.client.follow.engine import Engine
from deltareg.client.follow.release import Followed
from deltareg.client.follow.vllm_server import VllmServer, token_of_vllm
from deltareg.errors import InvalidInput
from deltareg.wire import EngineName

DRAIN_S = 30.0


def open_engine(
    name: EngineName,
    followed: Sequence[Followed],
    folders: Sequence[Path],
    *,
    url: str | None = None,
    drain_s: float = DRAIN_S,
) -> Engine:
    """Open an engine.

    Args:
        name: Which one.
        followed: The channels.
        folders: `dir` takes one for each channel, in their order; `vllm` takes one for all.
        url: Where vLLM listens.
        drain_s: How long vLLM keeps an old version loaded.

    Raises:
        InvalidInput: Something is missing, named twice, or of no use to the engine.
    """
    if len(set(followed)) != len(followed):
        raise InvalidInput("a channel is named twice", fix="name each --channel once")
    if name == "dir":
        return _open_dir(followed, folders, url)
    if url is None or not url.startswith(("http://", "https://")):
        raise InvalidInput("the engine vllm needs its address", fix="--url http://127.0.0.1:8000")
    if len(folders) != 1:
        raise InvalidInput(
            "the engine vllm takes one folder for all channels",
            fix="name one --dir, which vLLM sees under the same path",
        )
    versions = folders[0].absolute() / "versions"
    server = VllmServer(url.rstrip("/"), token=token_of_vllm())
    return AdapterEngine(server, versions, drain_s=drain_s)


def _open_dir(followed: Sequence[Followed], folders: Sequence[Path], url: str | None) -> DirEngine:
    if url is not None:
        raise InvalidInput("the engine dir has no address", fix="leave --url out, or --engine vllm")
    homes = [folder.absolute() for folder in folders]
    if len(homes) != len(followed) or len(set(homes)) != len(homes):
        raise InvalidInput(
            f"{len(followed)} channels need as many folders, and {len(set(homes))} are named",
            fix="write --channel A --dir DIR_OF_A --channel B --dir DIR_OF_B",
        )
    return DirEngine(dict(zip(followed, homes, strict=True)))
