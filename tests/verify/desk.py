"""A real queue for a worker: the server's own services on SQLite, without HTTP and bytes."""

from dataclasses import dataclass, field

from deltareg.errors import Unavailable
from deltareg.service.registry import Caller, Registry
from deltareg.service.runs.kinds.verify import complete_run
from deltareg.service.runs.leases import claim_lease, fail_run, hold_lease
from deltareg.service.runs.log import append_log
from deltareg.service.runs.runs import show_run
from deltareg_verify.supervisor.materials import Materials
from tests.signers import enrol, sign
from tests.verify.bench import SMOKE, sample_bench


@dataclass
class Desk:
    """What a worker asks of the registry, answered by the services.

    `outages` counts down: so many calls find nobody there. A log finds nobody while `has_no_log`.
    """

    registry: Registry
    caller: Caller
    lease_s: float = 60.0
    outages: int = 0
    has_no_log: bool = False
    calls: list[str] = field(default_factory=list)
    leased: dict[str, tuple] = field(default_factory=dict)

    def lease(self, request):
        self._call("lease")
        key = enrol(self.registry.engine, self.caller.principal_id, self.caller.principal)
        request = request.model_copy(update={"key": str(key.public)})
        grant = claim_lease(self.registry, self.caller, request, lease_s=self.lease_s)
        if grant is not None:
            self.leased[grant.run] = grant, key, request
        return grant

    def heartbeat(self, hold):
        self._call("heartbeat")
        hold_lease(self.registry, self.caller, hold, lease_s=self.lease_s)

    def append_log(self, run_id, lines):
        if self.has_no_log:
            raise Unavailable("nobody answers log")
        append_log(self.registry, self.caller, run_id, lines)

    def complete_run(self, run_id, report):
        self._call("complete")
        grant, key, request = self.leased[run_id]
        report = sign(grant, report, key, worker=request.worker, labels=request.labels)
        return complete_run(self.registry, self.caller, run_id, report)

    def complete_found(self, run_id, report):
        raise AssertionError("no run of this desk finds anything out")

    def fail_run(self, run_id, failure):
        self._call("fail")
        fail_run(self.registry, self.caller, run_id, failure)

    def show(self, run_id):
        return show_run(self.registry, self.caller, run_id)

    def _call(self, name):
        self.calls.append(name)
        if self.outages:
            self.outages -= 1
            raise Unavailable(f"nobody answers {name}")


def unused(*_, **__):
    """Stand where a worker has what no run of the test asks for."""
    raise AssertionError("no run of this test proves anything")


def lay_out(sample, cache_dir, folder):
    """Put a sample's materials into a run's folder, as if they had been pulled."""
    bench = sample_bench(sample, cache_dir)
    (folder / "manifest.json").write_bytes(bench.manifest.encode())
    (folder / "base.json").write_bytes(bench.base.manifest.encode())
    (folder / "suite.json").write_bytes(SMOKE.document)
    return Materials(
        delta=bench.folder.path,
        manifest=folder / "manifest.json",
        base=bench.base.path,
        base_manifest=folder / "base.json",
        model_type="llama",
        base_config=str(bench.base.identity.config),
        base_identity=str(bench.base.identity.whole.identity),
        evidence="shapes",
        suite=SMOKE,
        suite_file=folder / "suite.json",
        probes=folder,
    )
