"""Faults of amount: all of the delta, too much of it or too little."""

import numpy as np

from deltareg_verify.workbench.faults.delta_files import MutableDelta
from deltareg_verify.workbench.faults.fault import fault


def scaled_up(opened: MutableDelta, random: np.random.Generator) -> None:
    """The whole change is four times as large."""
    _scale(opened, 4, random)


def applied_twice(opened: MutableDelta, random: np.random.Generator) -> None:
    """The whole change is there twice, as when a merged model is merged again."""
    _scale(opened, 2, random)


def scaled_down(opened: MutableDelta, random: np.random.Generator) -> None:
    """The whole change is an eighth of what it was."""
    _scale(opened, 1 / 8, random)


def half_trained(opened: MutableDelta, random: np.random.Generator) -> None:
    """The change is half way to what training came to: the run was cut short."""
    _scale(opened, 0.5, random)


def sign_turned(opened: MutableDelta, random: np.random.Generator) -> None:
    """The change has the other sign: it was subtracted where it should be added."""
    _scale(opened, -1, random)


def _scale(opened: MutableDelta, factor: float, random: np.random.Generator) -> None:
    del random
    for name, part in list(opened.proportional()):
        opened.parts[name] = part.with_change(part.change * np.float32(factor))


FAULTS = tuple(map(fault, (scaled_up, applied_twice, scaled_down, half_trained, sign_turned)))
