"""Two years under retention, by a clock that moves: nothing that is kept changes, and the size stays.

`DELTAREG_TEST_FILLED=100000` begins with a registry of that many versions and a year behind it, whose
namespaces get the same rule: their versions are rows and objects like any other, whose bytes are copies.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.service.access.server_keys import announce_server_key
from deltareg.service.operations.operation import KeepingTimes
from deltareg.service.operations.operations import list_operations
from deltareg.service.operations.working import OperationPace, OperationWorker
from deltareg.service.overview.trail_check import check_trail
from deltareg.service.telling.number import number_all
from deltareg.service.upkeep import fsck
from deltareg.wire import LeaseRequest, RetentionRule
from tests.benchmarks.llama_files import Shape, write_base
from tests.fixtures.registries import RunningRegistry, report
from tests.proving import prove_all, prover_of
from tests.scale.filled import DATABASES, empty_database, fill, live_template, seal_trail, serving
from tests.scale.moved_clock import MovedClock
from tests.scale.plan import DAY_US, FillPlan
from tests.scale.template import write_lora
from tests.signers import key_of
from tests.trail.logs import ADMIN

MONTHS, MONTH_DAYS = 24, 30.4375
MONTHLY = int(os.environ.get("DELTAREG_TEST_MONTHLY", "60"))
FILLED = int(os.environ.get("DELTAREG_TEST_FILLED", "0"))
SPACE, BASE = "lived", "lived-base"
LINES = 4
KEPT = RetentionRule(last=max(2, MONTHLY // 6), days=45, promoted=False, labels=["release"])
# What answers for the past grows, and nothing else: the trail, ledgers, and what a verdict said.
GROWS = {
    "audit",
    "audit_places",
    "comparisons",
    "line_verdicts",
    "log_checkpoints",
    "log_leaves",
    "log_nodes",
    "log_statements",
    "revisions",
    "runs",
    "summaries",
    "verdict_bases",
    "verdict_envelopes",
    "verdicts",
    "versions",
}


_PAGES = ("page_count", "freelist_count")


@dataclass
class Month:
    """What a registry had at the end of a month."""

    database_bytes: int
    store_bytes: int
    live: int
    rows: dict[str, int]


class TwoYears:
    """Pushes, judges and promotes month by month, and lets the registry keep itself in order."""

    def __init__(self, server: RunningRegistry, clock: MovedClock, folder: Path):
        """Push a base and set the rule."""
        self.server, self.clock, self.folder = server, clock, folder
        self.pushed: dict[str, str] = {}
        self.shape = Shape(1, hidden=32, inner=32, heads=4, key_heads=4, vocabulary=64)
        self.author = author = server.client(principal="author")
        filled = [each.name for each in author.namespaces.list(limit=200).items]
        for name in ("worker", "prover") if not FILLED else ():  # over the API, so that the trail has it
            author.keys.enrol(name, str(key_of(name).public), host="here")
        self.worker = server.client(("read", "verify"), principal="worker", kind="wrk")
        self.prover, self.puller = prover_of(server), server.client(("read",), principal="puller")
        announce_server_key(server.registry)
        with write(server.registry.engine) as conn:  # tokens of two years
            conn.execute(sa.update(t.tokens).values(expires_at=t.tokens.c.expires_at + 1_000 * DAY_US))
        write_base(folder / BASE, self.shape)
        author.bases.push(folder / BASE, BASE)
        author.namespaces.create(SPACE)
        prove_all(self.prover)
        for name in (SPACE, *filled):
            author.storage.set_retention(name, [KEPT])
        self.operations = OperationWorker(
            server.registry, KeepingTimes(), rest=lambda _: False, pace=OperationPace(slice_s=600.0)
        )
        self.operations.add_operations()

    def live_month(self, month: int) -> Month:
        """Live a month: as much is pushed as in any other."""
        author, worker, prover = self.author, self.worker, self.prover
        for number in range(MONTHLY):
            self.clock.move(MONTH_DAYS / MONTHLY)
            folder = self.folder / f"{month}-{number}"
            write_lora(folder, self.shape, tensors=8, seed=month * MONTHLY + number, base=BASE)
            labels = {"release": "yes"} if number == 0 and month % 6 == 0 else {}
            ref = author.push(folder, f"{SPACE}/line{number % LINES}", base=BASE, labels=labels).version.ref
            self.pushed[ref] = digest_of(folder)
            shutil.rmtree(folder)
            prove_all(prover)
            author.verify(ref)
            while (grant := worker.lease(LeaseRequest(worker="scripted"))) is not None:
                worker.complete_run(grant.run, report(grant))
            if number % 15 == 0:
                author.promote(ref, "prod")
        number_all(self.server.registry)
        seal_trail(self.server.registry.engine)
        self._keep_in_order()
        return self._look()

    def pull_all(self) -> int:
        """Pull every version that is there, into an empty cache, and compare each byte; return how many."""
        with self.server.registry.engine.connect() as conn:
            query = (
                sa.select(t.deltas.c.name, t.versions.c.number)
                .join(t.versions, t.versions.c.delta_id == t.deltas.c.id)
                .join(t.namespaces, t.namespaces.c.id == t.deltas.c.namespace_id)
                .where(t.namespaces.c.name == SPACE, t.versions.c.deleted_at.is_(None))
            )
            live = [f"{SPACE}/{line}:v{number}" for line, number in conn.execute(query)]
        for ref in live:
            folder = self.folder / "pulled"
            self.puller.pull(ref, folder)
            assert digest_of(folder) == self.pushed[ref], ref
            shutil.rmtree(folder)
        return len(live)

    def _keep_in_order(self) -> None:
        """Do all that is due, and once more what a step of another made possible."""
        for _ in range(2):
            while self.operations.work_on_one():
                pass
            with write(self.server.registry.engine) as conn:
                conn.execute(
                    sa.update(t.operations).where(t.operations.c.kind.in_(["collect", "archive"])).values(asked_at=1)
                )

    def _look(self) -> Month:
        registry = self.server.registry
        failures = [each.failure for each in list_operations(registry, ADMIN) if each.failure]
        assert failures == []
        with registry.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            tables = list(t.metadata.sorted_tables)
            rows = {
                each.name: conn.execute(sa.select(sa.func.count()).select_from(each)).scalar_one() for each in tables
            }
            if conn.dialect.name == "sqlite":
                pages, free = (conn.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in _PAGES)
                size = (pages - free) * 4096
            else:
                conn.exec_driver_sql("VACUUM")
                size = conn.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
            live = conn.execute(
                sa.select(sa.func.count()).select_from(t.versions).where(t.versions.c.deleted_at.is_(None))
            ).scalar_one()
        stored = sum(size for _, size in registry.store.keys("blobs/"))
        return Month(size, stored, live, rows)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(0 if FILLED else 3_600)
@pytest.mark.parametrize("kind", DATABASES)
def test_two_years_under_retention_are_as_large_as_their_first_half_year(kind, tmp_path):
    with years(kind, tmp_path) as lived:
        months = [lived.live_month(month) for month in range(MONTHS)]
        _tell(kind, months)
        pulled = lived.pull_all()
        registry = lived.server.registry
        found = fsck.check(registry.engine, registry.store, read_data=not FILLED)  # a copy's bytes are another's
        trail = check_trail(registry, ADMIN)

    early, late = months[5], months[-1]
    assert (found.findings, trail.findings) == ((), ())
    assert len(lived.pushed) == MONTHS * MONTHLY > 4 * pulled
    if FILLED:
        assert months[0].live - pulled > pulled
    else:
        assert pulled == late.live
    # Three more releases are kept than after half a year, and what a month draws differs.
    assert late.live <= early.live + MONTHS // 6 + LINES
    assert late.store_bytes <= early.store_bytes * (late.live + 1) / early.live * 1.05
    share = late.live / early.live
    grown = {name for name, number in late.rows.items() if number > early.rows[name] * share * 1.1 + 4 * LINES}
    assert grown <= GROWS
    deleted = (MONTHS - 6) * MONTHLY
    assert (late.database_bytes - early.database_bytes) / deleted < 12_000


@contextmanager
def years(kind: str, folder: Path) -> Iterator[TwoYears]:
    """Run a registry, empty or filled, whose clock can be moved."""
    with ExitStack() as stack:
        url = stack.enter_context(empty_database(kind, folder))
        if FILLED:
            plan = FillPlan(FILLED)
            fill(url, folder, plan, live_template(url, folder, tensors=plan.tensors))
        server = stack.enter_context(serving(url, folder))
        yield TwoYears(server, MovedClock(server.registry.engine), folder)


def digest_of(folder: Path) -> str:
    """Return a digest of all files of a folder and their names."""
    whole = sha256()
    for path in sorted(folder.iterdir()):
        whole.update(path.name.encode() + b"\0" + sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _tell(kind: str, months: list[Month]) -> None:
    print(f"\n{kind}: {MONTHS * MONTHLY} versions in two years")
    for number, month in enumerate(months, 1):
        if number in {1, 3} or number % 6 == 0:
            print(f"month {number:2}: {month.live} live, {month.store_bytes:,} B of store, {month.database_bytes:,} B")
    first, last = months[5].rows, months[-1].rows
    print({name: (first[name], last[name]) for name in last if last[name] > first[name]})
