"""Opens a registry from the server's settings, and refuses settings that are wrong or unsafe."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from deltareg.api.log_lines import start_log
from deltareg.api.settings import ServerSettings
from deltareg.db.session import check_schema, create_engine
from deltareg.errors import InvalidInput, Misconfigured
from deltareg.host.process import explain_errors
from deltareg.service.access.sign_in.providers import open_providers
from deltareg.service.issuers import Issuers
from deltareg.service.registry import Registry
from deltareg.signing.key_file import read_key
from deltareg.signing.secret_box import read_or_make_box
from deltareg.store import FallbackReads, open_store, read_options
from deltareg.store.watched import WatchedStore

if TYPE_CHECKING:
    from deltareg.oidc.provider import Provider

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def read_settings(**given: object) -> ServerSettings:
    """Read the settings from the environment; options that are not None take precedence.

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
    """Open the database and the store, and refuse a schema that is not ours.

    Raises:
        Misconfigured: The schema is another one, or the store does not work with these settings.
    """
    engine = create_engine(settings.effective_database_url, connections=settings.database_connections)
    check_schema(engine)
    url, copy = settings.effective_store_url, settings.second_store_url
    store = WatchedStore(open_store(url, options=read_options(url, os.environ)))
    second = None if copy is None else open_store(copy, options=read_options(copy, os.environ))
    try:
        issuers = Issuers(settings.issuers, networks=settings.webhook_networks, also_trusted=settings.issuers_ca)
    except InvalidInput as error:
        raise Misconfigured(f"DELTAREG_ISSUERS: {error.message}", fix=error.fix) from error
    return Registry(
        engine,
        store,
        sigstore=settings.sigstore_trust,
        recheck_share=settings.recheck_share,
        second=second,
        reads=None if second is None else FallbackReads(store, second),
        namespaces_by=settings.namespaces_by,
        issuers=issuers,
        providers=_open_providers(settings),
    )


@contextmanager
def opened_registry(settings: ServerSettings) -> Generator[Registry, None, None]:
    """Open a registry for the block of a command, and close its connections.

    Raises:
        Misconfigured: As in `open_registry`.
    """
    registry = open_registry(settings)
    try:
        yield registry
    finally:
        registry.engine.dispose()


def _open_providers(settings: ServerSettings) -> "tuple[Provider, ...]":
    if settings.oidc is not None and settings.effective_webhook_key is None:
        raise Misconfigured(
            "DELTAREG_OIDC needs DELTAREG_WEBHOOK_KEY: what sign-ins are refreshed with is sealed under it",
            fix="openssl rand -base64 32 > FILE, chmod 600 FILE, and name it on all servers",
        )
    return open_providers(settings.oidc)


def check_keys(settings: ServerSettings) -> list[Path]:
    """Return the key files of the settings; what a setting names has to be there, and nobody else may read it.

    The files that a first start makes by itself may still be missing.

    Raises:
        Misconfigured: A file is missing, can be read by others, or holds no key.
    """
    named = (settings.tls_cert, settings.tls_key, settings.signing_key, settings.webhook_key, settings.sigstore_trust)
    for path in named:
        if path is not None and not path.is_file():
            raise Misconfigured(f"there is no file {path}", fix="name the file that is meant, or restore it")
    files = [path for path in named if path is not None]
    if settings.effective_signing_key.is_file():
        read_key(settings.effective_signing_key)
        files.append(settings.effective_signing_key)
    box = settings.effective_webhook_key
    if box is not None and box.is_file():
        read_or_make_box(box)
        files.append(box)
    return list(dict.fromkeys(files))


def check_address(settings: ServerSettings) -> None:
    """Refuse an address that is reachable from elsewhere without TLS.

    Raises:
        Misconfigured: The address is not loopback, and neither TLS nor a proxy is set.
    """
    is_loopback = settings.host in LOOPBACK
    has_tls = settings.tls_cert is not None and settings.tls_key is not None
    if not (is_loopback or has_tls or settings.behind_proxy):
        raise Misconfigured(
            f"{settings.host} can be reached from elsewhere, and tokens would travel in the clear",
            fix="set DELTAREG_TLS_CERT and DELTAREG_TLS_KEY, or DELTAREG_BEHIND_PROXY=true"
            " when a proxy in front ends TLS",
        )


@contextmanager
def reporting_errors() -> Generator[None, None, None]:
    """Start the log, and end a command with one clear line instead of a stack trace."""
    start_log()
    with explain_errors():
        yield
