"""A process that numbers and delivers, quicker than a server does, until it is killed.

Arguments: the database, the file of the key, how long its lease lasts.
"""

import sys
import threading
from ipaddress import ip_network
from pathlib import Path

from deltareg.api.telling import Pace, telling
from deltareg.db.session import create_engine
from deltareg.service.registry import Registry
from deltareg.signing.secret_box import read_or_make_box
from deltareg.store.memory import MemoryStore


def main(url, key, lease_s):
    registry = Registry(
        create_engine(url), MemoryStore(), box=read_or_make_box(Path(key)), networks=(ip_network("127.0.0.0/8"),)
    )
    pace = Pace(look_s=0.05, lease_s=float(lease_s), timeout_s=3, pauses_s=(0.2,) * 10_000, give_up_s=3600)
    with telling(registry, pace):
        print("ready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
