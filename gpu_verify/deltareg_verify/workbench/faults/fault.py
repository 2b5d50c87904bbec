"""What a fault is: a function that changes an opened delta in place."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deltareg_verify.workbench.faults.delta_files import MutableDelta

Inject = Callable[[MutableDelta, np.random.Generator], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a delta.

    A delta that has nothing for a fault to work on is left as it is, and the fault does not apply.

    Attributes:
        name: The name that people choose it by.
        about: What happened to the delta, in a sentence.
        inject: Breaks the delta.
    """

    name: str
    about: str
    inject: Inject


def fault(inject: Inject) -> Fault:
    """Build a fault from a function: its name, and the sentence of its docstring."""
    about = (inject.__doc__ or "").strip().splitlines()[0]
    return Fault(inject.__name__.replace("_", "-"), about, inject)
