"""`deltareg-server check`: what settings, database, store and keys are like, one line each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from deltareg.api.first_start import with_own_files
from deltareg.api.opening import check_address, check_keys, opened_registry
from deltareg.api.settings import ServerSettings
from deltareg.db.session import options_that_do_not_hold, read
from deltareg.db.sql.clock import US_PER_S, read_clock
from deltareg.db.verdicts.server_keys import current_key, live_server_keys
from deltareg.db.verdicts.signing import find_key
from deltareg.errors import DeltaregError, Misconfigured
from deltareg.service.access.server_keys import SHARE, open_key
from deltareg.service.registry import Registry
from deltareg.service.telling.sealed import count_sealed
from deltareg.store import BlobStore
from deltareg.store.buckets import fetch_signed
from deltareg.store.proofs import describe_skew, prove_store

if TYPE_CHECKING:  # loaded with the first provider
    from deltareg.oidc.provider import Provider

_LOST = "deltareg server keys rotate --lost"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """A line of the report.

    Attributes:
        name: What was looked at.
        text: How it is, or what is wrong.
        fix: What to do; empty where nothing is wrong.
        status: The exit status for it; 0 where nothing is wrong.
    """

    name: str
    text: str
    fix: str = ""
    status: int = 0


def check_all(settings: ServerSettings) -> int:
    """Look at everything, print a line for each, and return the exit status: 0 if nothing is wrong."""
    worst = 0
    for line in _lines(settings):
        word = "FAILS" if line.status else "ok"
        click.echo(f"{line.name:<21}  {word:<5}  {line.text}")
        if line.fix:
            click.echo(f"{'':<21}  fix:   {line.fix}")
        worst = worst or line.status
    return worst


def _lines(settings: ServerSettings) -> Iterator[CheckLine]:
    yield _try("address", lambda: _address(settings))
    yield _try("key files", lambda: ", ".join(map(str, check_keys(settings))) or "made at the first start")
    with opened_registry(settings) as registry:
        yield from _lines_of(with_own_files(registry, settings, makes=False), settings)


def _lines_of(registry: Registry, settings: ServerSettings) -> Iterator[CheckLine]:
    yield CheckLine("database", registry.engine.url.render_as_string())
    yield _try("connections", lambda: _connections(registry))
    yield _try("database clock", lambda: _clock(registry))
    yield from _store("store", settings.effective_store_url, registry.store)
    if registry.second is not None and settings.second_store_url is not None:
        yield from _store("second store", settings.second_store_url, registry.second)
    for provider in registry.providers:
        yield _try("sign-in", partial(_provider, provider))
    yield _try("servers' key", lambda: _own_key(registry))
    yield _try("sealed", lambda: _open_sealed(registry))


def _connections(registry: Registry) -> str:
    """Say whether connections have the settings that they ask for, which those through a pooler do not.

    Raises:
        Misconfigured: They do not.
    """
    lacking = options_that_do_not_hold(registry.engine)
    if lacking:
        raise Misconfigured(
            f"{', '.join(lacking)} {'does' if len(lacking) == 1 else 'do'} not hold, as behind a pooler",
            fix="ALTER ROLE … SET them for the role of the servers (docs/howto/several-servers.md)",
        )
    return "have the settings that they ask for"


def _try(name: str, ask: Callable[[], str]) -> CheckLine:
    try:
        return CheckLine(name, ask())
    except DeltaregError as error:
        return CheckLine(name, error.message, error.fix, error.exit_code or 1)


def _address(settings: ServerSettings) -> str:
    check_address(settings)
    return f"{settings.host}:{settings.port}"


def _clock(registry: Registry) -> str:
    with read(registry.engine) as conn:
        skew = describe_skew(read_clock(conn) / US_PER_S, time.time(), whose="the database's")
    if skew:
        raise Misconfigured(skew, fix="keep both clocks right: chrony or ntpd")
    return "as this machine's"


def _store(name: str, url: str, store: BlobStore) -> Iterator[CheckLine]:
    line = _try(name, partial(_contract, store, url))
    yield line
    if line.status:
        return
    for proof in prove_store(store, fetch=fetch_signed):
        status = Misconfigured.exit_code if proof.wrong else 0
        yield CheckLine(f"  {proof.name}", proof.wrong or "proven", proof.fix, status)


def _contract(store: BlobStore, url: str) -> str:
    store.check()
    return url


def _provider(provider: "Provider") -> str:
    provider.check()
    return f"{provider.name}: {provider.settings.issuer}"


def _own_key(registry: Registry) -> str:
    with read(registry.engine) as conn:
        row = current_key(conn)
        live = live_server_keys(conn)
        known = None if row is None else find_key(conn, keyid=row.keyid)
    if row is None:
        names = ", ".join(key.keyid[:16] for key in live)
        return f"{names}: of servers of the release before" if live else "made at the first start"
    name = row.keyid[:16]
    if known is not None and known.revoked_at is not None:
        raise Misconfigured(f"{name} was revoked, so nothing is sealed", fix=_LOST)
    if row.sealed is not None and registry.box is not None:
        open_key(registry.box, row)
        where = "in the database, sealed"
    elif registry.signer is not None and registry.signer.keyid == row.keyid:
        where = "in a file, so it does not rotate" if registry.box is None else "in a file; the next start seals it"
    else:
        raise Misconfigured(f"{name} is not here, so this server does not start", fix=SHARE)
    others = len(live) - 1
    return f"{name}, {where}" + (f"; {others} more of before sign: deltareg server keys rotate" if others else "")


def _open_sealed(registry: Registry) -> str:
    count = count_sealed(registry)
    if count.closed:
        raise Misconfigured(
            f"{count.closed} of {count.total} secrets in the database cannot be opened here",
            fix="let DELTAREG_WEBHOOK_KEY name the file that they were sealed with; a secret of a webhook that is lost:"
            " deltareg webhook rotate ID",
        )
    former = f"; {count.former} under a former key: deltareg server keys reseal" if count.former else ""
    key = "no key" if registry.box is None else f"key {registry.box.name}"
    total = "1 secret in the database opens" if count.total == 1 else f"{count.total} secrets in the database open"
    return f"{total} with {key}{former}"
