"""Rows of samples as a network is trained on them: inputs with labels, padded on the right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deltareg.suites.samples import Samples
from deltareg_verify.engine.engine import DeltaEngine, Tokenizer
from deltareg_verify.engine.measures.targets import following

IGNORED = -100
_MOST_TOKENS = 256
_START = "decoder_start_token_id"


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows to learn from, or to be measured on.

    Attributes:
        form: `causal`: labels are tokens of the inputs; `paired`: tokens to be written; `classes`:
            one class a row.
        inputs: By parameter of the forward; the first dimension is the row.
        labels: (n, m) tokens, -100 for none; or (n,) classes.
    """

    form: Literal["causal", "paired", "classes"]
    inputs: Mapping[str, NDArray[np.generic]]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.labels)

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> "TrainingRows":
        """Return the rows with these numbers."""
        at = np.asarray(rows, np.int64)
        return TrainingRows(self.form, {name: value[at] for name, value in self.inputs.items()}, self.labels[at])


def training_rows(engine: DeltaEngine, samples: Samples) -> TrainingRows | None:
    """Encode samples as their network learns from them; None where it has no loss on such samples.

    A text with a target teaches the target alone, a text without teaches all of it.
    """
    words = engine.tokenizer()
    if samples.texts and words is not None and samples.labels is None:
        return _build_continuing(words, samples)
    inputs = engine.encode(samples.texts) if samples.texts else samples.arrays
    if not inputs:
        return None
    if samples.labels is not None:
        return TrainingRows("classes", inputs, samples.labels)
    vocabulary = engine.vocabulary()
    if not samples.targets or vocabulary is None or _START not in engine.config:
        return None
    start = engine.config[_START]
    tokens = [vocabulary.encode(target) for target in samples.targets]
    tokens = [one[1:] if len(one) > 1 and one[0] == start else one for one in tokens]
    return TrainingRows("paired", inputs, _pad([one[:_MOST_TOKENS] for one in tokens], IGNORED))


def _build_continuing(words: Tokenizer, samples: Samples) -> TrainingRows | None:
    most = min(_MOST_TOKENS, words.most)
    ids: list[Sequence[int]] = []
    labels: list[Sequence[int]] = []
    for text, target in zip(samples.texts, samples.targets or ("",) * len(samples), strict=True):
        before, after = following(words, text, target) if target else ((), words.encode(text))
        # Of a long text the end counts: that is where the target stands.
        ids.append([*before, *after][-most:])
        labels.append([*[IGNORED] * len(before), *after][-most:])
    if not any(len(one) > 1 for one in ids):
        return None
    inputs = {"input_ids": _pad(ids, 0), "attention_mask": _pad([[1] * len(one) for one in ids], 0)}
    return TrainingRows("causal", inputs, _pad(labels, IGNORED))


def _pad(rows: Sequence[Sequence[int]], filler: int) -> NDArray[np.int64]:
    longest = max(map(len, rows))
    return np.array([[*row, *[filler] * (longest - len(row))] for row in rows], np.int64)
