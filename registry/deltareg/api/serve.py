"""Starting a server process: settings to a registry, the address rules, workers beside it."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import uvicorn
from pydantic import ValidationError
from sqlalchemy import make_url

from deltareg.api.app import LOOPBACK_HOSTS, create_app
from deltareg.api.app_state import AppState, state_of_app
from deltareg.api.first_start import (
    ADMIN,
    ADMIN_SCOPES,
    local_token,
    local_worker_key,
    local_worker_token,
    migrate_embedded,
    prepare_data_dir,
    server_key,
    webhook_box,
)
from deltareg.api.log_lines import start_log
from deltareg.api.one_host import one_host
from deltareg.api.one_up import one_start_at_a_time, only_up
from deltareg.api.one_up_of_database import only_up_of
from deltareg.api.own_address import own_address
from deltareg.api.own_workers import kept_running
from deltareg.api.room import DiskRoom
from deltareg.api.sealing import sealing
from deltareg.api.settings import ServerSettings
from deltareg.api.telling import telling
from deltareg.api.upkeep import upkeep
from deltareg.db.session import check_schema, create_engine
from deltareg.errors import Misconfigured
from deltareg.host.garbage import collect_in_small_steps
from deltareg.host.process import explain_errors
from deltareg.refs import parse_name
from deltareg.service.access.keys import announce_server_key
from deltareg.service.access.review import count_legacy
from deltareg.service.access.way_back import make_way_back
from deltareg.service.registry import Registry
from deltareg.service.runs.reverify import queue_reverification
from deltareg.service.trail.keep import CheckpointStores
from deltareg.store import open_store, read_options
from deltareg.wire import Scope

logger = logging.getLogger(__name__)
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ENDED_BY = 128


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def server() -> None:
    """Run the Delta Registry server. `deltareg up` and `deltareg server` call this."""


@server.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the embedded parts.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(0, 16), default=1, show_default=True)
def up(data_dir: Path | None, host: str | None, port: int | None, workers: int) -> None:
    """Run API and workers on this machine with embedded defaults."""
    with _explain_errors():
        settings = read_settings(data_dir=data_dir, host=host, port=port)
        prepare_data_dir(settings.data_dir)
        with only_up(settings.data_dir) as tell_address:
            listener, url, registry = _begin(settings)
            tell_address(url)
            database = settings.effective_database_url
            with (
                one_host(database),
                only_up_of(database, settings.data_dir, url) if workers else nullcontext(),
                _workers(registry, settings, url, workers),
            ):
                _serve(registry, settings, listener)


@server.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
def run(host: str | None, port: int | None) -> None:
    """Run the API alone, with the settings of the environment."""
    with _explain_errors():
        settings = read_settings(host=host, port=port)
        if settings.effective_database_url.startswith("sqlite"):
            prepare_data_dir(settings.data_dir)
        listener, _, registry = _begin(settings)
        with one_host(settings.effective_database_url):
            _serve(registry, settings, listener)


@server.command()
def check() -> None:
    """Check settings, database schema and store, and say what is wrong."""
    with _explain_errors():
        settings = read_settings()
        check_address(settings)
        registry = open_registry(settings)
        registry.store.check()
        click.echo(f"database  ok  {registry.engine.url.render_as_string()}")
        click.echo(f"store     ok  {settings.effective_store_url}")
        click.echo(f"address   ok  {settings.host}:{settings.port}")


@server.group()
def token() -> None:
    """Make a token on this host, past the API: the way back in."""


@token.command("create")
@click.option("--admin", "is_admin", is_flag=True, required=True, help="For an admin, as at first.")
@click.option("--for", "principal", default=ADMIN, show_default=True, help="Who acts with it.")
@click.option(
    "--scope",
    "also",
    multiple=True,
    type=click.Choice(["approve", "break-glass"]),
    help="Beside what an admin has; may be repeated.",
)
@click.option(
    "--expires-days",
    type=click.IntRange(1, 366),
    default=1,
    show_default=True,
    help="After how many days it is worthless.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the embedded parts.")
def create_token(
    *,
    is_admin: bool,  # noqa: ARG001  # it is said so that nobody makes one by mistake
    principal: str,
    also: tuple[Scope, ...],
    expires_days: int,
    data_dir: Path | None,
) -> None:
    """Make a token for an admin whose tokens are all lost.

    It asks nobody: whoever reads the settings and writes the database on this host may. It works
    while the server runs and while it does not. Only the token goes to stdout; the audit trail
    says `token.bootstrap` by `registry`. Each call makes another one, and those before stay live:
    it lists them, and says so when nobody had that name.
    """
    with _explain_errors():
        settings = read_settings(data_dir=data_dir)
        if not _has_database(settings):
            raise Misconfigured(
                f"there is no registry in {settings.data_dir}",
                fix="name its folder: --data-dir DIR, or set DELTAREG_DATABASE_URL",
            )
        made = make_way_back(
            open_registry(settings),
            principal=parse_name(principal, "principal"),
            scopes=[*ADMIN_SCOPES, *also],
            expires_in_s=expires_days * 86_400,
        )
    click.echo(made.secret)
    who = f"{principal}, who is new here" if made.is_new else principal
    click.echo(
        f"for {who}, for {_days(expires_days)}: deltareg auth login --token-stdin; then revoke"
        " what was lost: deltareg token ls",
        err=True,
    )
    if made.others:
        ids = ", ".join(map(str, made.others))
        click.echo(
            f"made before in this way for {principal}, and live: {ids}; what you do not need:"
            f" deltareg token revoke {made.others[0]}",
            err=True,
        )


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def read_settings(**given: object) -> ServerSettings:
    """Read the environment; options that were given win.

    Raises:
        Misconfigured: A setting cannot be read.
    """
    wanted = {key: value for key, value in given.items() if value is not None}
    try:
        return ServerSettings.model_validate(ServerSettings().model_dump() | wanted)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(["DELTAREG", *map(str, first["loc"])]).upper()
        raise Misconfigured(
            f"{name}: {first['msg'].lower()}", fix=f"set {name} to another value, or unset it"
        ) from error


def open_registry(settings: ServerSettings) -> Registry:
    """Open database and store and refuse a schema that is not ours.

    Raises:
        Misconfigured: The schema is another one, or the store does not work as the settings say.
    """
    engine = create_engine(settings.effective_database_url)
    check_schema(engine)
    url, copy = settings.effective_store_url, settings.second_store_url
    store = open_store(url, options=read_options(url, os.environ))
    second = None if copy is None else open_store(copy, options=read_options(copy, os.environ))
    return Registry(
        engine, store, sigstore=settings.sigstore_trust, recheck_share=settings.recheck_share, second=second
    )


def check_address(settings: ServerSettings) -> None:
    """Refuse to be reached from elsewhere without TLS.

    Raises:
        Misconfigured: The address is not loopback and neither TLS nor a proxy is set.
    """
    is_loopback = settings.host in _LOOPBACK
    has_tls = settings.tls_cert is not None and settings.tls_key is not None
    if not (is_loopback or has_tls or settings.behind_proxy):
        raise Misconfigured(
            f"{settings.host} can be reached from elsewhere, and tokens would travel in the clear",
            fix="set DELTAREG_TLS_CERT and DELTAREG_TLS_KEY, or DELTAREG_BEHIND_PROXY=true"
            " when a proxy in front ends TLS",
        )


def _has_database(settings: ServerSettings) -> bool:
    """Whether there is a database to open: SQLite would make an empty one in a wrong folder."""
    path = make_url(settings.effective_database_url)
    return path.get_backend_name() != "sqlite" or Path(path.database or "").is_file()


@contextmanager
def _explain_errors() -> Generator[None, None, None]:
    """End with one clear line instead of a stack trace."""
    start_log()
    with explain_errors():
        yield


def _begin(settings: ServerSettings) -> tuple[socket.socket, str, Registry]:
    """Take the address, open the registry and say where it is; a new one is made first."""
    check_address(settings)
    is_embedded = settings.effective_database_url.startswith("sqlite")
    with one_start_at_a_time(settings.data_dir) if is_embedded else nullcontext():
        listener = _listen(settings)
        migrate_embedded(settings)
        registry = open_registry(settings)
        registry = replace(
            registry, signer=server_key(settings), box=webhook_box(settings), networks=settings.webhook_networks
        )
        announce_server_key(registry)
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
    if settings.host in _LOOPBACK and url != _url_unless_said_otherwise():
        click.echo(f"Other commands have to be told of it: export DELTAREG_SERVER={url}")
    click.echo("In a browser: deltareg open. Press Ctrl-C to stop.")
    sys.stdout.flush()


def _serve(registry: Registry, settings: ServerSettings, listener: socket.socket) -> None:
    signal.signal(signal.SIGTERM, _exit)
    queue_reverification(registry)
    _report_legacy(registry)
    hosts = (*LOOPBACK_HOSTS, settings.host, *settings.allowed_hosts)
    app = create_app(
        registry,
        store_kind=settings.effective_store_url.partition(":")[0],
        lease_s=settings.lease_s,
        upload_grace_s=settings.upload_grace_s,
        keep_logs_s=settings.keep_logs_s,
        keep_forms_s=settings.form_days * 86_400,
        room=DiskRoom(settings.own_disks()),
        anonymous_reading=settings.anonymous_reading,
        hub_main=settings.hub_main if settings.hub else None,
        hub_address=own_address(settings.hub_address, settings.tls_cert, settings.host, listener.getsockname()[1]),
        allowed_hosts=hosts if not settings.behind_proxy or settings.allowed_hosts else ["*"],
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        server_header=False,
        proxy_headers=settings.behind_proxy,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(
            f"the certificate cannot be used: {error.strerror or error}",
            fix="DELTAREG_TLS_CERT and DELTAREG_TLS_KEY are two PEM files that belong together",
        ) from error
    places = CheckpointStores(registry.store, settings.effective_checkpoint_file)
    with (
        telling(registry),
        sealing(registry, places),
        upkeep(registry, keep_logs_s=settings.keep_logs_s),
        _asked_to_end(),
    ):
        collect_in_small_steps()
        _Server(config, state_of_app(app)).run(sockets=[listener])


def _report_legacy(registry: Registry) -> None:
    """Say how much of the release before is left, for those who run the registry."""
    if (found := count_legacy(registry))[0]:
        logger.warning(
            "%d roles of %d principals are legacy: what their tokens allowed before namespaces had"
            " owners; `deltareg access review` lists them with the commands that narrow them",
            *found,
        )


class _Server(uvicorn.Server):
    """Does not let those who wait for something hold up its end."""

    def __init__(self, config: uvicorn.Config, state: AppState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, by a signal."""
        self._state.is_closing = True
        super().handle_exit(sig, frame)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    """End as a process does that a signal ended, with everything closed on the way."""
    raise SystemExit(_ENDED_BY + number)


@contextmanager
def _asked_to_end() -> Generator[None, None, None]:
    """Go on to the end when uvicorn, which has closed, raises the signal again that it was sent."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    except SystemExit as ended:
        if ended.code != _ENDED_BY + signal.SIGTERM:
            raise


@contextmanager
def _workers(registry: Registry, settings: ServerSettings, url: str, count: int) -> Generator[None, None, None]:
    """Run worker processes while the block lasts; each has a token for verifying and no more."""
    environ = {}
    if count:
        environ = {
            **os.environ,
            "DELTAREG_TOKEN": local_worker_token(registry),
            "DELTAREG_SERVER": url,
            **local_worker_key(registry, settings),
        }
    scratch = settings.data_dir.absolute() / "workers"
    commands = [
        [
            sys.executable,
            "-m",
            "deltareg_verify",
            "--with-parent",
            str(os.getpid()),
            "run",
            "--server",
            url,
            "--name",
            f"local-{number}",
            "--scratch",
            str(scratch / str(number)),
        ]
        for number in range(count)
    ]
    with kept_running(commands, environ):
        yield
