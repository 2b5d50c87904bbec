"""Labels: what a worker offers, what a run asks for, and whether the one is the other."""

import re
from collections.abc import Mapping

QUANTISED = "quantised"
"""Which schemes a worker unpacks; one of a release that knows no variants offers none."""
RUNS = "runs"
"""Which kinds of runs a worker takes; one of a release that has two kinds less says nothing."""
PROMPTS = "prompts"
"""In which forms a worker gives prompts; one of a release that knows the plain one says nothing."""
GPU, MEMORY = "gpu", "gpu_memory_gib"
ONLY_RUN = "only_run"
"""Kept with a worker that takes one run and no other; nobody can count on it."""


def fits(required: Mapping[str, str], offered: Mapping[str, str]) -> bool:
    """Whether a worker's labels are what a run asks for.

    A worker may list several values, `zone=a,b`. A run may ask for a number of at least so much,
    `cores=>=40`, which is what a GPU's memory always means. A GPU is asked for by words of its
    name in any case: `h100` is offered by `NVIDIA H100 80GB HBM3`, `h20` is not.
    """
    return all(_fits(name, value, offered.get(name, "")) for name, value in required.items())


def is_for_one_run(offered: Mapping[str, str]) -> bool:
    """Whether a worker takes one run and no other."""
    return ONLY_RUN in offered


def tell_labels(labels: Mapping[str, str]) -> str:
    """Write labels for a sentence: `device=cuda, gpu=h100`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def device_class(required: Mapping[str, str]) -> str:
    """Name the hardware that labels ask for, for metrics: `any`, `cpu`, `cuda`, `h100`."""
    wanted = required.get(GPU) or required.get("device") or ("cuda" if MEMORY in required else "")
    return "one" if "worker" in required else wanted.lower() or "any"


def _fits(name: str, required: str, offered: str) -> bool:
    if name == MEMORY or required.startswith(">="):
        return _is_at_least(offered, required.removeprefix(">="))
    if name == GPU:
        words = re.escape(required.lower().strip())
        return re.search(rf"(?<![a-z0-9]){words}(?![a-z0-9])", offered.lower()) is not None
    return required in {value.strip() for value in offered.split(",")}


def _is_at_least(offered: str, least: str) -> bool:
    try:
        return float(offered) >= float(least)
    except ValueError:
        return False
