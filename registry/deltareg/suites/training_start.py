"""Statistics of the first batches of a training, and the oddities in them.

A training that learns the wrong thing ends well by its own numbers: with labels that are shifted
twice, an end token without a label, padding with one, ids of another tokenizer. A batch and the
network about to learn from it are enough to detect all of these. None of the data itself is stored.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""The label that transformers and torch leave out of a loss."""
_ALL, _FEW = 0.98, 0.02
_LEAST_PLACES, _LEAST_RUNS, _LEAST_ENDS = 32, 200, 8
_LEAST_CLOSED = 16
_LEAST_ROWS, _TIMES = 24, 3  # of rows that a training repeats this often before its fifth batch, it has a handful
_RUN = 4
_LEAST_DISTINCT = 0.3
_FARTHEST_PIXEL = 10.0
_ROOM = 1.05  # who has learnt nothing yet is a little worse than who guesses
_LEAST_PAIRS, _TELLS = 64, 0.58  # of data that a base knows nothing of, half of all pairs match by chance
Ids = NDArray[np.int64]
Form = Literal["causal", "paired", "gaps", "other"]
"""How a network learns from labels.

`causal` ones shift them themselves, `paired` ones read one text and write another, `gaps` are
filled; the labels of `other` ones are no tokens.
"""


