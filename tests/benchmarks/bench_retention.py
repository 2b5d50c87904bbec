"""What retention does to a large registry: `python tests/benchmarks/bench_retention.py --versions 100000`.

A registry is filled with a year of history, as `python -m tests.scale` does. Then each namespace keeps the
last ten versions of a line, those of the last 90 days and what was promoted since, and the operations are
done one after the other, with nothing to wait for. The tables tell sizes before and after, packed as tight
as the database packs them, how long each operation took, and its longest step.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.service.authority.resources import Namespace
from deltareg.service.operations.kinds import all_operations
from deltareg.service.operations.operation import KeepingTimes, Place, StepContext
from deltareg.service.retention.rules import set_retention
from deltareg.wire import RetentionRule, RetentionSet
from tests.benchmarks import page
from tests.benchmarks.bench_bytes import sizes
from tests.scale.filled import empty_database, fill, live_template, serving
from tests.scale.plan import FillPlan
from tests.service.rows import caller

_RULE = RetentionRule(last=10, days=90, promoted=False)
_ORDER = ("retain", "collect", "archive", "tidy", "recount", "check")
_SHOWN_BYTES = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--folder", type=Path, help="where to fill it; a folder of its own by default")
    page.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, empty_database(options.database, Path(name)) as url:
        folder, plan = Path(name), FillPlan(options.versions)
        began = time.perf_counter()
        fill(url, folder, plan, live_template(url, folder, tensors=plan.tensors))
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        text = "\n".join(told(options, *measure(url, folder)))
    print(text)
    page.write_docs(options, "retention", text)


def measure(url, folder):
    """Return sizes and counts before and after, and what each operation took."""
    before = look(url)
    took: dict[str, tuple[int, float, float, dict[str, int]]] = {}
    with serving(url, folder) as server:
        engine = server.registry.engine
        admin = caller(engine)
        with write(engine) as conn:  # whoever sets a rule answers for it
            conn.execute(sa.insert(t.grants).values(principal_id=admin.principal_id, role="admin"))
        with read(engine) as conn:
            names = list(conn.execute(sa.select(t.namespaces.c.name).order_by(t.namespaces.c.id)).scalars())
        began = time.perf_counter()
        for name in names:
            set_retention(server.registry, admin, Namespace(name), RetentionSet(rules=[_RULE]), dry_run=False)
        took["rules"] = (len(names), time.perf_counter() - began, 0.0, {})
        context = StepContext(server.registry, KeepingTimes(deleted_s=0.0))
        for kind in _ORDER:
            took[kind] = do(context, kind)
            print(kind, took[kind], file=sys.stderr, flush=True)
    return before, look(url), took


def do(context, kind):
    """Do a round; return its steps, its seconds, the longest step, and what it counted."""
    place: Place | None = {}
    counts: Counter[str] = Counter()
    steps, longest = 0, 0.0
    began = time.perf_counter()
    while place is not None:
        since = time.perf_counter()
        outcome = all_operations()[kind].step(context, place)
        longest, steps, place = max(longest, time.perf_counter() - since), steps + 1, outcome.place
        counts.update(outcome.counts)
    return steps, time.perf_counter() - began, longest, counts


def look(url):
    """Return the bytes by table, packed tight, and how many versions there are, live and put away."""
    engine = sa.create_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("VACUUM FULL" if conn.dialect.name == "postgresql" else "VACUUM")
        live = conn.exec_driver_sql("SELECT COUNT(*) FROM versions WHERE deleted_at IS NULL").scalar_one()
        gone = conn.exec_driver_sql("SELECT COUNT(*) FROM versions WHERE released_at IS NOT NULL").scalar_one()
    engine.dispose()
    return sizes(url), live, gone


def told(options, before, after, took):
    yield f"{options.versions:,} versions, {options.database}"
    yield f"{'':24}{'before':>16}{'after':>16}"
    for what, index in (("versions that are there", 1), ("without bytes", 2)):
        yield f"{what:24}{before[index]:>16,}{after[index]:>16,}"
    sums: list[Counter[str]] = [Counter(), Counter()]
    for which, side in enumerate((before, after)):
        for place, size in side[0].items():
            sums[which][place.partition("/")[0]] += size
    whole = [sum(side[0].values()) for side in (before, after)]
    yield f"{'database, MB':24}{whole[0] / 1e6:>16,.1f}{whole[1] / 1e6:>16,.1f}"
    for name, first in sums[0].most_common():
        if first / options.versions > _SHOWN_BYTES:
            yield f"  {name:22}{first / 1e6:>16,.1f}{sums[1][name] / 1e6:>16,.1f}"
    yield f"{'operation':24}{'steps':>8}{'seconds':>10}{'longest':>10}  did"
    for kind, (steps, seconds, longest, counts) in took.items():
        did = ", ".join(f"{number:,} {name}" for name, number in counts.items())
        did = did if len(counts) < 4 else f"{sum(counts.values()):,} rows"
        yield f"{kind:24}{steps:>8}{seconds:>10.1f}{longest:>10.2f}  {did}"


if __name__ == "__main__":
    main()
