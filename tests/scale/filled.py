"""A filled registry in a folder: its database, its objects, and what the product derives from them."""

import json
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

import deltareg_migrations
from deltareg.db.session import create_engine, write
from deltareg.service.registry import Registry
from deltareg.service.trail.seal import seal_some
from deltareg.service.upkeep.counts import mend_counts
from deltareg.store.memory import MemoryStore
from tests.fixtures.databases import database, postgresql_started, server_url, take_statistics
from tests.fixtures.registries import RunningRegistry, running
from tests.scale.blob_links import BlobLinks
from tests.scale.history import History
from tests.scale.plan import FillPlan
from tests.scale.sink import broken_references, filling
from tests.scale.template import Template, TemplateLife, server_key

DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Filled:
    """What filling took and made.

    Attributes:
        seconds: Of writing rows, and of deriving the rest.
        rows: By table.
    """

    seconds: tuple[float, float]
    rows: dict[str, int]


@contextmanager
def empty_database(kind: str, folder: Path) -> Generator[str, None, None]:
    """Give the URL of a migrated database: a file in the folder, or one of a PostgreSQL that ends with the block."""
    with ExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite:///{folder / 'registry.db'}"
        else:
            server = stack.enter_context(postgresql_started(folder / "pg"))
            url = stack.enter_context(database(server_url(server)))
        deltareg_migrations.upgrade(url)
        yield url


def live_template(url: str, folder: Path, *, tensors: int) -> Template:
    """Let a server live the template's life over a migrated database."""
    files = folder / "template"
    files.mkdir()
    with serving(url, folder) as server:
        template = TemplateLife(server, files, tensors=tensors).live()
        seal_trail(server.registry.engine)
    return template


@contextmanager
def serving(url: str, folder: Path) -> Generator[RunningRegistry, None, None]:
    """Run a server over a database and the objects in a folder."""
    blobs, hub = (folder / "blobs").as_uri(), {"hub_main": "prod", "hub_address": "http://127.0.0.1:9"}
    with running(url, blobs, folder, signer=server_key(), requests_per_minute=10**9, **hub) as server:
        yield server


def fill(url: str, folder: Path, plan: FillPlan, template: Template) -> Filled:
    """Fill a database in which the template lived; no server may run over it meanwhile."""
    began = time.perf_counter()
    engine = create_engine(url)
    with engine.connect() as conn:
        events = conn.exec_driver_sql("SELECT number FROM event_head").scalar_one()
        sealed = conn.exec_driver_sql("SELECT COALESCE(MAX(id), 0) FROM audit").scalar_one()
    with filling(engine) as sink:
        history = History(plan, template, sink, BlobLinks(folder / "blobs"), events=events)
        history.write()
    written = time.perf_counter()
    _derive(engine, sealed=sealed, events=history.events)
    broken = broken_references(engine)
    if broken:
        raise SystemExit(f"references that lead nowhere: {', '.join(broken)}")
    engine.dispose()
    seconds = (written - began, time.perf_counter() - written)
    return Filled(seconds, dict(sink.counts))


def _derive(engine: sa.Engine, *, sealed: int, events: int) -> None:
    """Do by the product itself what triggers and its background do: counts, numbers, seals."""
    with write(engine) as conn:
        conn.exec_driver_sql(f"UPDATE event_head SET number = {events}")
        conn.exec_driver_sql(f"INSERT INTO unsealed (audit_id) SELECT id FROM audit WHERE id > {sealed}")
    mend_counts(engine)
    seal_trail(engine)
    take_statistics(engine)


def seal_trail(engine: sa.Engine) -> None:
    """Seal all that waits, as the server does in the background."""
    registry = Registry(engine, MemoryStore(), signer=server_key())
    while seal_some(registry):
        pass


def told(plan: FillPlan, filled: Filled) -> str:
    """Say what was made, as JSON."""
    written, derived = (round(each, 1) for each in filled.seconds)
    return json.dumps(
        {
            "versions": plan.versions,
            "busiest": plan.sizes()[0],
            "seconds": {"written": written, "derived": derived},
            "rows": filled.rows,
        },
        indent=1,
    )
