"""Trainable tokens: a few rows of an embedding with new values, the row numbers in the config.

The stored rows are the new ones, whatever their name says. A head that shares the embedding's
tensor goes along, because the library adapts both; one that is adapted itself gets its own copy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from deltareg.delta.kind import BaseView, Effect, WeightUpdate
from deltareg.delta.layouts.peft.config import Fields
from deltareg.delta.layouts.peft.peft_kind import PeftKind, Site
from deltareg.delta.layouts.plain_weights import stored_twice
from deltareg.delta.maths.updates import RowReplacement
from deltareg.tensors.header import FLOAT_DTYPES

_MARKER = "trainable_tokens_delta"
_ROWS = "token_rows"


@dataclass(frozen=True, slots=True)
class TrainableTokens:
    """Which tokens were trained.

    Attributes:
        token_indices: Row numbers, in the order of the stored rows.
    """

    token_indices: tuple[int, ...]


def read(fields: Fields) -> TrainableTokens:
    """Read the row numbers."""
    fields.ignore("init_weights")
    value = fields.value("token_indices")
    entries = cast("list[object]", value) if isinstance(value, list) else []
    rows = tuple(n for n in entries if isinstance(n, int) and not isinstance(n, bool) and n >= 0)
    if not rows or len(set(rows)) != len(entries):
        fields.refuse("token_indices", "is not a list of distinct row numbers")
    return TrainableTokens(rows)


def effects(site: Site, settings: TrainableTokens) -> Iterable[Effect]:
    """Replace the rows, in a stored twin as well."""
    tensor, rows, shape = site.tensors[_ROWS], settings.token_indices, site.shape
    if tensor.shape != (len(rows), *shape[1:]) or tensor.dtype not in FLOAT_DTYPES:
        message = f"{tensor.dtype} {list(tensor.shape)} are not {len(rows)} rows of {list(shape)}"
        raise site.refuse("shape", f"{message}, {site.target}", _ROWS)
    if max(rows) >= shape[0]:
        message = f"token_indices names row {max(rows)}, and {site.target} has {shape[0]}"
        raise site.refuse("shape", message, _ROWS, "check the base, and whether it was resized")
    update = RowReplacement(rows, tensor)
    yield site.changes(update)
    for twin in _stored_twins(site.target, site.base):
        yield WeightUpdate(twin, update, {}, shape=site.grown)


def _stored_twins(target: str, base: BaseView) -> list[str]:
    """Return the names under which files store this tensor again although the network shares it."""
    return [name for group in stored_twice(base) if target in group for name in group if name != target]


TOKENS = PeftKind("tokens", "", "TRAINABLE_TOKENS", {(_MARKER, ""): _ROWS}, read, effects, with_twins=True)
