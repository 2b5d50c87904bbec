"""What sealing and verifying an audit trail of 100,000 rows takes.

Run it: `python -m tests.benchmarks.bench_trail [ROWS]`, whole thousands.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import deltareg_migrations
from deltareg.db.session import create_engine
from deltareg.service.registry import Registry
from deltareg.service.trail.keep import CheckpointStores
from deltareg.service.trail.proofs import prove_consistency, prove_row, read_log
from deltareg.service.trail.seal import seal_some
from deltareg.store.memory import MemoryStore
from deltareg.trail.check import LogEvidence
from deltareg.trail.lines import check_lines, read_lines, write_line
from deltareg.wire.log_lines import log_lines
from tests.trail.logs import ADMIN, KEYS, SERVER, fill


def main(rows: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/registry.db"
        deltareg_migrations.upgrade(url)
        registry = Registry(create_engine(url), MemoryStore(), signer=SERVER)
        for _ in range(rows // 1_000):
            fill(registry, 1_000)
        file = Path(folder) / "kept.jsonl"
        places, longest = CheckpointStores(file=file), 0.0
        began = time.perf_counter()
        while True:
            at = time.perf_counter()
            if not seal_some(registry, tell=places.keep):
                break
            longest = max(longest, time.perf_counter() - at)
        told("seal", began, f"longest batch of 1,000 {longest:.3f} s")
        fill(registry, 1)
        began = time.perf_counter()
        seal_some(registry, tell=places.keep)
        told("one more row", began, f"{file.stat().st_size / 1e6:.1f} MB kept beside")
        began = time.perf_counter()
        prove_row(registry, ADMIN, rows // 2)
        told("prove a row", began)
        began = time.perf_counter()
        prove_consistency(registry, ADMIN, old=rows // 3, new=rows)
        told("prove consistency", began)
        log = Path(folder) / "log.jsonl"
        began = time.perf_counter()
        with log.open("w") as out:
            out.writelines(
                write_line(line)
                for line in log_lines(lambda after: read_log(registry, ADMIN, after=after, limit=1_000), server="")
            )
        told("export", began, f"{log.stat().st_size / 1e6:.1f} MB")
        began = time.perf_counter()
        with log.open() as lines:
            found = check_lines(read_lines(lines), KEYS, LogEvidence())
        told("verify offline", began, f"{found.size} rows, findings {found.findings}")
        size = Path(folder, "registry.db").stat().st_size
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"database {size / 1e6:.0f} MB, most memory {peak / 1e3:.0f} MB")


def told(what: str, began: float, more: str = "") -> None:
    """Print a figure, and the CPU time of the process so far."""
    wall, cpu = time.perf_counter() - began, time.process_time()
    print(f"{what:20} {wall:8.3f} s (CPU so far {cpu:.1f} s)  {more}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
