"""Copies: the second store gets what it lacks, so that pulls and repairs find it there."""

from deltareg.service.operations.operation import Operation, Place, StepContext, StepOutcome, number_in
from deltareg.service.upkeep.copying import PARTS, copy_part

_EVERY_S, _STEP_BYTES, _STEP_PARTS = 600.0, 64 << 20, 32


def _copy(context: StepContext, place: Place) -> StepOutcome:
    """Copy some parts of the keys, or end at once where there is one store."""
    registry, first_part = context.registry, number_in(place, "part")
    if registry.second is None:
        return StepOutcome(None)
    counts = {"copied": 0, "bytes": 0, "damaged": 0}
    part, end = first_part, min(first_part + _STEP_PARTS, PARTS)
    while part < end and counts["bytes"] < _STEP_BYTES:
        left = _STEP_BYTES - counts["bytes"]
        count = copy_part(registry.store, registry.second, part, most_bytes=left)
        counts["copied"] += count.copied
        counts["bytes"] += count.size_bytes
        counts["damaged"] += count.damaged
        part += count.is_over
    return StepOutcome(
        {"part": part} if part < PARTS else None,
        part - first_part,
        total=PARTS,
        counts={name: number for name, number in counts.items() if number},
    )


COPY = Operation("copy", "copies to the second store what it lacks", _EVERY_S, _copy)
