"""Tokens on this machine: one file per server, mode 0600, found by the server's URL.

The files lie under `tokens/` beside `config.toml` and are named `<host>_<port>`. The folder does
not depend on any setting, so a registry started on this machine can store its token where all
clients of the same user find it. `localhost` and the loopback addresses are one server.
"""

import os
import stat
import uuid
from pathlib import Path

from deltareg.errors import InvalidInput, Misconfigured
from deltareg.host.urls import split_url

_LOOPBACK = {"localhost", "::1", "0.0.0.0", "::"}  # noqa: S104  # names compared, nothing is bound
_PORTS = {"http": 80, "https": 443}


def config_dir() -> Path:
    """Return the folder of the client's settings and tokens (`$XDG_CONFIG_HOME/deltareg`)."""
    import platformdirs  # what a page of help need not load

    return platformdirs.user_config_path("deltareg")


def token_path(server: str) -> Path:
    """Return the path of a server's token file, whether it exists or not.

    Raises:
        InvalidInput: The URL is not `http://…` or `https://…` with a host.
    """
    url = split_url(server)
    try:
        port = url.port or _PORTS[url.scheme]
    except (KeyError, ValueError) as error:
        raise _not_a_server(server) from error
    if not url.hostname:
        raise _not_a_server(server)
    host = "127.0.0.1" if url.hostname in _LOOPBACK else url.hostname.replace(":", "-")
    return config_dir() / "tokens" / f"{host}_{port}"


def is_confidential(server: str) -> bool:
    """Whether nobody can read the traffic to a server: by TLS, or on this machine.

    Raises:
        InvalidInput: The URL is not `http://…` or `https://…` with a host.
    """
    token_path(server)
    return split_url(server).scheme == "https" or is_here(server)


def is_here(server: str) -> bool:
    """Whether a server's address is one of this machine alone."""
    host = split_url(server).hostname or ""
    if host in _LOOPBACK:
        return True
    from ipaddress import ip_address  # most registries have a name, or are on this machine

    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, such as 127.example, leads anywhere
        return False


def read_token(server: str) -> str | None:
    """Return the stored token for a server; None if there is none.

    Raises:
        Misconfigured: Other users can read the file.
    """
    path = token_path(server)
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise Misconfigured(
                    f"others can read the token file {path} (mode {mode:03o})",
                    fix=f"chmod 600 {path}, and make a new token if others use this machine",
                )
            return file.read().strip() or None
    except FileNotFoundError:
        return None


def write_token(server: str, token: str) -> Path:
    """Store a token for a server, replacing the old one; return the file."""
    path = token_path(server)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{token}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def forget_token(server: str) -> bool:
    """Delete the stored token for a server; return whether there was one."""
    path = token_path(server)
    existed = path.exists()
    path.unlink(missing_ok=True)
    return existed


def _not_a_server(server: str) -> InvalidInput:
    return InvalidInput(f"not the address of a server: {server[:120]!r}", fix="write http://host:port or https://host")
