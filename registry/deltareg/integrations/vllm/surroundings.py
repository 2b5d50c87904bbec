"""What the plug-in knows about its vLLM, from the environment and the command line.

A plug-in is handed neither the address of the server nor its settings.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.quantities import parse_size
from deltareg.errors import InvalidInput

_KEEP = "20GB"
_PORT = 8000
_EVERYWHERE = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104  # read, not bound


@dataclass(frozen=True, slots=True)
class VllmEnvironment:
    """vLLM's address, and the settings for its adapters.

    Attributes:
        url: vLLM's address, as seen from here.
        key: Its API key; None if it needs none.
        max_rank: The maximum rank that it was started with; None if its command line does not say.
        home: The folder for versions; None for one in the cache.
        max_bytes: How many bytes may lie in it.
        base: The folder of the base that vLLM serves, if it does not say.
    """

    url: str
    key: str | None
    max_rank: int | None
    home: Path | None
    max_bytes: int
    base: Path | None


def read_surroundings(
    environ: Mapping[str, str] | None = None, arguments: Sequence[str] | None = None
) -> VllmEnvironment:
    """Read the surroundings; by default those of this process.

    Raises:
        InvalidInput: A variable cannot be read.
    """
    env = os.environ if environ is None else environ
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    url = env.get("DELTAREG_VLLM_URL", "").rstrip("/") or _own_url(options)
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"DELTAREG_VLLM_URL is {url[:120]!r}", fix="write http://127.0.0.1:8000")
    key = options.api_key[0] if options.api_key else env.get("VLLM_API_KEY")
    return VllmEnvironment(
        url,
        key or None,
        options.max_lora_rank,
        _folder(env.get("DELTAREG_VLLM_DIR")),
        parse_size(env.get("DELTAREG_VLLM_KEEP") or _KEEP),
        _folder(env.get("DELTAREG_VLLM_BASE")),
    )


def read_keys(environ: Mapping[str, str] | None = None, arguments: Sequence[str] | None = None) -> list[str]:
    """Read the API keys that vLLM takes; by default those of this process."""
    env = os.environ if environ is None else environ
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    return [key for key in options.api_key or [env.get("VLLM_API_KEY", "")] if key]


class _Told(argparse.Namespace):
    host: str | None
    port: int
    ssl_certfile: str | None
    api_key: list[str] | None
    max_lora_rank: int | None


def _parse(arguments: Sequence[str]) -> _Told:
    # What cannot be read, vLLM says of its own command line.
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=_PORT)
    parser.add_argument("--ssl-certfile", "--ssl_certfile")
    parser.add_argument("--api-key", "--api_key", nargs="*")
    parser.add_argument("--max-lora-rank", "--max_lora_rank", type=int)
    try:
        return parser.parse_known_args(arguments, namespace=_Told())[0]
    except argparse.ArgumentError:
        return parser.parse_known_args([], namespace=_Told())[0]


def _own_url(told: _Told) -> str:
    host = "127.0.0.1" if (told.host or "") in _EVERYWHERE else str(told.host)
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if told.ssl_certfile else 'http'}://{name}:{told.port}"


def _folder(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None
