"""What starts the workers of a pool: the seam that each engine is one file behind."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_SECRETS = re.compile(r"DELTAREG_(TOKEN|ID_TOKEN(_\d)?)|HF_TOKEN")
_PASSED_ON = ("DELTAREG_", "HF_", "SSL_CERT_")


@dataclass(frozen=True, slots=True)
class PoolWorkers:
    """What an engine is told of the workers that it starts.

    Attributes:
        pool: The pool's name: letters of a to z, digits and dashes.
        words: The command of `deltareg-worker` with its options, without a name.
        environ: Its variables, beside those of where it runs; no secret is among them.
        folder: A folder of the pool's own on this machine, for its lock and for logs.
    """

    pool: str
    words: Sequence[str]
    environ: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, slots=True)
class PoolSize:
    """How many workers a pool has after an engine was told how many are wanted.

    Attributes:
        workers: Those that run or are about to.
        waiting: Those of them that the engine has not begun yet.
        started: Those that it was asked to start just now.
        cancelled: Those that it had not begun, and that are not wanted any more.
    """

    workers: int
    waiting: int = 0
    started: int = 0
    cancelled: int = 0


class PoolEngine(Protocol):
    """Starts workers somewhere. What it has started it knows itself, so whoever asks may be another process."""

    def bring_to(self, wanted: int) -> PoolSize:
        """Start as many workers as are lacking, and cancel what was not begun and is not wanted any more.

        A worker that runs is left alone: it ends by itself when it is idle. There are never more than
        `wanted` workers that may begin, unless that number was higher before.

        Raises:
            Unavailable: The engine does not answer now.
            Misconfigured: It refuses what it is asked for.
        """
        ...


def variables_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process that workers elsewhere get: its settings, and no secret."""
    return {
        name: value for name, value in environ.items() if name.startswith(_PASSED_ON) and not _SECRETS.fullmatch(name)
    }
