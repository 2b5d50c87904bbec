"""Opens the engine that an agent was told to use."""

from collections.abc import Sequence
from pathlib import Path

from deltareg.client.follow.adapter_engine import AdapterEngine
from deltareg.client.follow.adapter_server import AdapterServer
from deltareg.client.follow.dir_engine import DirEngine
from deltareg.client.follow.engine import ServingEngine
from deltareg.client.follow.exec_server import ExecCommands, ExecServer
from deltareg.client.follow.llamacpp_engine import LlamaEngine, LlamaOptions
from deltareg.client.follow.release import FollowedChannel
from deltareg.client.follow.sglang_server import SglangServer, token_of_sglang
from deltareg.client.follow.vllm_server import VllmServer, token_of_vllm
from deltareg.errors import InvalidInput
from deltareg.wire import EngineName

DRAIN_S = 30.0
_PORTS = {"vllm": 8000, "sglang": 30000, "llamacpp": 8080}


def open_engine(
    name: EngineName,
    followed: Sequence[FollowedChannel],
    folders: Sequence[Path],
    *,
    url: str | None = None,
    commands: ExecCommands | None = None,
    llama: LlamaOptions | None = None,
    drain_s: float = DRAIN_S,
) -> ServingEngine:
    """Open an engine.

    Args:
        name: The engine's name.
        followed: The channels.
        folders: `dir` takes one for each channel, in their order; the others take one for all.
        url: The engine's address; `dir` and `exec` have none.
        commands: The commands of `exec`, and of no other engine.
        llama: The options of `llamacpp`, and of no other engine.
        drain_s: How long an old version stays loaded.

    Raises:
        InvalidInput: Something is missing, given twice, or of no use to the engine.
    """
    if len(set(followed)) != len(followed):
        raise InvalidInput("a channel is named twice", fix="name each --channel once")
    if commands is not None and name != "exec":
        raise InvalidInput(
            f"the engine {name} runs no commands", fix="leave --list, --load and --unload out, or --engine exec"
        )
    if name == "dir":
        return _open_dir(followed, folders, url)
    if len(folders) != 1:
        raise InvalidInput(
            f"the engine {name} takes one folder for all channels",
            fix="name one --dir, which the engine sees under the same path",
        )
    if name == "llamacpp":
        return _open_llama(followed, folders[0], url, llama)
    server = _open_server(name, url, commands)
    return AdapterEngine(server, folders[0].absolute() / "versions", drain_s=drain_s)


def _open_server(name: EngineName, url: str | None, commands: ExecCommands | None) -> AdapterServer:
    if name == "exec":
        if commands is None:
            raise InvalidInput("the engine exec needs its commands", fix="name all of --list, --load and --unload")
        if url is not None:
            raise InvalidInput("the engine exec has no address", fix="leave --url out")
        return ExecServer(commands)
    address = _address(name, url)
    if name == "sglang":
        return SglangServer(address, token=token_of_sglang())
    return VllmServer(address, token=token_of_vllm())


def _address(name: EngineName, url: str | None) -> str:
    if url is None or not url.startswith(("http://", "https://")):
        raise InvalidInput(f"the engine {name} needs its address", fix=f"--url http://127.0.0.1:{_PORTS[name]}")
    return url.rstrip("/")


def _open_llama(
    followed: Sequence[FollowedChannel], folder: Path, url: str | None, llama: LlamaOptions | None
) -> LlamaEngine:
    if len(followed) != 1:
        raise InvalidInput(
            "the engine llamacpp follows one channel: its adapters are applied to every request",
            fix="run a llama-server and an agent for each channel",
        )
    if llama is None:
        raise InvalidInput(
            "the engine llamacpp needs the base that its model was made from", fix="name the folder: --base DIR"
        )
    return LlamaEngine(_address("llamacpp", url), folder, llama)


def _open_dir(followed: Sequence[FollowedChannel], folders: Sequence[Path], url: str | None) -> DirEngine:
    if url is not None:
        raise InvalidInput("the engine dir has no address", fix="leave --url out, or name another")
    homes = [folder.absolute() for folder in folders]
    if len(homes) != len(followed) or len(set(homes)) != len(homes):
        raise InvalidInput(
            f"{len(followed)} channels need as many folders, and {len(set(homes))} are named",
            fix="write --channel A --dir DIR_OF_A --channel B --dir DIR_OF_B",
        )
    return DirEngine(dict(zip(followed, homes, strict=True)))
