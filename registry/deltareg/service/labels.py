"""Labels: what a worker offers, what a run asks for, and whether they match."""

import re
from collections.abc import Mapping

QUANTISED = "quantised"
"""Which schemes a worker unpacks; one of a release that knows no variants offers none."""
RUNS = "runs"
"""Which kinds of runs a worker takes; one of a release that has two kinds less says nothing."""
PROMPTS = "prompts"
"""In which forms a worker gives prompts; one of a release that knows the plain one says nothing."""
GPU, MEMORY = "gpu", "gpu_memory_gib"
POOL = "pool"
"""Which pool a worker is of, where an engine starts and stops it by the queue."""
ONLY_RUN = "only_run"
"""Kept with a worker that takes one run and no other; nobody can count on it."""


def fits(required: Mapping[str, str], offered: Mapping[str, str]) -> bool:
    """Whether a worker's labels satisfy what a run asks for.

    A worker may list several values, `zone=a,b`. A run may ask for a minimum, `cores=>=40`; for GPU
    memory the value is always a minimum. A GPU is matched by words of its name in any case: `NVIDIA
    H100 80GB HBM3` offers `h100`, but not `h20`.
    """
    return all(_fits(name, value, offered.get(name, "")) for name, value in required.items())


def is_for_one_run(offered: Mapping[str, str]) -> bool:
    """Whether a worker takes a single run and no other."""
    return ONLY_RUN in offered


def tell_labels(labels: Mapping[str, str]) -> str:
    """Format labels for a sentence: `device=cuda, gpu=h100`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def device_class(required: Mapping[str, str]) -> str:
    """Return the hardware that labels ask for, for metrics: `any`, `cpu`, `cuda`, `h100`."""
    device = required.get(GPU) or required.get("device") or ("cuda" if MEMORY in required else "")
    return "one" if "worker" in required else device.lower() or "any"


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
