"""A name for this machine: its processes share it, other machines have another."""

import hashlib
import re
import socket
from pathlib import Path

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_CHARACTERS = 12


def this_host() -> str:
    """Return this machine's name: its host name, and part of a hash of its machine id if any.

    Most containers have no id of their own and a new name at each start: `DELTAREG_WORKER_HOST`
    then names the machine.
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
