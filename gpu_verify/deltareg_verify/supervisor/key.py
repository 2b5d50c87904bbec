"""The worker's own key: created in its home at the first start, and enrolled by an admin."""

import logging
from dataclasses import dataclass
from pathlib import Path

from deltareg.host.machine import this_host
from deltareg.signing.key_file import read_or_make_key
from deltareg.signing.keys import KeyText, SigningKey, parse_host

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerIdentity:
    """A worker's signing key, and the machine that it claims to run on."""

    key: SigningKey
    host: str

    @property
    def text(self) -> str:
        """The public half, as text for whoever enrols it."""
        return str(KeyText(self.key.public, self.host))


def identity_of(key_file: Path, host: str, *, is_for_one_run: bool) -> WorkerIdentity:
    """Return a worker's identity; a missing key is created.

    A worker that somebody starts for a single run has a key for that run, which is stored nowhere
    unless they name a file.

    Args:
        key_file: The file of the key.
        host: The machine's name; empty to ask the machine.
        is_for_one_run: Whether it takes one run and no other.

    Raises:
        Misconfigured: The file holds no key, others can read it, or it cannot be written.
        InvalidInput: The host's name is not valid.
    """
    where = parse_host(host) if host else this_host()
    if is_for_one_run and not key_file.exists():
        return WorkerIdentity(SigningKey.generate(), where)
    key, is_new = read_or_make_key(key_file)
    if is_new:
        log.info("made this worker's key in %s", key_file)
    return WorkerIdentity(key, where)
