"""Names that wrappers of a training process have left their mark in; no library finds them again.

FSDP, torch.compile, activation checkpointing and DistributedDataParallel put a module around the
one that they wrap. Where a state dict was taken below them, the wrapper is a part of every name.
"""

from collections.abc import Iterable

from deltareg.errors import Problem

_ANYWHERE = {
    "_fsdp_wrapped_module": "FSDP",
    "_orig_mod": "torch.compile",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
_FIRST = {"module": "DistributedDataParallel"}
_ROOTS = ("base_model", *_ANYWHERE)


def unwrapped(name: str) -> str:
    """Give a name without the parts that wrappers add."""
    parts = [part for part in name.split(".") if part not in _ANYWHERE]
    # `module` is a plain word; it is the wrapper's only before the root that peft writes.
    if len(parts) > 1 and parts[0] in _FIRST and parts[1] in _ROOTS:
        parts = parts[1:]
    return ".".join(parts)


def wrapped_names(names: Iterable[str]) -> list[Problem]:
    """Find names that no library would find, by the wrappers in them."""
    found = sorted(name for name in names if unwrapped(name) != name)
    if not found:
        return []
    parts = found[0].split(".")
    who = next((_ANYWHERE[part] for part in parts if part in _ANYWHERE), _FIRST.get(parts[0], ""))
    told = f"{len(found)} names hold a wrapper of {who}, and no library looks for them there"
    fix = "take it out of the names: deltareg convert PATH --out DIR"
    return [Problem("wrapped_names", told, tensor=found[0], fix=fix)]
