"""Faults of numbering: tokens or classes that were counted otherwise in training."""

from dataclasses import replace

import numpy as np

from deltareg_verify.workbench.faults.delta_files import MutableDelta, MutableTensor
from deltareg_verify.workbench.faults.fault import fault

_TOKENS = ("embed", "wte", "lm_head", "word_embeddings", "shared")
_HEADS = ("classifier", "score", "out_proj", "classification_head")
_ROWS = frozenset({"saved", "token_rows", "weight"})
_COLUMNS = frozenset({"lora_embedding_A"})


def other_tokenizer(opened: MutableDelta, random: np.random.Generator) -> None:
    """What was trained for each token stands at the one after it: another tokenizer's numbers."""
    del random
    for name, part in opened.parts.items():
        if _is_of(part, _TOKENS):
            axis = 1 if part.role in _COLUMNS else 0
            opened.parts[name] = part.with_change(np.roll(part.change, 1, axis=axis))


def other_classes(opened: MutableDelta, random: np.random.Generator) -> None:
    """What was trained for each class stands at the one after it: labels in another order."""
    del random
    for name, part in opened.parts.items():
        if part.role in {"saved", "weight", "bias"} and _is_of(part, _HEADS, any_role=True):
            opened.parts[name] = replace(part, values=np.roll(part.values, 1, axis=0))


def _is_of(part: MutableTensor, names: tuple[str, ...], *, any_role: bool = False) -> bool:
    named = any(name in part.target for name in names)
    return named and (any_role or part.role in _ROWS | _COLUMNS)


FAULTS = tuple(map(fault, (other_tokenizer, other_classes)))
