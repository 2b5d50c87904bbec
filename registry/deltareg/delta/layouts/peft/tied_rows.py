"""Rows of an embedding that a head shares: what the library serves is not always one function.

A head that shares the embedding gets the same rows. Until they are merged the library computes it
without its bias; after merging, with it.
"""

from deltareg.delta.kind import BaseView
from deltareg.errors import Problem

_WEIGHT = ".weight"


def two_readings(path: str, tensor: str, base: BaseView) -> list[Problem]:
    """Find a bias that the library leaves out or adds, by whether the rows are merged.

    Args:
        path: The embedding's weight.
        tensor: The delta's tensor that holds the rows.
        base: The base.
    """
    for twin in base.names.sharers(path).values():
        bias = f"{twin.removesuffix(_WEIGHT)}.bias"
        if twin.endswith(_WEIGHT) and (base.names.tensor(bias) or base.names.stored_twin(bias)):
            told = f"{twin} shares these rows, and the library computes it without {bias} until"
            fix = "merge them with the library and push that, or train the embedding as a whole"
            return [Problem("ambiguous", f"{told} they are merged", tensor=tensor, fix=fix)]
    return []
