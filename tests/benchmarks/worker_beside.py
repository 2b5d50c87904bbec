"""A worker with a token of its own, for benchmarks whose client is an admin's."""

from dataclasses import replace

from deltareg.client import WorkerClient
from deltareg.wire import TokenCreate


def worker_beside(client):
    """Make the client of a worker that is somebody else than who pushes."""
    wanted = TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"])
    token = client.tokens.create(wanted).token
    return WorkerClient(replace(client.config, token=token))
