"""What was left undone, by earlier releases or by proofs that died: done bit by bit, beside everything else."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, in_stages
from deltareg.service.push.backlog import settle_some_claims
from deltareg.service.registry import Registry
from deltareg.service.runs.dead_proofs import ask_again
from deltareg.service.upkeep.recorded_pieces import offer_some_pieces
from deltareg.service.upkeep.settling import settle_some_storage
from deltareg.service.upkeep.unmeasured import measure_some_versions
from deltareg.service.upkeep.unread_cards import read_some_cards
from deltareg.service.upkeep.unread_weights import read_some_weights

_STAGES: Final[Mapping[str, Callable[[Registry], int]]] = {
    "places of pieces": offer_some_pieces,
    "claims without a proof": settle_some_claims,
    "proofs that died": ask_again,
    "weights of versions": read_some_weights,
    "cards of versions": read_some_cards,
    "sizes of cold pulls": measure_some_versions,
    "storage of lines": lambda registry: settle_some_storage(registry.engine),
}


def _backfill(context: StepContext, place: Place) -> StepOutcome:
    """Do a batch of the first stage that has one."""
    return in_stages({name: partial(some, context.registry) for name, some in _STAGES.items()}, place)


BACKFILL = Operation("backfill", "does what was left undone", DAY_S / 24, _backfill, is_due_at_start=True)
