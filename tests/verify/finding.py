"""A worker that finds things out for people, in this process, with real children."""

from dataclasses import dataclass
from typing import Any

from deltareg.wire import LeaseRequest
from deltareg_verify.supervisor.base_measures import BaseMeasures
from deltareg_verify.supervisor.materials import MaterialSource
from deltareg_verify.supervisor.options import WorkerOptions
from deltareg_verify.supervisor.stop import StopSignal
from deltareg_verify.supervisor.worker import Worker
from tests.proving import prover_of

LABELS = {"runs": "compare,answer", "prompts": "plain,chat"}


@dataclass
class Finder:
    """Carries out one run at a time, as a worker with these labels."""

    client: Any
    worker: Worker

    def __call__(self, run=None, *, labels=None):
        """Carry out a run, or the first that is there, and give it as it ended."""
        wanted = {"what": ["compare", "answer"]} if run is None else {"run": run.id}
        asked = {"what": [run.what]} if run is not None else {"wait_s": 60}
        request = LeaseRequest(worker="w1", labels=labels or LABELS, **wanted, **asked)
        grant = self.client.lease(request)
        assert grant is not None
        self.worker.handle(grant)
        return self.client.runs.show(grant.run)


def finder(registry, zygote, folder):
    """Make one for a running registry."""
    client = prover_of(registry)
    stock = MaterialSource(client, base_dirs=())
    options = WorkerOptions(
        name="w1",
        gpu="cpu",
        base_dirs=(),
        scratch=folder / "scratch",
        lease_wait_s=0,
        run_timeout_s=120,
        stop_grace_s=0,
        threads=1,
        memory_bytes=0,
    )
    worker = Worker(
        registry=client,
        gather=stock.gather,
        reencode=stock.reencode,
        children=zygote,
        stored=client.bring_stored,
        open_reference=stock.open_reference,
        options=options,
        device="cpu",
        labels=LABELS,
        stop=StopSignal(0.0),
        gather_sides=stock.gather_sides,
        measures=BaseMeasures(client, zygote, options, "cpu", {}),
    )
    return Finder(client, worker)
