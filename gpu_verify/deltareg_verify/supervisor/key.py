"""The worker's own key: made in its home at the first start, and enrolled by an admin."""

import logging
from dataclasses import dataclass
from pathlib import Path

from deltareg.host.machine import this_host
from deltareg.signing.key_file import read_or_make_key
from deltareg.signing.keys import KeyText, SigningKey, parse_host

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerIdentity:
    """What a worker signs with, and the machine that it says it is on."""

    key: SigningKey
    host: str

    @property
    def text(self) -> str:
        """The public half, as it is written to whoever enrols it."""
        return str(KeyText(self.key.public, self.host))


def identity_of(key_file: Path, host: str, *, is_for_one_run: bool) -> WorkerIdentity:
    """Give what a worker signs with; a key that is not there is made.

    A worker that somebody starts for one run of theirs has a key for that, which is kept nowhere
    unless they name a file.

    Args:
        key_file: Where the key is kept.
        host: What the machine is called; empty to ask it.
        is_for_one_run: Whether it takes one run and no other.

    Raises:
        Misconfigured: The file holds no key, others can read it, or it cannot be written.
        InvalidInput: That is no name of a host.
    """
    where = parse_host(host) if host else this_host()
    if is_for_one_run and not key_file.exists():
        return WorkerIdentity(SigningKey.generate(), where)
    key, is_new = read_or_make_key(key_file)
    if is_new:
        log.info("made this worker's key in %s", key_file)
    return WorkerIdentity(key, where)
