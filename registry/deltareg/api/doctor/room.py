"""When is the disk full: how the free room fell from day to day, and when it is gone if that goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Final

from deltareg.api.doctor.diagnosis import Diagnosis, moment
from deltareg.api.observability.growth import RoomSample, read_samples
from deltareg.drawing.wording import seconds, size

QUESTION: Final = "When is the disk full?"
_DAY_S: Final = 86_400.0
_LOOK_BACK_S: Final = 30 * _DAY_S
_LEAST_S: Final = 6 * 3_600.0
_SOON_S: Final = 14 * _DAY_S
_FAR_S: Final = 3_650 * _DAY_S


def when_full(folder: Path, now_sample: RoomSample) -> Diagnosis:
    """Answer the question from the server's records and a sample of now."""
    samples = [*read_samples(folder, since=now_sample.at - _LOOK_BACK_S), now_sample]
    lines: list[str] = []
    document: dict[str, object] = {}
    first: tuple[float, str] | None = None
    for of, free in now_sample.free.items():
        points = [(each.at, float(each.free[of])) for each in samples if of in each.free]
        left_s, told = forecast(points, free)
        document[of] = {"free_bytes": free, "full_in_s": left_s}
        lines.append(f"the disk of the {of}: {told}")
        if left_s is not None and (first is None or left_s < first[0]):
            first = left_s, of
    lines += _registry_growth(samples)
    document["stored_bytes"], document["database_bytes"] = now_sample.stored, now_sample.database
    return Diagnosis(QUESTION, [_headline(first, now_sample), *lines], document, first is None or first[0] > _SOON_S)


def forecast(points: Sequence[tuple[float, float]], free: int) -> tuple[float | None, str]:
    """Return in how many seconds a disk is full, None if it is not filling; and that in words.

    Args:
        points: Times and free bytes then, oldest first.
        free: The free bytes now.
    """
    since = points[0][0] if points else 0.0
    span = points[-1][0] - since if points else 0.0
    if span < _LEAST_S:
        return None, f"{size(free)} free; it takes {seconds(_LEAST_S)} of records to say more"
    slope = linear_regression([at - since for at, _ in points], [each for _, each in points]).slope
    if slope >= 0 or free / -slope > _FAR_S:
        return None, f"{size(free)} free, and not filling since {moment(since)}"
    left_s = free / -slope
    a_day = size(-slope * _DAY_S)
    return (
        left_s,
        f"{size(free)} free, {a_day} less each day: full in {seconds(left_s)}, {moment(points[-1][0] + left_s)}",
    )


def _registry_growth(samples: Sequence[RoomSample]) -> list[str]:
    known = [each for each in samples if each.versions or each.stored or each.database]
    if len(known) < 2 or known[-1].at - known[0].at < _LEAST_S:
        return []
    days = (known[-1].at - known[0].at) / _DAY_S
    grown = {name: getattr(known[-1], name) - getattr(known[0], name) for name in ("stored", "database", "versions")}
    return [
        f"each day the registry adds {grown['versions'] / days:.0f} versions, {size(grown['stored'] / days)} of packs"
        f" and {size(grown['database'] / days)} of database"
    ]


def _headline(first: tuple[float, str] | None, now: RoomSample) -> str:
    if first is not None:
        return f"The disk of the {first[1]} is full in {seconds(first[0])} if it goes on like this."
    least: Mapping[str, int] = now.free
    if not least:
        return "This server has no disk of its own that could fill."
    return f"No disk is filling; the fullest has {size(min(least.values()))} left."
