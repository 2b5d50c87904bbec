"""What is left of versions whose bytes are gone is put away: nobody finds, pulls or restores them any more."""

from functools import partial

from deltareg.db.session import with_retry
from deltareg.db.upkeep.leftovers import put_away_some
from deltareg.service.operations.operation import DAY_S, Operation, Place, StepContext, StepOutcome

_MOST = 200


def _archive(context: StepContext, _place: Place) -> StepOutcome:
    """Put away a batch."""
    done = len(with_retry(context.registry.engine, partial(put_away_some, limit=_MOST)))
    return StepOutcome({"again": True} if done else None, done, counts={"versions": done} if done else {})


ARCHIVE = Operation("archive", "puts away what is left of versions whose bytes are gone", DAY_S, _archive)
