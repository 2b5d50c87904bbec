"""How the vectors of tokens become one, as sentence-transformers does it (6.2, `Pooling`)."""

# torch is typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable, Sequence

import torch

_LEAST = 1e-9  # tokens that a text counts at least


def pool(vectors: torch.Tensor, mask: torch.Tensor, *, modes: Sequence[str]) -> torch.Tensor:
    """Pool vectors (texts, tokens, width) in each of some ways, with the results side by side.

    Args:
        vectors: The vectors of all tokens.
        mask: One where a token counts, else zero (texts, tokens).
        modes: Some of `MODES`.
    """
    return torch.cat([_MODES[mode](vectors, mask) for mode in modes], dim=-1)


def _cls(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _at(vectors, mask.to(torch.int32).argmax(dim=1))


def _last(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    values, back = mask.to(torch.int32).flip(1).max(dim=1)
    length = vectors.shape[1]
    back = torch.where(values == 0, length - 1, back)
    return _at(vectors * mask.unsqueeze(-1).to(vectors.dtype), length - 1 - back)


def _max(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return vectors.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(dim=1).values


def _mean(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _over(vectors, mask, _count(mask, vectors))


def _mean_of_root(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _over(vectors, mask, _count(mask, vectors).sqrt())


def _pool_weighted(vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Weight tokens by their place, counted from the first that is not padding."""
    dtype = _exact(vectors.dtype)
    places = torch.arange(1, vectors.shape[1] + 1, device=vectors.device, dtype=dtype)
    first = mask.to(torch.int32).argmax(dim=1)
    weights = mask.to(dtype) * (places.unsqueeze(0) - first.unsqueeze(1))
    total = weights.sum(dim=1, keepdim=True).clamp(min=_LEAST)
    summed = (vectors * weights.unsqueeze(-1)).sum(dim=1)
    return (summed / total).to(vectors.dtype)


def _at(vectors: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return vectors[torch.arange(vectors.shape[0], device=vectors.device), places]


def _over(vectors: torch.Tensor, mask: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).to(vectors.dtype)
    summed = (vectors * weights).sum(dim=1, dtype=_exact(vectors.dtype))
    return (summed / count).to(vectors.dtype)


def _count(mask: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return mask.sum(dim=1, keepdim=True, dtype=_exact(vectors.dtype)).clamp(min=_LEAST)


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in {torch.float16, torch.bfloat16} else dtype


_MODES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_of_root,
    "weightedmean": _pool_weighted,
    "lasttoken": _last,
}
MODES = frozenset(_MODES)
"""Names of the ways, as `pooling_mode` has them."""
