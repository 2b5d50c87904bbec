"""Makes transformers initialise what no file holds, and nothing that a file does.

It marks loaded parameters and skips them. Some classes fill a row of a parameter, such as that of
the padding token, and a row has no mark: the loaded value would be lost, or, where it is the memory
of a file that may only be read, the process would end.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from transformers import initialization

_MARK = "_is_hf_initialized"
Fill = Callable[..., torch.Tensor]


@cache
def keep_loaded() -> None:
    """Make transformers skip rows of loaded parameters, from now on."""
    fills: dict[str, Fill] = initialization.TORCH_INIT_FUNCTIONS
    for name, fill in list(fills.items()):
        fills[name] = partial(_unless_loaded, fill)


def _unless_loaded(fill: Fill, tensor: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
    whole = tensor._base  # noqa: SLF001  # torch's own name for what a view is of
    if whole is not None and getattr(whole, _MARK, False):
        return tensor
    return fill(tensor, *args, **kwargs)
