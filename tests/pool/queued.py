"""A registry with verifications that wait for workers of a pool, and how they ended."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tests.faults.ledger import Ledger
from tests.faults.payloads import BASE, payload

LEASE_S = 8.0


class QueuedRegistry:
    """A server with a queue, and what a keeper of a pool needs to reach it."""

    def __init__(self, processes, database_url, versions):
        self.processes, self.database_url = processes, database_url
        self.server = processes.api(database_url=database_url, lease_s=LEASE_S).start()
        folder = processes.folder
        self.token_file = folder / "worker-token"
        self.token_file.write_text(self.server.worker_token(folder / "cache"))
        self.token_file.chmod(0o600)
        with self.server.client(folder / "cache") as client:
            client.bases.push(BASE, "tiny")
        self.push(range(versions))

    def push(self, numbers):
        """Push versions of lines of their own, each of which queues a proof and a verification."""
        with self.server.client(self.processes.folder / "cache") as client, ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: self._push(client, number), numbers))

    def _push(self, client, number):
        client.push(payload(self.processes.folder, number), f"lab/line-{number}", base="tiny")

    def keeper(self, *words, **variables):
        """Start `deltareg worker pool` with these words."""
        program = Path(sys.executable).with_name("deltareg")
        environ = self.processes.environ(
            "keeper",
            DELTAREG_SERVER=self.server.url,
            DELTAREG_TOKEN_FILE=str(self.token_file),
            DELTAREG_WORKER_THREADS="1",
            DELTAREG_WORKER_MEMORY_BYTES="0",
            **variables,
        )
        return self.processes.start("keeper", str(program), "worker", "pool", *words, environ=environ)

    def runs(self):
        with closing(Ledger(self.database_url)) as ledger:
            return ledger.runs()

    def left(self):
        """Count the runs that are not over."""
        return sum(run.state in {"queued", "running"} for run in self.runs())
