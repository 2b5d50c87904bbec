"""Workers without work: `crowd.py COUNT` lets so many wait for a run at once, for ever."""

import asyncio
import os
import sys
from pathlib import Path

import httpx

from deltareg.client.config import load_config
from deltareg.signing.key_file import read_key
from deltareg.wire import API

_WAIT_S = 30
KEY = str(read_key(Path(os.environ["DELTAREG_WORKER_KEY_FILE"])).public)


async def main(count):
    config = load_config().config
    headers = {"Authorization": f"Bearer {config.token}"}
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(
        base_url=config.server + API, headers=headers, timeout=_WAIT_S + 30, limits=limits
    ) as client:
        await asyncio.gather(*(wait(client, f"idle-{number}") for number in range(count)))


async def wait(client, name):
    while True:
        answer = await client.post("/leases", json={"worker": name, "labels": {}, "wait_s": _WAIT_S, "key": KEY})
        answer.raise_for_status()
        print("waited", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
