"""How close a text is to the right one, by the libraries that define the scores.

They are optional (`deltareg[texts]`) and imported by this module alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast


def chrf(text: str, target: str) -> float:
    """Return chrF (Popović, 2015), 0 to 100: n-grams of characters."""
    return _chrf(0)(text, target)


def chrf_with_words(text: str, target: str) -> float:
    """Return chrF++ (Popović, 2017), 0 to 100: pairs of words, too."""
    return _chrf(2)(text, target)


def ter(text: str, target: str) -> float:
    """Return the translation edit rate (Snover et al., 2006), in per cent: less is better."""
    return _ter()(text, target)


def rouge_l(text: str, target: str) -> float:
    """Return the F1 of the longest common subsequence of words (Lin, 2004), 0 to 1."""
    return _rouge("rougeL", text, target)


def rouge_2(text: str, target: str) -> float:
    """Return the F1 of pairs of words, 0 to 1."""
    return _rouge("rouge2", text, target)


SCORES: Mapping[str, Callable[[str, str], float]] = {
    "chrf": chrf,
    "chrf++": chrf_with_words,
    "ter": ter,
    "rouge_l": rouge_l,
    "rouge_2": rouge_2,
}
LIBRARIES: Mapping[str, str] = {
    "chrf": "sacrebleu",
    "chrf++": "sacrebleu",
    "ter": "sacrebleu",
    "rouge_l": "rouge_score",
    "rouge_2": "rouge_score",
}


@dataclass(frozen=True, slots=True)
class TranscriptErrors:
    """The errors of a transcript.

    Attributes:
        count: Substitutions, deletions and insertions.
        length: The length of the right transcript in words or characters.
    """

    count: int
    length: int


def word_errors(text: str, target: str) -> TranscriptErrors:
    """Count the words that are wrong, missing or extra."""
    import jiwer  # optional

    return _errors(jiwer.process_words(target, text))


def letter_errors(text: str, target: str) -> TranscriptErrors:
    """Count the characters that are wrong, missing or extra."""
    import jiwer  # optional

    return _errors(jiwer.process_characters(target, text))


def error_rate(rows: Sequence[object]) -> float:
    """Return errors over lengths of all transcripts together: (count, length) a row."""
    errors = [row for row in rows if isinstance(row, TranscriptErrors)]
    return sum(one.count for one in errors) / sum(one.length for one in errors)


def _errors(found: "_Alignment") -> TranscriptErrors:
    wrong = found.substitutions + found.deletions
    return TranscriptErrors(wrong + found.insertions, wrong + found.hits)


class _Alignment(Protocol):
    substitutions: int
    deletions: int
    insertions: int
    hits: int


class _Scored(Protocol):
    @property
    def fmeasure(self) -> float: ...


@cache
def _chrf(words: int) -> Callable[[str, str], float]:
    from sacrebleu.metrics.chrf import CHRF  # optional

    scorer = CHRF(word_order=words)
    return lambda text, target: float(scorer.sentence_score(text, [target]).score)


@cache
def _ter() -> Callable[[str, str], float]:
    from sacrebleu.metrics.ter import TER  # optional

    scorer = TER()
    return lambda text, target: float(scorer.sentence_score(text, [target]).score)


def _rouge(kind: str, text: str, target: str) -> float:
    from rouge_score.rouge_scorer import RougeScorer  # optional

    scores = cast("Mapping[str, _Scored]", RougeScorer([kind]).score(target, text))
    return scores[kind].fmeasure