@dataclass(frozen=True, slots=True)
class Oddity:
    """An oddity of a training, in words.

    Attributes:
        told: The oddity, with the facts.
        fix: What to do about it.
    """

    description: str
    fix: str


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Counts over one batch or several.

    Attributes:
        places: Labels that count.
        aligned: Of these, those that are the input at their own place.
        ahead: Of these, those that are the input at the next place.
        padded: Of these, those that are the padding token.
        ends: Ends of texts in the data to learn, each once.
        ends_labelled: Of these, those that have a label.
        runs: Runs of four tokens in the inputs that are not one token four times.
        distinct: Of these, those that differ from all before them in their row.
        losses: The loss of each batch, in nats a label.
        choices: The number of tokens that a label may be; 0 if unknown.
        farthest_pixel: The largest absolute value of a pixel.
        pairs: Pairs of different labels of one row that were looked at.
        matched: Of these, those for which the network finds the labels likelier at their own
            places than exchanged.
        closed: Rows in which an end of a text has a label.
        closed_last: Of these, those whose last end has one.
        rows: Rows with labels that are tokens.
        distinct_rows: Of these, those that differ from all before them.
        marks: A number for each row, which rows of several batches are compared by; never recorded.
    """

    places: int = 0
    aligned: int = 0
    ahead: int = 0
    padded: int = 0
    ends: int = 0
    ends_labelled: int = 0
    runs: int = 0
    distinct: int = 0
    losses: tuple[float, ...] = ()
    choices: int = 0
    farthest_pixel: float = 0.0
    pairs: int = 0
    matched: int = 0
    closed: int = 0
    closed_last: int = 0
    rows: int = 0
    distinct_rows: int = 0
    marks: tuple[int, ...] = ()

    def __add__(self, other: Self) -> Self:
        """Add the counts of both."""
        return type(self)(
            self.places + other.places,
            self.aligned + other.aligned,
            self.ahead + other.ahead,
            self.padded + other.padded,
            self.ends + other.ends,
            self.ends_labelled + other.ends_labelled,
            self.runs + other.runs,
            self.distinct + other.distinct,
            self.losses + other.losses,
            max(self.choices, other.choices),
            max(self.farthest_pixel, other.farthest_pixel),
            self.pairs + other.pairs,
            self.matched + other.matched,
            self.closed + other.closed,
            self.closed_last + other.closed_last,
            self.rows + other.rows,
            self.distinct_rows + other.distinct_rows,
            self.marks + other.marks,
        )


def shown_in(
    ids: Ids | None,
    labels: Ids | None,
    *,
    mask: Ids | None = None,
    form: Form = "causal",
    padding: int | None = None,
    end: Sequence[int] = (),
    loss: float | None = None,
    choices: int = 0,
    farthest_pixel: float = 0.0,
) -> BatchCounts:
    """Count the contents of a batch.

    Args:
        ids: (rows, n): the input tokens; None for other inputs.
        labels: (rows, m): the expected tokens, -100 for none; None without labels.
        mask: (rows, n): 1 where `ids` count; None if all of them do.
        form: How the network learns from labels.
        padding: The padding token; None if there is none, or if it also ends texts.
        end: The tokens that end a text.
        loss: The loss of the batch, in nats per label.
        choices: The number of tokens that a label may be.
        farthest_pixel: The largest absolute value of a pixel.
    """
    counted = BatchCounts(
        losses=(loss,) if loss is not None and math.isfinite(loss) else (),
        choices=choices,
        farthest_pixel=farthest_pixel if math.isfinite(farthest_pixel) else 0.0,
    )
    if ids is not None:
        counted += _repetition(ids, mask)
    if labels is None or form == "other":
        return counted
    counts = labels != IGNORED
    counted += BatchCounts(places=int(counts.sum()), padded=0 if padding is None else int((labels == padding).sum()))
    counted += BatchCounts(marks=_marks(ids, labels, mask))
    if ids is not None and ids.shape == labels.shape:
        next_to = counts[:, :-1] & (labels[:, :-1] == ids[:, 1:])
        counted += BatchCounts(aligned=int((counts & (labels == ids)).sum()), ahead=int(next_to.sum()))
    if not end or form == "gaps":
        return counted
    if form == "paired":
        return counted + _ends_of_rows(labels, counts, end)
    if ids is None or ids.shape != labels.shape:
        return counted
    is_end = np.isin(ids, list(end)) & (np.ones_like(ids) if mask is None else mask).astype(bool)
    counted += BatchCounts(ends=int(is_end.sum()), ends_labelled=int((is_end & counts).sum()))
    return counted + _last_ends(is_end, counts)


@dataclass(frozen=True, slots=True)
class TrainingStart:
    """The first batches of a training.

    Attributes:
        batches: The number of batches.
        form: How the network learns from labels.
        shown: The counts of their contents.
    """

    batches: int
    form: Form
    shown: BatchCounts

    @classmethod
    def of(cls, batches: Sequence[BatchCounts], form: Form) -> Self:
        """Sum the counts of batches; the marks of rows are counted and dropped."""
        shown = reduce(add, batches, BatchCounts())
        counted = replace(shown, rows=len(shown.marks), distinct_rows=len({*shown.marks}), marks=())
        return cls(len(batches), form, counted)

    @property
    def oddities(self) -> list[Oddity]:
        """Return the oddities, with advice for each."""
        oddities = (look(self.shown, self.form) for look in _LOOKS)
        return [one for one in oddities if one is not None]

    @property
    def description(self) -> str:
        """Describe the batches: `4 batches, 1,536 labels, a loss of 3.2 nats each`."""
        parts = [f"{self.batches} batch{'es' if self.batches != 1 else ''}"]
        if self.shown.places:
            parts.append(f"{self.shown.places:,} labels")
        if self.shown.losses:
            parts.append(f"a loss of {np.mean(self.shown.losses):.3g} nats each")
        return ", ".join(parts)

    @property
    def summary(self) -> str:
        """Describe the batches, with their oddities if there are any."""
        odd = "; ".join(one.description for one in self.oddities)
        return f"{self.description}: {odd}" if odd else self.description


def _labels_shifted(seen: BatchCounts, form: Form) -> Oddity | None:
    if form != "causal" or not _has_places(seen) or seen.ahead < _ALL * seen.places:
        return None
    if seen.aligned >= _ALL * seen.places:  # one token, again and again
        return None
    return Oddity(
        "each label is the input after it, and the model shifts labels once more",
        "give labels that are the inputs themselves",
    )


def _labels_copied(seen: BatchCounts, form: Form) -> Oddity | None:
    if form != "paired" or not _has_places(seen) or seen.aligned < _ALL * seen.places:
        return None
    return Oddity("what is to be written is what is read", "look whether source and target are two columns")


def _padding_learnt(seen: BatchCounts, _: Form) -> Oddity | None:
    if seen.padded <= _FEW * seen.places:
        return None
    message = f"{seen.padded} of {seen.places} labels are the padding token"
    return Oddity(message, f"give padding the label {IGNORED}")


def _end_not_learnt(seen: BatchCounts, _: Form) -> Oddity | None:
    if seen.ends < _LEAST_ENDS or seen.ends_labelled:
        return None
    return Oddity(
        f"none of {seen.ends} ends of texts has a label, so ending is not learnt",
        "pad with another token than the end, or label the first end of each text",
    )


def _answers_not_learnt(seen: BatchCounts, _: Form) -> Oddity | None:
    """Look at rows that go on behind their last label, up to an end that has none, as behind an inverted mask."""
    if seen.closed < _LEAST_CLOSED or seen.closed_last:
        return None
    return Oddity(
        f"in {seen.closed} texts an end has a label, and never the last one: what is asked is learnt, and no answer",
        "give answers labels, and what is asked none",
    )


def _rows_repeat(seen: BatchCounts, _: Form) -> Oddity | None:
    if seen.rows < _LEAST_ROWS or _TIMES * seen.distinct_rows > seen.rows:
        return None
    return Oddity(
        f"{seen.rows} rows are {seen.distinct_rows} different ones, so they are learnt by heart",
        "look whether the data loader begins anew with each batch, or bring more rows",
    )


def _inputs_repeat(seen: BatchCounts, _: Form) -> Oddity | None:
    if seen.runs < _LEAST_RUNS or seen.distinct >= _LEAST_DISTINCT * seen.runs:
        return None
    message = f"of {seen.runs} runs of {_RUN} tokens, {seen.runs - seen.distinct} stood in their text before"
    return Oddity(f"texts repeat themselves: {message}", "look at what the data loader gives")


def _pixels_as_they_are(seen: BatchCounts, _: Form) -> Oddity | None:
    if seen.farthest_pixel <= _FARTHEST_PIXEL:
        return None
    return Oddity(
        f"pixels are as large as {seen.farthest_pixel:.3g}, which no normalisation leaves",
        "let the model's own processor prepare images",
    )


def _worse_than_guessing(seen: BatchCounts, _: Form) -> Oddity | None:
    """Look at a loss above that of a guess; what the base knows of these very data excuses it.

    A base that is sure of another language is worse than a guess on this one, and still tells which of
    two labels stands where. With ids of another tokenizer it cannot. Records of earlier releases have
    no pairs, and the loss decides alone.
    """
    if not seen.losses or seen.choices < 2:
        return None
    mean, chance = float(np.mean(seen.losses)), math.log(seen.choices)
    if mean <= _ROOM * chance:
        return None
    message = (
        f"the loss begins at {mean:.3g} nats a label, and who guesses among {seen.choices} tokens has {chance:.3g}"
    )
    fix = "look whether tokenizer, labels and base belong together"
    if seen.pairs < _LEAST_PAIRS:
        return Oddity(message, fix)
    share = seen.matched / seen.pairs
    if share >= _TELLS:
        return None
    return Oddity(
        f"{message}; of two labels the base tells in {share:.0%} which stands where, and a guess in half", fix
    )


_LOOKS = (
    _labels_shifted,
    _labels_copied,
    _padding_learnt,
    _end_not_learnt,
    _answers_not_learnt,
    _rows_repeat,
    _inputs_repeat,
    _pixels_as_they_are,
    _worse_than_guessing,
)


def _has_places(seen: BatchCounts) -> bool:
    return seen.places >= _LEAST_PLACES


def _marks(ids: Ids | None, labels: Ids, mask: Ids | None) -> tuple[int, ...]:
    """Return a number for each row that equal rows have alike, whatever they are padded to."""
    numbers: list[int] = []
    for at, wanted in enumerate(labels):
        own = np.array([], np.int64) if ids is None else ids[at] if mask is None else ids[at][mask[at].astype(bool)]
        row = own.tobytes() + b"/" + wanted[wanted != IGNORED].tobytes()
        numbers.append(int.from_bytes(hashlib.sha256(row).digest()[:8]))
    return tuple(numbers)


def _repetition(ids: Ids, mask: Ids | None) -> BatchCounts:
    runs = distinct = 0
    for at, row in enumerate(ids):
        tokens = row if mask is None else row[mask[at].astype(bool)]
        if len(tokens) >= _RUN:
            windows = np.lib.stride_tricks.sliding_window_view(tokens, _RUN)
            # One token again and again is padding, or holds the place of an image.
            windows = windows[(windows != windows[:, :1]).any(axis=1)]
            runs += len(windows)
            distinct += len(np.unique(windows, axis=0))
    return BatchCounts(runs=runs, distinct=distinct)


def _last_ends(is_end: NDArray[np.bool_], counts: NDArray[np.bool_]) -> BatchCounts:
    """Count rows in which an end has a label, and those in which the last one has; of ends in a run, the first."""
    first = is_end.copy()
    first[:, 1:] &= ~is_end[:, :-1]  # padding that is the end token again
    rows = np.flatnonzero((first & counts).any(axis=1))
    last = [int(np.flatnonzero(first[row])[-1]) for row in rows]
    return BatchCounts(closed=len(rows), closed_last=int(counts[rows, last].sum()))


def _ends_of_rows(labels: Ids, counts: NDArray[np.bool_], end: Sequence[int]) -> BatchCounts:
    """Count rows with room after their last label, and those whose last label is an end token."""
    ended = [
        int(row[np.flatnonzero(row_counts)[-1]]) in end
        for row, row_counts in zip(labels, counts, strict=True)
        if row_counts.any() and not row_counts[-1]
    ]
    return BatchCounts(ends=len(ended), ends_labelled=sum(ended))
