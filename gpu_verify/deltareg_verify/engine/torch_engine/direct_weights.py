"""Modules whose weight a network computes with itself, without running them.

A mixer of Mamba multiplies with `self.dt_proj.weight`, a router with `self.classifier.weight`. A hook on such a
module never fires, so a change of its weight is put in place as a weight.
"""

import inspect
import re
from collections.abc import Collection, Hashable, Mapping
from functools import cache
from typing import cast

from torch import nn
from transformers import PreTrainedModel

_READ = re.compile(r"\bself\.(\w+)\.weight\b")


def find_read_directly(network: nn.Module, places: Mapping[str, Collection[str]]) -> Collection[str]:
    """Return the parameters whose module does not run.

    Args:
        network: The whole network.
        places: The places in it of each parameter.
    """
    modules = {name: [at.rpartition(".")[0] for at in own] for name, own in places.items()}
    return {name for name, paths in modules.items() if any(is_read_directly(network, path) for path in paths)}


def is_read_directly(network: nn.Module, path: str) -> bool:
    """Whether the module above one reads its weight, by the source of its class.

    Args:
        network: The whole network.
        path: A module of it.
    """
    above, _, name = path.rpartition(".")
    parent = network.get_submodule(above)
    # A whole network names weights to tie or to start them, and runs the modules.
    return not isinstance(parent, PreTrainedModel) and name in _names_read(cast("Hashable", type(parent)))


@cache
def _names_read(module_class: Hashable) -> frozenset[str]:
    try:
        return frozenset(_READ.findall(inspect.getsource(cast("type[nn.Module]", module_class))))
    except (OSError, TypeError):  # no source at hand
        return frozenset()
