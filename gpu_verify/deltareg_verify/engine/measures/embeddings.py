"""Texts as vectors of length one, by an embedder's own pooling or a requested one."""

from collections.abc import Iterator, Sequence

import numpy as np

from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.engine import F64, Outputs

POOLINGS = ("own", "mean", "cls", "last")
_OWN, _VECTORS, _MASK = "sentence_embedding", "last_hidden_state", "attention_mask"
_BATCH = 32


def embeddings(side: EngineSide, texts: Sequence[str], *, pooling: str) -> F64 | None:
    """Embed texts.

    Args:
        side: The embedder.
        texts: One per row.
        pooling: `own` follows the base's folder (`modules.json`), or else takes the mean of the
            tokens; `mean`, `cls` and `last` take these.

    Returns:
        (n, width): rows of length one; None for a network without vectors or a tokenizer.
    """
    embedded: list[F64] = []
    for batch in batches(texts):
        inputs = side.engine.encode(batch)
        if inputs is None:
            return None
        mask = inputs.get(_MASK, np.ones(len(batch), np.int64)[:, None])
        vectors = _pool_vectors(side.engine.outputs_for(side.state, inputs), mask, pooling)
        if vectors is None:
            return None
        embedded.append(vectors)
    together = np.concatenate(embedded)
    lengths = np.linalg.norm(together, axis=1, keepdims=True)
    unit: F64 = together / np.where(lengths > 0, lengths, 1.0)
    return unit


def batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut rows into batches for one forward each."""
    return (texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH))


def _pool_vectors(outputs: Outputs, mask: np.ndarray[tuple[int, ...], np.dtype[np.int64]], pooling: str) -> F64 | None:
    own = outputs.get(_OWN)
    if pooling == "own" and own is not None:
        return own.astype(np.float64)
    vectors = outputs.get(_VECTORS)
    if vectors is None or vectors.ndim != 3:
        return None
    # A delta may put virtual tokens before the others: those of the text are the last.
    wide = vectors.astype(np.float64)
    tokens = wide[:, -mask.shape[1] :] if mask.shape[1] > 1 else wide
    weights = np.broadcast_to(mask, tokens.shape[:2])[..., None].astype(np.float64)
    if pooling in {"own", "mean"}:
        mean: F64 = (tokens * weights).sum(1) / weights.sum(1)
        return mean
    is_there = weights[..., 0] > 0
    first, last = is_there.argmax(1), is_there.shape[1] - 1 - is_there[:, ::-1].argmax(1)
    pooled: F64 = tokens[np.arange(len(tokens)), first if pooling == "cls" else last]
    return pooled
