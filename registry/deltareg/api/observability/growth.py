"""How much room there was, hour by hour: what says when a disk will be full."""

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

from deltareg.documents.json_values import parse_json
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.service.upkeep.health import registry_health

log = logging.getLogger(__name__)

EVERY_S: Final = 3_600.0
_NAME: Final = "growth.jsonl"
_MOST_BYTES: Final = 2 << 20


@dataclass(frozen=True, slots=True)
class RoomSample:
    """How much there was at a moment.

    Attributes:
        at: When, seconds since 1970.
        free: The free bytes of each disk, by its content.
        stored: Bytes of the packs that are needed.
        database: Bytes of the database.
        versions: How many versions.
    """

    at: float
    free: Mapping[str, int]
    stored: int = 0
    database: int = 0
    versions: int = 0


def sample_room(registry: Registry, disks: Mapping[str, Path], *, now: float) -> RoomSample:
    """Look how much room there is; of the registry nothing is known while the database is away."""
    free = sample_disks(disks)
    try:
        health = registry_health(registry)
    except DeltaregError:
        return RoomSample(now, free)
    return RoomSample(now, free, health.stored["bytes"], health.database_bytes, health.stored["versions"])


def sample_disks(disks: Mapping[str, Path]) -> dict[str, int]:
    """Return the free bytes of each disk whose folder is there."""
    free: dict[str, int] = {}
    for of, folder in disks.items():
        with suppress(OSError):
            free[of] = shutil.disk_usage(folder).free
    return free


def add_sample(folder: Path, sample: RoomSample) -> None:
    """Write a sample down; the older half goes where there are years of them."""
    path = folder / _NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > _MOST_BYTES:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            draft = path.with_suffix(".draft")
            draft.write_text("".join(lines[len(lines) // 2 :]), encoding="utf-8")
            draft.replace(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(sample)) + "\n")
    except OSError as error:
        log.warning("how full the disks are is not recorded in %s: %s", folder, error.strerror)


def read_samples(folder: Path, *, since: float) -> Iterator[RoomSample]:
    """Yield the samples after a time, oldest first; lines that were cut are left out."""
    try:
        file = (folder / _NAME).open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                sample = RoomSample(**cast("dict[str, Any]", parse_json(line)))
                is_new = sample.at >= since
            except (ValueError, TypeError):
                continue
            if is_new:
                yield sample


def newest_at(folder: Path) -> float:
    """Return when the newest sample was taken, seconds since 1970; 0 if there is none."""
    return max((sample.at for sample in read_samples(folder, since=time.time() - 2 * EVERY_S)), default=0.0)
