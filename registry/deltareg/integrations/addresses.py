"""Addresses of what a registry has: `deltareg://[server/]ns/name@prod/adapter_config.json`.

The part with `@` or `:` is the version; before the namespace stands the server, and after the
version a file. File names contain neither sign, so an address is unambiguous. Without a server, it
is that of the settings.
"""

import os
from dataclasses import dataclass, replace

from deltareg.client import Client
from deltareg.client.config import load_config
from deltareg.errors import InvalidInput
from deltareg.host.token_files import is_confidential
from deltareg.host.urls import split_url

SCHEME = "deltareg://"
_OF_ANOTHER_SERVER = ("DELTAREG_TOKEN", "DELTAREG_TOKEN_FILE", "DELTAREG_SERVER")


@dataclass(frozen=True, slots=True)
class Address:
    """What an address names.

    Attributes:
        server: `host` or `host:port`; empty for the server of the settings.
        place: Up to two names, if no version is named: none for the registry, a namespace, or a
            line.
        ref: The version, `ns/name@prod`; empty if none is named.
        path: A file or folder in the version; empty for all of it.
    """

    server: str
    place: tuple[str, ...]
    ref: str
    path: str

    @property
    def local(self) -> str:
        """The address without its server."""
        return "/".join(part for part in (*self.place, self.ref, self.path) if part)


def parse_address(text: str) -> Address:
    """Parse an address; without its scheme it has a server only if it names a version.

    Raises:
        InvalidInput: It names a file but no version.
    """
    is_whole = text.startswith(SCHEME)
    parts = [part for part in text.removeprefix(SCHEME).split("/") if part]
    for number in (1, 2):
        if len(parts) > number and _selects(parts[number]):
            server = parts[0] if number == 2 else ""
            ref = "/".join(parts[number - 1 : number + 1])
            return Address(server, (), ref, "/".join(parts[number + 1 :]))
    has_server = is_whole and (len(parts) == 3 or (parts and _is_port(parts[0])))
    server = parts.pop(0) if has_server else ""
    if len(parts) > 2 or any(_selects(part) for part in parts):
        raise InvalidInput(
            f"no version is named in {text[:160]!r}",
            fix="write deltareg://ns/name@prod/FILE, or ns/name:v3, with the server before it",
        )
    return Address(server, tuple(parts), "", "")


def open_client(
    server: str = "", *, token: str | None = None, profile: str | None = None, cache_dir: str | None = None
) -> Client:
    """Open a client for a server, or for that of the settings.

    A token of the environment is for the server of the settings, and for one whose whole address
    the caller gives. A `host[:port]` comes from an address that anybody may have written: it gets
    the token stored for it, or none.

    Args:
        server: `host[:port]` as in an address, or a URL.
        token: The token to use, before any other.
        profile: The profile of `config.toml` to use.
        cache_dir: The folder that caches pulled bytes.
    """
    options = {"profile": profile, "cache_dir": cache_dir}
    flags = {key: text for key, text in options.items() if text is not None}
    own = load_config(flags=flags).config
    if not server or split_url(own.server).netloc == server:
        return Client(config=own, token=token)
    if "://" in server:
        return Client(config=load_config(flags=flags | {"server": server}).config, token=token)
    address = f"http://{server}"
    if not is_confidential(address):
        address = f"https://{server}"
    environ = {key: text for key, text in os.environ.items() if key not in _OF_ANOTHER_SERVER}
    config = load_config(flags=flags | {"server": address}, environ=environ).config
    if token is None:
        config = replace(config, named_in=f"the address {SCHEME}{server}/…")
    return Client(config=config, token=token)


def _selects(part: str) -> bool:
    """Whether a part of an address is a version, and not a host with its port."""
    return "@" in part or (":" in part and not _is_port(part))


def _is_port(part: str) -> bool:
    return part.rpartition(":")[0] != "" and part.rpartition(":")[2].isdecimal()
