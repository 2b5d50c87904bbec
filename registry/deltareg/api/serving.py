"""Serving until a signal: the app under uvicorn, and what the process does by itself beside it."""

import asyncio
import logging
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NoReturn

import click
import uvicorn

from deltareg.api.app import LOOPBACK_HOSTS, create_app
from deltareg.api.app_state import AppState, state_of_app
from deltareg.api.log_lines import start_log
from deltareg.api.noting import noting
from deltareg.api.observability.options import Observability
from deltareg.api.observability.recording import recording
from deltareg.api.observability.slow_requests import SlowRequestFiles
from deltareg.api.observability.tracing import tracing
from deltareg.api.overload.connections import ConnectionBook
from deltareg.api.overload.descriptors import most_connections, raise_open_files
from deltareg.api.overload.protocol import PatientProtocol
from deltareg.api.overload.rates import BAD_TOKENS
from deltareg.api.own_address import own_address
from deltareg.api.presence import present
from deltareg.api.promoting import promoting
from deltareg.api.refreshing import refreshing
from deltareg.api.room import DiskRoom
from deltareg.api.sealing import sealing
from deltareg.api.settings import ServerSettings
from deltareg.api.telling import telling
from deltareg.api.upkeep import upkeep
from deltareg.errors import Misconfigured
from deltareg.host.exported_metrics import export_metrics
from deltareg.host.garbage import collect_in_small_steps
from deltareg.host.traces import open_tracer
from deltareg.service.access.review import count_legacy
from deltareg.service.registry import Registry
from deltareg.service.runs.reverify import queue_reverification
from deltareg.service.runs.unknown_again import queue_unknown_again
from deltareg.service.trail.keep import CheckpointStores
from deltareg.service.verdicts.suites import keep_own_suites

logger = logging.getLogger(__name__)
_ENDED_BY = 128
_ACCEPTED_AT_ONCE, _WAITING_AT_MOST = 64, 2_048
_HANDSHAKE_S = 10.0


def serve(registry: Registry, settings: ServerSettings, listener: socket.socket) -> None:
    """Serve a registry on a socket until a signal ends the process.

    Raises:
        Misconfigured: The TLS certificate cannot be used.
    """
    start_log(level=settings.log_level, form=settings.log_form)
    signal.signal(signal.SIGTERM, _exit)
    keep_own_suites(registry)
    queue_reverification(registry)
    queue_unknown_again(registry)
    _report_legacy(registry)
    tracer = open_tracer("deltareg-server")
    slow, disks = SlowRequestFiles(settings.records), settings.own_disks() | {"records": settings.data_dir}
    hosts = (*LOOPBACK_HOSTS, settings.host, *settings.allowed_hosts)
    app = create_app(
        registry,
        store_kind=settings.effective_store_url.partition(":")[0],
        lease_s=settings.lease_s,
        upload_grace_s=settings.upload_grace_s,
        keep_deleted_s=settings.deleted_days * 86_400,
        keep_logs_s=settings.keep_logs_s,
        keep_forms_s=settings.form_days * 86_400,
        room=DiskRoom(settings.own_disks()),
        anonymous_reading=settings.anonymous_reading,
        hub_main=settings.hub_main if settings.hub else None,
        hub_address=own_address(settings.hub_address, settings.tls_cert, settings.host, listener.getsockname()[1]),
        allowed_hosts=hosts if not settings.behind_proxy or settings.allowed_hosts else ["*"],
        document_bytes=settings.document_mib << 20,
        requests_per_minute=settings.requests_per_minute,
        bad_tokens_per_minute=BAD_TOKENS,
        proxies=settings.behind_proxy,
        observability=Observability(slow, tracing(tracer), disks),
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        server_header=False,
        proxy_headers=bool(settings.behind_proxy),
        backlog=_ACCEPTED_AT_ONCE,
    )
    most = most_connections(raise_open_files(), database_connections=settings.database_connections)
    book = ConnectionBook(most, None if settings.behind_proxy else most // 2)
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
        noting(registry),
        promoting(registry),
        sealing(registry, places),
        refreshing(registry),
        upkeep(registry, settings.keeping_times),
        present(registry),
        recording(slow, settings.records, registry, disks),
        _asked_to_end(),
    ):
        collect_in_small_steps()
        end_export = export_metrics("deltareg-server", state_of_app(app).health.samples)
        PatientServer(config, state_of_app(app), book).run(sockets=[listener])
        if end_export is not None:
            end_export()
    if tracer is not None:
        tracer.close()


def _report_legacy(registry: Registry) -> None:
    """Warn the operator if roles of the release before are left."""
    if (found := count_legacy(registry))[0]:
        logger.warning(
            "%d roles of %d principals are legacy: what their tokens allowed before namespaces had"
            " owners; `deltareg access review` lists them with the commands that narrow them",
            *found,
        )


class PatientServer(uvicorn.Server):
    """A server with deadlines, and whose end is not delayed by requests that wait for something."""

    def __init__(self, config: uvicorn.Config, state: AppState, book: ConnectionBook) -> None:
        """Prepare a server.

        Args:
            config: uvicorn's settings; its protocol is not taken from there.
            state: The state of the app.
            book: The connections, none of them yet.
        """
        super().__init__(config)
        self._state, self._book = state, book

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets, with a protocol that has deadlines."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        make = partial(
            PatientProtocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=loop,
            book=self._book,
        )
        handshake_s = _HANDSHAKE_S if self.config.ssl else None
        self.servers = []
        for listener in sockets or []:
            # asyncio accepts as many at once as may wait: few, so that the book is asked before files run out.
            self.servers.append(
                await loop.create_server(
                    make,
                    sock=listener,
                    backlog=self.config.backlog,
                    ssl=self.config.ssl,
                    ssl_handshake_timeout=handshake_s,
                )
            )
            listener.listen(_WAITING_AT_MOST)
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down because of a signal."""
        self._state.is_closing = True
        super().handle_exit(sig, frame)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    """Exit with the status of a process ended by the signal, closing everything on the way."""
    raise SystemExit(_ENDED_BY + number)


@contextmanager
def _asked_to_end() -> Generator[None, None, None]:
    """Continue shutting down when uvicorn, once closed, raises the signal it received again."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    except SystemExit as ended:
        if ended.code != _ENDED_BY + signal.SIGTERM:
            raise
