"""The start of a server: its address is taken, its registry opened or created, and both are announced."""

import socket
import sys
from contextlib import nullcontext
from pathlib import Path

import click

from deltareg.api.first_start import local_token, migrate_embedded, with_keys
from deltareg.api.one_up import one_start_at_a_time
from deltareg.api.opening import LOOPBACK, check_address, open_registry
from deltareg.api.settings import ServerSettings
from deltareg.db.session import create_engine
from deltareg.errors import Misconfigured
from deltareg.service.registry import Registry


def start_listening(settings: ServerSettings) -> tuple[socket.socket, str, Registry]:
    """Bind the address, open the registry, and announce the server; an embedded one is created first.

    Returns:
        The bound socket, the server's own URL, and the registry.

    Raises:
        Misconfigured: The address is taken or unsafe, or the registry cannot be opened.
    """
    check_address(settings)
    is_embedded = settings.effective_database_url.startswith("sqlite")
    with one_start_at_a_time(settings.data_dir) if is_embedded else nullcontext():
        listener = _listen(settings)
        migrate_embedded(settings)
        registry = with_keys(open_registry(settings), settings)
        url = _url(settings, listener)
        token_file = local_token(registry, settings, url)
    _announce(url, token_file, settings)
    return listener, url, registry


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named by number: asyncio turns Nagle off only for sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            fix="stop what listens there, or choose another --port",
        ) from error
    return listener


def _url(settings: ServerSettings, listener: socket.socket) -> str:
    scheme = "https" if settings.tls_cert else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _url_unless_said_otherwise() -> str:
    host, port = (ServerSettings.model_fields[name].default for name in ("host", "port"))
    return f"http://{host}:{port}"


def _announce(url: str, token_file: Path | None, settings: ServerSettings) -> None:
    click.echo(f"Delta Registry listens on {url}")
    click.echo(f"  database  {create_engine(settings.effective_database_url).url!s}")
    click.echo(f"  store     {settings.effective_store_url}")
    if token_file is not None:
        click.echo(f"  token     {token_file} (the CLI finds it by the address)")
    if settings.host in LOOPBACK and url != _url_unless_said_otherwise():
        click.echo(f"Other commands have to be told of it: export DELTAREG_SERVER={url}")
    click.echo("In a browser: deltareg open. Press Ctrl-C to stop.")
    sys.stdout.flush()
