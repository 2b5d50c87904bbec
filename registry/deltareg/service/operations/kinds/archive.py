"""What is left of versions whose bytes are gone is put away: nobody finds, pulls or restores them any more."""

from functools import partial

from deltareg.db.session import with_retry
from deltareg.db.upkeep.leftovers import drop_marks, put_away_some
from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome, in_stages

_MOST = 200


def _archive(context: StepContext, place: Place) -> StepOutcome:
    """Put away a batch, and after the last the marks of what they offered."""
    engine = context.registry.engine
    return in_stages(
        {
            "versions": lambda: len(with_retry(engine, partial(put_away_some, limit=_MOST))),
            "marks": lambda: with_retry(engine, partial(drop_marks, limit=_MOST)),
        },
        place,
    )


ARCHIVE = Operation("archive", "puts away what is left of versions whose bytes are gone", DAY_S, _archive)
