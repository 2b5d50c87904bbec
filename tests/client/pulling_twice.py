"""Pulls and materializes twice at once, with a cache that other processes use too.

python pulling_twice.py SERVER TOKEN CACHE OUT
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deltareg.client import Client, ClientConfig


def main(server: str, token: str, cache: str, out: str) -> None:
    """Let two threads do the same; an error of either ends the process with it."""
    config = ClientConfig(server=server, token=token, cache_dir=Path(cache))

    def run(number: int) -> None:
        with Client(config) as client:
            client.pull("team/lora:v1")
            client.materialize("team/full:v1", Path(out) / str(number))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))


if __name__ == "__main__":
    main(*sys.argv[1:])
