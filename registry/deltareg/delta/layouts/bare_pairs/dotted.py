"""Modules by their dotted names in diffusers."""

from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.bare_pairs.pair_kind import Finder
from deltareg.delta.layouts.bare_pairs.plan import Where

_PARTS = ("unet.", "text_encoder.", "text_encoder_2.", "text_encoder_3.", "transformer.")
_MAIN = ("unet.", "transformer.")


def finder(base: BaseView) -> Finder:
    """Return a finder of modules by dotted name, with or without the pipeline component before it."""

    def find(module: str) -> Where:
        spellings = [module, *(module.removeprefix(p) for p in _PARTS if module.startswith(p))]
        # A file without parts is of the one that makes the image.
        spellings += [f"{part}{module}" for part in _MAIN if base.components]
        tensors = (base.names.tensor(f"{spelling}.weight") for spelling in spellings)
        return next(((tensor,) for tensor in tensors if tensor is not None), ())

    return find
