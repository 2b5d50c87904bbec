"""A scripted worker: `worker.py NAME WORK_S WAIT_S` leases runs over HTTP and answers each "pass".

It does what a worker does towards the registry, in milliseconds instead of with weights: lease,
work for a while without a heartbeat, complete. Each step is a line on its standard output:
`STEP seconds run fence`; a step is told after the server has acknowledged it.
"""

import os
import random
import sys
import time
from pathlib import Path

from deltareg.client import WorkerClient
from deltareg.client.config import load_config
from deltareg.errors import DeltaregError, LeaseLost, Unavailable
from deltareg.gate.verifier import VERIFIER
from deltareg.signing.key_file import read_key
from deltareg.suites.suite import built_in
from deltareg.wire import CheckResult, LeaseRequest, VerdictReport


def main(name, work_s, wait_s):
    with WorkerClient(load_config().config, key=read_key(Path(os.environ["DELTAREG_WORKER_KEY_FILE"]))) as client:
        say("ready")
        while True:
            try:
                grant = client.lease(LeaseRequest(worker=name, wait_s=wait_s))
            except Unavailable:
                time.sleep(0.1)
                continue
            if grant is not None:
                work(client, grant, work_s)


def work(client, grant, work_s):
    say("leased", grant.run, grant.fence)
    time.sleep(work_s * random.uniform(0.5, 1.5))
    say("reporting", grant.run, grant.fence)
    while True:
        try:
            verdict = client.complete_run(grant.run, report(grant))
        except LeaseLost:
            say("lost", grant.run, grant.fence)
        except Unavailable:
            continue
        except DeltaregError as error:
            say("refused", grant.run, grant.fence, error.message.replace(" ", "_"))
        else:
            say("completed", grant.run, grant.fence, verdict.id)
        return


def report(grant):
    checks = [CheckResult(name=spec.name, verdict="pass") for spec in built_in(grant.suite).checks]
    return VerdictReport(
        fence=grant.fence,
        verdict="pass",
        verifier=VERIFIER,
        suite_digest=grant.suite_digest,
        dtype="float32",
        seed=built_in(grant.suite).seed,
        base_evidence="exact",
        checks=checks,
        environment={"device": "none"},
        base_identity=grant.base.identity,
        storage_revision=grant.storage_revision,
    )


def say(step, *facts):
    print(step, f"{time.time():.6f}", *facts, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
