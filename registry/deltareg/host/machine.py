"""This machine, told from others: two processes of it share a name, two machines do not."""

import hashlib
import re
import socket
from pathlib import Path

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_CHARACTERS = 12


def this_host() -> str:
    """Name this machine: its host name, and a part of a hash of its machine id where it has one.

    A container mostly has no id of its own, and a name that is chosen anew at each start: whoever
    starts it says on which machine it is (`DELTAREG_WORKER_HOST`).
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", socket.gethostname().lower()).strip("-._") or "host"
    for path in _MACHINE_IDS:
        try:
            machine_id = path.read_text().strip()
        except OSError:
            continue
        if machine_id:
            digest = hashlib.sha256(f"this host: {machine_id}".encode()).hexdigest()
            return f"{plain[:48]}-{digest[:_CHARACTERS]}"
    return plain[:48]
