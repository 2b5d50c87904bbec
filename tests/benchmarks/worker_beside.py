"""An enrolled worker beside a benchmark whose client is an admin's: a client, or a process."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

from deltareg.client import WorkerClient
from deltareg.wire import TokenCreate
from tests.fixtures.processes import until
from tests.signers import key_file, key_of


def worker_beside(client):
    """Make the client of a worker that is somebody else than who pushes."""
    config = replace(client.config, token=_token(client))
    return WorkerClient(config, key=key_of("worker"), host="here")


@contextmanager
def worker_process(client, server, folder, *options):
    """Run a worker until the end, with more options; gives its process once it asks for work."""
    environ = {
        **os.environ,
        "DELTAREG_TOKEN": _token(client),
        "DELTAREG_SERVER": server.url,
        "DELTAREG_CACHE_DIR": str(folder / "worker-cache"),
        "DELTAREG_WORKER_KEY_FILE": str(key_file(folder)),
        "DELTAREG_WORKER_HOST": "here",
    }
    command = [
        sys.executable,
        "-m",
        "deltareg_verify",
        "run",
        "--server",
        server.url,
        "--gpu",
        "cpu",
        "--scratch",
        str(folder / "scratch"),
        *options,
    ]
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        until(lambda: client.runs.workers().items, "the worker asks for work")
        yield worker
    finally:
        worker.terminate()
        worker.wait(30)


def _token(client):
    client.keys.enrol("worker", str(key_of("worker").public), host="here")
    wanted = TokenCreate(principal="worker", kind="wrk", scopes=["read", "verify"], everywhere=True)
    return client.tokens.create(wanted).token
