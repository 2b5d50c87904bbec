"""The worker's child, which does what a hostile delta might make it do before it verifies.

The file `act` in its home names what; without the file it is the child as it is.
"""

import os
from functools import partial
from pathlib import Path

from deltareg_verify.child import main
from deltareg_verify.messages.assignment import Assignment
from deltareg_verify.sandbox import layers
from tests.verify import hostile, leaky

warm = main.warm


def prepare(request):
    act = Path(os.environ["HOME"], "act")
    if not act.exists():
        return main.prepare(request)
    assignment = Assignment.decode(request.partition(b" ")[2])
    return partial(misbehave, assignment, act.read_text())


def misbehave(assignment, act, out):
    """Enter the sandbox as a run does, but for the wall that lets it start processes."""
    leaky.WALLS["calls"]()
    layers.enter(main._bounds(assignment))
    hostile.ACTS[act](out=out, **GIVEN.get(act, {}))


GIVEN: dict[str, dict[str, object]] = {
    "leave_the_session": {"word": "rogue"},
    "multiply": {"word": "rogue", "most": 60},
}
