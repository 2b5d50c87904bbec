"""A worker's moves on a re-encode run, through the client as the worker makes them."""

import tempfile
from pathlib import Path

from deltareg.wire import LeaseRequest

WORKER = ("read", "verify")


def claim(client, *, name="w1"):
    """Ask for a re-encode run."""
    return client.lease(LeaseRequest(worker=name, what=["reencode"]))


def carry_out(client, grant):
    """Encode the version of a run anew and send it; give the report that ends the run."""
    with tempfile.TemporaryDirectory() as scratch, client.bases.fetch(grant.base) as base:
        return client.reencode(grant, base, Path(scratch))


def work(client, *, name="w1"):
    """Do one re-encode run to its end and give it."""
    grant = claim(client, name=name)
    assert grant is not None, "no re-encode run is queued"
    return client.complete_reencode(grant.run, carry_out(client, grant))
