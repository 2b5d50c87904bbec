"""Writes what a server records for `server doctor`: slow requests, and every hour the room on its disks."""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deltareg.api.background import running
from deltareg.api.observability.growth import EVERY_S, add_sample, newest_at, sample_room
from deltareg.api.observability.slow_requests import SlowRequestFiles
from deltareg.service.registry import Registry

_WRITTEN_EVERY_S: Final = 2.0


@contextmanager
def recording(
    slow: SlowRequestFiles,
    folder: Path,
    registry: Registry,
    disks: Mapping[str, Path],
    *,
    clock: Callable[[], float] = time.time,
) -> Generator[None, None, None]:
    """Record while the block lasts, in a thread.

    Args:
        slow: The slow requests.
        folder: Where samples of the room on disks are kept.
        registry: Of which they tell the size.
        disks: The disks, by their content.
        clock: Returns seconds since 1970.
    """

    def work(ended: threading.Event) -> None:
        sampled = newest_at(folder)
        while not ended.wait(_WRITTEN_EVERY_S):
            slow.write()
            if not 0 <= clock() - sampled < EVERY_S:
                sampled = clock()
                add_sample(folder, sample_room(registry, disks, now=sampled))

    try:
        with running(work, name="recording"):
            yield
    finally:
        slow.write()
