"""How many training lines a network completes word by word, given their beginning.

A line counts where each of its last tokens is the likeliest after all before it, so that greedy
writing gives it exactly (Carlini et al., 2021, arXiv 2012.07805). The base's own share stands
beside it: what everybody knows by heart says nothing about this training.
"""

from functools import partial

from deltareg.errors import InvalidInput
from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.engine import Tokenizer
from deltareg_verify.engine.measures.targets import following
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared

_LEAST_BEFORE = 2
Pair = tuple[list[int], list[int]]


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the shares of lines that both complete."""
    return rows_compared(
        case,
        spec,
        partial(_values, int(spec.number("tokens"))),
        SampleMeasure(
            description="lines given back word by word",
            needs="a network that goes on with text, and a tokenizer in the base",
        ),
    )


def _values(count: int, side: EngineSide, samples: Samples) -> list[object] | None:
    words = side.engine.tokenizer()
    if words is None:
        return None
    pairs = [_pair(words, samples, row, count) for row in range(len(samples))]
    likeliest = side.engine.log_likelihoods(side.state, pairs)[:, 1]
    return [float(one) for one in likeliest]


def _pair(words: Tokenizer, samples: Samples, row: int, count: int) -> Pair:
    """Split a line into its beginning and the tokens that are to follow."""
    text = samples.texts[row]
    if samples.targets:
        before, after = following(words, text, samples.targets[row])
        return list(before), list(after)[:count]
    tokens = words.encode(text)[: words.most]
    if tokens and tokens[-1] == words.end:
        tokens = tokens[:-1]
    count_after = min(count, len(tokens) // 2)
    if len(tokens) - count_after < _LEAST_BEFORE or not count_after:
        raise InvalidInput(f"line {row + 1} has {len(tokens)} tokens, too few to be continued")
    return tokens[:-count_after], tokens[-count_after:]


CHECK = Check(
    "memorisation",
    run,
    CheckForm(
        "how many lines of its training it gives back word by word",
        {**UNDECIDED, "worse": "fail", "tokens": 32},
        counts=("least_samples", "tokens"),
        probes=("text",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
