"""What this machine keeps of a server's log: where its last checkpoint lies, and what it verified.

A verification begins where the last one ended, and reads all rows again once it was long ago.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from deltareg.errors import BadSignature
from deltareg.host.shared_files import replace_file
from deltareg.host.token_files import config_dir, token_path
from deltareg.signing.keys import PublicKey
from deltareg.trail.check import LogCheck
from deltareg.trail.checkpoint import open_checkpoint
from deltareg.trail.verified import VerifiedLog

WHOLE_EVERY_S: Final = 7 * 86_400
"""How long rows that were read once are not read again."""


def memory_path(server: str) -> Path:
    """Return the file for a server's last checkpoint, whether it exists or not."""
    return config_dir() / "checkpoints" / f"{token_path(server).name}.json"


def recall_verified(server: str, keys: list[PublicKey]) -> VerifiedLog | None:
    """Return what was verified of a server's log; None for nothing, or if it does not count any more.

    Args:
        server: The server's address.
        keys: The trusted keys: if the one that signed its end is revoked, later rows prove it anew.
    """
    try:
        verified = VerifiedLog.decode(_path(server).read_text(encoding="utf-8"))
        if verified is None or not 0 <= time.time() - verified.whole_at < WHOLE_EVERY_S:
            return None
        open_checkpoint(verified.note, keys)
    except (OSError, UnicodeDecodeError, BadSignature):
        return None
    return verified


def keep_verified(server: str, check: LogCheck, since: VerifiedLog | None) -> None:
    """Keep what a check has verified; nothing if it found something."""
    verified = check.conclude(whole_at=int(time.time()) if since is None else since.whole_at)
    if verified is None:
        forget_verified(server)
        return
    path = _path(server)
    with suppress(OSError):  # where nothing can be kept, all is read each time
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, verified.encode().encode())


def forget_verified(server: str) -> None:
    """Have all rows of a server's log read again."""
    with suppress(OSError):
        _path(server).unlink()


def _path(server: str) -> Path:
    return memory_path(server).with_suffix(".verified")
