"""Tensor names that contain wrappers of a training process; no library finds them again.

FSDP, torch.compile, activation checkpointing and DistributedDataParallel put a module around the
one that they wrap. If the state dict was taken with them in place, every name contains the wrapper.
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
_PEFT = "base_model.model."


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return names without the parts that wrappers add, by original name."""
    plain_by_name = {name: _plain(name) for name in names}
    # `module` is a plain word; it is the wrapper's before the root that peft writes, or where all
    # begin with it.
    for root in ("", _PEFT):
        first = f"{root}module."
        if plain_by_name and all(plain.startswith(first) for plain in plain_by_name.values()):
            return {name: root + plain.removeprefix(first) for name, plain in plain_by_name.items()}
    return plain_by_name


def wrapped_names(names: Iterable[str], own: Iterable[str] = ()) -> list[Problem]:
    """Find names that no library would find because of wrappers in them.

    Args:
        names: The delta's.
        own: The base's; if they have the same parts, nothing was wrapped.
    """
    wrapped = sorted(name for name, plain in plain_names(names).items() if plain != name)
    if not wrapped or any(plain != name for name, plain in plain_names(own).items()):
        return []
    parts = wrapped[0].removeprefix(_PEFT).split(".")
    wrapper = next((_ANYWHERE[part] for part in parts if part in _ANYWHERE), _FIRST.get(parts[0], ""))
    message = f"{len(wrapped)} names hold a wrapper of {wrapper}, and no library looks for them there"
    fix = "take it out of the names: deltareg convert PATH --out DIR"
    return [Problem("wrapped_names", message, tensor=wrapped[0], fix=fix)]


def _plain(name: str) -> str:
    parts = [part for part in name.split(".") if part not in _ANYWHERE]
    if len(parts) > 1 and parts[0] in _FIRST and parts[1] in _ROOTS:
        parts = parts[1:]
    return ".".join(parts)
