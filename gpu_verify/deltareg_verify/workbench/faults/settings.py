"""Faults of the config: the tensors are right, and the config is of another run."""

import numpy as np

from deltareg_verify.workbench.faults.delta_files import MutableDelta
from deltareg_verify.workbench.faults.fault import fault

_ALPHAS = ("lora_alpha", "alpha")


def wrong_alpha(opened: MutableDelta, random: np.random.Generator) -> None:
    """The config says a quarter of the alpha that the training had."""
    del random
    for key in _ALPHAS:
        before = opened.config.get(key)
        if isinstance(before, (int, float)) and before:
            opened.config[key] = before / 4


def other_scaling(opened: MutableDelta, random: np.random.Generator) -> None:
    """The config says the other way to scale by the rank."""
    del random
    before = opened.config.get("use_rslora")
    if isinstance(before, bool) and opened.config.get("r", 0) != 1:
        opened.config["use_rslora"] = not before


FAULTS = tuple(map(fault, (wrong_alpha, other_scaling)))
