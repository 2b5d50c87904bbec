"""Does one re-encode run and dies at a request: as it is about to be sent, or when it is answered.

python killed_worker.py SERVER TOKEN request|response PART-OF-THE-PATH
"""

import os
import signal
import sys
from pathlib import Path

import httpx

from deltareg.client import ClientConfig, WorkerClient
from deltareg.signing.key_file import read_key
from deltareg.wire import LeaseRequest


def main(server: str, token: str, at: str, part: str) -> None:
    """Begin the run that is queued, in the working directory."""

    def die(message: httpx.Request | httpx.Response) -> None:
        request = message.request if isinstance(message, httpx.Response) else message
        if part in request.url.path:
            os.kill(os.getpid(), signal.SIGKILL)

    config = ClientConfig(server=server, token=token, cache_dir=Path("cache"), concurrency=1)
    with WorkerClient(config, key=read_key(Path(os.environ["DELTAREG_WORKER_KEY_FILE"]))) as client:
        client._api._http.event_hooks = {at: [die]}
        grant = client.lease(LeaseRequest(worker="w1", what=["reencode"]))
        assert grant is not None
        scratch = Path("scratch")
        scratch.mkdir()
        with client.bases.fetch(grant.base) as base:
            client.complete_reencode(grant.run, client.reencode(grant, base, scratch))


if __name__ == "__main__":
    main(*sys.argv[1:])
