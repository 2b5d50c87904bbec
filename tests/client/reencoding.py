"""A worker's moves on a re-encode run, through the client as the worker makes them."""

import tempfile
from pathlib import Path

from deltareg.wire import LeaseRequest
from tests.proving import prove_one

WORKER = ("read", "verify")


def claim(client, *, name="w1"):
    """Ask for a re-encode run."""
    return client.lease(LeaseRequest(worker=name, what=["reencode"]))


def carry_out(client, grant):
    """Encode the version of a run anew and send it; give the report that ends the run."""
    with tempfile.TemporaryDirectory() as scratch, client.bases.fetch(grant.base) as base:
        return client.reencode(grant, base, Path(scratch))


def work(client, prover=None, *, name="w1"):
    """Do one re-encode run to its end and give it; `prover` proves what it proposes."""
    grant = claim(client, name=name)
    assert grant is not None, "no re-encode run is queued"
    done = client.complete_reencode(grant.run, carry_out(client, grant))
    if prover is not None and done.proof_run:
        prove_one(prover, done.proof_run)
    return done
